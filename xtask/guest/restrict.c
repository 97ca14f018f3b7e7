// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * restrict HOW PROGRAM [ARG]...
 *
 * Runs a program as containers and services run theirs:
 *   ENOSYS, EPERM  under a seccomp filter that gives kexec_file_load this answer
 *   no-right       without CAP_SYS_BOOT in any set
 *   nobody         as user 65534
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int answer(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kexec_file_load, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int drop_right(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];

	if (prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0) || syscall(SYS_capget, &header, sets))
		return -1;
	sets[0].effective &= ~(1u << CAP_SYS_BOOT);
	sets[0].permitted &= ~(1u << CAP_SYS_BOOT);
	sets[0].inheritable &= ~(1u << CAP_SYS_BOOT);
	return syscall(SYS_capset, &header, sets);
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "";
	int failed;

	if (!strcmp(how, "ENOSYS"))
		failed = answer(ENOSYS);
	else if (!strcmp(how, "EPERM"))
		failed = answer(EPERM);
	else if (!strcmp(how, "no-right"))
		failed = drop_right();
	else if (!strcmp(how, "nobody"))
		failed = setgid(65534) || setuid(65534);
	else
		failed = (errno = EINVAL);
	if (!failed)
		execvp(argv[2], argv + 2);
	perror("restrict");
	return 99;
}
