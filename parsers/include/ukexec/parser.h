/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ukexec/parser.h: all that a parser needs to talk to the loader.
 *
 * A parser is a BPF object that takes one boot image format apart. The loader
 * (ukexec, or a Linux kernel with the "BPF lskel to load PE format boot image"
 * series, version 5, 6 or 7) shows it an image; the parser finds the kernel in it, and
 * if there are any the initrd and the command line, and hands them over by
 * name. That is one stage. If the kernel is again an image with a parser, the
 * next stage begins with it.
 *
 * This header is complete in itself: no vmlinux.h, no libbpf headers. Those
 * who have them may include them first. Build with any clang from 14 on:
 *
 *     clang -O2 -g -target bpfel -mcpu=v3 -I include -c my.bpf.c -o my.bpf.o
 *     llvm-strip -g my.bpf.o
 *
 * -g is needed (maps, kfuncs and field offsets are found through BTF);
 * llvm-strip -g drops the DWARF and keeps the BTF.
 *
 * The smallest parser, for a format of 16 bytes of header and then a kernel:
 *
 *     #include <ukexec/parser.h>
 *
 *     UKEXEC_LICENSE("Dual BSD/GPL");
 *     UKEXEC_RING(ringbuf_1, 64 << 20);
 *
 *     UKEXEC_PARSE(parse_pe, ctx)
 *     {
 *         __u64 len = (__u32)ctx->image_sz - 16ULL;
 *         char *kernel;
 *
 *         if (ctx->image_sz <= 16 || len > (64 << 20) - 8) {
 *             bpf_printk("mine: %d bytes are no image of this format", ctx->image_sz);
 *             return 0;
 *         }
 *         kernel = bpf_ringbuf_reserve(&ringbuf_1, (64 << 20) - 8, 0);
 *         if (!kernel)
 *             return 0;
 *         bpf_probe_read_kernel(kernel, len, ctx->image + 16);
 *         bpf_copy_to_kernel(ukexec_kernel, kernel, len);
 *         bpf_ringbuf_discard(kernel, 0);
 *         return 0;
 *     }
 *
 * Rules
 *
 * 1. The image is untrusted. Check every offset and size that it names, in 64
 *    bits, against ctx->image_sz. A read outside fails with -EFAULT and zeros
 *    its destination; it harms nobody, but it is not an error message.
 * 2. Read through bpf_probe_read_kernel(). ctx->image, ctx->initrd,
 *    ctx->cmdline and result->buf are addresses, not memory of yours: Linux
 *    refuses to load a program that dereferences them.
 * 3. A stage must hand over a kernel, and one other than its own image. Initrd
 *    and command line are optional: what is not handed over stays what it was.
 *    Nothing counts before the whole stage is over; a failed one leaves nothing.
 * 4. The return value of a parser is ignored. Say why you refuse: one
 *    bpf_printk() line with the field, what you expected and what you found.
 *    The loader quotes the last lines when no kernel was handed over.
 * 5. Discard or submit every record that you reserved, put every buffer that
 *    bpf_decompress() gave, on every path.
 * 6. Loops must end: Linux follows at most a million instructions, ukexec runs
 *    at most as many as its budget has (20 million for all stages).
 * 7. Call kfuncs plainly. The form `if (bpf_decompress) ...` is always false in
 *    skeletons that libbpf 1.1 made.
 *
 * Moving bytes. In ukexec a record is sparse: a large bpf_probe_read_kernel()
 * from the image into a record stores a reference, not the bytes, and a
 * hand-over passes the references on. Reserve one record of the largest size
 * that you take, read each part to its place in it and hand it over: 200 MB
 * cost as much as 20 bytes. Bytes that no read and no write has touched are 0.
 * Never loop over bulk data. No ring has a record of 1 GiB; an initrd longer
 * than that is handed over in parts (ukexec_initrd_part).
 *
 * Linux wants the size of bpf_ringbuf_reserve() to be a constant, and refuses
 * offsets and sizes of 512 MiB and more (see ukexec_is_linux()). It also allocates a ring
 * in full when the object is loaded; ukexec allocates on use.
 *
 * Generations. Versions 5, 6 and 7 of the series differ in the hook, the context and
 * the kfuncs. -DUKEXEC_ABI=6 or 7 builds for a later one, 5 is the default. All of
 * the above is that of 5. One source serves all three if it reaches the context and
 * the loader through the functions of part 8, and no kfunc or member by its own name.
 * In 6 and 7:
 *
 *   - The caller's initrd and command line cannot be seen, and so no profile that the
 *     caller asks for: ukexec_initrd_of() and ukexec_cmdline_of() are those that
 *     earlier stages handed over.
 *   - UKEXEC_INITRD_PART and UKEXEC_PROFILE do not exist: hand one record over that
 *     holds all of the initrd.
 *   - There is one program, that of UKEXEC_PARSE; one of UKEXEC_POST is left out.
 *   - In 7, a parser must say that it took the image apart: ukexec_done(). It gives no
 *     command at all for an image of another format: other parsers are asked then.
 */
#ifndef UKEXEC_PARSER_H
#define UKEXEC_PARSER_H

#ifndef UKEXEC_ABI
#define UKEXEC_ABI 5
#endif
#if UKEXEC_ABI < 5 || UKEXEC_ABI > 7
#error "UKEXEC_ABI is 5, 6 or 7"
#endif

#ifndef __bpf__
#error "a parser is compiled for BPF: clang -target bpfel"
#endif

/*
 * 1. Types
 */
#if !defined(__VMLINUX_H__) && !defined(_LINUX_TYPES_H)
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

#define __always_inline inline __attribute__((always_inline))

/*
 * Puts a program or variable into an ELF section. Its name is the kind
 * for the loader: "license", ".maps", "fentry.s/HOOK", "fmod_ret.s/HOOK".
 */
#ifndef SEC
#define SEC(name) __attribute__((section(name), used))
#endif

/* A kfunc: a function that the loader offers under this name. */
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif

/*
 * The parser's licence. Linux takes programs that read its memory or print
 * only under a licence compatible with the GPL; ukexec takes any.
 */
#define UKEXEC_LICENSE(text) char ukexec_license[] SEC("license") = text

/*
 * 2. The context
 *
 * The hooks' argument. Read-only. The same fields, in the same order, as in
 * version 5 of the series; their offsets are the loader's business: field
 * accesses are relocated to its layout when the parser is loaded (CO-RE). A
 * layout of your own with a subset of the fields serves as well.
 */
#ifdef UKEXEC_LINUX_CHECK
#define UKEXEC_CORE
#else
#define UKEXEC_CORE __attribute__((preserve_access_index))
#endif

#if UKEXEC_ABI == 5
struct kexec_context {
	/* Set when a crash kernel is being loaded; the same in every stage. */
	_Bool kdump;
	/* The image to take apart, and its size in bytes. */
	char *image;
	int image_sz;
	/*
	 * The newest initrd that an earlier stage handed over, else the
	 * caller's; NULL and 0 where there is none.
	 */
	char *initrd;
	int initrd_sz;
	/*
	 * The newest command line, in the same manner. A NUL always follows
	 * its text; cmdline_sz does not count it.
	 */
	char *cmdline;
	int cmdline_sz;
} UKEXEC_CORE;

/*
 * A buffer that bpf_decompress() returned. The loader's structure has more
 * fields; these are the ones that mean something to a parser.
 */
struct mem_range_result {
	/* The bytes: an address for bpf_probe_read_kernel(). */
	char *buf;
	/* How many bytes were allocated. */
	__u32 buf_sz;
	/* How many of them the result has. */
	__u32 data_sz;
} UKEXEC_CORE;
#elif UKEXEC_ABI == 6
struct kexec_context {
	_Bool kdump;
	/* The image to take apart. What is handed over takes the members' places. */
	char *kernel;
	int kernel_sz;
	char *initrd;
	int initrd_sz;
	char *cmdline;
	int cmdline_sz;
} UKEXEC_CORE;

/* In front of the bytes that a command is about. */
struct cmd_hdr {
	__u16 cmd;
	__u16 subcmd;
	__u32 payload_len;
} __attribute__((packed)) UKEXEC_CORE;
#else
typedef enum { SIG_ENFORCE_NONE, SIG_ENFORCE_SIG, SIG_ENFORCE_IMA } kexec_sig_enforced;

/* Read through bpf_probe_read_kernel(): Linux follows no pointers out of arrays. */
struct kexec_context {
	_Bool kdump;
	_Bool parsed;
	kexec_sig_enforced sig_mode;
	/* The image to take apart is the first. */
	char *parsing_buf[16];
	unsigned long parsing_buf_sz[16];
	char *kernel;
	unsigned long kernel_sz;
	char *initrd;
	unsigned long initrd_sz;
	char *cmdline;
	unsigned long cmdline_sz;
} UKEXEC_CORE;

struct cmd_hdr {
	__u16 cmd;
	__u8 subcmd;
	__u8 pipeline_flag;
	__u32 payload_len;
	__u16 num_chunks;
} __attribute__((packed)) UKEXEC_CORE;
#endif

#if UKEXEC_ABI > 5
/* The number by which commands reach the loader: the hook's second argument. */
static __u64 ukexec_parser_id __attribute__((unused));

/* The loader, as far as commands reach it. */
struct bpf_parser_context {
} UKEXEC_CORE;
#endif

/*
 * 3. Hooks
 *
 *     UKEXEC_PARSE(name, ctx) { ... }   the parser proper: hands over.
 *     UKEXEC_POST(name, ctx)  { ... }   after it, with the same context; may
 *                                       no longer hand over (-EINVAL).
 *     UKEXEC_MATCH(name, ctx) { ... }   returns 1 for an image that this
 *                                       parser takes apart, else 0.
 *
 * `name` names the function and `ctx` its one argument, a struct kexec_context
 * pointer. The body returns an int. Several programs may share a hook; all of
 * them run, in the order of the file.
 *
 * An image that carries its parser (PE section .bpf) needs no match program,
 * and a patched kernel refuses an object that has one: it knows only the
 * series' two hooks. ukexec asks for a match where it must choose a parser for
 * an image that carries none: parsers in parsers.d need one. A match is a
 * question about the kind of the image. An image of your kind that is broken
 * matches; your parser then says what is wrong with it. A match program prints
 * nothing and hands over nothing.
 */
#if UKEXEC_ABI == 5
#define UKEXEC_HOOK_PARSE "fentry.s/bpf_handle_pefile"
#else
#define UKEXEC_HOOK_PARSE "fentry.s/kexec_image_parser_anchor"
#endif
#define UKEXEC_HOOK_POST "fentry.s/bpf_post_handle_pefile"
#define UKEXEC_HOOK_MATCH "fmod_ret.s/ukexec_match_image"

#if UKEXEC_ABI == 5 || defined(UKEXEC_LINUX_CHECK)
#define UKEXEC_PARSE(name, ctx) UKEXEC_PROGRAM(UKEXEC_HOOK_PARSE, name, ctx)
#else
#define UKEXEC_PARSE(name, ctx)                                            \
	static __always_inline int name##_body(struct kexec_context *ctx); \
	SEC(UKEXEC_HOOK_PARSE) int name(__u64 *args)                       \
	{                                                                  \
		ukexec_parser_id = args[1];                                \
		name##_body((struct kexec_context *)args[0]);              \
		return 0;                                                  \
	}                                                                  \
	static __always_inline int name##_body(struct kexec_context *ctx)
#endif
#if UKEXEC_ABI == 5
#define UKEXEC_POST(name, ctx) UKEXEC_PROGRAM(UKEXEC_HOOK_POST, name, ctx)
#else
#define UKEXEC_POST(name, ctx) \
	static __always_inline __attribute__((unused)) int name(struct kexec_context *ctx)
#endif
#define UKEXEC_MATCH(name, ctx) UKEXEC_PROGRAM(UKEXEC_HOOK_MATCH, name, ctx)

/* A tracing program's argument is an array of the hook's arguments. */
#ifndef UKEXEC_LINUX_CHECK
#define UKEXEC_PROGRAM(hook, name, ctx)                                    \
	static __always_inline int name##_body(struct kexec_context *ctx); \
	SEC(hook) int name(__u64 *args)                                    \
	{                                                                  \
		return name##_body((struct kexec_context *)args[0]);       \
	}                                                                  \
	static __always_inline int name##_body(struct kexec_context *ctx)
#endif

/*
 * 4. Kfuncs
 */
#if UKEXEC_ABI == 5
/*
 * Names for bpf_copy_to_kernel(). They are writable variables, because Linux
 * wants a kfunc's `char *` to be memory that may be written: a string literal
 * in read-only data would be refused.
 */
__attribute__((unused)) static char ukexec_kernel[] = "kexec:kernel";
__attribute__((unused)) static char ukexec_initrd[] = "kexec:initrd";
__attribute__((unused)) static char ukexec_cmdline[] = "kexec:cmdline";

/*
 * Two more that only ukexec knows; others answer -EINVAL. ukexec takes both from
 * any address that bpf_probe_read_kernel() would.
 *
 * Parts of an initrd: what is handed over as one is put behind what was handed
 * over of the initrd so far, at the next multiple of 4 bytes, zeros between.
 * Nothing is copied, and no record has to hold all parts.
 */
__attribute__((unused)) static char ukexec_initrd_part[] = "ukexec:initrd-part";
/*
 * The number of the profile that the parser chose, in 4 bytes, where images have
 * profiles: ukexec goes by it where it looks at sections of the image itself.
 */
__attribute__((unused)) static char ukexec_profile[] = "ukexec:profile";

#ifndef UKEXEC_LINUX_CHECK
/*
 * Hands over the `size` bytes at `buf` as resource `name`. They are taken by
 * value: what is written to `buf` later changes nothing. A later hand-over of
 * the same name replaces the earlier one.
 *
 * `size` 0 means: for the initrd, that there is none any more; for the command
 * line, an empty one. A command line is cut at its first NUL. Where a profile was
 * taken off the front of the caller's line, `size` 0 says that nothing is left of
 * it; an image's own line that is empty is handed over as its NUL, `size` 1.
 *
 * Returns 0; -EINVAL (-22) for an unknown name, NULL, a negative size, bytes
 * that cannot be read, an empty kernel, or outside of UKEXEC_PARSE; -ENOMEM
 * (-12) where the loader's budget is used up.
 *
 * `buf` should be a record of a ring buffer or other memory of the program.
 * ukexec also takes an address inside the image; Linux refuses such a program.
 */
extern int bpf_copy_to_kernel(const char *name, char *buf, int size) __ksym;

/*
 * Decompresses the `size` bytes at `payload`: gzip, bzip2, lzma, xz, lzo
 * (lzop), lz4 (legacy frame) or zstd, by their first bytes. Give exactly the
 * stream: bytes behind it are ignored at best.
 *
 * Returns a buffer, to be given back with bpf_mem_range_result_put() on every
 * path, or NULL: no known compression, damaged, or more than the budget.
 */
extern struct mem_range_result *bpf_decompress(char *payload, int size) __ksym;

/* Gives a buffer back; it must not be used afterwards. Returns 0. */
extern int bpf_mem_range_result_put(struct mem_range_result *result) __ksym;
#endif
#elif !defined(UKEXEC_LINUX_CHECK)
/* Returns the loader by its number, to be put back on every path, or NULL. */
extern struct bpf_parser_context *bpf_get_parser_context(unsigned long id) __ksym;
extern void bpf_put_parser_context(struct bpf_parser_context *loader) __ksym;
/*
 * Runs the command of the `struct cmd_hdr` that the `buf_sz` bytes at `buf` begin with.
 * They are taken by value. Returns 0 or a negative errno.
 */
extern int bpf_buffer_parser(char *buf, int buf_sz, struct bpf_parser_context *loader) __ksym;
#endif

/*
 * 5. Helpers
 *
 * Those of Linux that a parser usually needs, by the number that the
 * instruction carries. All return 0 or a negative errno if not said otherwise.
 */
#ifndef __BPF_HELPERS__
/* Returns the address of the value of `key`, or NULL. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
/* Flags: 0 (BPF_ANY), 1 (BPF_NOEXIST), 2 (BPF_EXIST). */
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
/*
 * Copies `size` bytes from `from`, any address; on -EFAULT (-14) the
 * destination is zeros.
 */
static long (*const bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
/* Copies a text of at most `size` - 1 bytes and a NUL; returns its length with the NUL. */
static long (*const bpf_probe_read_kernel_str)(void *to, __u32 size,
					       const void *from) = (void *)115;
/*
 * Returns a record of `size` bytes, or NULL if the ring has no room for them
 * and 8 bytes of header, rounded up to 8. No record becomes free within a stage.
 */
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
/* Each ends the use of a record; to a loader without readers they are the same. */
static void (*const bpf_ringbuf_submit)(void *record, __u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *record, __u64 flags) = (void *)133;
static long (*const bpf_trace_printk)(const char *format, __u32 size, ...) = (void *)6;
/*
 * Calls `callback(index, arg)` for 0 <= index < `count`, until it returns 1;
 * returns how often. The way to loop far: Linux follows the body once only.
 */
static long (*const bpf_loop)(__u32 count, void *callback, void *arg, __u64 flags) = (void *)181;

/*
 * Prints one line to the loader's log. At most three arguments, integers (%d
 * %u %x %lld %llu %llx) and texts (%s).
 */
#define bpf_printk(format, ...)                                               \
	({                                                                    \
		static const char line[] = format;                            \
		bpf_trace_printk(line, sizeof(line), ##__VA_ARGS__);          \
	})
#endif

/*
 * 6. Maps
 *
 * Declared as in libbpf; UKEXEC_RING covers the usual case. `bytes` is below
 * 1 GiB, since BTF keeps it as the length of an array of int; Linux wants a
 * power of two from 4096 on, to which libbpf rounds up. The biggest record of a
 * ring has 8 bytes less than the ring.
 */
#ifndef __uint
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#endif

#define UKEXEC_MAP_TYPE_HASH 1
#define UKEXEC_MAP_TYPE_ARRAY 2
#define UKEXEC_MAP_TYPE_RINGBUF 27

#define UKEXEC_RING(name, bytes)                        \
	struct {                                        \
		__uint(type, UKEXEC_MAP_TYPE_RINGBUF);  \
		__uint(max_entries, (bytes));           \
	} name SEC(".maps")

/*
 * The shape that a patched kernel expects. It loads a light skeleton through a
 * structure that it was built with: rings ringbuf_1 to ringbuf_4, then .rodata,
 * .data, .bss and .rodata.str1.1, then the programs parse_pe and post_parse_pe; from
 * version 6 of the series on one program.
 * This macro makes the rings of the given sizes and sees to it that the sections
 * exist, but for .rodata.str1.1: any text literal that is not a bpf_printk()
 * format makes that one. ukexec does not need any of it: it goes by hooks.
 */
#define UKEXEC_SERIES_SHAPE(ring_1, ring_2, ring_3, ring_4)                     \
	UKEXEC_RING(ringbuf_1, ring_1);                                         \
	UKEXEC_RING(ringbuf_2, ring_2);                                         \
	UKEXEC_RING(ringbuf_3, ring_3);                                         \
	UKEXEC_RING(ringbuf_4, ring_4);                                         \
	static const char ukexec_in_rodata[4] __attribute__((used)) = "ro";     \
	static char ukexec_in_data[4] __attribute__((used)) = "rw";             \
	static char ukexec_in_bss[4] __attribute__((used))

/*
 * 7. Which loader
 *
 * Linux's verifier gives up on offsets and sizes of 512 MiB and more; ukexec
 * follows each run and takes them. ukexec_is_linux() distinguishes them by
 * whether the loader has that verifier, a type that is looked up when the
 * parser is loaded: Linux then sees a constant and only the branch for it.
 */
#ifndef UKEXEC_LINUX_CHECK
struct bpf_verifier_env {
} UKEXEC_CORE;
/* Kind 0 of the builtin: does the loader have this type? */
#define ukexec_is_linux() __builtin_preserve_type_info(*(struct bpf_verifier_env *)0, 0)
#else
#define ukexec_is_linux() 1
#endif

#ifdef UKEXEC_LINUX_CHECK
#include "linux_check.h"
#endif

/*
 * 8. The same in every generation
 *
 * The image; the initrd and the command line that there are so far. Addresses are for
 * bpf_probe_read_kernel(), and sizes are int.
 */
#if UKEXEC_ABI == 5
#define UKEXEC_IMAGE image
#define UKEXEC_IMAGE_SIZE image_sz
#elif UKEXEC_ABI == 6
#define UKEXEC_IMAGE kernel
#define UKEXEC_IMAGE_SIZE kernel_sz
#else
#define UKEXEC_IMAGE parsing_buf[0]
#define UKEXEC_IMAGE_SIZE parsing_buf_sz[0]
#endif

#if UKEXEC_ABI < 7
#define UKEXEC_READ(ctx, member) ((ctx)->member)
#define UKEXEC_READ_SIZE(ctx, member) ((ctx)->member)
#else
#define UKEXEC_READ(ctx, member)                                              \
	({                                                                    \
		typeof(((struct kexec_context *)0)->member) value = 0;        \
		bpf_probe_read_kernel(&value, sizeof(value), &(ctx)->member); \
		value;                                                        \
	})
/* What lies behind the greatest int cannot be handed over. */
#define UKEXEC_READ_SIZE(ctx, member)                          \
	({                                                     \
		unsigned long size = UKEXEC_READ(ctx, member); \
		size > 0x7fffffff ? 0x7fffffff : (int)size;    \
	})
#endif

#define ukexec_image(ctx) UKEXEC_READ(ctx, UKEXEC_IMAGE)
#define ukexec_image_sz(ctx) UKEXEC_READ_SIZE(ctx, UKEXEC_IMAGE_SIZE)
#define ukexec_initrd_of(ctx) UKEXEC_READ(ctx, initrd)
#define ukexec_initrd_sz(ctx) UKEXEC_READ_SIZE(ctx, initrd_sz)
#define ukexec_cmdline_of(ctx) UKEXEC_READ(ctx, cmdline)
#define ukexec_cmdline_sz(ctx) UKEXEC_READ_SIZE(ctx, cmdline_sz)

/*
 * ukexec_give(part, room, size) hands over what lies in `room`, or returns a negative
 * errno. bpf_copy_to_kernel() has the rules of 5. In 6 and 7, `size` 0 changes nothing
 * of an initrd or a command line.
 */
#if UKEXEC_ABI == 5
#define UKEXEC_KERNEL ukexec_kernel
#define UKEXEC_INITRD ukexec_initrd
#define UKEXEC_CMDLINE ukexec_cmdline
#define UKEXEC_INITRD_PART ukexec_initrd_part
#define UKEXEC_PROFILE ukexec_profile
#define UKEXEC_HEADROOM 0

#define ukexec_give bpf_copy_to_kernel
#define ukexec_done() ((void)0)
#else
enum ukexec_part {
	UKEXEC_KERNEL = 1,
	UKEXEC_INITRD,
	UKEXEC_CMDLINE,
	/* These do not exist: -EINVAL. */
	UKEXEC_INITRD_PART,
	UKEXEC_PROFILE,
};

/* Room for a header in front of what is handed over, such that 8 bytes stay aligned. */
#define UKEXEC_HEADROOM 16

#if UKEXEC_ABI == 6
#define UKEXEC_COMMAND_DECOMPRESS 1
#define UKEXEC_COMMAND_COPY 2
#else
#define UKEXEC_COMMAND_DONE 1
#define UKEXEC_COMMAND_DECOMPRESS 2
#define UKEXEC_COMMAND_COPY 3
/* A parser that is nested behind this one gets a copy. */
#define UKEXEC_FILL 1
#endif

/* Has the loader run the command that `header` begins. */
static __always_inline int ukexec_send(struct cmd_hdr *header, __u64 payload)
{
	struct bpf_parser_context *loader = bpf_get_parser_context(ukexec_parser_id);
	int error;

	if (!loader)
		return -22;
	error = bpf_buffer_parser((char *)header, sizeof(*header) + payload, loader);
	bpf_put_parser_context(loader);
	return error;
}

/* The header takes the place of the bytes in front of `room`. */
static __always_inline int ukexec_command(__u16 command, enum ukexec_part part, char *room,
					  __u64 size)
{
	struct cmd_hdr *header = (struct cmd_hdr *)(room - sizeof(*header));

	header->cmd = command;
	header->subcmd = part;
	header->payload_len = size;
#if UKEXEC_ABI == 7
	header->pipeline_flag = part == UKEXEC_KERNEL ? UKEXEC_FILL : 0;
	header->num_chunks = 0;
#endif
	return ukexec_send(header, size);
}

static __always_inline int ukexec_give(enum ukexec_part part, char *room, __u64 size)
{
	if (part > UKEXEC_CMDLINE)
		return -22;
	if (size == 0 && part != UKEXEC_KERNEL)
		return 0;
	return ukexec_command(UKEXEC_COMMAND_COPY, part, room, size);
}

/* Says that the image is taken apart and all of it handed over. */
static __always_inline void ukexec_done(void)
{
#if UKEXEC_ABI == 7
	struct cmd_hdr header = { .cmd = UKEXEC_COMMAND_DONE };

	ukexec_send(&header, 0);
#endif
}
#endif

/*
 * Hands the kernel over that the `size` bytes at `room` decompress to: at most `max`
 * bytes, for which there must be room. Returns 0 or a negative errno.
 */
static __always_inline int ukexec_give_compressed(char *room, __u64 size, __u64 max)
{
#if UKEXEC_ABI == 5
	struct mem_range_result *kernel = bpf_decompress(room, size);
	int error = -22;

	if (!kernel)
		return error;
	size = kernel->data_sz;
	if (size <= max && !bpf_probe_read_kernel(room, size, kernel->buf))
		error = bpf_copy_to_kernel(ukexec_kernel, room, size);
	bpf_mem_range_result_put(kernel);
	return error;
#else
	(void)max;
	return ukexec_command(UKEXEC_COMMAND_DECOMPRESS, UKEXEC_KERNEL, room, size);
#endif
}

/*
 * Returns `size` bytes of a ring, or NULL. Only what lies in them can be handed over
 * in every generation. ukexec_discard() ends their use.
 */
static __always_inline char *ukexec_reserve(void *ring, __u64 size)
{
	char *record = bpf_ringbuf_reserve(ring, size + UKEXEC_HEADROOM, 0);

	if (!record)
		return NULL;
#if UKEXEC_ABI > 5
	/* Linux wants the test in front of the addition. */
	__asm__ volatile("" : "+r"(record));
#endif
	return record + UKEXEC_HEADROOM;
}

static __always_inline void ukexec_discard(char *room)
{
	bpf_ringbuf_discard(room - UKEXEC_HEADROOM, 0);
}

#endif /* UKEXEC_PARSER_H */
