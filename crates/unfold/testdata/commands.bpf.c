// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A parser of v6 or v7 (UKEXEC_ABI) that does as its image says, for tests.
 *
 * The image: "CMDS", then steps of a byte for what to do, 3 bytes 0, an int and so many bytes
 * as that says if it is positive. Each step prints what came of it; each send holds a
 * reference of its own.
 *
 * Steps of several parsers may follow each other, with an OTHERS between: a parser takes part
 * number PART of them.
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");
UKEXEC_RING(ring, 64 << 20);

/* The types tell the generations apart. */
struct cmd_hdr header_of_commands;

#ifdef MIXED
extern int bpf_copy_to_kernel(const char *name, char *buf, int size) __ksym;
#endif

#define RECORD ((64 << 20) - 8)

#ifndef PART
#define PART 0
#endif

struct step {
	__u8 what;
	__u8 zero[3];
	int size;
};

enum what {
	SEND = 1,	/* The bytes are a buffer. */
	SEND_NULL,	/* A NULL buffer of this size. */
	SEND_SHORT,	/* The bytes are a buffer, said to have `zero[0]` bytes. */
	SHOW,		/* Prints the context. */
	GET_OTHER,	/* Asks for another number's context. */
	GET_TWICE,	/* Two references, each put. */
	LEAK,
	PUT_TWICE,
	PUT_NULL,
	SEND_AFTER_PUT,
	OTHERS,		/* The steps behind it are another parser's. */
	SEND_IMAGE,	/* COPY KERNEL of the image, with `zero[0]` as flags. */
};

static __attribute__((noinline)) void show(struct kexec_context *ctx)
{
	char text[4] = {};

	bpf_printk("kernel %d initrd %d cmdline %d", (int)ctx->kernel_sz, (int)ctx->initrd_sz,
		   (int)ctx->cmdline_sz);
	if (ctx->cmdline)
		bpf_probe_read_kernel(text, 3, ctx->cmdline);
	bpf_printk("absent %d%d%d", !ctx->kernel, !ctx->initrd, !ctx->cmdline);
	bpf_printk("line %s", text);
#if UKEXEC_ABI == 7
	bpf_printk("parsed %d sig_mode %d", ctx->parsed, ctx->sig_mode);
	bpf_printk("buffers %d %d %d", (int)ctx->parsing_buf_sz[0], (int)ctx->parsing_buf_sz[1],
		   (int)ctx->parsing_buf_sz[15]);
#endif
}

UKEXEC_PARSE(parse, ctx)
{
	struct bpf_parser_context *one, *two;
	const char *image = ukexec_image(ctx);
	__u64 end = ukexec_image_sz(ctx), at = 4, size;
	struct step step;
	__u32 magic = 0, part = 0;
	char *record;

	bpf_probe_read_kernel(&magic, 4, image);
	if (magic != 0x53444d43) /* CMDS */
		return 0;
	record = bpf_ringbuf_reserve(&ring, RECORD, 0);
	if (!record)
		return 0;
	while (at + sizeof(step) <= end) {
		bpf_probe_read_kernel(&step, sizeof(step), image + at);
		at += sizeof(step);
		size = step.size > 0 ? step.size : 0;
		if (step.what == OTHERS)
			part++;
		if (part != PART) {
			at += step.what != SEND_NULL ? size : 0;
			continue;
		}
		if (step.what != SEND_NULL) {
			if (size > RECORD)
				break;
			bpf_probe_read_kernel(record, size, image + at);
			at += size;
		}
		switch (step.what) {
		case SEND:
		case SEND_NULL:
		case SEND_SHORT:
			one = bpf_get_parser_context(ukexec_parser_id);
			if (!one)
				break;
			bpf_printk("%d", bpf_buffer_parser(step.what == SEND_NULL ? (char *)0 : record,
						      step.what == SEND_SHORT ? step.zero[0] : step.size,
						      one));
			bpf_put_parser_context(one);
			break;
		case SHOW:
			show(ctx);
			break;
		case GET_OTHER:
			bpf_printk("other %d", !bpf_get_parser_context(ukexec_parser_id + 1));
			break;
		case GET_TWICE:
			one = bpf_get_parser_context(ukexec_parser_id);
			two = bpf_get_parser_context(ukexec_parser_id);
			bpf_put_parser_context(one);
			bpf_put_parser_context(two);
			bpf_printk("twice");
			break;
		case LEAK:
			bpf_get_parser_context(ukexec_parser_id);
			break;
		case PUT_TWICE:
			one = bpf_get_parser_context(ukexec_parser_id);
			bpf_put_parser_context(one);
			bpf_put_parser_context(one);
			break;
		case PUT_NULL:
			bpf_put_parser_context((void *)0);
			break;
		case SEND_AFTER_PUT:
			one = bpf_get_parser_context(ukexec_parser_id);
			bpf_put_parser_context(one);
			bpf_buffer_parser(record, 16, one);
			break;
		case SEND_IMAGE:
			*(struct cmd_hdr *)record = (struct cmd_hdr){
				.cmd = UKEXEC_ABI - 4, .subcmd = 1, .payload_len = end,
			};
#if UKEXEC_ABI == 7
			((struct cmd_hdr *)record)->pipeline_flag = step.zero[0];
#endif
			bpf_probe_read_kernel(record + sizeof(struct cmd_hdr), end, image);
			one = bpf_get_parser_context(ukexec_parser_id);
			bpf_printk("%d", bpf_buffer_parser(record, sizeof(struct cmd_hdr) + end, one));
			bpf_put_parser_context(one);
			break;
		}
	}
	bpf_ringbuf_discard(record, 0);
#ifdef MIXED
	bpf_copy_to_kernel("kexec:kernel", record, 1);
#endif
	return 0;
}

#ifdef WITH_MATCH
UKEXEC_MATCH(match, ctx)
{
	__u32 magic = 0;

	bpf_probe_read_kernel(&magic, 4, ukexec_image(ctx));
#ifdef MATCH_HANDS_OVER
	bpf_printk("asked");
	bpf_get_parser_context(ukexec_parser_id);
#endif
	return magic == 0x53444d43;
}
#endif
