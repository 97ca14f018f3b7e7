// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Parsers that misbehave, one for each -D. The cases under hostile/parser-
 * compile them, put each into an image, and expect a refusal in words.
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");
UKEXEC_RING(ring, 1 << 20);

#ifdef LOOPS
UKEXEC_PARSE(parse, ctx)
{
	volatile int turns = 0;

	while (turns >= 0)
		turns = 1;
	return 0;
}
#endif

#ifdef RECURSES
static __attribute__((noinline)) int deeper(volatile int depth)
{
	/* A volatile result keeps the compiler from making a loop of this. */
	volatile int below = depth ? deeper(depth - 1) : 0;

	return below + 1;
}

UKEXEC_PARSE(parse, ctx)
{
	return deeper(ctx->image_sz);
}
#endif

#ifdef LEAKS
UKEXEC_PARSE(parse, ctx)
{
	char *record = bpf_ringbuf_reserve(&ring, 4096, 0);

	if (record)
		bpf_copy_to_kernel(ukexec_kernel, record, 4096);
	return 0;
}
#endif

#ifdef PUTS_TWICE
UKEXEC_PARSE(parse, ctx)
{
	char *record = bpf_ringbuf_reserve(&ring, 4096, 0);

	if (!record)
		return 0;
	bpf_ringbuf_discard(record, 0);
	bpf_ringbuf_discard(record, 0);
	return 0;
}
#endif

#ifdef USES_AFTER_DISCARD
UKEXEC_PARSE(parse, ctx)
{
	volatile char *record = bpf_ringbuf_reserve(&ring, 4096, 0);

	if (!record)
		return 0;
	bpf_ringbuf_discard((void *)record, 0);
	record[0] = 1;
	return 0;
}
#endif

#ifdef HANDS_OVER_NOTHING
UKEXEC_PARSE(parse, ctx)
{
	bpf_printk("there is nothing in %d bytes", ctx->image_sz);
	return 0;
}
#endif

#ifdef HANDS_OVER_THE_SAME
UKEXEC_PARSE(parse, ctx)
{
	bpf_copy_to_kernel(ukexec_kernel, ctx->image, ctx->image_sz);
	return 0;
}
#endif

#ifdef HANDS_OVER_ONLY_AN_INITRD
UKEXEC_PARSE(parse, ctx)
{
	bpf_copy_to_kernel(ukexec_initrd, ctx->image, 512);
	return 0;
}
#endif

#ifdef RESERVES_WITHOUT_END
UKEXEC_RING(other, 512 << 20);

UKEXEC_PARSE(parse, ctx)
{
	for (;;) {
		volatile char *record = bpf_ringbuf_reserve(&other, 65528, 0);

		if (!record)
			return 0;
		for (int at = 0; at < 65528; at += 4096)
			record[at] = 1;
		bpf_ringbuf_discard((void *)record, 0);
	}
}
#endif

#ifdef READS_OUTSIDE
UKEXEC_PARSE(parse, ctx)
{
	volatile char *image = ctx->image;

	return image[ctx->image_sz];
}
#endif

#ifdef WRITES_TO_THE_IMAGE
UKEXEC_PARSE(parse, ctx)
{
	volatile char *image = ctx->image;

	image[0] = 'X';
	return 0;
}
#endif

#ifdef MAKES_UP_ADDRESSES
UKEXEC_PARSE(parse, ctx)
{
	volatile __u64 *anywhere = (__u64 *)0x7fff00001000;

	return *anywhere;
}
#endif

#ifdef PRINTS_WITHOUT_END
UKEXEC_PARSE(parse, ctx)
{
	for (;;)
		bpf_printk("again");
}
#endif
