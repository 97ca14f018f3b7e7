// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The parser of unified kernel images (UKI): an EFI program whose sections hold
 * a kernel, an initrd and a command line, perhaps several times as profiles.
 *
 * Specifications: uapi-group "Unified Kernel Image"; systemd-stub(7) for the
 * command line, microcode and the choice of profiles; Microsoft "PE Format".
 *
 *   kernel        .linux
 *   initrd        .ucode, the caller's initrd, .initrd: each on a multiple of 4
 *                 bytes, zeros between. Microcode comes first, since the kernel
 *                 looks for it at the uncompressed front.
 *   command line  the caller's, else .cmdline
 *
 * Sections in front of the first .profile are the base, those behind the Nth
 * .profile (from 0) are profile N. A profile's section takes the place of the
 * base's of the same name; of several with one name the first counts. Profile
 * 0 is used if the caller's command line does not begin with "@N " or "@ID ",
 * which is taken off; ID is a profile's ID= line, the latter form our own.
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");

/*
 * Room for the kernel, the initrd, and command lines. Linux allocates all of
 * it: build with -DKERNEL_RING=... -DINITRD_RING=... where that is too much.
 */
#ifndef KERNEL_RING
#define KERNEL_RING (512 << 20)
#endif
#ifndef INITRD_RING
#define INITRD_RING ((1 << 30) - 4096)
#endif
#define TEXT_RING (256 << 10)

UKEXEC_SERIES_SHAPE(KERNEL_RING, INITRD_RING, TEXT_RING, 4096);

#define KERNEL_MAX (KERNEL_RING - 4096ULL)
#define INITRD_MAX (INITRD_RING - 4096ULL)

/* The parts of the initrd on Linux, see fits(). */
#define UCODE_MAX (INITRD_RING / 16ULL)
#define CALLER_MAX (INITRD_RING / 16ULL * 7 - 4096)
#define INITRD_SECTION_MAX (INITRD_RING / 2ULL - 4096)

/* The longest command line, without its NUL; Linux itself takes 2 to 4 KiB. */
#define TEXT_MAX (64 << 10)

/* As many sections as one may have; multi-profile UKIs do have so many. */
#define SECTIONS_MAX 96

/* So many bytes of a .profile section are searched for its ID= line. */
#define PROFILE_TEXT_MAX 1024

/* The longest ID of a profile, with a NUL. */
#define ID_MAX 64

#define NOWHERE 0xffffffff

/* The 8 bytes of a section's name, as a little-endian number. */
#define NAME(a, b, c, d, e, f, g, h)                                                        \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

#define NAME_LINUX NAME('.', 'l', 'i', 'n', 'u', 'x', 0, 0)
#define NAME_CMDLINE NAME('.', 'c', 'm', 'd', 'l', 'i', 'n', 'e')
#define NAME_INITRD NAME('.', 'i', 'n', 'i', 't', 'r', 'd', 0)
#define NAME_UCODE NAME('.', 'u', 'c', 'o', 'd', 'e', 0, 0)
#define NAME_PROFILE NAME('.', 'p', 'r', 'o', 'f', 'i', 'l', 'e')
#define NAME_LINUXH NAME('.', 'l', 'i', 'n', 'u', 'x', 'h', 0)
#define NAME_INITRDH NAME('.', 'i', 'n', 'i', 't', 'r', 'd', 'h')

/*
 * PE headers, little-endian, as far as they are looked at.
 */
#define MZ 0x5a4d
#define PE 0x4550
#define PE32_PLUS 0x20b
#define EFI_APPLICATION 10

struct dos_header {
	__u16 mz;
	__u16 unused[29];
	__u32 pe_offset;
};

struct pe_header {
	__u32 magic;
	__u16 machine;
	__u16 number_of_sections;
	__u32 unused[3];
	__u16 size_of_optional_header;
	__u16 characteristics;
	/* The optional header's front. */
	__u16 optional_magic;
	__u8 optional_unused[66];
	__u16 subsystem;
	__u16 dll_characteristics;
};

#define PE_HEADER_SIZE 24
#define SUBSYSTEM_END 70

_Static_assert(sizeof(struct dos_header) == 64, "a DOS header has 64 bytes");
_Static_assert(__builtin_offsetof(struct pe_header, optional_magic) == PE_HEADER_SIZE,
	       "the optional header begins behind 24 bytes");
_Static_assert(__builtin_offsetof(struct pe_header, subsystem) + 2 == PE_HEADER_SIZE + SUBSYSTEM_END,
	       "Subsystem is at 68 of the optional header");

struct section {
	__u64 name;
	__u32 virtual_size;
	__u32 virtual_address;
	__u32 size_of_raw_data;
	__u32 pointer_to_raw_data;
	__u32 unused[4];
};

_Static_assert(sizeof(struct section) == 40, "a section header has 40 bytes");

/* The sections that are handed over. */
enum part { LINUX, CMDLINE, INITRD, UCODE, PARTS };

#define NO_PART PARTS

/* A section's content in the image. */
struct span {
	__u64 offset;
	__u64 size;
};

/*
 * What does not fit the stack, and what loops keep: Linux follows every value
 * of a register or of the stack, but not of this memory. Without `used` clang
 * would split the structures, and their BTF be wrong; `volatile` members are
 * read again after a loop that sets them, not kept in a register.
 */
#define STATE static __attribute__((used))

/* The image: its address, for bpf_probe_read_kernel(), and what is known of it. */
STATE struct {
	const char *address;
	__u64 size;
	/* How many entries of `table` there are. */
	volatile __u32 sections;
} image;

/* Its section table. */
STATE struct section table[SECTIONS_MAX];

/* What the section table was searched for, and what was found. */
STATE struct {
	/* Index + 1 of the first section of a name, 0 where there is none. */
	__u32 base[PARTS];
	__u32 profile[PARTS];
	/* How many .profile sections there are. */
	volatile __u32 profiles;
} found;

/* The profile that the caller asks for, and how far the search for its ID is. */
STATE struct {
	/* Its number; while the ID is searched for, that of the .profile section looked at. */
	volatile __u32 number;
	/* Whether the word behind the @ is an ID and no number. */
	volatile _Bool is_id;
	volatile _Bool is_found;
	volatile _Bool is_broken;
	/* The word, and a NUL. */
	char id[ID_MAX];
	__u32 id_size;
	/* Where in `text` the value of an ID= line begins. */
	volatile __u32 at;
	/* The text of a .profile section and a NUL. */
	char text[PROFILE_TEXT_MAX + ID_MAX + 8];
} wanted;

/* A command line: a record of `ringbuf_3`, zeros behind its text. */
struct text {
	char *record;
	__u64 size;
};

/*
 * Where in its record the cleaned text lies; first, while it is being cleaned,
 * its first and its last 8 bytes that are not all spaces.
 */
STATE struct {
	volatile __u32 start;
	volatile __u32 end;
} cleaned;

/* Copies `size` bytes at `offset` of the image; false if they are not inside. */
static __always_inline _Bool read_image(void *to, __u64 size, __u64 offset)
{
	return offset <= image.size && size <= image.size - offset &&
	       !bpf_probe_read_kernel(to, size, image.address + offset);
}

/* Prints a line unless this is the match program, which asks without a word. */
#define say(...)                             \
	do {                                 \
		if (!quiet)                  \
			bpf_printk(__VA_ARGS__); \
	} while (0)

/*
 * Reads and checks the headers, and sets `image` and `table` (to the first
 * SECTIONS_MAX sections). Returns false, having said why, if they cannot be
 * believed.
 */
static __always_inline _Bool read_table(const struct kexec_context *ctx, _Bool quiet)
{
	struct dos_header dos;
	struct pe_header pe;
	__u64 at, end;
	__u32 sections;

	image.address = ctx->image;
	image.size = ctx->image && ctx->image_sz > 0 ? (__u32)ctx->image_sz : 0;
	if (!read_image(&dos, sizeof(dos), 0)) {
		say("uki: DOS header: expected 64 bytes, found an image of %llu", image.size);
		return 0;
	}
	if (dos.mz != MZ) {
		say("uki: magic at 0x0: expected 0x%x (MZ), found 0x%x", MZ, dos.mz);
		return 0;
	}
	at = dos.pe_offset;
	if (!read_image(&pe, sizeof(pe), at)) {
		say("uki: PE header offset at 0x3c: expected a header inside the image, of 0x%llx bytes, found 0x%llx",
		    image.size, at);
		return 0;
	}
	if (pe.magic != PE) {
		say("uki: PE magic at 0x%llx: expected 0x%x, found 0x%x", at, PE, pe.magic);
		return 0;
	}
	if (pe.size_of_optional_header < SUBSYSTEM_END || pe.optional_magic != PE32_PLUS) {
		say("uki: optional header: expected magic 0x20b (PE32+) in 70 bytes or more, found magic 0x%x in %u",
		    pe.optional_magic, pe.size_of_optional_header);
		return 0;
	}
	if (!quiet && pe.subsystem != EFI_APPLICATION) {
		say("uki: Subsystem: expected 10 (EFI application), found %u", pe.subsystem);
		return 0;
	}
	sections = pe.number_of_sections;
	if (!quiet && sections > SECTIONS_MAX) {
		say("uki: NumberOfSections at 0x%llx: expected at most %u, found %u", at + 6, SECTIONS_MAX,
		    sections);
		return 0;
	}

	at += PE_HEADER_SIZE + pe.size_of_optional_header;
	end = at + sections * sizeof(struct section);
	if (end > image.size) {
		say("uki: section table at 0x%llx: expected %u headers of 40 bytes, the image ends at 0x%llx", at,
		    sections, image.size);
		return 0;
	}
	if (sections > SECTIONS_MAX)
		sections = SECTIONS_MAX;
	if (bpf_probe_read_kernel(table, sections * sizeof(struct section), image.address + at)) {
		say("uki: section table at 0x%llx cannot be read", at);
		return 0;
	}
	image.sections = sections;
	return 1;
}

static __always_inline __u32 part_of(__u64 name)
{
	if (name == NAME_LINUX)
		return LINUX;
	if (name == NAME_CMDLINE)
		return CMDLINE;
	if (name == NAME_INITRD)
		return INITRD;
	if (name == NAME_UCODE)
		return UCODE;
	return NO_PART;
}

/* Fills `found`: the sections of the base and of profile number `profile`. */
static __always_inline void search_table(__u32 profile)
{
	__u32 sections = image.sections;

	for (__u32 part = 0; part < PARTS; part++) {
		found.base[part] = 0;
		found.profile[part] = 0;
	}
	found.profiles = 0;
	for (__u32 i = 0; i < SECTIONS_MAX && i < sections; i++) {
		__u64 name = table[i].name;
		__u32 profiles = found.profiles;
		__u32 part;

		if (name == NAME_PROFILE) {
			found.profiles = profiles + 1;
			continue;
		}
		part = part_of(name);
		if (part == NO_PART)
			continue;
		if (profiles == 0) {
			if (!found.base[part])
				found.base[part] = i + 1;
		} else if (profiles == profile + 1) {
			if (!found.profile[part])
				found.profile[part] = i + 1;
		}
	}
}

/*
 * Sets `span` to the content of section number `i`: the smaller of its two
 * sizes, since either may be rounded up; some tools leave VirtualSize 0.
 * Returns false, having said why, if it passes the end of the image.
 */
static __always_inline _Bool content(struct span *span, __u64 i)
{
	const struct section *section;

	if (i >= SECTIONS_MAX)
		return 0;
	section = &table[i];
	span->offset = section->pointer_to_raw_data;
	span->size = section->size_of_raw_data;
	if (section->virtual_size && section->virtual_size < span->size)
		span->size = section->virtual_size;
	if (span->offset + span->size > image.size) {
		/* The name is 8 bytes and the field behind it is no NUL. */
		char name[9] = {};

		__builtin_memcpy(name, &section->name, 8);
		bpf_printk("uki: section %s: expected it to end inside the image, of 0x%llx bytes, found its end at 0x%llx",
			   name, image.size, span->offset + span->size);
		return 0;
	}
	return 1;
}

/* Sets `span` to the content of `part`, to no bytes where there is none. */
static __always_inline _Bool find(struct span *span, enum part part)
{
	__u32 i = found.profile[part] ?: found.base[part];

	span->offset = 0;
	span->size = 0;
	return i == 0 || content(span, i - 1);
}

/*
 * Sets wanted.at to the value of the first ID= line in wanted.text, the text of
 * a .profile section; to NOWHERE without one.
 */
static __always_inline void find_id_line(void)
{
	_Bool is_line_start = 1;

	wanted.at = NOWHERE;
	for (__u32 i = 0; i < PROFILE_TEXT_MAX; i++) {
		char c = wanted.text[i];

		if (c == 0)
			return;
		if (is_line_start && c == 'I' && wanted.text[i + 1] == 'D' && wanted.text[i + 2] == '=') {
			wanted.at = i + 3;
			return;
		}
		is_line_start = c == '\n';
	}
}

/* Returns whether the value at wanted.at, perhaps in quotes, is the wanted ID. */
static __always_inline _Bool is_wanted_id(void)
{
	__u32 at = wanted.at;
	char quote = 0;

	if (at >= PROFILE_TEXT_MAX + 3)
		return 0;
	if (wanted.text[at] == '"' || wanted.text[at] == '\'')
		quote = wanted.text[at++];
	for (__u32 i = 0; i < ID_MAX; i++) {
		char c = wanted.text[at + i];

		if (i == wanted.id_size)
			return quote ? c == quote : c == '\n' || c == '\r' || c == 0;
		if (c != wanted.id[i])
			return 0;
	}
	return 0;
}

/* Looks at section number `i` for the wanted profile; returns 1 to end the search. */
static long check_profile(__u64 i, void *unused)
{
	struct span span;
	__u64 size;

	(void)unused;
	if (i >= SECTIONS_MAX || table[i].name != NAME_PROFILE)
		return 0;
	if (!content(&span, i)) {
		wanted.is_broken = 1;
		return 1;
	}
	size = span.size;
	if (size > PROFILE_TEXT_MAX)
		size = PROFILE_TEXT_MAX;
	wanted.text[size] = 0;
	if (bpf_probe_read_kernel(wanted.text, size, image.address + span.offset)) {
		wanted.is_broken = 1;
		return 1;
	}
	find_id_line();
	if (is_wanted_id()) {
		wanted.is_found = 1;
		return 1;
	}
	wanted.number++;
	return 0;
}

/* Sets wanted.number by wanted.id; false, having said why, without such a profile. */
static __always_inline _Bool find_profile(void)
{
	wanted.number = 0;
	wanted.is_found = 0;
	wanted.is_broken = 0;
	bpf_loop(image.sections, check_profile, NULL, 0);
	if (!wanted.is_found && !wanted.is_broken)
		bpf_printk("uki: profile @%s: expected the ID= line of a .profile section, or its number, counted from 0; found %u such sections, none with this ID",
			   wanted.id, wanted.number);
	return wanted.is_found;
}

/*
 * Reads `size` bytes of a command line into a new record. Nothing was in the
 * ring before, so the record is zeros; at least 8 of them end the text here.
 */
static __always_inline _Bool read_text(struct text *text, const char *from, __u64 size,
				       const char *what)
{
	if (size > TEXT_MAX) {
		bpf_printk("uki: %s: expected at most %u bytes, found %llu", what, TEXT_MAX, size);
		return 0;
	}
	text->size = size;
	text->record = bpf_ringbuf_reserve(&ringbuf_3, TEXT_MAX + 8, 0);
	if (!text->record) {
		bpf_printk("uki: %s: no room in the ring buffer", what);
		return 0;
	}
	if (bpf_probe_read_kernel(text->record, size, from)) {
		bpf_printk("uki: %s cannot be read", what);
		bpf_ringbuf_discard(text->record, 0);
		return 0;
	}
	return 1;
}

/* Eight times the byte. */
#define EACH(byte) (0x0101010101010101ULL * (byte))

/* Returns the top bit of each byte of `word` that is 0 ... 0x7f and below `limit`. */
static __always_inline __u64 bytes_below(__u64 word, __u8 limit)
{
	return ~((word & EACH(0x7f)) + EACH(0x80 - limit)) & ~word & EACH(0x80);
}

/*
 * Cleans the 8 bytes number `index` of a text, all at once: control characters
 * become spaces, and so does all from the first NUL on; returns 1 at that one.
 */
static long clean_word(__u64 index, struct text *text)
{
	__u64 word, nuls, controls, blanks;

	if (index > TEXT_MAX / 8)
		return 1;
	word = *(__u64 *)(text->record + index * 8);
	nuls = bytes_below(word, 1);
	controls = bytes_below(word, 0x20) | bytes_below(word ^ EACH(0x7f), 1);
	/* 0xff for each control character, then all bits from the first NUL on. */
	blanks = (controls >> 7) * 0xff;
	blanks |= -((nuls & -nuls) >> 7);
	if (blanks) {
		word = (word & ~blanks) | (EACH(' ') & blanks);
		*(__u64 *)(text->record + index * 8) = word;
	}
	if (word != EACH(' ')) {
		if (cleaned.start == NOWHERE)
			cleaned.start = index * 8;
		cleaned.end = index * 8;
	}
	return nuls != 0;
}

/*
 * Applies systemd-stub's rules, and sets `span` to what is left in the record:
 * the text ends at the first NUL, control characters in it become spaces, and
 * spaces at both its ends are dropped.
 */
static __always_inline void clean_text(struct span *span, struct text *text)
{
	__u32 first, last, i;

	span->offset = 0;
	span->size = 0;
	cleaned.start = NOWHERE;
	bpf_loop(text->size / 8 + 1, clean_word, text, 0);
	first = cleaned.start;
	last = cleaned.end;
	if (first > TEXT_MAX || last > TEXT_MAX)
		return;
	for (i = 0; i < 7 && text->record[first + i] == ' '; i++)
		;
	cleaned.start = first + i;
	for (i = 8; i > 1 && text->record[last + i - 1] == ' '; i--)
		;
	cleaned.end = last + i;
	span->offset = cleaned.start;
	span->size = cleaned.end - (__u32)span->offset;
}

/*
 * Takes "@N " or "@ID " off the front of the caller's command line, leaving
 * blanks, and sets wanted.number, to 0 without such a word. Returns false,
 * having said why, if no profile has that ID.
 */
static __always_inline _Bool take_profile(struct text *text)
{
	__u32 i;

	wanted.number = 0;
	wanted.is_id = 0;
	if (text->record[0] != '@' || text->record[1] == ' ' || text->record[1] == 0)
		return 1;
	__builtin_memset(wanted.id, 0, sizeof(wanted.id));
	text->record[0] = ' ';
	for (i = 0; i < ID_MAX; i++) {
		__u8 c = text->record[i + 1];
		__u32 number = wanted.number;

		if (c == ' ' || c == 0)
			break;
		text->record[i + 1] = ' ';
		wanted.id[i] = c;
		wanted.id_size = i + 1;
		if (c < '0' || c > '9')
			wanted.is_id = 1;
		else if (number <= SECTIONS_MAX)
			wanted.number = number * 10 + (c - '0');
	}
	if (i == ID_MAX) {
		bpf_printk("uki: word behind the @ in front of the command line: expected a profile's number or ID of at most %u bytes",
			   ID_MAX - 1);
		return 0;
	}
	return !wanted.is_id || find_profile();
}

/* Hands a text over; false, having said why, if that fails. */
static __always_inline _Bool give_text(const struct text *text, const struct span *span)
{
	int error;

	if (span->offset > TEXT_MAX + 7)
		return 0;
	error = bpf_copy_to_kernel(ukexec_cmdline, text->record + span->offset, span->size);
	if (error)
		bpf_printk("uki: hand-over of the command line, %llu bytes: error %d", span->size, error);
	return !error;
}

/*
 * Searches the table for the profile that the caller's command line asks for,
 * and hands that line over if it says anything else. `given` is set if it did.
 */
static __always_inline _Bool choose_by_caller(_Bool *given, const struct kexec_context *ctx)
{
	struct text text;
	struct span span;
	_Bool ok = 0;

	*given = 0;
	if (!ctx->cmdline || ctx->cmdline_sz <= 0) {
		search_table(0);
		return 1;
	}
	if (!read_text(&text, ctx->cmdline, (__u32)ctx->cmdline_sz, "the caller's command line"))
		return 0;
	if (!take_profile(&text))
		goto discard;
	search_table(wanted.number);
	if (wanted.number > 0 && wanted.number >= found.profiles) {
		bpf_printk("uki: profile @%s: expected the number of a .profile section, counted from 0; found %u such sections",
			   wanted.id, found.profiles);
		goto discard;
	}
	clean_text(&span, &text);
	*given = span.size != 0;
	/* Nothing is also handed over: a taken "@N" must not be seen again. */
	ok = give_text(&text, &span);
discard:
	bpf_ringbuf_discard(text.record, 0);
	return ok;
}

/* Hands over .cmdline, if the image has one. */
static __always_inline _Bool give_cmdline(void)
{
	struct text text;
	struct span span;
	_Bool ok;

	if (!find(&span, CMDLINE))
		return 0;
	if (span.size == 0)
		return 1;
	if (!read_text(&text, image.address + span.offset, span.size, "section .cmdline"))
		return 0;
	clean_text(&span, &text);
	ok = give_text(&text, &span);
	bpf_ringbuf_discard(text.record, 0);
	return ok;
}

static __always_inline __u64 align_4(__u64 size)
{
	return (size + 3) & ~3ULL;
}

/*
 * Linux looks at each part alone, so each needs a limit of its own, such that
 * all fit the record together. Elsewhere only their sum counts.
 */
static __always_inline _Bool fits(const char *what, __u64 size, __u64 linux_max)
{
	__u64 max = ukexec_is_linux() ? linux_max : INITRD_MAX;

	if (size > max)
		bpf_printk("uki: %s: expected at most 0x%llx bytes, found 0x%llx", what, max, size);
	return size <= max;
}

/*
 * Puts the initrd together in a record and hands it over. The record is zeros
 * between the parts, since nothing was in the ring before. Without .ucode and
 * .initrd the caller's initrd stays what it is.
 */
static __always_inline _Bool give_initrd(const struct kexec_context *ctx)
{
	struct span ucode, initrd;
	__u64 caller = ctx->initrd && ctx->initrd_sz > 0 ? (__u32)ctx->initrd_sz : 0;
	__u64 caller_at, initrd_at, size;
	char *record;
	int error;

	if (!find(&ucode, UCODE) || !find(&initrd, INITRD))
		return 0;
	if (ucode.size == 0 && initrd.size == 0)
		return 1;
	if (!fits("section .ucode", ucode.size, UCODE_MAX) ||
	    !fits("the caller's initrd", caller, CALLER_MAX) ||
	    !fits("section .initrd", initrd.size, INITRD_SECTION_MAX))
		return 0;
	caller_at = caller ? align_4(ucode.size) : ucode.size;
	initrd_at = initrd.size ? align_4(caller_at + caller) : caller_at + caller;
	size = initrd_at + initrd.size;
	if (size > INITRD_MAX) {
		bpf_printk("uki: initrd of all parts: expected at most 0x%llx bytes, found 0x%llx",
			   INITRD_MAX, size);
		return 0;
	}

	record = bpf_ringbuf_reserve(&ringbuf_2, INITRD_MAX, 0);
	if (!record) {
		bpf_printk("uki: initrd: no room for 0x%llx bytes in the ring buffer", INITRD_MAX);
		return 0;
	}
	error = bpf_probe_read_kernel(record, ucode.size, image.address + ucode.offset);
	if (!error)
		error = bpf_probe_read_kernel(record + caller_at, caller, ctx->initrd);
	if (!error)
		error = bpf_probe_read_kernel(record + initrd_at, initrd.size,
					      image.address + initrd.offset);
	if (!error)
		error = bpf_copy_to_kernel(ukexec_initrd, record, size);
	if (error)
		bpf_printk("uki: hand-over of the initrd, 0x%llx bytes: error %d", size, error);
	bpf_ringbuf_discard(record, 0);
	return !error;
}

static __always_inline void give_kernel(void)
{
	struct span kernel;
	char *record;
	int error;

	if (!find(&kernel, LINUX))
		return;
	if (kernel.size == 0) {
		bpf_printk("uki: section .linux: expected a kernel, found no such section or an empty one");
		return;
	}
	if (kernel.size > KERNEL_MAX) {
		bpf_printk("uki: section .linux: expected at most 0x%llx bytes, found 0x%llx", KERNEL_MAX,
			   kernel.size);
		return;
	}
	record = bpf_ringbuf_reserve(&ringbuf_1, KERNEL_MAX, 0);
	if (!record) {
		bpf_printk("uki: kernel: no room for 0x%llx bytes in the ring buffer", KERNEL_MAX);
		return;
	}
	error = bpf_probe_read_kernel(record, kernel.size, image.address + kernel.offset);
	if (!error)
		error = bpf_copy_to_kernel(ukexec_kernel, record, kernel.size);
	if (error)
		bpf_printk("uki: hand-over of the kernel, 0x%llx bytes: error %d", kernel.size, error);
	bpf_ringbuf_discard(record, 0);
}

/* What a section table is about. */
enum kind { OTHER, UKI, LANZABOOTE };

static __always_inline enum kind kind_of_image(void)
{
	__u32 sections = image.sections;
	enum kind kind = OTHER;

	for (__u32 i = 0; i < SECTIONS_MAX && i < sections; i++) {
		__u64 name = table[i].name;

		if (name == NAME_LINUXH || name == NAME_INITRDH)
			return LANZABOOTE;
		if (name == NAME_LINUX)
			kind = UKI;
	}
	return kind;
}

UKEXEC_PARSE(parse_pe, ctx)
{
	_Bool given;

	if (!read_table(ctx, 0))
		return 0;
	if (kind_of_image() == LANZABOOTE) {
		bpf_printk("uki: section .linuxh or .initrdh: this is a lanzaboote thin image, not a UKI");
		bpf_printk("uki: it holds paths on the EFI system partition and hashes in place of kernel and initrd; load those files");
		return 0;
	}
	if (!choose_by_caller(&given, ctx))
		return 0;
	if (!given && !give_cmdline())
		return 0;
	/* The kernel last: without one the stage fails, and nothing counts. */
	if (give_initrd(ctx))
		give_kernel();
	return 0;
}

/* Nothing to do; a patched kernel expects it (UKEXEC_SERIES_SHAPE). */
UKEXEC_POST(post_parse_pe, ctx)
{
	(void)ctx;
	return 0;
}

#ifdef WITH_MATCH
/*
 * A PE with .linux, also a broken one. Kernels are PE files too, but have no
 * such section, and neither have addons. A lanzaboote image is not ours, but
 * nobody else has words for it.
 */
UKEXEC_MATCH(match_image, ctx)
{
	return read_table(ctx, 1) && kind_of_image() != OTHER;
}
#endif
