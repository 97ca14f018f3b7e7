// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * An EFI program that asks the firmware it runs on for its verdict on images.
 *
 * QEMU passes it a list of orders as the file "opt/ukexec/orders": variables
 * to set and images to load, one after another. It answers each order with a
 * line on the first serial port, "judge: NUMBER STATUS" with an EFI_STATUS in
 * hexadecimal, and then switches the machine off. Images are loaded, which is
 * when firmware verifies them, and never started.
 *
 * It is linked to a flat binary, so nothing in it may need a relocation: no
 * initialised pointers. xtask puts PE headers around it.
 *
 * Specification: UEFI 2.10, sections 4.3, 4.4, 4.5, 7.4.1; QEMU,
 * docs/specs/fw_cfg.
 */
#include <stddef.h>
#include <stdint.h>

#define EFIAPI __attribute__((ms_abi))

#define EFI_LOADER_DATA 2
#define EFI_RESET_SHUTDOWN 2

/* Tables as far as they are used; what is left out is counted. */
struct boot_services {
	char header[24];
	void *before_allocate_pages[2];
	uint64_t(EFIAPI *allocate_pages)(int how, int type, size_t pages, uint64_t *address);
	void *before_load_image[19];
	uint64_t(EFIAPI *load_image)(uint8_t is_boot_option, void *parent, void *path,
				     const void *image, size_t len, void **handle);
	void *before_unload_image[2];
	uint64_t(EFIAPI *unload_image)(void *handle);
	void *before_set_watchdog_timer[3];
	uint64_t(EFIAPI *set_watchdog_timer)(size_t seconds, uint64_t code, size_t len,
					     const void *data);
};

struct runtime_services {
	char header[24];
	void *before_set_variable[8];
	uint64_t(EFIAPI *set_variable)(const void *name, const void *vendor, uint32_t attributes,
				       size_t len, const void *data);
	void *before_reset_system[1];
	void(EFIAPI *reset_system)(int how, uint64_t status, size_t len, const void *data);
};

struct system_table {
	char header[24];
	void *before_runtime_services[8];
	struct runtime_services *runtime;
	struct boot_services *boot;
};

_Static_assert(offsetof(struct boot_services, load_image) == 24 + 22 * 8, "LoadImage");
_Static_assert(offsetof(struct boot_services, set_watchdog_timer) == 24 + 29 * 8, "the watchdog");
_Static_assert(offsetof(struct runtime_services, reset_system) == 24 + 10 * 8, "ResetSystem");
_Static_assert(offsetof(struct system_table, boot) == 96, "boot services");

/* An order: this, then `len` bytes, then zeros up to a multiple of 16. */
struct order {
	uint32_t kind;
	uint32_t len;
	uint64_t zero;
};

enum kind {
	LOAD_IMAGE = 1,
	SET_VARIABLE = 2,
};

/* The content of an order to set a variable: this, the name with its NUL, the value. */
struct variable {
	uint8_t vendor[16];
	uint32_t attributes;
	uint32_t name_len;
};

/* --- The serial line --- */

#define SERIAL_PORT 0x3f8
#define SERIAL_IS_EMPTY 0x20

static void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put_char(char c)
{
	while (!(inb(SERIAL_PORT + 5) & SERIAL_IS_EMPTY))
		;
	outb(SERIAL_PORT, (uint8_t)c);
}

static void put_text(const char *text)
{
	while (*text)
		put_char(*text++);
}

static void put_hex(uint64_t number)
{
	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned int digit = (number >> shift) & 15;

		put_char((char)(digit < 10 ? '0' + digit : 'a' + digit - 10));
	}
}

static void answer(uint64_t number, uint64_t status)
{
	put_text("\njudge: ");
	put_hex(number);
	put_char(' ');
	put_hex(status);
	put_char('\n');
}

/* --- QEMU's firmware configuration device --- */

#define DMA_PORT 0x514
#define DMA_ERROR 1
#define DMA_READ 2
#define DMA_SELECT 8
#define FILE_DIR 0x19

/* Every number is big-endian. */
struct dma {
	uint32_t control;
	uint32_t len;
	uint64_t address;
};

struct file {
	uint32_t len;
	uint16_t select;
	uint16_t reserved;
	char name[56];
};

static void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* Reads on where the last call ended, unless `control` selects a file. */
static int dma_read(uint32_t control, void *into, uint32_t len)
{
	volatile struct dma dma = {
		.control = __builtin_bswap32(control | DMA_READ),
		.len = __builtin_bswap32(len),
		.address = __builtin_bswap64((uintptr_t)into),
	};
	uint64_t address = (uintptr_t)&dma;

	outl(DMA_PORT, __builtin_bswap32((uint32_t)(address >> 32)));
	outl(DMA_PORT + 4, __builtin_bswap32((uint32_t)address));
	while (dma.control & ~__builtin_bswap32(DMA_ERROR))
		;
	__asm__ volatile("" : : : "memory");
	return dma.control == 0;
}

static int is_orders(const char *name)
{
	const char *wanted = "opt/ukexec/orders";

	while (*wanted && *name == *wanted) {
		name++;
		wanted++;
	}
	return *name == *wanted;
}

/* Finds the orders' file. */
static int find_orders(struct file *file)
{
	uint32_t count;

	if (!dma_read(FILE_DIR << 16 | DMA_SELECT, &count, sizeof(count)))
		return 0;
	for (count = __builtin_bswap32(count); count; count--) {
		if (!dma_read(0, file, sizeof(*file)))
			return 0;
		if (is_orders(file->name))
			return 1;
	}
	return 0;
}

/* Returns where the orders are in memory, and their length. */
static const uint8_t *read_orders(struct boot_services *boot, uint64_t *len)
{
	struct file file;
	uint64_t address;
	uint32_t select;

	if (!find_orders(&file))
		return NULL;
	*len = __builtin_bswap32(file.len);
	if (boot->allocate_pages(0, EFI_LOADER_DATA, (*len + 4095) / 4096, &address))
		return NULL;
	select = (uint32_t)__builtin_bswap16(file.select) << 16 | DMA_SELECT;
	if (!dma_read(select, (void *)address, (uint32_t)*len))
		return NULL;
	return (const uint8_t *)address;
}

/* --- The orders --- */

/*
 * With EFI_SECURITY_VIOLATION firmware may leave a handle behind: an image that
 * was loaded and may not be started.
 */
static uint64_t load_image(struct boot_services *boot, void *self, const struct order *order)
{
	void *handle = NULL;
	uint64_t status = boot->load_image(0, self, NULL, order + 1, order->len, &handle);

	if (handle)
		boot->unload_image(handle);
	return status;
}

static uint64_t set_variable(struct runtime_services *runtime, const struct order *order)
{
	const struct variable *variable = (const void *)(order + 1);
	const uint8_t *name = (const void *)(variable + 1);
	const uint8_t *value = name + variable->name_len;
	uint64_t len = order->len - sizeof(*variable) - variable->name_len;

	return runtime->set_variable(name, variable->vendor, variable->attributes, len, value);
}

static void follow(const uint8_t *orders, uint64_t len, void *self, struct system_table *system)
{
	uint64_t at = 0;

	for (uint64_t number = 0; at + sizeof(struct order) <= len; number++) {
		const struct order *order = (const void *)(orders + at);

		if (order->kind == LOAD_IMAGE)
			answer(number, load_image(system->boot, self, order));
		else if (order->kind == SET_VARIABLE)
			answer(number, set_variable(system->runtime, order));
		at += sizeof(*order) + ((order->len + 15ULL) & ~15ULL);
	}
}

uint64_t EFIAPI efi_main(void *self, struct system_table *system)
{
	uint64_t len;
	const uint8_t *orders = read_orders(system->boot, &len);

	system->boot->set_watchdog_timer(0, 0, 0, NULL);
	if (orders)
		follow(orders, len, self, system);
	else
		put_text("\njudge: no orders\n");
	put_text("\njudge: end\n");
	system->runtime->reset_system(EFI_RESET_SHUTDOWN, 0, 0, NULL);
	return 0;
}
