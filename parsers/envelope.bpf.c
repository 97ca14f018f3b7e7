// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The parser of envelopes: 64-bit little-endian ELF files whose sections hold the
 * parts of a boot, as they are. The kernel series packs images for its parsers so.
 *
 * Specifications: ELF-64 Object File Format; the kernel series, "zboot_image.elf".
 *
 *   kernel        .kernel, else .uki: an image of any format, the next stage's
 *   initrd        the caller's, then .initrd on a multiple of 4 bytes
 *   command line  the caller's, else .cmdline of the PE in .addon, else .cmdline
 *
 * With .uki, the parser of UKIs comes next. It takes the initrd and the command line
 * of this stage for the caller's: its .ucode lies in front, its .initrd behind, and
 * an addon's command line takes the place of its own. Of an addon nothing else is
 * looked at, so one without a command line is refused.
 *
 * Each name may be there once. Types and flags of a section do not matter, but its
 * bytes must be in the file.
 */
#define PARTS_OF "envelope"
#define PARTS_KERNEL "section .kernel or .uki"
#include "parts.h"

UKEXEC_LICENSE("Dual BSD/GPL");

/* "\x7fELF", 64 bits, little-endian. */
#define ELF_MAGIC 0x464c457f
#define CLASS_64 2
#define DATA_LSB 1
#define TYPE_NOBITS 8

struct elf_header {
	__u32 magic;
	__u8 class;
	__u8 data;
	__u8 unused[34];
	__u64 table;
	__u32 flags;
	__u16 header_size;
	__u16 segment_size;
	__u16 segments;
	__u16 section_size;
	__u16 sections;
	__u16 names;
};

struct elf_section {
	__u32 name;
	__u32 type;
	__u64 flags;
	__u64 address;
	__u64 offset;
	__u64 size;
	__u64 unused[3];
};

_Static_assert(__builtin_offsetof(struct elf_header, table) == 40, "e_shoff is at 40");
_Static_assert(sizeof(struct elf_header) == 64, "an ELF header has 64 bytes");
_Static_assert(sizeof(struct elf_section) == 64, "a section header has 64 bytes");

/* PE headers of an addon, little-endian, as far as they are looked at. */
#define MZ 0x5a4d
#define PE 0x4550

struct pe_header {
	__u32 magic;
	__u16 machine;
	__u16 sections;
	__u32 unused[3];
	__u16 size_of_optional_header;
	__u16 characteristics;
};

struct pe_section {
	__u64 name;
	__u32 virtual_size;
	__u32 virtual_address;
	__u32 size_of_raw_data;
	__u32 pointer_to_raw_data;
	__u32 unused[4];
};

_Static_assert(sizeof(struct pe_header) == 24, "a COFF header has 24 bytes");
_Static_assert(sizeof(struct pe_section) == 40, "a section header has 40 bytes");

/* The sections that are looked for. */
enum part { KERNEL, UKI, INITRD, CMDLINE, ADDON, PARTS };

#define NO_PART PARTS

/* The 8 bytes of a section's name, as a little-endian number. */
#define NAME(a, b, c, d, e, f, g, h)                                                        \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

#define NAME_CMDLINE NAME('.', 'c', 'm', 'd', 'l', 'i', 'n', 'e')

/*
 * For state kept by loops: Linux follows every value of a register or of the stack,
 * but not of this memory. Without `used` clang would split the structures; `volatile`
 * members are read again after a loop that sets them.
 */
#define STATE static __attribute__((used))

/* The image, and where its section table and the table of their names are. */
STATE struct {
	const char *address;
	__u64 size;
	__u64 table;
	__u64 sections;
	struct span names;
} image;

/* What its section table has of each part. */
STATE struct {
	volatile __u32 count[PARTS];
	struct elf_section header[PARTS];
} found;

/* The addon, and the command line in it. */
STATE struct {
	struct span span;
	__u64 table;
	volatile _Bool is_found;
	struct pe_section cmdline;
} addon;

static __always_inline const char *image_address(void)
{
	return image.address;
}

static __always_inline _Bool is_inside(const struct span *span, __u64 size)
{
	return span->offset <= size && span->size <= size - span->offset;
}

/* Copies `size` bytes at `offset` of the image; false if they are not inside. */
static __always_inline _Bool read_image(void *to, __u64 size, __u64 offset)
{
	struct span span = { offset, size };

	return is_inside(&span, image.size) &&
	       !bpf_probe_read_kernel(to, size, image.address + offset);
}

/*
 * Finds the section table and the names. Returns false if the image has none that
 * could be one of ours: it is a kernel, or no ELF file.
 */
static __always_inline _Bool read_headers(const struct kexec_context *ctx)
{
	struct elf_header elf;
	struct elf_section names;
	struct span table;

	image.address = ukexec_image(ctx);
	image.size = ukexec_image(ctx) && ukexec_image_sz(ctx) > 0 ? (__u32)ukexec_image_sz(ctx) : 0;
	if (!read_image(&elf, sizeof(elf), 0) || elf.magic != ELF_MAGIC || elf.class != CLASS_64 ||
	    elf.data != DATA_LSB || elf.section_size != sizeof(struct elf_section))
		return 0;
	image.table = elf.table;
	image.sections = elf.sections;
	table.offset = elf.table;
	table.size = elf.sections * sizeof(names);
	if (elf.names >= elf.sections || !is_inside(&table, image.size) ||
	    !read_image(&names, sizeof(names), image.table + elf.names * sizeof(names)))
		return 0;
	image.names.offset = names.offset;
	image.names.size = names.size;
	return names.type != TYPE_NOBITS && is_inside(&image.names, image.size);
}

static __always_inline __u32 part_of(__u64 name)
{
	if (name == NAME('.', 'k', 'e', 'r', 'n', 'e', 'l', 0))
		return KERNEL;
	if (name == NAME('.', 'u', 'k', 'i', 0, 0, 0, 0))
		return UKI;
	if (name == NAME('.', 'i', 'n', 'i', 't', 'r', 'd', 0))
		return INITRD;
	if (name == NAME_CMDLINE)
		return CMDLINE;
	if (name == NAME('.', 'a', 'd', 'd', 'o', 'n', 0, 0))
		return ADDON;
	return NO_PART;
}

/* Returns the bytes of `word` in front of its first NUL, zeros behind them. */
static __always_inline __u64 until_nul(__u64 word)
{
	__u64 nuls = (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;

	/* The lowest mark is right; above it there may be false ones. */
	return word & (((nuls & -nuls) >> 7) - 1);
}

/* Adds section number `i` to `found`; returns 1, to end the search, if it cannot be read. */
static long look_at_section(__u64 i, void *unused)
{
	struct elf_section section;
	/* The longest name and its NUL, zeros behind it. */
	__u64 name[2] = {};
	__u32 part;
	__u64 left;

	(void)unused;
	if (!read_image(&section, sizeof(section), image.table + i * sizeof(section)))
		return 1;
	if (section.name >= image.names.size)
		return 0;
	left = image.names.size - section.name;
	/* Linux knows a limit only of the register that is compared with it. */
	__asm__ volatile("" : "+r"(left));
	if (left > 9)
		left = 9;
	if (bpf_probe_read_kernel(name, left, image.address + image.names.offset + section.name))
		return 0;
	/* From the name's NUL on are the bytes of the next one. */
	part = part_of(until_nul(name[0]));
	if (part == NO_PART || (part == CMDLINE && name[1]))
		return 0;
	if (!found.count[part]++)
		found.header[part] = section;
	return 0;
}

/* Fills `found`; false if the image is no envelope. */
static __always_inline _Bool search(const struct kexec_context *ctx)
{
	if (!read_headers(ctx))
		return 0;
	for (__u32 part = 0; part < PARTS; part++)
		found.count[part] = 0;
	bpf_loop(image.sections, look_at_section, NULL, 0);
	return found.count[KERNEL] || found.count[UKI];
}

/*
 * Sets `span` to the bytes of section `name`, to none where there is no such section.
 * Returns false, having said why, if there are several or their bytes are not there.
 */
static __always_inline _Bool find(struct span *span, enum part part, const char *name)
{
	const struct elf_section *section = &found.header[part];

	span->offset = 0;
	span->size = 0;
	if (!found.count[part])
		return 1;
	if (found.count[part] > 1) {
		bpf_printk("envelope: section %s: expected one, found %u", name, found.count[part]);
		return 0;
	}
	if (section->type == TYPE_NOBITS) {
		bpf_printk("envelope: section %s: expected bytes in the file, found sh_type 8 (SHT_NOBITS)", name);
		return 0;
	}
	span->offset = section->offset;
	span->size = section->size;
	if (!is_inside(span, image.size)) {
		bpf_printk("envelope: section %s at 0x%llx of 0x%llx bytes: expected it to end inside the image",
			   name, span->offset, span->size);
		return 0;
	}
	return 1;
}

/* Copies `size` bytes at `offset` of the addon; false if they are not inside. */
static __always_inline _Bool read_addon(void *to, __u64 size, __u64 offset)
{
	struct span span = { offset, size };

	return is_inside(&span, addon.span.size) &&
	       !bpf_probe_read_kernel(to, size, image.address + addon.span.offset + offset);
}

/* Looks at section number `i` of the addon for the command line; returns 1 to end the search. */
static long look_at_addon(__u64 i, void *unused)
{
	(void)unused;
	if (!read_addon(&addon.cmdline, sizeof(addon.cmdline), addon.table + i * sizeof(addon.cmdline)))
		return 1;
	if (addon.cmdline.name != NAME_CMDLINE)
		return 0;
	addon.is_found = 1;
	return 1;
}

/* Sets `span` to the addon's command line; false, having said why, if it has none. */
static __always_inline _Bool find_addon_line(struct span *span)
{
	struct pe_header pe;
	__u32 at = 0;
	__u16 mz = 0;

	if (!find(&addon.span, ADDON, ".addon"))
		return 0;
	if (!read_addon(&mz, sizeof(mz), 0) || mz != MZ || !read_addon(&at, sizeof(at), 0x3c) ||
	    !read_addon(&pe, sizeof(pe), at) || pe.magic != PE) {
		bpf_printk("envelope: section .addon: expected a PE file, found none in 0x%llx bytes (magic 0x%x)",
			   addon.span.size, mz);
		return 0;
	}
	addon.table = (__u64)at + sizeof(pe) + pe.size_of_optional_header;
	addon.is_found = 0;
	bpf_loop(pe.sections, look_at_addon, NULL, 0);
	if (!addon.is_found) {
		bpf_printk("envelope: section .addon: expected a PE section .cmdline, found none; nothing else of an addon counts");
		return 0;
	}
	/* Either size may be rounded up. */
	span->offset = addon.cmdline.pointer_to_raw_data;
	span->size = addon.cmdline.size_of_raw_data;
	if (addon.cmdline.virtual_size && addon.cmdline.virtual_size < span->size)
		span->size = addon.cmdline.virtual_size;
	if (!is_inside(span, addon.span.size)) {
		bpf_printk("envelope: section .cmdline of .addon: expected it to end inside .addon, of 0x%llx bytes, found its end at 0x%llx",
			   addon.span.size, span->offset + span->size);
		return 0;
	}
	span->offset += addon.span.offset;
	return 1;
}

/* Hands the command line over, unless the caller has one. */
static __always_inline _Bool give_cmdline(const struct kexec_context *ctx)
{
	struct text text;
	struct span line, all = {};
	_Bool ok;

	if (!(found.count[ADDON] ? find_addon_line(&line) : find(&line, CMDLINE, ".cmdline")))
		return 0;
	if (line.size == 0 || (ukexec_cmdline_of(ctx) && ukexec_cmdline_sz(ctx) > 0))
		return 1;
	if (!read_text(&text, image.address + line.offset, line.size, "section .cmdline"))
		return 0;
	all.size = text.size;
	ok = give_text(&text, &all);
	ukexec_discard(text.record);
	return ok;
}

/* Hands the initrd over. Without .initrd the caller's stays what it is. */
static __always_inline _Bool give_initrd(const struct kexec_context *ctx)
{
	struct initrd initrd = {};

	initrd.caller = ukexec_initrd_of(ctx) && ukexec_initrd_sz(ctx) > 0 ? (__u32)ukexec_initrd_sz(ctx) : 0;
	if (!find(&initrd.section, INITRD, ".initrd"))
		return 0;
	if (initrd.section.size == 0)
		return 1;
	return UKEXEC_ABI > 5 || ukexec_is_linux() ? give_record(ctx, &initrd) : give_parts(ctx, &initrd);
}

UKEXEC_PARSE(parse_pe, ctx)
{
	struct span kernel;

	if (!search(ctx)) {
		bpf_printk("envelope: ELF file: expected 64 bits, little-endian, and a section .kernel or .uki, found none in 0x%llx bytes",
			   image.size);
		return 0;
	}
	if (found.count[KERNEL] && found.count[UKI]) {
		bpf_printk("envelope: sections .kernel and .uki: expected one of them, found both");
		return 0;
	}
	if (!(found.count[KERNEL] ? find(&kernel, KERNEL, ".kernel") : find(&kernel, UKI, ".uki")))
		return 0;
	/* The kernel last: without one the stage fails, and nothing counts. */
	if (give_cmdline(ctx) && give_initrd(ctx))
		give_kernel_at(&kernel);
	return 0;
}

/* Nothing to do; a patched kernel expects it (UKEXEC_SERIES_SHAPE). */
UKEXEC_POST(post_parse_pe, ctx)
{
	(void)ctx;
	return 0;
}

#ifdef WITH_MATCH
/* An ELF file with a section that holds an image: an ELF kernel has no such one. */
UKEXEC_MATCH(match_image, ctx)
{
	return search(ctx);
}
#endif
