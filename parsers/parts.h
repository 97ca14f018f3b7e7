/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Handing over the parts of an image that has them as they are: kernel, initrd
 * and command line. For parsers whose name, as it is in front of what they print,
 * is PARTS_OF; PARTS_KERNEL names the part that is the kernel.
 */
#ifndef PARTS_H
#define PARTS_H

#include <ukexec/parser.h>

/* The image's address, which the parser defines. */
static __always_inline const char *image_address(void);

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

/* The parts of the initrd on Linux, see give_record(). */
#define UCODE_MAX (INITRD_RING / 16ULL)
#define CALLER_MAX (INITRD_RING / 16ULL * 7 - 4096)
#define INITRD_SECTION_MAX (INITRD_RING / 2ULL - 4096)

/* The longest command line, without its NUL; Linux itself takes 2 to 4 KiB. */
#define TEXT_MAX (64 << 10)

/* A size must fit the int of Linux and of the context. */
#define SIZE_MAX 0x7fffffffULL

/* A section's content in the image. */
struct span {
	__u64 offset;
	__u64 size;
};

/* A command line: a record of `ringbuf_3`, zeros behind its text. */
struct text {
	char *record;
	__u64 size;
};

/*
 * Reads `size` bytes of a command line into a new record. Nothing was in the
 * ring before, so the record is zeros; at least 8 of them end the text here.
 */
static __always_inline _Bool read_text(struct text *text, const char *from, __u64 size,
				       const char *what)
{
	if (size > TEXT_MAX) {
		bpf_printk(PARTS_OF ": %s: expected at most %u bytes, found %llu", what, TEXT_MAX, size);
		return 0;
	}
	text->size = size;
	text->record = ukexec_reserve(&ringbuf_3, TEXT_MAX + 8);
	if (!text->record) {
		bpf_printk(PARTS_OF ": %s: no room in the ring buffer", what);
		return 0;
	}
	if (bpf_probe_read_kernel(text->record, size, from)) {
		bpf_printk(PARTS_OF ": %s cannot be read", what);
		ukexec_discard(text->record);
		return 0;
	}
	return 1;
}

/* Hands a text over; false, having said why, if that fails. */
static __always_inline _Bool give_text(const struct text *text, const struct span *span)
{
	int error;

	if (span->offset > TEXT_MAX + 7)
		return 0;
	error = ukexec_give(UKEXEC_CMDLINE, text->record + span->offset, span->size);
	if (error)
		bpf_printk(PARTS_OF ": hand-over of the command line, %llu bytes: error %d", span->size, error);
	return !error;
}

static __always_inline __u64 align_4(__u64 size)
{
	return (size + 3) & ~3ULL;
}

/* The parts that an initrd is put together of. */
struct initrd {
	struct span ucode;
	__u64 caller;
	struct span section;
};

/* Returns whether a part is not too long for the rooms that give_record() has. */
static __always_inline _Bool fits(const char *what, __u64 size, __u64 max)
{
	if (size > max)
		bpf_printk(PARTS_OF ": %s: expected at most 0x%llx bytes, found 0x%llx", what, max, size);
	return size <= max;
}

/*
 * Puts the initrd together in a record, which is zeros between the parts, since
 * nothing was in the ring before, and hands it over. Linux looks at each part
 * alone, so each needs a limit of its own, such that all fit together.
 */
static __always_inline _Bool give_record(const struct kexec_context *ctx, const struct initrd *initrd)
{
	__u64 caller_at, section_at, size;
	char *record;
	int error;

	if (!fits("section .ucode", initrd->ucode.size, UCODE_MAX) ||
	    !fits("the caller's initrd", initrd->caller, CALLER_MAX) ||
	    !fits("section .initrd", initrd->section.size, INITRD_SECTION_MAX))
		return 0;
	caller_at = initrd->caller ? align_4(initrd->ucode.size) : initrd->ucode.size;
	section_at = caller_at + initrd->caller;
	if (initrd->section.size)
		section_at = align_4(section_at);
	size = section_at + initrd->section.size;
	if (!fits("initrd of all parts", size, INITRD_MAX))
		return 0;
	record = ukexec_reserve(&ringbuf_2, INITRD_MAX);
	if (!record) {
		bpf_printk(PARTS_OF ": initrd: no room for 0x%llx bytes in the ring buffer", INITRD_MAX);
		return 0;
	}
	error = bpf_probe_read_kernel(record, initrd->ucode.size,
				      image_address() + initrd->ucode.offset);
	if (!error)
		error = bpf_probe_read_kernel(record + caller_at, initrd->caller, ukexec_initrd_of(ctx));
	if (!error)
		error = bpf_probe_read_kernel(record + section_at, initrd->section.size,
					      image_address() + initrd->section.offset);
	if (!error)
		error = ukexec_give(UKEXEC_INITRD, record, size);
	if (error)
		bpf_printk(PARTS_OF ": hand-over of the initrd, 0x%llx bytes: error %d", size, error);
	ukexec_discard(record);
	return !error;
}

/* Hands the next part of the initrd over as it lies. */
static __always_inline int give_part(const char *at, __u64 size)
{
	return size ? ukexec_give(UKEXEC_INITRD_PART, (char *)at, size) : 0;
}

/* Has ukexec put the parts together, however long they are: no record has room for all. */
static __always_inline _Bool give_parts(const struct kexec_context *ctx, const struct initrd *initrd)
{
	__u64 size = align_4(align_4(initrd->ucode.size) + initrd->caller) + initrd->section.size;
	int error;

	if (size > SIZE_MAX) {
		bpf_printk(PARTS_OF ": initrd of all parts: expected at most 0x%llx bytes, found 0x%llx",
			   SIZE_MAX, size);
		return 0;
	}
	error = give_part(image_address() + initrd->ucode.offset, initrd->ucode.size);
	if (!error)
		error = give_part(ukexec_initrd_of(ctx), initrd->caller);
	if (!error)
		error = give_part(image_address() + initrd->section.offset, initrd->section.size);
	if (error)
		bpf_printk(PARTS_OF ": hand-over of the initrd, 0x%llx bytes: error %d", size, error);
	return !error;
}

static __always_inline void give_kernel_at(const struct span *kernel)
{
	char *record;
	int error;

	if (kernel->size == 0) {
		bpf_printk(PARTS_OF ": " PARTS_KERNEL
			   ": expected a kernel, found no such section or an empty one");
		return;
	}
	if (kernel->size > KERNEL_MAX) {
		bpf_printk(PARTS_OF ": " PARTS_KERNEL
			   ": expected at most 0x%llx bytes, found 0x%llx", KERNEL_MAX, kernel->size);
		return;
	}
	record = ukexec_reserve(&ringbuf_1, KERNEL_MAX);
	if (!record) {
		bpf_printk(PARTS_OF ": kernel: no room for 0x%llx bytes in the ring buffer", KERNEL_MAX);
		return;
	}
	error = bpf_probe_read_kernel(record, kernel->size, image_address() + kernel->offset);
	if (!error)
		error = ukexec_give(UKEXEC_KERNEL, record, kernel->size);
	if (error)
		bpf_printk(PARTS_OF ": hand-over of the kernel, 0x%llx bytes: error %d", kernel->size, error);
	else
		ukexec_done();
	ukexec_discard(record);
}

#endif /* PARTS_H */
