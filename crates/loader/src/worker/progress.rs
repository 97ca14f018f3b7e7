//! Progress of the worker's work, for people: the bytes that it reads and writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::ParentChannel;
use crate::protocol::bounds::PROGRESS_MAX;
use crate::protocol::{Event, Work, WorkProgress};

/// Time between two reports: people do not read faster, and they cost time.
const PACE: Duration = Duration::from_millis(200);

/// Reports to the parent how far the work is, if anybody looks at it.
#[derive(Debug)]
pub(crate) struct ProgressSender {
    parent: Arc<ParentChannel>,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    now: WorkProgress,
    /// When it was reported.
    sent: Instant,
    /// Reports that may still be sent.
    left: u32,
}

impl ProgressSender {
    /// Returns one that nobody looks at yet.
    pub(crate) fn new(parent: &Arc<ParentChannel>) -> Self {
        Self {
            parent: Arc::clone(parent),
            state: Mutex::new(None),
        }
    }

    /// Reports from now on. The parent knows that unfolding comes first.
    pub(crate) fn start(&self) {
        self.with(|state| {
            *state = Some(State {
                now: WorkProgress::of(Work::Unfolding, None),
                sent: Instant::now(),
                left: PROGRESS_MAX,
            });
        });
    }

    /// Begins other work, on `total` bytes if that is known. It is reported once it
    /// takes its time: many images are not even hashed.
    pub(crate) fn begin(&self, work: Work, total: Option<u64>) {
        self.with(|state| {
            let Some(state) = state else { return };
            let next = WorkProgress::of(work, total);
            if state.now != next {
                state.now = next;
                state.sent = Instant::now();
            }
        });
    }

    /// Adds bytes to those that are done.
    pub(crate) fn add(&self, bytes: usize) {
        self.with(|state| {
            let Some(state) = state else { return };
            state.now.done = state.now.done.saturating_add(bytes as u64);
            if state.sent.elapsed() >= PACE {
                self.send(state);
            }
        });
    }

    fn with(&self, use_it: impl FnOnce(&mut Option<State>)) {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn send(&self, state: &mut State) {
        state.sent = Instant::now();
        let Some(left) = state.left.checked_sub(1) else {
            return;
        };
        state.left = left;
        let _gone = self.parent.send(&Event::Progress(state.now));
    }
}
