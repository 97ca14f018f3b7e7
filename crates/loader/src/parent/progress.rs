//! Progress of the worker's work, as people see it.

use crate::console::{Console, Progress};
use crate::error::Result;
use crate::parent::border;
use crate::protocol::bounds::PROGRESS_MAX;
use crate::protocol::{Work, WorkProgress};

/// Progress of the work on one image.
pub(crate) struct ShownProgress {
    progress: Box<dyn Progress>,
    /// The image.
    name: String,
    /// The progress that is shown.
    now: WorkProgress,
    /// Reports that the worker may still send.
    left: u32,
}

impl ShownProgress {
    /// Begins with the unfolding of the image `name`.
    pub(crate) fn new(console: &dyn Console, name: String) -> Self {
        let what = format!("{} {name}", Work::Unfolding.name());
        Self {
            progress: console.progress(&what, None),
            name,
            now: WorkProgress::of(Work::Unfolding, None),
            left: PROGRESS_MAX,
        }
    }

    /// Returns whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        self.progress.is_shown()
    }

    /// Shows how far the worker says that it is.
    pub(crate) fn show(&mut self, now: WorkProgress) -> Result<()> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| border::sends("more progress than it may"))?;
        let is_next = (now.work, now.total) != (self.now.work, self.now.total);
        if is_next || now.done < self.now.done {
            let what = format!("{} {}", now.work.name(), self.name);
            self.progress.begin(&what, now.total);
        }
        self.progress.set(now.done);
        self.now = now;
        Ok(())
    }
}
