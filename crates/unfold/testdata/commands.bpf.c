// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A parser of v6 (ABI=6) or v7 (ABI=7) that does as its image says, for tests.
 *
 * The image: "CMDS", then steps of a byte for what to do, 3 bytes 0, an int and so many bytes
 * as that says if it is positive. Each step prints what came of it; each send holds a
 * reference of its own.
 */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;

#define SEC(name) __attribute__((section(name), used))
#define __ksym __attribute__((section(".ksyms")))
#define CORE __attribute__((preserve_access_index))

#if ABI == 6
struct kexec_context {
	_Bool kdump;
	char *kernel;
	int kernel_sz;
	char *initrd;
	int initrd_sz;
	char *cmdline;
	int cmdline_sz;
} CORE;

struct cmd_hdr {
	__u16 cmd;
	__u16 subcmd;
	__u32 payload_len;
} __attribute__((packed)) CORE;

#define IMAGE(ctx) ((ctx)->kernel)
#define IMAGE_SZ(ctx) ((__u64)(ctx)->kernel_sz)
#else
typedef enum { SIG_ENFORCE_NONE, SIG_ENFORCE_SIG, SIG_ENFORCE_IMA } kexec_sig_enforced;

struct kexec_context {
	_Bool kdump;
	_Bool parsed;
	kexec_sig_enforced sig_mode;
	char *parsing_buf[16];
	unsigned long parsing_buf_sz[16];
	char *kernel;
	unsigned long kernel_sz;
	char *initrd;
	unsigned long initrd_sz;
	char *cmdline;
	unsigned long cmdline_sz;
} CORE;

struct cmd_hdr {
	__u16 cmd;
	__u8 subcmd;
	__u8 pipeline_flag;
	__u32 payload_len;
	__u16 num_chunks;
} __attribute__((packed)) CORE;

#define IMAGE(ctx) ((ctx)->parsing_buf[0])
#define IMAGE_SZ(ctx) ((__u64)(ctx)->parsing_buf_sz[0])
#endif

/* The types tell the generations apart. */
struct cmd_hdr header_of_commands;

struct bpf_parser_context;

extern struct bpf_parser_context *bpf_get_parser_context(unsigned long id) __ksym;
extern void bpf_put_parser_context(struct bpf_parser_context *context) __ksym;
extern int bpf_buffer_parser(char *buf, int size, struct bpf_parser_context *context) __ksym;
#ifdef MIXED
extern int bpf_copy_to_kernel(const char *name, char *buf, int size) __ksym;
#endif

static long (*const probe_read)(void *to, __u32 size, const void *from) = (void *)113;
static void *(*const reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const discard)(void *record, __u64 flags) = (void *)133;
static long (*const trace_printk)(const char *format, __u32 size, ...) = (void *)6;

#define print(format, ...)                                        \
	({                                                        \
		static const char line[] = format;                \
		trace_printk(line, sizeof(line), ##__VA_ARGS__);  \
	})

#define RECORD ((64 << 20) - 8)

struct {
	int (*type)[27];
	int (*max_entries)[64 << 20];
} ring SEC(".maps");

char commands_license[] SEC("license") = "Dual BSD/GPL";

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
};

static __attribute__((noinline)) void show(struct kexec_context *ctx)
{
	char text[4] = {};

	print("kernel %d initrd %d cmdline %d", (int)ctx->kernel_sz, (int)ctx->initrd_sz,
	      (int)ctx->cmdline_sz);
	if (ctx->cmdline)
		probe_read(text, 3, ctx->cmdline);
	print("absent %d%d%d", !ctx->kernel, !ctx->initrd, !ctx->cmdline);
	print("line %s", text);
#if ABI == 7
	print("parsed %d sig_mode %d", ctx->parsed, ctx->sig_mode);
	print("buffers %d %d %d", (int)ctx->parsing_buf_sz[0], (int)ctx->parsing_buf_sz[1],
	      (int)ctx->parsing_buf_sz[15]);
#endif
}

SEC("fentry.s/kexec_image_parser_anchor") int parse(__u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];
	struct bpf_parser_context *one, *two;
	const char *image = IMAGE(ctx);
	__u64 end = IMAGE_SZ(ctx), at = 4, size;
	struct step step;
	__u32 magic = 0;
	char *record;

	probe_read(&magic, 4, image);
	if (magic != 0x53444d43) /* CMDS */
		return 0;
	record = reserve(&ring, RECORD, 0);
	if (!record)
		return 0;
	while (at + sizeof(step) <= end) {
		probe_read(&step, sizeof(step), image + at);
		at += sizeof(step);
		size = step.size > 0 ? step.size : 0;
		if (step.what != SEND_NULL) {
			if (size > RECORD)
				break;
			probe_read(record, size, image + at);
			at += size;
		}
		switch (step.what) {
		case SEND:
		case SEND_NULL:
		case SEND_SHORT:
			one = bpf_get_parser_context(args[1]);
			if (!one)
				break;
			print("%d", bpf_buffer_parser(step.what == SEND_NULL ? (char *)0 : record,
						      step.what == SEND_SHORT ? step.zero[0] : step.size,
						      one));
			bpf_put_parser_context(one);
			break;
		case SHOW:
			show(ctx);
			break;
		case GET_OTHER:
			print("other %d", !bpf_get_parser_context(args[1] + 1));
			break;
		case GET_TWICE:
			one = bpf_get_parser_context(args[1]);
			two = bpf_get_parser_context(args[1]);
			bpf_put_parser_context(one);
			bpf_put_parser_context(two);
			print("twice");
			break;
		case LEAK:
			bpf_get_parser_context(args[1]);
			break;
		case PUT_TWICE:
			one = bpf_get_parser_context(args[1]);
			bpf_put_parser_context(one);
			bpf_put_parser_context(one);
			break;
		case PUT_NULL:
			bpf_put_parser_context((void *)0);
			break;
		case SEND_AFTER_PUT:
			one = bpf_get_parser_context(args[1]);
			bpf_put_parser_context(one);
			bpf_buffer_parser(record, 16, one);
			break;
		}
	}
	discard(record, 0);
#ifdef MIXED
	bpf_copy_to_kernel("kexec:kernel", record, 1);
#endif
	return 0;
}

#ifdef WITH_MATCH
SEC("fmod_ret.s/ukexec_match_image") int match(__u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];
	__u32 magic = 0;

	probe_read(&magic, 4, IMAGE(ctx));
	return magic == 0x53444d43;
}
#endif
