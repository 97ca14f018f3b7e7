// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Prints what libbpf makes of an object's CO-RE relocations against the types
 * of another object; see README.md. The kernel is not asked: bpf(2) always
 * succeeds here, so that libbpf gets to relocating. */
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAP_CREATE = 0, PROG_LOAD = 5, BTF_LOAD = 18 };

long syscall(long number, ...)
{
	va_list list;
	long a[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_bpf) {
		int opens = a[0] == MAP_CREATE || a[0] == PROG_LOAD || a[0] == BTF_LOAD;
		return opens ? open("/dev/null", O_RDONLY) : 0;
	}

	long result;
	register long r10 asm("r10") = a[3], r8 asm("r8") = a[4], r9 asm("r9") = a[5];
	asm volatile("syscall"
		     : "=a"(result)
		     : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	return vprintf(format, args);
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = argv[2]);

	libbpf_set_print(print);
	struct bpf_object *object = bpf_object__open_file(argv[1], &opts);
	if (!object)
		return 1;
	bpf_object__load(object);
	return 0;
}
