// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A parser of compressed kernels with a checksum; README.md describes the format.
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");

#define KERNEL_RING (256 << 20)
#define KERNEL_MAX (KERNEL_RING - 4096)
/* So much can be summed up within the budget. */
#define PAYLOAD_MAX (16 << 20)
/* Words that are added in one turn of the loop, which costs as much as they. */
#define TURN 4

UKEXEC_RING(ringbuf_1, KERNEL_RING);

struct header {
	char magic[8];
	__u32 payload_size;
	__u32 kernel_size;
	__u64 first;
	__u64 second;
};

static __always_inline _Bool read_header(struct header *header, const struct kexec_context *ctx)
{
	return ctx->image_sz >= (int)sizeof(*header) &&
	       !bpf_probe_read_kernel(header, sizeof(*header), ctx->image) &&
	       !__builtin_memcmp(header->magic, "SUM64\r\n", 8);
}

/* Returns whether the sizes can be believed; if not, says why. */
static __always_inline _Bool check_sizes(const struct header *header,
					 const struct kexec_context *ctx)
{
	__u64 end = sizeof(*header) + (__u64)header->payload_size;

	if (end > (__u32)ctx->image_sz) {
		bpf_printk("sum64: payload of 0x%x bytes at 0x20: expected it inside the image, of 0x%x; is the file cut off?",
			   header->payload_size, ctx->image_sz);
		return 0;
	}
	if (!header->payload_size || header->payload_size > PAYLOAD_MAX) {
		bpf_printk("sum64: payload size at 0x8: expected 1 to 0x%x, found 0x%x", PAYLOAD_MAX,
			   header->payload_size);
		return 0;
	}
	return 1;
}

/*
 * Returns whether the payload in `room` has the sums of the header. The bytes
 * behind it in the record are zeros, as in the format.
 */
static __always_inline _Bool check_sums(const struct header *header, const char *room)
{
	const __u64 *word = (const __u64 *)room;
	const __u64 *end = word + (header->payload_size + 8 * TURN - 1) / (8 * TURN) * TURN;
	__u64 first = 0, second = 0;

	for (; word < end; word += TURN) {
		for (int i = 0; i < TURN; i++) {
			first += word[i];
			second += first;
		}
	}
	if (first != header->first || second != header->second) {
		bpf_printk("sum64: sums of the payload: expected 0x%llx and 0x%llx", header->first,
			   header->second);
		bpf_printk("sum64: found 0x%llx and 0x%llx; the image is damaged, get it again", first,
			   second);
		return 0;
	}
	return 1;
}

/* Decompresses the payload in `room` and hands over what it was. */
static __always_inline void kernel(const struct header *header, char *room)
{
	struct mem_range_result *result = bpf_decompress(room, header->payload_size);
	__u32 size;

	if (!result) {
		bpf_printk("sum64: the payload does not decompress, and its sums are right: is it a stream that Linux knows?");
		return;
	}
	size = result->data_sz;
	if (size != header->kernel_size || size > KERNEL_MAX)
		bpf_printk("sum64: kernel size at 0xc: expected 0x%x (at most 0x%x), found 0x%x", size,
			   KERNEL_MAX, header->kernel_size);
	else if (!bpf_probe_read_kernel(room, size, result->buf))
		bpf_copy_to_kernel(ukexec_kernel, room, size);
	bpf_mem_range_result_put(result);
}

UKEXEC_PARSE(parse_pe, ctx)
{
	struct header header;
	char *room;

	if (!read_header(&header, ctx)) {
		bpf_printk("sum64: magic at 0x0: expected SUM64 and a line end, found something else");
		return 0;
	}
	if (!check_sizes(&header, ctx))
		return 0;
	room = bpf_ringbuf_reserve(&ringbuf_1, KERNEL_MAX, 0);
	if (!room)
		return 0;
	if (bpf_probe_read_kernel(room, header.payload_size, ctx->image + sizeof(header)))
		bpf_printk("sum64: the payload cannot be read");
	else if (check_sums(&header, room))
		kernel(&header, room);
	bpf_ringbuf_discard(room, 0);
	return 0;
}

UKEXEC_MATCH(match_image, ctx)
{
	struct header header;

	return read_header(&header, ctx);
}
