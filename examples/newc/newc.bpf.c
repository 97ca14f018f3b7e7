// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A parser of cpio archives (newc) with the entries kernel, initrd and cmdline.
 *
 * Specification: cpio(5), "New ASCII Format".
 */
#include <ukexec/parser.h>

UKEXEC_LICENSE("Dual BSD/GPL");

#define LARGE (512 << 20)
#define LARGE_MAX (LARGE - 8)
#define CMDLINE 4096
#define CMDLINE_MAX (CMDLINE - 8)

UKEXEC_RING(ringbuf_1, LARGE);
UKEXEC_RING(ringbuf_2, LARGE);
UKEXEC_RING(ringbuf_3, CMDLINE);

#define ENTRIES 16
/* The longest name that means something, TRAILER!!!, with its NUL. */
#define NAME 11

struct newc {
	char magic[6];
	char numbers[13][8];
};

/* Places in `numbers`. */
#define FILE_SIZE 6
#define NAME_SIZE 11

/* One entry, as far as it matters. */
struct entry {
	char name[NAME + 1];
	__u64 content;
	__u64 size;
	__u64 next;
};

static __always_inline __u64 align4(__u64 offset)
{
	return (offset + 3) & ~3ULL;
}

/* Reads 8 hex digits; a number above 32 bits if they are none. */
static __always_inline __u64 number(const char *digits)
{
	__u64 value = 0;

	for (int i = 0; i < 8; i++) {
		__u8 digit = digits[i];

		if (digit >= '0' && digit <= '9')
			digit -= '0';
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			digit = (digit | 0x20) - 'a' + 10;
		else
			return 1ULL << 32;
		value = value << 4 | digit;
	}
	return value;
}

static __always_inline _Bool is_named(const struct entry *entry, const char *name)
{
	for (int i = 0; i < NAME; i++) {
		if (entry->name[i] != name[i])
			return 0;
		if (!name[i])
			return 1;
	}
	return 0;
}

/* Reads the entry at `at`; false, and why, if there is none that is sound. */
static __always_inline _Bool read_entry(struct entry *entry, const struct kexec_context *ctx,
					__u64 at)
{
	struct newc header;
	__u64 image_size = (__u32)ctx->image_sz;
	__u64 name_size;

	if (at + sizeof(header) > image_size) {
		bpf_printk("newc: entry at 0x%llx: expected a header, found the end of the image at 0x%llx",
			   at, image_size);
		return 0;
	}
	bpf_probe_read_kernel(&header, sizeof(header), ctx->image + at);
	if (__builtin_memcmp(header.magic, "070701", 6)) {
		bpf_printk("newc: entry at 0x%llx: expected the magic 070701", at);
		return 0;
	}
	entry->size = number(header.numbers[FILE_SIZE]);
	name_size = number(header.numbers[NAME_SIZE]);
	if (entry->size >> 32 || name_size >> 32) {
		bpf_printk("newc: entry at 0x%llx: expected hex digits in its sizes", at);
		return 0;
	}
	entry->content = align4(at + sizeof(header) + name_size);
	entry->next = align4(entry->content + entry->size);
	if (entry->content + entry->size > image_size) {
		bpf_printk("newc: entry at 0x%llx of 0x%llx bytes: expected it inside the image, of 0x%llx",
			   at, entry->size, image_size);
		return 0;
	}
	__builtin_memset(entry->name, 0, sizeof(entry->name));
	bpf_probe_read_kernel(entry->name, name_size < NAME ? name_size : NAME,
			      ctx->image + at + sizeof(header));
	return 1;
}

/* Hands an entry over as `resource`, through a record of `max` bytes. */
static __always_inline void hand_over(const struct kexec_context *ctx, const struct entry *entry,
				      char *resource, void *ring, __u64 max)
{
	__u32 size = entry->size;
	char *room;

	if (entry->size > max) {
		bpf_printk("newc: %s: expected at most 0x%llx bytes, found 0x%llx", entry->name, max,
			   entry->size);
		return;
	}
	room = bpf_ringbuf_reserve(ring, max, 0);
	if (!room) {
		bpf_printk("newc: %s: there is one already", entry->name);
		return;
	}
	bpf_probe_read_kernel(room, size, ctx->image + entry->content);
	if (resource == ukexec_cmdline && size && room[size - 1] == '\n')
		size--;
	bpf_copy_to_kernel(resource, room, size);
	bpf_ringbuf_discard(room, 0);
}

UKEXEC_PARSE(parse_pe, ctx)
{
	struct entry entry;
	__u64 at = 0;

	for (int i = 0; i < ENTRIES; i++) {
		if (!read_entry(&entry, ctx, at))
			return 0;
		if (is_named(&entry, "TRAILER!!!"))
			return 0;
		if (is_named(&entry, "kernel"))
			hand_over(ctx, &entry, ukexec_kernel, &ringbuf_1, LARGE_MAX);
		else if (is_named(&entry, "initrd"))
			hand_over(ctx, &entry, ukexec_initrd, &ringbuf_2, LARGE_MAX);
		else if (is_named(&entry, "cmdline"))
			hand_over(ctx, &entry, ukexec_cmdline, &ringbuf_3, CMDLINE_MAX);
		at = entry.next;
	}
	bpf_printk("newc: expected at most %d entries", ENTRIES);
	return 0;
}

/* Asks no more than what kind of image it is: one that is broken is ours, too. */
UKEXEC_MATCH(match_image, ctx)
{
	struct {
		struct newc header;
		char name[7];
	} first;

	return ctx->image_sz >= (int)sizeof(first) &&
	       !bpf_probe_read_kernel(&first, sizeof(first), ctx->image) &&
	       !__builtin_memcmp(first.header.magic, "070701", 6) &&
	       !__builtin_memcmp(first.name, "kernel", 7);
}
