// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The parser of EFI zboot images (vmlinuz.efi of arm64, riscv and loongarch):
 * a small EFI program around one compressed kernel. It hands over the kernel;
 * initrd and command line are the caller's and stay as they are.
 *
 * Specification: Linux, drivers/firmware/efi/libstub/zboot-header.S.
 */
#define UNPACK_AS "zboot"
#include "unpack.h"

UKEXEC_LICENSE("Dual BSD/GPL");

#define MZ 0x5a4d
#define ZIMG 0x676d697a

/* The DOS header as zboot-header.S writes it, little-endian. */
struct zboot_header {
	__u16 mz;
	__u16 zero;
	__u32 zimg;
	__u32 payload_offset;
	__u32 payload_size;
	__u32 reserved[2];
	char compression[32];
	__u32 linux_magic;
	__u32 pe_offset;
};

_Static_assert(sizeof(struct zboot_header) == 64, "a DOS header has 64 bytes");

/* The first 8 bytes of a compression's name, as a little-endian number. */
#define NAME(a, b, c, d, e, f) \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40)

/*
 * bpf_decompress() knows the stream by its first bytes. The name is checked all
 * the same: one that is not known means a kernel newer than this parser, and
 * the user should learn so.
 */
static __always_inline _Bool is_known(const struct zboot_header *header)
{
	__u64 name;

	/* The names have at most 7 letters, so 8 bytes hold their NUL too. */
	__builtin_memcpy(&name, header->compression, sizeof(name));
	return name == NAME('g', 'z', 'i', 'p', 0, 0) ||
	       name == NAME('z', 's', 't', 'd', 0, 0) ||
	       name == NAME('z', 's', 't', 'd', '2', '2') ||
	       name == NAME('x', 'z', 'k', 'e', 'r', 'n') ||
	       name == NAME('l', 'z', 'm', 'a', 0, 0) ||
	       name == NAME('l', 'z', 'o', 0, 0, 0) ||
	       name == NAME('l', 'z', '4', 0, 0, 0) ||
	       name == NAME('b', 'z', 'i', 'p', '2', 0);
}

/* Reads the header; false if the image is shorter. */
static __always_inline _Bool read_header(struct zboot_header *header,
					 const struct kexec_context *ctx)
{
	return ukexec_image_sz(ctx) >= (int)sizeof(*header) &&
	       !bpf_probe_read_kernel(header, sizeof(*header), ukexec_image(ctx));
}

static __always_inline _Bool is_zboot(const struct zboot_header *header)
{
	return header->mz == MZ && header->zimg == ZIMG;
}

/* Returns whether the header can be believed; if not, says why. */
static __always_inline _Bool check(struct zboot_header *header, const struct kexec_context *ctx)
{
	__u64 end = (__u64)header->payload_offset + header->payload_size;
	__u64 image_size = (__u32)ukexec_image_sz(ctx);

	if (!is_zboot(header)) {
		bpf_printk("zboot: magic at 0x0 and 0x4: expected 0x%x and 0x%x (MZ, zimg)", MZ, ZIMG);
		bpf_printk("zboot: found 0x%x and 0x%x", header->mz, header->zimg);
		return 0;
	}
	if (!is_known(header)) {
		/* The field may lack its NUL. */
		header->compression[sizeof(header->compression) - 1] = 0;
		bpf_printk("zboot: compression type at 0x18: expected %s, found '%s'",
			   "gzip, zstd, zstd22, xzkern, lzma, lzo, lz4 or bzip2", header->compression);
		return 0;
	}
	if (header->payload_offset < sizeof(*header)) {
		bpf_printk("zboot: payload offset at 0x8: expected 0x40 or more, behind the header, found 0x%x",
			   header->payload_offset);
		return 0;
	}
	if (header->payload_size == 0) {
		bpf_printk("zboot: payload size at 0xc: expected a compressed kernel, found 0 bytes");
		return 0;
	}
	if (end > image_size) {
		bpf_printk("zboot: payload at 0x%x of 0x%x bytes: expected it to end inside the image, of 0x%llx bytes",
			   header->payload_offset, header->payload_size, image_size);
		return 0;
	}
	return 1;
}

UKEXEC_PARSE(parse_pe, ctx)
{
	struct payload payload;
	struct zboot_header header;

	if (!read_header(&header, ctx)) {
		bpf_printk("zboot: header: expected 64 bytes, found an image of %d", ukexec_image_sz(ctx));
		return 0;
	}
	if (!check(&header, ctx))
		return 0;
	/* The size of the kernel, in 4 bytes, may follow the payload. */
	header.compression[sizeof(header.compression) - 1] = 0;
	payload.address = ukexec_image(ctx) + header.payload_offset;
	payload.offset = header.payload_offset;
	payload.size = header.payload_size;
	payload.compression = header.compression;
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
	struct zboot_header header;

	return read_header(&header, ctx) && is_zboot(&header);
}
#endif
