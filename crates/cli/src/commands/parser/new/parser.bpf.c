// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A parser of @NAME@ images: a magic of 8 bytes, and then the kernel, which may
 * be compressed. Put your own format in the place of this one; parser.h has the
 * rules.
 */
#include "parser.h"

UKEXEC_LICENSE("Dual BSD/GPL");

#define MAGIC "@MAGIC@"
#define MAGIC_SIZE 8

/* Room for the largest kernel; a record has 8 bytes less than its ring. */
#define KERNEL_RING (256 << 20)
#define KERNEL_MAX (KERNEL_RING - 8)
UKEXEC_RING(ringbuf_1, KERNEL_RING);

/* Returns whether the image begins with the magic and has something behind it. */
static __always_inline _Bool is_@ID@(const struct kexec_context *ctx)
{
	char magic[MAGIC_SIZE];

	return ctx->image_sz > MAGIC_SIZE &&
	       !bpf_probe_read_kernel(magic, sizeof(magic), ctx->image) &&
	       !__builtin_memcmp(magic, MAGIC, MAGIC_SIZE);
}

UKEXEC_PARSE(parse_pe, ctx)
{
	__u32 size = (__u32)ctx->image_sz - MAGIC_SIZE;
	char *kernel;

	if (!is_@ID@(ctx)) {
		bpf_printk("@NAME@: magic at 0x0: expected @TEXT@, found something else");
		return 0;
	}
	if (size > KERNEL_MAX) {
		bpf_printk("@NAME@: kernel at 0x8 of 0x%x bytes: expected 0x%x at most", size, KERNEL_MAX);
		return 0;
	}
	/* A large read into a record copies nothing; nor does the hand-over. */
	kernel = bpf_ringbuf_reserve(&ringbuf_1, KERNEL_MAX, 0);
	if (!kernel)
		return 0;
	if (!bpf_probe_read_kernel(kernel, size, ctx->image + MAGIC_SIZE))
		bpf_copy_to_kernel(ukexec_kernel, kernel, size);
	bpf_ringbuf_discard(kernel, 0);
	return 0;
}

/* For parsers.d. A patched kernel refuses it: build for one with -DWITHOUT_MATCH. */
#ifndef WITHOUT_MATCH
UKEXEC_MATCH(match_image, ctx)
{
	return is_@ID@(ctx);
}
#endif
