// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Programs of every kind on both hooks; they hand over all but the first four
 * bytes of the image.
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");

/* The results of other programs matter to fmod_ret programs alone. */
SEC("fentry.s/bpf_handle_pefile")
int sleepable(__u64 *args)
{
	bpf_printk("sleepable");
	return 1;
}

SEC("fmod_ret.s/bpf_handle_pefile")
int first(__u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];

	bpf_printk("first after %d, image %d", (int)args[1], ctx->image_sz);
	return -5;
}

SEC("fentry/bpf_handle_pefile")
int plain(__u64 *args)
{
	struct kexec_context *ctx = (void *)args[0];

	bpf_printk("plain");
	bpf_copy_to_kernel(ukexec_kernel, ctx->image + 4, ctx->image_sz - 4);
	return 2;
}

SEC("fmod_ret/bpf_handle_pefile")
int second(__u64 *args)
{
	bpf_printk("second after %d", (int)args[1]);
	return 0;
}

SEC("fentry/bpf_post_handle_pefile")
int plain_post(__u64 *args)
{
	bpf_printk("plain post");
	return 0;
}

SEC("fmod_ret/bpf_post_handle_pefile")
int post_result(__u64 *args)
{
	bpf_printk("post after %d", (int)args[1]);
	return 0;
}
