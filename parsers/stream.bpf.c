// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The parser of bare compressed kernels (Image.gz of arm64 and riscv, vmlinux.xz,
 * or what build systems make of them): one stream and no header. It hands over
 * the kernel; initrd and command line are the caller's and stay as they are.
 *
 * Specifications: RFC 1952 (gzip), RFC 8878 (zstd), the xz, LZMA-alone, bzip2,
 * lzop and legacy LZ4 formats; Linux, scripts/Makefile.lib, which puts the
 * kernel's size behind some of them, and scripts/sign-file.c.
 *
 * Bytes behind a stream are left alone, and ukexec warns of them. A signature
 * that is appended as sign-file does it is no part of the stream: LZ4 has no end
 * but that of the input.
 */
#define UNPACK_AS "stream"
#include "unpack.h"

UKEXEC_LICENSE("Dual BSD/GPL");

#define LZMA_HEADER_SIZE 13

/* The first bytes of an image, with zeros behind them where it is shorter. */
struct head {
	__u8 bytes[16];
	/* How many there are. */
	__u64 size;
};

/* The first `count` bytes of `head`, the first of them lowest. */
static __always_inline __u64 front(const struct head *head, __u32 count)
{
	__u64 word;

	__builtin_memcpy(&word, head->bytes, sizeof(word));
	return count < 8 ? word & ((1ULL << 8 * count) - 1) : word;
}

/*
 * LZMA-alone has no magic: the usual properties, a dictionary, the lowest byte
 * of whose size is 0, and a kernel whose size is not known or below 1 TiB.
 */
static __always_inline _Bool is_lzma(const struct head *head)
{
	__u64 size;

	__builtin_memcpy(&size, head->bytes + 5, sizeof(size));
	return head->size >= LZMA_HEADER_SIZE && front(head, 2) == 0x005d && front(head, 5) >> 16 &&
	       (size == ~0ULL || size >> 40 == 0);
}

/* Returns the name of the compression that an image begins with, or NULL. */
static __always_inline const char *compression(const struct head *head)
{
	if (front(head, 2) == 0x8b1f)
		return "gzip";
	if (front(head, 3) == 0x685a42)
		return "bzip2";
	if (front(head, 6) == 0x005a587a37fdULL)
		return "xz";
	if (front(head, 8) == 0x1a0a0d004f5a4c89ULL && head->bytes[8] == 0x0a)
		return "lzo";
	if (front(head, 4) == 0x184c2102)
		return "lz4";
	/* A frame, or one to skip. */
	if (front(head, 4) == 0xfd2fb528 || (front(head, 4) & 0xfffffff0) == 0x184d2a50)
		return "zstd";
	if (is_lzma(head))
		return "lzma";
	return NULL;
}

static __always_inline __u64 image_size(const struct kexec_context *ctx)
{
	return ukexec_image(ctx) && ukexec_image_sz(ctx) > 0 ? (__u32)ukexec_image_sz(ctx) : 0;
}

/* Reads the first bytes; false if there are too few for any magic. */
static __always_inline _Bool read_head(struct head *head, const struct kexec_context *ctx)
{
	__u64 size = image_size(ctx);

	__builtin_memset(head, 0, sizeof(*head));
	/* Linux knows a limit only of the register that is compared with it. */
	__asm__ volatile("" : "+r"(size));
	if (size > sizeof(head->bytes))
		size = sizeof(head->bytes);
	head->size = size;
	return size >= 2 && !bpf_probe_read_kernel(head->bytes, size, ukexec_image(ctx));
}

/* The trailer that sign-file puts behind a signature. */
struct signature_end {
	__u8 unused[8];
	/* Bytes of the signature, big-endian. */
	__u32 size;
	char magic[28];
};

_Static_assert(sizeof(struct signature_end) == 40, "12 bytes of struct module_signature and a magic");

/* Returns how many bytes a signature takes that is appended to the image. */
static __always_inline __u64 signature_size(const struct kexec_context *ctx)
{
	static const char magic[28] = "~Module signature appended~\n";
	struct signature_end end;
	__u64 image = image_size(ctx);
	__u64 size;

	if (image < sizeof(end) ||
	    bpf_probe_read_kernel(&end, sizeof(end), ukexec_image(ctx) + image - sizeof(end)))
		return 0;
	for (__u32 i = 0; i < sizeof(magic); i++) {
		if (end.magic[i] != magic[i])
			return 0;
	}
	size = sizeof(end) + __builtin_bswap32(end.size);
	return size < image ? size : 0;
}

UKEXEC_PARSE(parse_pe, ctx)
{
	struct payload payload = {};
	struct head head;

	if (!read_head(&head, ctx)) {
		bpf_printk("stream: expected a compressed kernel, found an image of %d bytes", ukexec_image_sz(ctx));
		return 0;
	}
	payload.compression = compression(&head);
	if (!payload.compression) {
		bpf_printk("stream: magic at 0x0: expected that of gzip, bzip2, lzma, xz, lzo, lz4 or zstd, found 0x%llx",
			   front(&head, 8));
		return 0;
	}
	payload.address = ukexec_image(ctx);
	payload.size = image_size(ctx) - signature_size(ctx);
	unpack(&payload);
	return 0;
}

/* Nothing to do; a patched kernel expects it (UKEXEC_SERIES_SHAPE). */
UKEXEC_POST(post_parse_pe, ctx)
{
	(void)ctx;
	return 0;
}

#ifdef WITH_MATCH
UKEXEC_MATCH(match_image, ctx)
{
	struct head head;

	return read_head(&head, ctx) && compression(&head);
}
#endif
