// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A parser for tests: the image says what it shall do. Its format, with all
 * numbers little-endian and room for a DOS header's e_lfanew at 0x3c:
 *
 *    0  anything, such as MZ
 *    8  TEST
 *   12  what to do, an OP_ number
 *   16  kernel: offset and length
 *   24  initrd: offset and length
 *   32  command line: offset and length
 *
 * A resource with offset 0 is not there.
 *
 * -DUNKNOWN_HOOK, -DRECURSE and -DNO_HANDLER make objects that have nothing but
 * what their name says.
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");

#ifdef UNKNOWN_HOOK

SEC("fentry.s/kexec_image_parser_of_tomorrow")
int later(__u64 *args)
{
	return 0;
}

#elif defined(RECURSE)

static __attribute__((noinline)) int recurse(int depth)
{
	volatile int here = depth;

	if (!here)
		return 0;
	return recurse(here - 1) + here;
}

UKEXEC_PARSE(handle, ctx)
{
	return recurse(ctx->image_sz);
}

#elif defined(NO_HANDLER)

UKEXEC_POST(post, ctx)
{
	return 0;
}

#else

enum op {
	OP_UNFOLD,
	OP_DECOMPRESS,
	OP_NOTHING,
	OP_SAME,
	OP_ONLY_INITRD,
	OP_LOOP,
	OP_LEAK_RESULT,
	OP_LEAK_RECORD,
	OP_PUT_TWICE,
	OP_USE_AFTER_PUT,
	OP_RESERVE,
	OP_READ_OUTSIDE,
	OP_WRITE_IMAGE,
	OP_WRITE_CONTEXT,
	OP_MODIFY,
	OP_ERRNOS,
	OP_CONTEXT,
	OP_RESULT,
	OP_WEAK_TESTED,
	OP_WEAK_CALLED,
	OP_POST,
	OP_POST_FAULT,
	OP_REPLACE,
	OP_NO_INITRD,
	OP_DECOMPRESS_LOOP,
	OP_HAND_OVER_LOOP,
	OP_PRINT_LOOP,
	OP_DECOMPRESS_TWICE,
	OP_SECOND_FAULT,
	OP_SAME_BYTES,
	OP_MATCH_FAULT = 100,
	OP_MATCH_HANDS_OVER,
	OP_MATCH_NOT,
	OP_MATCH_TALKS,
};

struct part {
	__u32 offset;
	__u32 len;
};

struct header {
	__u8 anything[8];
	__u8 magic[4];
	__u32 op;
	struct part kernel;
	struct part initrd;
	struct part cmdline;
};

UKEXEC_RING(kernel_ring, 512 << 20);
UKEXEC_RING(initrd_ring, 512 << 20);
UKEXEC_RING(cmdline_ring, 1 << 20);

extern int bpf_of_tomorrow(int value) __ksym __attribute__((weak));

/* Memory of the parser that is not a record. */
static char own[4096];
static char big[4 << 20];

static __always_inline int header_of(struct kexec_context *ctx, struct header *header)
{
	if (ctx->image_sz < (int)sizeof(*header))
		return 0;
	bpf_probe_read_kernel(header, sizeof(*header), ctx->image);
	return *(__u32 *)header->magic == 0x54534554;
}

static __attribute__((noinline)) int unfold(struct kexec_context *ctx, struct header *header)
{
	char *record;

	if (header->kernel.offset) {
		record = bpf_ringbuf_reserve(&kernel_ring, header->kernel.len, 0);
		if (!record)
			return 0;
		bpf_probe_read_kernel(record, header->kernel.len, ctx->image + header->kernel.offset);
		bpf_copy_to_kernel(ukexec_kernel, record, header->kernel.len);
		bpf_ringbuf_discard(record, 0);
	}
	if (header->initrd.offset) {
		__u64 size = (__u64)ctx->initrd_sz + header->initrd.len;

		record = bpf_ringbuf_reserve(&initrd_ring, size, 0);
		if (!record)
			return 0;
		bpf_probe_read_kernel(record, ctx->initrd_sz, ctx->initrd);
		bpf_probe_read_kernel(record + ctx->initrd_sz, header->initrd.len,
				      ctx->image + header->initrd.offset);
		bpf_copy_to_kernel(ukexec_initrd, record, size);
		bpf_ringbuf_discard(record, 0);
	}
	if (header->cmdline.offset) {
		record = bpf_ringbuf_reserve(&cmdline_ring, header->cmdline.len, 0);
		if (!record)
			return 0;
		bpf_probe_read_kernel(record, header->cmdline.len,
				      ctx->image + header->cmdline.offset);
		bpf_copy_to_kernel(ukexec_cmdline, record, header->cmdline.len);
		bpf_ringbuf_discard(record, 0);
	}
	return 0;
}

static __always_inline struct mem_range_result *decompress(struct kexec_context *ctx,
							   struct header *header)
{
	return bpf_decompress(ctx->image + header->kernel.offset, header->kernel.len);
}

static __attribute__((noinline)) int unpack(struct kexec_context *ctx, struct header *header)
{
	struct mem_range_result *result = decompress(ctx, header);

	if (!result) {
		bpf_printk("cannot decompress");
		return 0;
	}
	bpf_copy_to_kernel(ukexec_kernel, result->buf, result->data_sz);
	bpf_mem_range_result_put(result);
	return 0;
}

static __attribute__((noinline)) int reserve(void)
{
	int count = 0;

	while (bpf_ringbuf_reserve(&cmdline_ring, 4088, 0))
		count++;
	bpf_printk("reserved %d", count);
	return 0;
}

static __attribute__((noinline)) int modify(struct kexec_context *ctx, struct header *header)
{
	char *record = bpf_ringbuf_reserve(&kernel_ring, header->kernel.len, 0);

	if (!record)
		return 0;
	bpf_probe_read_kernel(record, header->kernel.len, ctx->image + header->kernel.offset);
	bpf_copy_to_kernel(ukexec_kernel, record, header->kernel.len);
	record[0] = '!';
	bpf_ringbuf_discard(record, 0);

	own[0] = 'a';
	bpf_copy_to_kernel(ukexec_cmdline, own, 1);
	own[0] = 'b';
	return 0;
}

static __attribute__((noinline)) int errnos(struct kexec_context *ctx)
{
	char other[] = "kexec:dtb";

	bpf_printk("unknown name %d", bpf_copy_to_kernel(other, own, 1));
	bpf_printk("no name %d", bpf_copy_to_kernel(NULL, own, 1));
	bpf_printk("no buffer %d", bpf_copy_to_kernel(ukexec_initrd, NULL, 1));
	bpf_printk("negative %d", bpf_copy_to_kernel(ukexec_initrd, own, -1));
	bpf_printk("too long %d",
		   bpf_copy_to_kernel(ukexec_initrd, ctx->image, ctx->image_sz + 1));
	bpf_printk("nowhere %d", bpf_copy_to_kernel(ukexec_initrd, (char *)0x1234, 1));
	bpf_printk("empty kernel %d", bpf_copy_to_kernel(ukexec_kernel, own, 0));
	bpf_printk("empty initrd %d", bpf_copy_to_kernel(ukexec_initrd, own, 0));
	bpf_printk("empty line %d", bpf_copy_to_kernel(ukexec_cmdline, own, 0));
	return 0;
}

static __attribute__((noinline)) int context(struct kexec_context *ctx)
{
	char text[32] = {};

	bpf_printk("kdump %d image %d", ctx->kdump, ctx->image_sz);
	bpf_printk("initrd %d null %d", ctx->initrd_sz, !ctx->initrd);
	bpf_probe_read_kernel_str(text, sizeof(text), ctx->cmdline);
	bpf_printk("cmdline %d null %d: %s", ctx->cmdline_sz, !ctx->cmdline, text);
	return 0;
}

enum alloc_type {
	TYPE_KALLOC,
	TYPE_VMALLOC,
	TYPE_VMAP,
};

struct mem_range_result___all {
	char *buf;
	__u32 buf_sz;
	__u32 data_sz;
	enum alloc_type alloc_type;
	unsigned int pg_cnt;
	int status;
} UKEXEC_CORE;

static __attribute__((noinline)) int result(struct kexec_context *ctx, struct header *header)
{
	struct mem_range_result *result = decompress(ctx, header);
	struct mem_range_result___all *all = (void *)result;
	char start[4] = {};

	if (!result)
		return 0;
	bpf_probe_read_kernel(start, sizeof(start) - 1, all->buf);
	bpf_printk("buf %s buf_sz %u data_sz %u", start, all->buf_sz, all->data_sz);
	bpf_printk("alloc_type %d pg_cnt %u status %d", all->alloc_type, all->pg_cnt, all->status);
	bpf_printk("put %d", bpf_mem_range_result_put(result));
	return 0;
}

static __attribute__((noinline)) int two_results(struct kexec_context *ctx, struct header *header)
{
	struct mem_range_result *first = decompress(ctx, header);
	struct mem_range_result *second = decompress(ctx, header);

	if (!first || !second)
		return 0;
	bpf_copy_to_kernel(ukexec_kernel, first->buf, first->data_sz);
	bpf_copy_to_kernel(ukexec_kernel, second->buf, second->data_sz);
	bpf_mem_range_result_put(first);
	bpf_mem_range_result_put(second);
	return 0;
}

static __attribute__((noinline)) int endless(struct kexec_context *ctx, struct header *header)
{
	struct mem_range_result *result;

	for (;;) {
		result = decompress(ctx, header);
		if (result)
			bpf_mem_range_result_put(result);
	}
}

UKEXEC_PARSE(handle, ctx)
{
	struct mem_range_result *r;
	struct header header;

	if (!header_of(ctx, &header)) {
		bpf_printk("no test image");
		return 0;
	}
	switch (header.op) {
	case OP_DECOMPRESS:
		return unpack(ctx, &header);
	case OP_NOTHING:
		bpf_printk("first line");
		bpf_printk("kernel missing at %d", header.kernel.offset);
		decompress(ctx, &header);
		return 0;
	case OP_SAME:
		bpf_copy_to_kernel(ukexec_kernel, ctx->image, ctx->image_sz);
		return 0;
	case OP_SAME_BYTES:
		bpf_probe_read_kernel(own, ctx->image_sz, ctx->image);
		bpf_copy_to_kernel(ukexec_kernel, own, ctx->image_sz);
		return 0;
	case OP_ONLY_INITRD:
		bpf_copy_to_kernel(ukexec_initrd, own, sizeof(own));
		return 0;
	case OP_LOOP:
		for (;;)
			*(volatile char *)own = 1;
	case OP_LEAK_RESULT:
		decompress(ctx, &header);
		return 0;
	case OP_LEAK_RECORD:
		bpf_ringbuf_reserve(&kernel_ring, 16, 0);
		return 0;
	case OP_PUT_TWICE:
		r = decompress(ctx, &header);
		bpf_mem_range_result_put(r);
		bpf_mem_range_result_put(r);
		return 0;
	case OP_USE_AFTER_PUT:
		r = decompress(ctx, &header);
		bpf_mem_range_result_put(r);
		bpf_printk("size %d", r->data_sz);
		return 0;
	case OP_RESERVE:
		return reserve();
	case OP_READ_OUTSIDE:
		return *(volatile char *)(ctx->image + ctx->image_sz);
	case OP_WRITE_IMAGE:
		*(volatile char *)ctx->image = 0;
		return 0;
	case OP_WRITE_CONTEXT:
		ctx->image_sz = 0;
		return 0;
	case OP_MODIFY:
		return modify(ctx, &header);
	case OP_ERRNOS:
		return errnos(ctx);
	case OP_CONTEXT:
		return context(ctx);
	case OP_RESULT:
		return result(ctx, &header);
	case OP_WEAK_TESTED:
		if (bpf_of_tomorrow)
			bpf_of_tomorrow(1);
		else
			bpf_printk("no bpf_of_tomorrow");
		return 0;
	case OP_WEAK_CALLED:
		return bpf_of_tomorrow(1);
	case OP_NO_INITRD:
		bpf_copy_to_kernel(ukexec_initrd, own, 0);
		return unfold(ctx, &header);
	case OP_DECOMPRESS_LOOP:
		return endless(ctx, &header);
	case OP_HAND_OVER_LOOP:
		for (;;)
			bpf_copy_to_kernel(ukexec_kernel, big, sizeof(big));
	case OP_PRINT_LOOP:
		for (;;)
			bpf_printk("again");
	case OP_DECOMPRESS_TWICE:
		return two_results(ctx, &header);
	default:
		return unfold(ctx, &header);
	}
}

/* A second program on the same hook. */
UKEXEC_PARSE(handle_again, ctx)
{
	struct header header;

	if (!header_of(ctx, &header))
		return 0;
	if (header.op == OP_REPLACE)
		bpf_copy_to_kernel(ukexec_kernel, "replaced", 8);
	if (header.op == OP_SECOND_FAULT)
		return *(volatile char *)8;
	return 0;
}

UKEXEC_POST(post, ctx)
{
	struct header header;

	if (!header_of(ctx, &header))
		return 0;
	if (header.op == OP_POST) {
		bpf_printk("post image %d", ctx->image_sz);
		bpf_printk("post %d", bpf_copy_to_kernel(ukexec_cmdline, own, 0));
	}
	if (header.op == OP_POST_FAULT)
		return *(volatile char *)8;
	return 0;
}

UKEXEC_MATCH(match, ctx)
{
	struct header header;

	if (!header_of(ctx, &header))
		return 0;
	if (header.op == OP_MATCH_FAULT)
		return *(volatile char *)8;
	if (header.op == OP_MATCH_TALKS) {
		bpf_printk("is it mine?");
		return unpack(ctx, &header);
	}
	if (header.op == OP_MATCH_HANDS_OVER)
		bpf_copy_to_kernel(ukexec_kernel, own, sizeof(own));
	return header.op != OP_MATCH_NOT;
}

/* Operations of a third program on the hook, which those before it leave alone. */
enum more {
	OP_COUNT = 60,
	OP_BIG,
	OP_CRUMBS,
	OP_END_OF_LINE,
	OP_PARTS,
	OP_PROFILE,
};

static int count;

UKEXEC_PARSE(handle_more, ctx)
{
	struct header header;
	char *record, *kernel;
	char end = 1;
	__u32 profile = 3;

	if (!header_of(ctx, &header))
		return 0;
	kernel = ctx->image + header.kernel.offset;
	switch (header.op) {
	case OP_COUNT:
		bpf_printk("count %d", ++count);
		return 0;
	case OP_BIG:
		bpf_printk("big %d", bpf_copy_to_kernel(ukexec_initrd, big, sizeof(big)));
		return 0;
	case OP_CRUMBS:
		/* The image's halves in turns, 256 bytes each. */
		record = bpf_ringbuf_reserve(&kernel_ring, header.kernel.len, 0);
		if (!record)
			return 0;
		for (__u32 at = 0; at + 256 <= header.kernel.len; at += 256)
			bpf_probe_read_kernel(record + at, 256,
					      ctx->image + header.initrd.len + (at / 512) * 256 +
						      (at & 256 ? header.kernel.len / 2 : 0));
		bpf_printk("crumbs %d",
			   bpf_copy_to_kernel(ukexec_kernel, record, header.kernel.len));
		bpf_ringbuf_discard(record, 0);
		return 0;
	case OP_END_OF_LINE:
		bpf_probe_read_kernel(&end, 1, ctx->cmdline + ctx->cmdline_sz);
		bpf_printk("behind the line %d", end);
		bpf_printk("and then %d",
			   bpf_probe_read_kernel(&end, 1, ctx->cmdline + ctx->cmdline_sz + 1));
		return 0;
	case OP_PARTS:
		bpf_printk("part of no bytes %d",
			   bpf_copy_to_kernel(ukexec_initrd_part, kernel, 0));
		bpf_printk("part %d",
			   bpf_copy_to_kernel(ukexec_initrd_part, kernel, header.kernel.len));
		bpf_printk("part that is not there %d",
			   bpf_copy_to_kernel(ukexec_initrd_part, NULL, 1));
		bpf_printk("another %d", bpf_copy_to_kernel(ukexec_initrd_part, kernel, 1));
		return 0;
	case OP_PROFILE:
		bpf_printk("profile %d",
			   bpf_copy_to_kernel(ukexec_profile, (char *)&profile, sizeof(profile)));
		bpf_printk("of 3 bytes %d", bpf_copy_to_kernel(ukexec_profile, (char *)&profile, 3));
		bpf_printk("of no place %d", bpf_copy_to_kernel(ukexec_profile, NULL, 4));
		return 0;
	}
	return 0;
}

UKEXEC_POST(post_more, ctx)
{
	struct header header;

	if (header_of(ctx, &header) && header.op == OP_COUNT)
		bpf_printk("count in post %d", ++count);
	return 0;
}

#endif
