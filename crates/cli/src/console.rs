//! The terminal: results on stdout, notes and progress on stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use ukexec_loader::report::{json_line, json_text, one_line, visible};
use ukexec_loader::{Console, Progress, Unfolding};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// As one document.
    Json,
    /// As documents of one line each.
    JsonLine,
}

/// Whether notes are left out; they are not before [`start`].
static QUIET: AtomicBool = AtomicBool::new(false);

/// Sets how everything is printed from now on.
pub(crate) fn start(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether stdout has a report, and whether another one begins.
static HAS_REPORT: AtomicBool = AtomicBool::new(false);
static BEGINS: AtomicBool = AtomicBool::new(false);

/// Begins a report: a blank line keeps it apart from the one before it.
pub(crate) fn begin_report(form: Form) {
    let follows = form == Form::Text && HAS_REPORT.load(Ordering::Relaxed);
    BEGINS.store(follows, Ordering::Relaxed);
}

/// Writes `text` to stdout. A reader that has gone away, such as `head`, is
/// not worth an error; a full disk is.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    HAS_REPORT.store(true, Ordering::Relaxed);
    let gap = if BEGINS.swap(false, Ordering::Relaxed) {
        "\n"
    } else {
        ""
    };
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(format!("{gap}{}", visible(text)).as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the report to stdout")
        }
        _ => Ok(()),
    }
}

/// Writes `text` to stderr.
pub(crate) fn err(text: &str) {
    let _gone = io::stderr().write_all(visible(text).as_bytes());
}

/// Writes a note about a step to stderr, unless the caller wants none.
pub(crate) fn note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        error(text);
    }
}

/// Writes notes about records of loads to stderr, unless the caller wants none.
pub(crate) fn record_notes(notes: impl IntoIterator<Item = String>) {
    let notes = notes.into_iter();
    notes.for_each(|text| note(&format!("note: {text}")));
}

/// Writes a warning to stderr.
pub(crate) fn warn(text: &str) {
    error(&format!("warning: {text}"));
}

/// Writes why something failed to stderr.
pub(crate) fn error(text: &str) {
    err(&format!("ukexec: {}\n", one_line(text)));
}

/// Writes a document to stdout.
pub(crate) fn json(document: &Value) -> anyhow::Result<()> {
    out(&json_text(document))
}

/// Writes a document to stdout, in one line or several.
pub(crate) fn document(document: &Value, form: Form) -> anyhow::Result<()> {
    if form == Form::JsonLine {
        out(&json_line(document))
    } else {
        json(document)
    }
}

/// Writes the report of an unfolding to stdout, and its warnings to stderr.
pub(crate) fn report(unfolding: &Unfolding, form: Form) -> anyhow::Result<()> {
    if form == Form::Text {
        out(unfolding.text())?;
    } else {
        document(unfolding.document(), form)?;
    }
    unfolding.warnings().iter().for_each(|text| warn(text));
    Ok(())
}

/// Standard error, where a person may look at it.
pub(crate) struct Terminal;

impl Terminal {
    /// Returns it in the type that the loader expects.
    pub(crate) fn shared() -> Arc<dyn Console> {
        Arc::new(Self)
    }
}

impl Console for Terminal {
    fn warn(&self, text: &str) {
        warn(text);
    }

    fn log(&self, line: &str) {
        err(&format!("{line}\n"));
    }

    fn progress(&self, what: &str, len: Option<u64>) -> Box<dyn Progress> {
        Box::new(Bar::new(what, len))
    }
}

/// A bar draws nothing for work that nobody could see.
const QUIET_FOR: Duration = Duration::from_millis(300);

/// A bar, which is gone when this is dropped.
struct Bar {
    bar: ProgressBar,
    started: Instant,
}

impl Bar {
    fn new(what: &str, len: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::hidden());
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self {
            bar,
            started: Instant::now(),
        }
    }
}

impl Progress for Bar {
    fn set(&self, done: u64) {
        let is_seen = || io::stderr().is_terminal() && self.started.elapsed() > QUIET_FOR;
        if self.bar.is_hidden() && is_seen() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
