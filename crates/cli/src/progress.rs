//! Progress on long work, on stderr and only where a person looks at it.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::image::name;

/// Work that is too short to be seen draws nothing.
const QUIET_FOR: Duration = Duration::from_millis(300);

/// A bar, which is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: std::time::Instant,
}

impl Progress {
    /// Starts work on `len` bytes of `path`.
    pub(crate) fn bytes(what: &str, path: &Path, len: u64) -> Self {
        Self::new(
            ProgressBar::with_draw_target(Some(len), hidden()),
            what,
            path,
        )
    }

    /// Starts work whose end is not known.
    pub(crate) fn spinner(what: &str, path: &Path) -> Self {
        Self::new(ProgressBar::with_draw_target(None, hidden()), what, path)
    }

    fn new(bar: ProgressBar, what: &str, path: &Path) -> Self {
        let name = name(path);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("{what} {name}"));
        Self {
            bar,
            started: std::time::Instant::now(),
        }
    }

    /// Tells how many bytes are done.
    pub(crate) fn set(&self, done: u64) {
        if self.bar.is_hidden()
            && std::io::stderr().is_terminal()
            && self.started.elapsed() > QUIET_FOR
        {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn hidden() -> ProgressDrawTarget {
    ProgressDrawTarget::hidden()
}
