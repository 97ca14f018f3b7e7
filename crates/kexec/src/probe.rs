//! Whether the running kernel has `kexec_file_load(2)`, asked without a trace.
//!
//! The call looks for the right first, then at its arguments. With the right, a try
//! uses up one of `kernel.kexec_load_limit_*`; without it, `EPERM` says that the call
//! is there. So a process gives the right away for good, reads that back, and asks
//! then. It is a process of its own: nothing gives the right back to it, and where a seccomp
//! filter ends those who make the call, it alone ends.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::syscall::{Call, Child, start_child, syscall};

/// The kernel's answer to a call of `kexec_file_load(2)` by a process without
/// `CAP_SYS_BOOT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallProbe {
    /// The error number; `None` where nobody asked.
    pub(crate) errno: Option<i32>,
}

impl CallProbe {
    /// Has a child ask the kernel, and does `meanwhile`. Where none can be started, nothing is
    /// known of the call.
    pub(crate) fn beside<T>(meanwhile: impl FnOnce() -> T) -> (Self, T) {
        let child = start_child(ask);
        let done = meanwhile();
        let errno = child.and_then(Child::answer);
        let errno = errno.filter(|&errno| errno != NO_ANSWER).map(i32::from);
        (Self { errno }, done)
    }
}

/// Gives `CAP_SYS_BOOT` away, for good, and asks the kernel. It does not ask if
/// the thread still has the right. Returns the error number.
fn ask() -> u8 {
    if give_right_away() != Ok(true) {
        return NO_ANSWER;
    }
    // Nothing to load, nothing to unload, and a flag that no kernel knows.
    let answer = syscall(&Call::KexecFileLoad {
        kernel: None,
        initrd: None,
        cmdline: &[],
        flags: UNDEFINED,
    });
    let errno = answer.err().map(Errno::raw_os_error);
    // Those of system calls are below 134.
    errno.map_or(NO_ANSWER, |errno| errno.try_into().unwrap_or(NO_ANSWER))
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

/// No error number.
const NO_ANSWER: u8 = 0;

/// No flag of Linux, include/uapi/linux/kexec.h, which has them from bit 0 on.
const UNDEFINED: u32 = 1 << 31;

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
            let errno = ask();
            assert!(!holds(capabilities(None).unwrap()));
            (errno, fake::calls())
        });
        let (errno, calls) = thread.join().unwrap();
        assert_eq!(i32::from(errno), libc::ENOSYS);
        assert_eq!(
            calls,
            ["kexec_file_load(kernel -1, initrd -1, 0, \"\", 0x80000000)"]
        );
    }

    #[test]
    fn a_child_asks_and_this_process_keeps_the_right() {
        let before = capabilities(None).unwrap();
        for (answer, errno) in [(Some(Errno::NOSYS), Some(libc::ENOSYS)), (None, None)] {
            fake::answer(answer);
            assert_eq!(CallProbe::beside(|| 7), (CallProbe { errno }, 7));
        }
        assert_eq!(capabilities(None).unwrap(), before);
        assert!(fake::calls().is_empty());
    }
}
