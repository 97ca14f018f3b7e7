//! The limit on the time that the parent waits for a worker.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ukexec_unfold::Budget;

use crate::error::{ErrorKind, LoaderError};

/// How long a worker may let its parent wait, all in all. Its processor time is
/// limited, but one that was taken over can sleep.
#[derive(Debug)]
pub(crate) struct WaitBudget {
    whole: Duration,
    left: Cell<Duration>,
}

impl WaitBudget {
    /// Returns the time for a worker with these limits: twice its processor
    /// time, since it may have to share the processor.
    pub(crate) fn new(budget: &Budget) -> Self {
        let seconds = cpu_seconds(budget).saturating_mul(2);
        #[cfg(feature = "escape")]
        let seconds = match std::env::var("UKEXEC_ESCAPE").as_deref() {
            Ok("sleep") => 1,
            // Time to send its log before, however busy the machine is.
            Ok("sleep behind a log") => 5,
            _ => seconds,
        };
        // No clock goes much further than a hundred years.
        Self::of(Duration::from_secs(seconds.min(u32::MAX.into())))
    }

    fn of(whole: Duration) -> Self {
        let left = Cell::new(whole);
        Self { whole, left }
    }

    /// Lets `wait` wait until the deadline at most, and takes the time that
    /// passed off the budget. Work of the parent's own in between does not
    /// count.
    pub(crate) fn spend<T>(&self, wait: impl FnOnce(Instant) -> T) -> T {
        let start = Instant::now();
        let done = wait(start + self.left.get());
        let left = self.left.get().saturating_sub(start.elapsed());
        self.left.set(left);
        done
    }

    /// Returns the error of a worker that used up its time.
    pub(crate) fn is_over(&self) -> LoaderError {
        let after = self.whole.saturating_sub(self.left.get()).as_secs();
        LoaderError::new(format!(
            "the worker, which takes the image apart, has not answered after {after} seconds of \
             waiting (--max-insns and --max-output give it more or less); nothing was done with \
             the image"
        ))
        .of_kind(ErrorKind::Budget)
    }
}

/// Returns the processor time that a worker may use, in seconds: a slow machine
/// runs a million instructions and writes a MiB in one.
pub(crate) fn cpu_seconds(budget: &Budget) -> u64 {
    60 + (budget.meter.insns >> 20) + (budget.output >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn only_waiting_takes_from_it() {
        let waiting = WaitBudget::of(Duration::from_secs(100));
        let left = || waiting.spend(|deadline| deadline - Instant::now());
        sleep(Duration::from_millis(30));
        assert!(left() > Duration::from_millis(99_980));
        waiting.spend(|_| sleep(Duration::from_millis(30)));
        assert!(left() <= Duration::from_millis(99_970));
    }

    #[test]
    fn when_it_is_over_waiting_ends_at_once() {
        let waiting = WaitBudget::of(Duration::from_millis(1));
        waiting.spend(|_| sleep(Duration::from_millis(5)));
        waiting.spend(|deadline| assert!(deadline <= Instant::now()));
        assert_eq!(
            waiting.is_over().to_string(),
            "the worker, which takes the image apart, has not answered after 0 seconds of \
             waiting (--max-insns and --max-output give it more or less); nothing was done with \
             the image"
        );
    }
}
