//! The system calls that a worker may make: seccomp(2).
//!
//! The list is what a Rust program with one thread needs to compute, to
//! allocate, and to use descriptors that it has. There is nothing on it that
//! opens, connects, starts, or asks for anything by name, so that `glibc` and
//! `musl` both get by. Any other call kills the process.

use crate::error::SandboxError;

/// Forbids every system call that is not listed.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
pub(crate) fn allow_listed() -> Result<(), SandboxError> {
    let program = filter::program().map_err(|error| SandboxError::new(error.to_string()))?;
    seccompiler::apply_filter(&program).map_err(|error| {
        SandboxError::new(format!("{error}; the kernel needs CONFIG_SECCOMP_FILTER"))
    })
}

/// No filter for this processor.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
pub(crate) fn allow_listed() -> Result<(), SandboxError> {
    Err(SandboxError::new(format!(
        "there is no filter for {} processors yet",
        std::env::consts::ARCH
    )))
}

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod filter {
    use std::collections::BTreeMap;
    use std::env::consts::ARCH;
    use std::iter;

    use rustix::process::{Signal, getpid};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as ArgLen, SeccompCmpOp as CmpOp,
        SeccompCondition as Condition, SeccompFilter, SeccompRule,
    };

    /// Calls that may be made with any arguments.
    const ALLOWED: &[i64] = &[
        // Descriptors that are there.
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_ftruncate,
        libc::SYS_close,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        // Memory. For `mmap` and `mprotect` see `conditional`.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // Signals to itself, stack overflows among them, and the end.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
        // Locks that nobody else holds, and looks at itself and the clock.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
    ];

    /// `fcntl` commands that may be used. The standard library asks for
    /// `F_GETFD` before it closes, in debug builds.
    const FCNTL: [libc::c_int; 4] = [
        libc::F_GETFD,
        libc::F_GETFL,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GET_SEALS,
    ];

    pub(super) fn program() -> Result<BpfProgram, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
        rules.extend(conditional()?);
        SeccompFilter::new(
            rules,
            SeccompAction::KillProcess,
            SeccompAction::Allow,
            ARCH.try_into()?,
        )?
        .try_into()
    }

    /// Calls that may be made with some arguments only.
    fn conditional() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
        let not_executable = || rule(iter::once((2, CmpOp::MaskedEq(number(libc::PROT_EXEC)), 0)));
        // abort(3) sends SIGABRT to the thread that calls it. The
        // parent then reports that ending, and not a forbidden call.
        let own = number(getpid().as_raw_pid());
        let abort = number(Signal::ABORT.as_raw());
        let fcntl = FCNTL
            .iter()
            .map(|&command| rule(iter::once((1, CmpOp::Eq, number(command)))))
            .collect::<Result<_, _>>()?;
        Ok(BTreeMap::from([
            (libc::SYS_mmap, vec![not_executable()?]),
            (libc::SYS_mprotect, vec![not_executable()?]),
            (libc::SYS_fcntl, fcntl),
            (
                libc::SYS_tgkill,
                vec![rule([(0, CmpOp::Eq, own), (2, CmpOp::Eq, abort)])?],
            ),
            (
                libc::SYS_tkill,
                vec![rule([(0, CmpOp::Eq, own), (1, CmpOp::Eq, abort)])?],
            ),
        ]))
    }

    /// All of these hold: argument, comparison of its low 32 bits, value.
    fn rule(
        conditions: impl IntoIterator<Item = (u8, CmpOp, u64)>,
    ) -> Result<SeccompRule, BackendError> {
        let conditions = conditions
            .into_iter()
            .map(|(argument, op, value)| Condition::new(argument, ArgLen::Dword, op, value))
            .collect::<Result<_, _>>()?;
        SeccompRule::new(conditions)
    }

    /// None of these is negative.
    fn number(value: libc::c_int) -> u64 {
        u64::from(value.unsigned_abs())
    }
}
