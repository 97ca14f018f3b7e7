/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ukexec/parser.h: all that a parser needs to talk to the loader.
 *
 * A parser is a BPF object that takes one boot image format apart. The loader
 * (ukexec, or a Linux kernel with the "BPF lskel to load PE format boot image"
 * series, version 5) shows it an image; the parser finds the kernel in it, and
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
 */
#ifndef UKEXEC_PARSER_H
#define UKEXEC_PARSER_H

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
#define UKEXEC_HOOK_PARSE "fentry.s/bpf_handle_pefile"
#define UKEXEC_HOOK_POST "fentry.s/bpf_post_handle_pefile"
#define UKEXEC_HOOK_MATCH "fmod_ret.s/ukexec_match_image"

#define UKEXEC_PARSE(name, ctx) UKEXEC_PROGRAM(UKEXEC_HOOK_PARSE, name, ctx)
#define UKEXEC_POST(name, ctx) UKEXEC_PROGRAM(UKEXEC_HOOK_POST, name, ctx)
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
 *
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
 * .data, .bss and .rodata.str1.1, then the programs parse_pe and post_parse_pe.
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

#endif /* UKEXEC_PARSER_H */
