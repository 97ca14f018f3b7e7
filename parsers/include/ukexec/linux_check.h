/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ukexec/linux_check.h: asks Linux's own verifier about a parser, on any
 * machine that lets root load BPF, without a kernel that has the hooks.
 *
 * With -DUKEXEC_LINUX_CHECK, parser.h includes this. The hooks' programs become
 * ones of type syscall, whose argument is memory in the shape of the context,
 * and the kfuncs become global functions, which the verifier checks as it would
 * check calls of kfuncs. The result is for loading only; running it does
 * nothing of use:
 *
 *     clang -O2 -g -target bpfel -mcpu=v3 -I include -DUKEXEC_LINUX_CHECK \
 *         -c my.bpf.c -o check.bpf.o
 *     bpftool prog loadall check.bpf.o /sys/fs/bpf/check && rm -r /sys/fs/bpf/check
 *
 * Not seen this way: buffers that are never put back, since a global function
 * cannot give out references; field relocations; the light skeleton itself.
 */
#ifndef UKEXEC_LINUX_CHECK_H
#define UKEXEC_LINUX_CHECK_H

#define UKEXEC_PROGRAM(hook, name, ctx) SEC("syscall") int name(struct kexec_context *ctx)

/* Keeps a function's arguments and its result from being optimised away. */
#define UKEXEC_OPAQUE(value) __asm__ volatile("" : "+r"(value))

#if UKEXEC_ABI == 5
__attribute__((noinline)) int bpf_copy_to_kernel(const char *name, char *buf, int size)
{
	UKEXEC_OPAQUE(size);
	return name && buf && size >= 0 ? 0 : -22;
}

__attribute__((noinline)) int ukexec_check_decompress(char *payload, int size)
{
	UKEXEC_OPAQUE(size);
	return payload && size > 0;
}

__attribute__((noinline)) int ukexec_check_put(struct mem_range_result *result)
{
	return result ? 0 : -22;
}

static struct mem_range_result ukexec_check_result;

static __always_inline struct mem_range_result *bpf_decompress(char *payload, int size)
{
	struct mem_range_result *result = &ukexec_check_result;

	if (!ukexec_check_decompress(payload, size))
		return NULL;
	UKEXEC_OPAQUE(result);
	return result;
}

static __always_inline int bpf_mem_range_result_put(struct mem_range_result *result)
{
	return ukexec_check_put(result);
}
#else
static __u64 ukexec_check_loader;

__attribute__((noinline)) int ukexec_check_get(unsigned long id)
{
	UKEXEC_OPAQUE(id);
	return id != 0;
}

__attribute__((noinline)) int ukexec_check_put(__u64 *loader)
{
	return loader ? 0 : -22;
}

__attribute__((noinline)) int ukexec_check_buffer(char *buf, int buf_sz)
{
	UKEXEC_OPAQUE(buf_sz);
	return buf && buf_sz > 0 ? 0 : -22;
}

static __always_inline struct bpf_parser_context *bpf_get_parser_context(unsigned long id)
{
	__u64 *loader = &ukexec_check_loader;

	if (!ukexec_check_get(id))
		return NULL;
	UKEXEC_OPAQUE(loader);
	return (struct bpf_parser_context *)loader;
}

static __always_inline void bpf_put_parser_context(struct bpf_parser_context *loader)
{
	ukexec_check_put((__u64 *)loader);
}

static __always_inline int bpf_buffer_parser(char *buf, int buf_sz,
					     struct bpf_parser_context *loader)
{
	(void)loader;
	return ukexec_check_buffer(buf, buf_sz);
}
#endif

#endif /* UKEXEC_LINUX_CHECK_H */
