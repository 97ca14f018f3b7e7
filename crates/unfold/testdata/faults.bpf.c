// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A parser that faults in the way that the first byte of the image names. */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");
UKEXEC_RING(room, 4096);

#define ARRAY 2
#define NOINLINE __attribute__((noinline))

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct kexec_context___later {
	void *later;
} __attribute__((preserve_access_index));

static NOINLINE int look(const char *image, __u32 at)
{
	return image[at + 16];
}

static NOINLINE int calls(const char *image, __u32 at)
{
	return look(image, at) + 1;
}

static NOINLINE int counter(void)
{
	__u32 third = 2;
	__u64 *value = bpf_map_lookup_elem(&counters, &third);

	return value ? *(volatile int *)(value + 2) : 0;
}

static NOINLINE int discarded(void)
{
	volatile char *record = bpf_ringbuf_reserve(&room, 16, 0);

	if (!record)
		return 0;
	bpf_ringbuf_discard((void *)record, 0);
	return record[4];
}

static NOINLINE int later(struct kexec_context *ctx)
{
	return ((struct kexec_context___later *)ctx)->later != 0;
}

UKEXEC_PARSE(parse_pe, ctx)
{
	char buffer[16];
	__u32 size = ctx->image_sz;
	char what = *(volatile char *)ctx->image;

	bpf_printk("faults: %c", what);
	switch (what) {
	case 'i': /* image */
		return calls(ctx->image, size);
	case 's': /* stack */
		*(volatile __u64 *)(buffer + 4096) = 1;
		return 0;
	case 'n': /* NULL */
		return *(volatile int *)8;
	case 'm': /* map */
		return counter();
	case 'r': /* record */
		return discarded();
	case 't': /* trap */
		return later(ctx);
	case 'l': /* leak */
		return !bpf_ringbuf_reserve(&room, 16, 0);
	case 'e': /* endless */
		for (;;)
			bpf_ringbuf_reserve(&room, 1 << 20, 0);
	case 'p': /* prints */
		for (int number = 0; number < 3; number++)
			bpf_printk("number %d", number);
		return 0;
	case 'f': /* failed calls */
		for (int again = 0; again < 3; again++)
			bpf_probe_read_kernel(buffer, sizeof(buffer), ctx->image + size - 4);
		bpf_decompress(ctx->image, 16);
		bpf_copy_to_kernel(ukexec_kernel, (char *)ctx->image + 1, size - 1);
		return 0;
	}
	return 0;
}
