/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Unpacking a compressed kernel and handing it over, for parsers whose name,
 * as it is in front of what they print, is UNPACK_AS.
 */
#ifndef UNPACK_H
#define UNPACK_H

#include <ukexec/parser.h>

/*
 * Room for the payload and then, in its place, for the kernel. Linux allocates
 * all of it: build with -DKERNEL_RING=... where that is too much.
 */
#ifndef KERNEL_RING
#define KERNEL_RING (512 << 20)
#endif
#define KERNEL_MAX (KERNEL_RING - 4096ULL)

UKEXEC_SERIES_SHAPE(KERNEL_RING, 4096, 4096, 4096);

/* A stream: its address, where that is in the image, its length, its compression's name. */
struct payload {
	const char *address;
	__u64 offset;
	__u64 size;
	const char *compression;
};

#if UKEXEC_ABI == 5
/* Unpacks what lies in `room`, into it, and hands it over. */
static __always_inline void unpack_room(const struct payload *payload, char *room)
{
	struct mem_range_result *kernel;
	__u64 size = payload->size;
	int error;

	kernel = bpf_decompress(room, size);
	if (!kernel) {
		bpf_printk(UNPACK_AS ": payload at 0x%llx of 0x%llx bytes: expected a whole %s stream, it does not decompress",
			   payload->offset, size, payload->compression);
		return;
	}

	size = kernel->data_sz;
	if (size == 0 || size > KERNEL_MAX) {
		bpf_printk(UNPACK_AS ": decompressed kernel: expected 1 to 0x%llx bytes, found 0x%llx",
			   KERNEL_MAX, size);
		goto put;
	}
	/* Linux takes a hand-over from a record only, not from the result. */
	if (bpf_probe_read_kernel(room, size, kernel->buf)) {
		bpf_printk(UNPACK_AS ": decompressed kernel cannot be read");
		goto put;
	}
	error = bpf_copy_to_kernel(ukexec_kernel, room, size);
	if (error)
		bpf_printk(UNPACK_AS ": hand-over of the kernel, 0x%llx bytes: error %d", size, error);
put:
	bpf_mem_range_result_put(kernel);
}
#else
/* Has the loader unpack what lies in `room`, which also hands it over. */
static __always_inline void unpack_room(const struct payload *payload, char *room)
{
	if (!ukexec_give_compressed(room, payload->size, KERNEL_MAX))
		ukexec_done();
	else
		bpf_printk(UNPACK_AS ": payload at 0x%llx of 0x%llx bytes: expected a whole %s stream, it does not decompress",
			   payload->offset, payload->size, payload->compression);
}
#endif

/* Hands the kernel over that `payload` unpacks to. Without one it has said why. */
static __always_inline void unpack(const struct payload *payload)
{
	__u64 size = payload->size;
	char *room;

	if (size > KERNEL_MAX) {
		bpf_printk(UNPACK_AS ": payload at 0x%llx: expected at most 0x%llx bytes, found 0x%llx",
			   payload->offset, KERNEL_MAX, size);
		return;
	}
	/* The payload alone, without what may follow it. */
	room = ukexec_reserve(&ringbuf_1, KERNEL_MAX);
	if (!room) {
		bpf_printk(UNPACK_AS ": no room for 0x%llx bytes in the ring buffer", KERNEL_MAX);
		return;
	}
	if (bpf_probe_read_kernel(room, size, payload->address))
		bpf_printk(UNPACK_AS ": payload at 0x%llx cannot be read", payload->offset);
	else
		unpack_room(payload, room);
	ukexec_discard(room);
}

#endif /* UNPACK_H */
