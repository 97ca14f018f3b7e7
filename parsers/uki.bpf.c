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
 * base's of the same name, also one whose VirtualSize is 0, which counts as
 * none; of several with one name the first counts. Profile 0 is used if the
 * caller's command line does not begin with "@N " or "@ID ", which is taken off;
 * the latter form is our own. A number is the profile of this number, and only
 * where there is none an ID. The parser hands the number over to ukexec.
 */
#define PARTS_OF "uki"
#define PARTS_KERNEL "section .linux"
#include "parts.h"

UKEXEC_LICENSE("Dual BSD/GPL");

/*
 * So many headers of the section table are looked at together. Few images have
 * more; those with a device tree for each machine have hundreds.
 */
#define TABLE_PART 32

/* The most that NumberOfSections can say. */
#define SECTIONS_MAX 0xffff

/* So many bytes of a .profile section are searched for its ID= line. */
#define PROFILE_TEXT_MAX 4096

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

/*
 * For state too large for the stack, or kept by loops: Linux follows every value
 * of a register or of the stack, but not of this memory. Without `used` clang
 * would split the structures, and their BTF be wrong; `volatile` members are
 * read again after a loop that sets them, not kept in a register.
 */
#define STATE static __attribute__((used))

/* The kind of image that a section table describes. */
enum kind { OTHER, UKI, LANZABOOTE };

/* The image: its address, for bpf_probe_read_kernel(), and what is known of it. */
STATE struct {
	const char *address;
	__u64 size;
	/* Where its section table is, and how many headers it has. */
	__u64 table;
	volatile __u32 sections;
	/* How many of them are .profile sections, and what all of them make of it. */
	volatile __u32 profiles;
	volatile __u32 kind;
	/* The header that `table` begins with. */
	volatile __u32 first;
	/* Not 0 if some header could not be read. */
	volatile __u32 is_broken;
} image;

static __always_inline const char *image_address(void)
{
	return image.address;
}

/* A part of its section table. */
STATE struct section table[TABLE_PART];

/* Where a section was found. */
enum place { NOWHERE_YET, BASE, PROFILE };

/* The search of the section table, and its results. */
STATE struct {
	/* The profile whose sections count, and the .profile sections seen. */
	volatile __u32 profile;
	volatile __u32 profiles;
	volatile __u8 place[PARTS];
	struct section header[PARTS];
} found;

/* The profile that the caller asks for, and how far the search for its ID is. */
STATE struct {
	/* Its number; while the ID is searched for, that of the .profile section looked at. */
	volatile __u32 number;
	/* Whether there is a word behind an @, and it is an ID and no number. */
	volatile _Bool is_given;
	volatile _Bool is_id;
	volatile _Bool is_found;
	volatile _Bool is_broken;
	/* The word, and a NUL. */
	char id[ID_MAX];
	__u32 id_size;
	/* The text of a .profile section and a NUL. */
	char text[PROFILE_TEXT_MAX + 8];
} wanted;

/* How far the assignments of such a text were read, and the last one of an ID. */
STATE struct {
	volatile __u32 state;
	/* Characters of the key, and of them those up to the last that is no blank. */
	volatile __u32 key_size;
	volatile __u32 key_end;
	/* The same of the value, and how many of them are those of the wanted ID. */
	volatile __u32 size;
	volatile __u32 end;
	volatile __u32 same;
	volatile _Bool is_wanted;
	/* The front of the key. */
	char key[2];
} line;

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
 * Reads and checks the headers in front of the section table, and sets `image`.
 * Returns false, having said why, if they cannot be believed.
 */
static __always_inline _Bool read_headers(const struct kexec_context *ctx, _Bool quiet)
{
	struct dos_header dos;
	struct pe_header pe;
	__u64 at, end;
	__u32 sections;

	image.address = ukexec_image(ctx);
	image.size = ukexec_image(ctx) && ukexec_image_sz(ctx) > 0 ? (__u32)ukexec_image_sz(ctx) : 0;
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
	at += PE_HEADER_SIZE + pe.size_of_optional_header;
	end = at + sections * sizeof(struct section);
	if (end > image.size) {
		say("uki: section table at 0x%llx: expected %u headers of 40 bytes, the image ends at 0x%llx", at,
		    sections, image.size);
		return 0;
	}
	image.table = at;
	image.sections = sections;
	image.first = NOWHERE;
	image.is_broken = 0;
	return 1;
}

/*
 * Has `table` begin with header number `first`, and returns how many headers
 * are in it.
 */
static __always_inline __u64 read_part(__u64 first)
{
	__u64 sections = image.sections;
	__u64 count;

	if (first >= sections)
		return 0;
	count = sections - first;
	/* Linux knows a limit only of the register that is compared with it. */
	__asm__ volatile("" : "+r"(count));
	if (count > TABLE_PART)
		count = TABLE_PART;
	if (image.first == first)
		return count;
	image.first = first;
	if (bpf_probe_read_kernel(table, count * sizeof(struct section),
				  image.address + image.table + first * sizeof(struct section))) {
		image.is_broken = 1;
		return 0;
	}
	return count;
}

/*
 * Has `callback(n)` look at part number n of the section table, for each n.
 * Returns false, having said why, if some part cannot be read.
 */
static __always_inline _Bool for_each_part(long (*callback)(__u64, void *), _Bool quiet)
{
	bpf_loop((image.sections + TABLE_PART - 1) / TABLE_PART, callback, NULL, 0);
	if (image.is_broken)
		say("uki: section table at 0x%llx cannot be read", image.table);
	return !image.is_broken;
}

/* Adds a part of the section table to what is known of the image. */
static long look_at_part(__u64 part, void *unused)
{
	__u64 count = read_part(part * TABLE_PART);

	(void)unused;
	for (__u64 i = 0; i < TABLE_PART && i < count; i++) {
		__u64 name = table[i].name;

		if (name == NAME_PROFILE)
			image.profiles++;
		else if (name == NAME_LINUXH || name == NAME_INITRDH)
			image.kind = LANZABOOTE;
		else if (name == NAME_LINUX && image.kind == OTHER)
			image.kind = UKI;
	}
	return image.is_broken != 0;
}

/* Reads what there is to know of the image; false, having said why, if it cannot be believed. */
static __always_inline _Bool look_at_image(const struct kexec_context *ctx, _Bool quiet)
{
	if (!read_headers(ctx, quiet))
		return 0;
	image.profiles = 0;
	image.kind = OTHER;
	return for_each_part(look_at_part, quiet);
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

/* Adds what counts of a part of the section table to `found`. */
static long search_part(__u64 number, void *unused)
{
	__u64 count = read_part(number * TABLE_PART);

	(void)unused;
	for (__u64 i = 0; i < TABLE_PART && i < count; i++) {
		__u64 name = table[i].name;
		__u32 profiles = found.profiles;
		__u32 part;
		__u8 place;

		if (name == NAME_PROFILE) {
			found.profiles = profiles + 1;
			continue;
		}
		part = part_of(name);
		if (part == NO_PART)
			continue;
		if (profiles == 0)
			place = BASE;
		else if (profiles == found.profile + 1)
			place = PROFILE;
		else
			continue;
		if (found.place[part] < place) {
			found.place[part] = place;
			found.header[part] = table[i];
		}
	}
	return image.is_broken != 0;
}

/*
 * Fills `found`: the sections of the base and of profile number `profile`.
 * Returns false, having said why, if that fails.
 */
static __always_inline _Bool search_table(__u32 profile)
{
	for (__u32 part = 0; part < PARTS; part++)
		found.place[part] = NOWHERE_YET;
	found.profile = profile;
	found.profiles = 0;
	return for_each_part(search_part, 0);
}

/*
 * Sets `span` to the content of a section: the smaller of its two sizes, since
 * either may be rounded up; some tools leave VirtualSize 0. Returns false,
 * having said why, if it passes the end of the image.
 */
static __always_inline _Bool content(struct span *span, const struct section *section)
{
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
	__u8 place = found.place[part];

	span->offset = 0;
	span->size = 0;
	if (place == NOWHERE_YET || (place == PROFILE && !found.header[part].virtual_size))
		return 1;
	return content(span, &found.header[part]);
}

/* How systemd reads files of assignments, parse_env_file(). */
enum state {
	BEFORE_KEY,
	KEY,
	BEFORE_VALUE,
	VALUE,
	ESCAPED,
	SINGLE_QUOTED,
	DOUBLE_QUOTED,
	ESCAPED_IN_QUOTES,
	COMMENT,
	ESCAPED_IN_COMMENT,
};

/* Adds a character to the value; one that is `kept` is no blank at its end. */
static __always_inline void add_to_value(char c, _Bool kept)
{
	__u32 at = line.size;

	if (at < ID_MAX && at == line.same && c == wanted.id[at])
		line.same = at + 1;
	line.size = at + 1;
	if (kept)
		line.end = at + 1;
}

/* Ends a line that came as far as `state`. An ID that it assigns is the one so far. */
static __always_inline void end_line(__u32 state)
{
	__u32 end = line.end;

	if (state >= BEFORE_VALUE && state <= ESCAPED_IN_QUOTES && line.key_end == 2 &&
	    line.key[0] == 'I' && line.key[1] == 'D')
		line.is_wanted = end == wanted.id_size && end <= line.same;
	line.key_size = 0;
	line.key_end = 0;
	line.size = 0;
	line.end = 0;
	line.same = 0;
}

static __always_inline void add_to_key(char c, _Bool blank)
{
	__u32 at = line.key_size;

	if (at < sizeof(line.key))
		line.key[at] = c;
	line.key_size = at + 1;
	if (!blank)
		line.key_end = at + 1;
}

/* Reads character number `i` of wanted.text; returns 1 at its end. */
static long read_character(__u64 i, void *unused)
{
	__u32 state = line.state, next = state;
	_Bool newline, blank, adds = 0;
	char c;

	(void)unused;
	if (i >= PROFILE_TEXT_MAX)
		return 1;
	c = wanted.text[i];
	if (c == 0)
		return 1;
	newline = c == '\n' || c == '\r';
	blank = newline || c == ' ' || c == '\t';
	switch (state) {
	case BEFORE_KEY:
		if (c == '#' || c == ';')
			next = COMMENT;
		else if (!blank)
			next = KEY;
		break;
	case KEY:
		if (c == '=')
			next = BEFORE_VALUE;
		else if (newline)
			next = BEFORE_KEY;
		break;
	case BEFORE_VALUE:
		if (newline)
			next = BEFORE_KEY;
		else if (c == '\'')
			next = SINGLE_QUOTED;
		else if (c == '"')
			next = DOUBLE_QUOTED;
		else if (c == '\\')
			next = ESCAPED;
		else if (!blank)
			next = VALUE;
		adds = next == VALUE;
		break;
	case VALUE:
		if (newline)
			next = BEFORE_KEY;
		else if (c == '\\')
			next = ESCAPED;
		adds = next == VALUE;
		break;
	case ESCAPED:
		next = VALUE;
		adds = !newline;
		break;
	case SINGLE_QUOTED:
		if (c == '\'')
			next = BEFORE_VALUE;
		adds = next == SINGLE_QUOTED;
		break;
	case DOUBLE_QUOTED:
		if (c == '"')
			next = BEFORE_VALUE;
		else if (c == '\\')
			next = ESCAPED_IN_QUOTES;
		adds = next == DOUBLE_QUOTED;
		break;
	case ESCAPED_IN_QUOTES:
		next = DOUBLE_QUOTED;
		adds = c != '\n';
		if (adds && c != '"' && c != '\\' && c != '`' && c != '$')
			add_to_value('\\', 1);
		break;
	case COMMENT:
		if (newline)
			next = BEFORE_KEY;
		else if (c == '\\')
			next = ESCAPED_IN_COMMENT;
		break;
	case ESCAPED_IN_COMMENT:
		next = newline ? BEFORE_KEY : COMMENT;
		break;
	}
	if (adds)
		add_to_value(c, state != VALUE || !blank);
	else if (next == KEY)
		add_to_key(c, blank);
	else if (next == ESCAPED)
		/* Blanks in front of it are not the last ones. */
		line.end = line.size;
	else if (next == BEFORE_KEY && state != BEFORE_KEY)
		end_line(state);
	line.state = next;
	return 0;
}

/* Returns whether wanted.text, of `size` bytes, assigns the wanted ID, last of all IDs. */
static __always_inline _Bool has_wanted_id(__u32 size)
{
	line.state = BEFORE_KEY;
	line.is_wanted = 0;
	end_line(BEFORE_KEY);
	bpf_loop(size, read_character, NULL, 0);
	end_line(line.state);
	return line.is_wanted;
}

/* Looks at section number `i` for the wanted profile; returns 1 to end the search. */
static long check_profile(__u64 i, void *unused)
{
	__u64 in_part = i % TABLE_PART;
	struct span span;
	__u64 size;

	(void)unused;
	if (in_part >= read_part(i - in_part) || table[in_part].name != NAME_PROFILE)
		return image.is_broken != 0;
	if (!content(&span, &table[in_part])) {
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
	if (has_wanted_id(size)) {
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
	if (!wanted.is_found && !wanted.is_broken && !image.is_broken)
		bpf_printk("uki: profile @%s: expected the ID of a .profile section, or its number, counted from 0; found %u such sections, none with this ID",
			   wanted.id, image.profiles);
	return wanted.is_found;
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
	wanted.is_given = 0;
	wanted.is_id = 0;
	if (text->record[0] != '@' || text->record[1] == ' ' || text->record[1] == 0)
		return 1;
	wanted.is_given = 1;
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
	/* The first profile needs no section of its own. */
	if (wanted.number > 0 && wanted.number >= image.profiles)
		wanted.is_id = 1;
	return !wanted.is_id || find_profile();
}

/*
 * Hands the number of the profile over to ukexec, which needs it for the files
 * below /.extra/ of the initrd, and for the measurements of a boot.
 */
static __always_inline void give_profile(void)
{
	__u32 number = found.profile;

	if (!ukexec_is_linux() && (image.profiles || number || wanted.is_given))
		ukexec_give(UKEXEC_PROFILE, (char *)&number, sizeof(number));
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
	wanted.is_given = 0;
	if (!ukexec_cmdline_of(ctx) || ukexec_cmdline_sz(ctx) <= 0)
		return search_table(0);
	if (!read_text(&text, ukexec_cmdline_of(ctx), (__u32)ukexec_cmdline_sz(ctx), "the caller's command line"))
		return 0;
	if (!take_profile(&text) || !search_table(wanted.number))
		goto discard;
	clean_text(&span, &text);
	*given = span.size != 0;
	/* Nothing is also handed over: a taken "@N" must not be seen again. */
	ok = give_text(&text, &span);
discard:
	ukexec_discard(text.record);
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
	/* One of zeros alone, which are not in the file, is there and empty. */
	if (span.size == 0 && (!found.place[CMDLINE] || !found.header[CMDLINE].virtual_size))
		return 1;
	if (!read_text(&text, image.address + span.offset, span.size, "section .cmdline"))
		return 0;
	clean_text(&span, &text);
	if (span.size == 0) {
		/* With its NUL: no bytes at all would be the caller's line behind a profile. */
		text.record[0] = 0;
		span.offset = 0;
		span.size = 1;
	}
	ok = give_text(&text, &span);
	ukexec_discard(text.record);
	return ok;
}

/*
 * Hands the initrd over. Without .ucode and .initrd the caller's stays what it
 * is.
 */
static __always_inline _Bool give_initrd(const struct kexec_context *ctx)
{
	struct initrd initrd;

	initrd.caller = ukexec_initrd_of(ctx) && ukexec_initrd_sz(ctx) > 0 ? (__u32)ukexec_initrd_sz(ctx) : 0;
	if (!find(&initrd.ucode, UCODE) || !find(&initrd.section, INITRD))
		return 0;
	if (initrd.ucode.size == 0 && initrd.section.size == 0)
		return 1;
	return UKEXEC_ABI > 5 || ukexec_is_linux() ? give_record(ctx, &initrd) : give_parts(ctx, &initrd);
}

static __always_inline void give_kernel(void)
{
	struct span kernel;

	if (find(&kernel, LINUX))
		give_kernel_at(&kernel);
}

UKEXEC_PARSE(parse_pe, ctx)
{
	_Bool given;

	if (!look_at_image(ctx, 0))
		return 0;
	if (image.kind == LANZABOOTE) {
		bpf_printk("uki: section .linuxh or .initrdh: this is a lanzaboote thin image, not a UKI");
		bpf_printk("uki: it holds paths on the EFI system partition and hashes in place of kernel and initrd; load those files");
		return 0;
	}
	/* From then on, other parsers are asked about an image that no command was given for. */
	if (UKEXEC_ABI > 5 && image.kind != UKI) {
		bpf_printk("uki: section .linux: expected a kernel, found no such section");
		return 0;
	}
	if (!choose_by_caller(&given, ctx))
		return 0;
	give_profile();
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
 * such section, and neither have addons. A lanzaboote image has one and is
 * not ours: ukexec reads the path in it when it names an image without a kernel.
 */
UKEXEC_MATCH(match_image, ctx)
{
	return look_at_image(ctx, 1) && image.kind == UKI;
}
#endif
