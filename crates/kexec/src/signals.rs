//! Signals that wait while something incomplete has a name.

use std::marker::PhantomData;

use crate::syscall::{Call, syscall};

/// Keeps `SIGHUP`, `SIGINT`, `SIGQUIT` and `SIGTERM` from the calling thread
/// until it is dropped; what came in the meantime counts then.
#[derive(Debug)]
pub struct HeldSignals {
    /// Signal masks belong to threads.
    _of_this_thread: PhantomData<*const ()>,
}

impl HeldSignals {
    /// Holds them back, as far as the kernel lets us.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it has an effect")]
    pub fn new() -> Self {
        let _not_worth_failing = syscall(&Call::HoldSignals { hold: true });
        Self {
            _of_this_thread: PhantomData,
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        let _as_above = syscall(&Call::HoldSignals { hold: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::fake;

    #[test]
    fn signals_are_held_and_released() {
        drop(HeldSignals::new());
        assert_eq!(fake::calls(), ["hold signals", "release signals"]);
    }
}
