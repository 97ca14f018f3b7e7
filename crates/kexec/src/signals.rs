//! Signals that wait: while something incomplete has a name, or for good.

use std::fs;
use std::marker::PhantomData;

use crate::syscall::{Call, Signals, syscall};

/// Keeps `SIGHUP`, `SIGINT`, `SIGQUIT` and `SIGTERM` from the calling thread
/// until it is dropped; what came in the meantime counts then.
#[derive(Debug)]
pub(crate) struct HeldSignals {
    /// Signal masks belong to threads.
    _of_this_thread: PhantomData<*const ()>,
}

impl HeldSignals {
    /// Holds them back, as far as the kernel lets us.
    pub(crate) fn new() -> Self {
        let _not_worth_failing = hold(Signals::Ending, true);
        Self {
            _of_this_thread: PhantomData,
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        let _as_above = hold(Signals::Ending, false);
    }
}

/// Starts a thread by `spawn` that is none to end the process by a signal: where
/// another one holds the signals back, they wait instead of coming here.
pub fn out_of_signals<T>(spawn: impl FnOnce() -> T) -> T {
    // A thread begins with the mask of the one that starts it.
    let _held = HeldSignals::new();
    spawn()
}

/// Returns whether this process was started to ignore `signal`, as `nohup` does.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    // Without /proc, a signal acts as it does by default.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, signal)
}

/// Reads the mask `SigIgn` of `/proc/PID/status`, whose bit 0 is signal 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = signal
        .checked_sub(1)
        .and_then(|bit| u32::try_from(bit).ok());
    let is_set = |(mask, bit)| u64::checked_shr(mask, bit).is_some_and(|it| it & 1 == 1);
    mask.zip(bit).is_some_and(is_set)
}

/// Has a file that gets too long (`RLIMIT_FSIZE`, `ulimit -f`) be an error of
/// whoever writes, `EFBIG`, instead of the end of this process (`SIGXFSZ`). Has the
/// kernel keep the ending of a child until it is asked for, also where this process was
/// started to ignore `SIGCHLD`.
///
/// To be called before there are other threads. Programs that are run from here
/// begin as others do.
pub fn settle_signals() {
    let _not_worth_failing = hold(Signals::FileSize, true);
    let _as_above = syscall(&Call::KeepEndings);
}

fn hold(which: Signals, hold: bool) -> Result<(), rustix::io::Errno> {
    syscall(&Call::HoldSignals { which, hold })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::fake;

    #[test]
    fn signals_are_held_and_released() {
        drop(HeldSignals::new());
        assert_eq!(fake::calls(), ["hold Ending", "release Ending"]);
        settle_signals();
        assert_eq!(fake::calls(), ["hold FileSize", "SIGCHLD by default"]);
    }

    #[test]
    fn a_thread_starts_while_signals_are_held() {
        let calls = out_of_signals(fake::calls);
        assert_eq!(calls, ["hold Ending"]);
        assert_eq!(fake::calls(), ["release Ending"]);
    }

    #[test]
    fn the_mask_names_ignored_signals() {
        let status = "Name:\tukexec\nSigIgn:\t0000000000000003\n";
        let ignored = |signal| ignores(status, signal);
        assert!(ignored(1) && ignored(2));
        assert!(![3, 0, -1, 65, i32::MIN].into_iter().any(ignored));
        assert!(!ignores("", 1) && !ignores("SigIgn:\tx", 1));
    }
}
