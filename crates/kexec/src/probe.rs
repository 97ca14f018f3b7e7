//! Whether the running kernel has `kexec_file_load(2)` and `kexec_load(2)`, asked without a
//! trace.
//!
//! Each call looks for the right first, then at its arguments. With the right, a try
//! uses up one of `kernel.kexec_load_limit_*`; without it, `EPERM` says that the call
//! is there. So a process gives the right away for good, reads that back, and asks
//! then. It is a process of its own: nothing gives the right back to it, and where a seccomp
//! filter ends those who make the calls, it alone ends.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::machine::{LoadCall, LoadKind, MachineState};
use crate::syscall::{Call, Child, start_child, syscall};

/// The kernel's answers to calls by a process without `CAP_SYS_BOOT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallProbe {
    pub(crate) kexec_file_load: CallAnswer,
    pub(crate) kexec_load: CallAnswer,
}

/// The meaning of an answer for whether there is the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CallAnswer {
    /// Nobody asked, or nobody answered.
    #[default]
    Unknown,
    /// There is no such call (`ENOSYS`).
    Missing,
    /// There is, and it refuses (`EPERM`, `EINVAL`).
    There,
    /// Neither Linux's call nor its absence answers so.
    Strange,
}

impl MachineState {
    /// Returns whether the running kernel has `call`, if that is known.
    #[must_use]
    pub fn has_call(&self, call: LoadCall) -> Option<bool> {
        match self.calls.of(call) {
            _ if self.kexec == Some(false) => Some(false),
            CallAnswer::Missing => Some(false),
            // A seccomp filter would answer for the kernel.
            CallAnswer::There if self.seccomp == Some(false) => Some(true),
            _ => None,
        }
    }

    /// Returns this state with calls that the kernel has, or has not: those of a machine that
    /// nobody can ask.
    #[must_use]
    pub fn with_calls(self, kexec_file_load: bool, kexec_load: bool) -> Self {
        let answer = |is_there| match is_there {
            true => CallAnswer::There,
            false => CallAnswer::Missing,
        };
        Self {
            calls: CallProbe {
                kexec_file_load: answer(kexec_file_load),
                kexec_load: answer(kexec_load),
            },
            seccomp: Some(false),
            ..self
        }
    }

    /// Returns the call by which this machine loads a kernel of this kind: `kexec_load(2)` only
    /// where the running kernel itself lacks the other one, which verifies what it loads, and
    /// where ukexec can place such a kernel.
    #[must_use]
    pub fn load_call(&self, kind: LoadKind) -> LoadCall {
        let has = |call| self.has_call(call);
        // A seccomp filter may hide the other call.
        let lacks_file_call = has(LoadCall::KexecFileLoad) == Some(false)
            && has(LoadCall::KexecLoad) != Some(false)
            && self.seccomp != Some(true);
        let places = match self.machine.as_deref() {
            Some("aarch64" | "riscv64") => true,
            Some("x86_64") => kind == LoadKind::Reboot,
            _ => false,
        };
        match lacks_file_call && places {
            true => LoadCall::KexecLoad,
            false => LoadCall::KexecFileLoad,
        }
    }
}

impl CallProbe {
    /// Has a child ask the kernel, and does `meanwhile`. Where none can be started, nothing is
    /// known of the calls.
    pub(crate) fn beside<T>(meanwhile: impl FnOnce() -> T) -> (Self, T) {
        let child = start_child(ask);
        let done = meanwhile();
        let code = child.and_then(Child::answer);
        (code.map_or_else(Self::default, Self::from_code), done)
    }

    /// Returns the answer of one call.
    pub(crate) fn of(self, call: LoadCall) -> CallAnswer {
        match call {
            LoadCall::KexecFileLoad => self.kexec_file_load,
            LoadCall::KexecLoad => self.kexec_load,
        }
    }

    /// Returns the number that the child ends with.
    fn code(self) -> u8 {
        self.kexec_file_load.code() | self.kexec_load.code() << CallAnswer::BITS
    }

    fn from_code(code: u8) -> Self {
        Self {
            kexec_file_load: CallAnswer::from_code(code),
            kexec_load: CallAnswer::from_code(code >> CallAnswer::BITS),
        }
    }
}

impl CallAnswer {
    const BITS: u8 = 2;
    /// In the order of their codes.
    const ALL: [Self; 4] = [Self::Unknown, Self::Missing, Self::There, Self::Strange];

    fn of(answer: Result<(), Errno>) -> Self {
        match answer {
            Err(Errno::NOSYS) => Self::Missing,
            Err(Errno::PERM | Errno::INVAL) => Self::There,
            Ok(()) | Err(_) => Self::Strange,
        }
    }

    fn code(self) -> u8 {
        let at = Self::ALL.iter().position(|it| *it == self);
        at.and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
    }

    /// Reads the lowest bits.
    fn from_code(code: u8) -> Self {
        let at = usize::from(code & 0b11);
        Self::ALL.get(at).copied().unwrap_or_default()
    }
}

/// Gives `CAP_SYS_BOOT` away, for good, and asks the kernel. It does not ask if
/// the thread still has the right. Returns the code of a [`CallProbe`].
fn ask() -> u8 {
    let mut answers = CallProbe::default();
    if give_right_away() == Ok(true) {
        // Nothing to load, nothing to unload, and a flag that no kernel knows.
        answers.kexec_file_load = CallAnswer::of(syscall(&Call::KexecFileLoad {
            kernel: None,
            initrd: None,
            cmdline: &[],
            flags: UNDEFINED_FILE_FLAG,
        }));
        // No segments would drop a kernel, if there were not a flag that no kernel knows, and
        // which each looks at before.
        answers.kexec_load = CallAnswer::of(syscall(&Call::KexecLoad {
            entry: 0,
            segments: &[],
            flags: UNDEFINED_FLAG,
        }));
    }
    answers.code()
}

/// Returns whether `CAP_SYS_BOOT` is gone from all sets of this thread, as the kernel
/// sees it.
fn give_right_away() -> Result<bool, Errno> {
    let had = holds(capabilities(None)?);
    // Each may fail where there is nothing to take; the sets say what came of it.
    let _refused = remove_capability_from_bounding_set(RIGHT);
    let _refused = configure_capability_in_ambient_set(RIGHT, false);
    let CapabilitySets {
        effective,
        permitted,
        inheritable,
    } = capabilities(None)?;
    let _refused = set_capabilities(
        None,
        CapabilitySets {
            effective: effective.difference(RIGHT),
            permitted: permitted.difference(RIGHT),
            inheritable: inheritable.difference(RIGHT),
        },
    );
    // Only who may change capabilities can change the bounding set. It gives nothing
    // by itself: it bounds what a program that is run gets, and none is run here.
    let bounded = !had || !capability_is_in_bounding_set(RIGHT)?;
    Ok(!holds(capabilities(None)?) && !capability_is_in_ambient_set(RIGHT)? && bounded)
}

fn holds(sets: CapabilitySets) -> bool {
    (sets.effective | sets.permitted | sets.inheritable).contains(RIGHT)
}

const RIGHT: CapabilitySet = CapabilitySet::SYS_BOOT;

/// No flag of Linux, include/uapi/linux/kexec.h, which has them from bit 0 on.
const UNDEFINED_FILE_FLAG: u32 = 1 << 31;

/// Likewise for `kexec_load(2)`, whose flags end where the architecture begins.
const UNDEFINED_FLAG: u32 = 1 << 15;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::syscall::fake;

    #[test]
    fn asks_without_the_right_for_nothing_at_all() {
        // Capabilities belong to a thread.
        let thread = thread::spawn(|| {
            fake::answer(Some(Errno::NOSYS));
            let code = ask();
            assert!(!holds(capabilities(None).unwrap()));
            (CallProbe::from_code(code), fake::calls())
        });
        let (answers, calls) = thread.join().unwrap();
        assert_eq!(answers, both(CallAnswer::Missing));
        assert_eq!(
            calls,
            [
                "kexec_file_load(kernel -1, initrd -1, 0, \"\", 0x80000000)",
                "kexec_load(0x0, [], 0x8000)",
            ]
        );
    }

    #[test]
    fn a_child_asks_and_this_process_keeps_the_right() {
        let before = capabilities(None).unwrap();
        for (answer, expected) in [
            (Some(Errno::NOSYS), CallAnswer::Missing),
            (Some(Errno::PERM), CallAnswer::There),
            (Some(Errno::INVAL), CallAnswer::There),
            (Some(Errno::IO), CallAnswer::Strange),
            (None, CallAnswer::Strange),
        ] {
            fake::answer(answer);
            assert_eq!(CallProbe::beside(|| 7), (both(expected), 7));
        }
        assert_eq!(capabilities(None).unwrap(), before);
        assert!(fake::calls().is_empty());
    }

    #[test]
    fn both_answers_fit_into_the_code() {
        for kexec_file_load in CallAnswer::ALL {
            for kexec_load in CallAnswer::ALL {
                let probe = CallProbe {
                    kexec_file_load,
                    kexec_load,
                };
                assert_eq!(CallProbe::from_code(probe.code()), probe);
                assert_eq!(probe.of(LoadCall::KexecFileLoad), kexec_file_load);
                assert_eq!(probe.of(LoadCall::KexecLoad), kexec_load);
            }
        }
    }

    #[test]
    fn kexec_load_is_for_kernels_that_lack_the_other_call() {
        for (arch, kind, call) in [
            ("aarch64", LoadKind::Reboot, LoadCall::KexecLoad),
            ("riscv64", LoadKind::Crash, LoadCall::KexecLoad),
            ("x86_64", LoadKind::Reboot, LoadCall::KexecLoad),
            ("x86_64", LoadKind::Crash, LoadCall::KexecFileLoad),
            ("loongarch64", LoadKind::Reboot, LoadCall::KexecFileLoad),
        ] {
            let mut machine = MachineState::default().with_calls(false, true);
            machine.machine = Some(arch.to_owned());
            assert_eq!(machine.load_call(kind), call, "{arch} {kind:?}");
            machine.seccomp = Some(true);
            // A filter may hide the call that the kernel has.
            assert_eq!(machine.load_call(kind), LoadCall::KexecFileLoad);
            machine.seccomp = None;
            assert_eq!(machine.load_call(kind), call, "{arch} {kind:?}");
            let all = machine.with_calls(true, true);
            assert_eq!(all.load_call(kind), LoadCall::KexecFileLoad);
        }
    }

    #[test]
    fn a_filter_may_answer_for_the_kernel() {
        let has = |answer, seccomp, kexec| {
            let machine = MachineState {
                calls: both(answer),
                seccomp,
                kexec,
                ..MachineState::default()
            };
            machine.has_call(LoadCall::KexecLoad)
        };
        assert_eq!(has(CallAnswer::There, Some(false), Some(true)), Some(true));
        assert_eq!(has(CallAnswer::There, Some(true), Some(true)), None);
        assert_eq!(has(CallAnswer::There, None, Some(true)), None);
        assert_eq!(has(CallAnswer::Strange, Some(false), None), None);
        assert_eq!(has(CallAnswer::Unknown, Some(false), Some(true)), None);
        assert_eq!(
            has(CallAnswer::Missing, Some(true), Some(true)),
            Some(false)
        );
        assert_eq!(
            has(CallAnswer::There, Some(false), Some(false)),
            Some(false)
        );
    }

    fn both(answer: CallAnswer) -> CallProbe {
        CallProbe {
            kexec_file_load: answer,
            kexec_load: answer,
        }
    }
}
