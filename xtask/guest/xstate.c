// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * User-mode Linux writes back the processor state that it has read of a
 * process, as much of it as its buffer holds. Linux takes all of it or nothing
 * (arch/x86/kernel/fpu/regset.c), and with AMX there is more than that.
 *
 * Preloaded, this fills the state up: without tiles, zeros are the rest.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long call(long request, long pid, void *address, void *data)
{
	return syscall(SYS_ptrace, request, pid, address, data);
}

static long set_all(long pid, void *kind, struct iovec *given)
{
	static char state[1 << 16];
	struct iovec all = { state, sizeof(state) };

	if (call(PTRACE_GETREGSET, pid, kind, &all) < 0)
		return -1;
	if (all.iov_len < given->iov_len)
		return call(PTRACE_SETREGSET, pid, kind, given);
	memset(state, 0, sizeof(state));
	memcpy(state, given->iov_base, given->iov_len);
	return call(PTRACE_SETREGSET, pid, kind, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list more;

	va_start(more, request);
	pid_t pid = va_arg(more, pid_t);
	void *address = va_arg(more, void *);
	void *data = va_arg(more, void *);
	va_end(more);
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
		return set_all(pid, address, data);
	if (request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER) {
		long word;

		if (call(request, pid, address, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	return call(request, pid, address, data);
}
