//! Signals that wait: while something incomplete has a name, or for good.

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

/// Has a file that gets too long (`RLIMIT_FSIZE`, `ulimit -f`) be an error of
/// whoever writes, `EFBIG`, instead of the end of this process (`SIGXFSZ`).
///
/// To be called before there are other threads. Programs that are run from here
/// begin as others do.
pub fn fail_on_long_files() {
    let _not_worth_failing = hold(Signals::FileSize, true);
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
        fail_on_long_files();
        assert_eq!(fake::calls(), ["hold FileSize"]);
    }
}
