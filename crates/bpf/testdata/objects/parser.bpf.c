// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A parser in the manner of the kernel series: two hooks, ring buffers, kfuncs
 * strong and weak, strings, globals of every kind, functions of its own. */
#include "bpf.h"

struct kexec_context {
	_Bool kdump;
	int image_sz; /* elsewhere than in the host's */
	char *image;
	char *initrd;
	int initrd_sz;
} __core;

/* Another layout of the same type. */
struct kexec_context___v6 {
	char *kernel;
} __core;

struct {
	__uint(type, 27);
	__uint(max_entries, 1);
} ringbuf_1 SEC(".maps");

struct sum {
	u64 bytes;
	u32 calls;
};

struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__type(value, struct sum);
} sums SEC(".maps");

struct {
	__uint(type, 1);
	__uint(max_entries, 16);
	__uint(map_flags, 1);
	__type(key, u64);
	__type(value, u32);
} seen SEC(".maps");

extern int bpf_copy_to_kernel(const char *name, char *buf, int size) __ksym;
extern int bpf_copy_to_kernel___old(const char *name, char *buf, int size) __ksym;
extern int bpf_later(int how) __ksym __weak;
extern const int bpf_variable __ksym __weak;

int limit = 4096;
static int calls = 3;
int total;
static u64 last;
const volatile int debug = 1;
static const volatile int weights[4] = { 1, 2, 3, 4 };

static long each(u32 index, void *ctx)
{
	total += weights[index & 3];
	return 0;
}

static __noinline int account(u32 key, int bytes)
{
	struct sum *sum = bpf_map_lookup_elem(&sums, &key);

	if (!sum)
		return -1;
	sum->bytes += bytes;
	sum->calls++;
	last = bytes;
	return calls++;
}

__noinline int hand_over(char *image, int size)
{
	char *buf = bpf_ringbuf_reserve(&ringbuf_1, 64, 0);
	int err;

	if (!buf)
		return -12;
	bpf_probe_read_kernel(buf, 64, image);
	err = bpf_copy_to_kernel("kexec:kernel", buf, size < limit ? size : limit);
	bpf_ringbuf_discard(buf, 0);
	return err + account(1, size);
}

SEC("fentry.s/bpf_handle_pefile")
int parse_pe(u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];
	struct kexec_context___v6 *newer = (void *)args[0];
	static const char fmt[] = "image of %d bytes";
	u64 key = last;

	if (ctx->image_sz < 64)
		return 0;
	if (debug)
		bpf_trace_printk(fmt, sizeof(fmt), ctx->image_sz);
	bpf_loop(3, each, NULL, 0);
	if (bpf_later)
		bpf_later(1);
	if (&bpf_variable)
		total++;
	if (__builtin_preserve_field_info(newer->kernel, FIELD_EXISTS))
		return hand_over(newer->kernel, 64);
	if (!bpf_map_lookup_elem(&seen, &key))
		total++;
	return hand_over(ctx->image, ctx->image_sz);
}

SEC("fentry.s/bpf_handle_pefile")
int count(u64 *args)
{
	return account(2, 1);
}

SEC("fentry/bpf_post_handle_pefile")
int post_parse_pe(u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];

	bpf_copy_to_kernel___old("kexec:initrd", ctx->initrd, ctx->initrd_sz);
	return account(3, 0) + total;
}

SEC("fmod_ret.s/ukexec_match_image")
int match(u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];

	return ctx->kdump ? 0 : -1;
}

/* Not loaded unless asked for: its hook need not exist. */
SEC("?fentry/no_such_hook")
int optional(u64 *args)
{
	return 0;
}
