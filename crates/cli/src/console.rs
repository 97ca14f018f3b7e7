//! The terminal: results on stdout, notes and progress on stderr.

mod progress;
mod screen;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use serde_json::Value;
use ukexec_kexec::has_no_stdout;
use ukexec_loader::report::page::{Labelled, Page, Screen, Style, Text};
use ukexec_loader::report::{Findings, ReportForm, json_line, json_text, visible};
use ukexec_loader::{Console, Progress, Unfolding};

use self::progress::Bar;
pub(crate) use self::screen::Color;

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

impl From<Form> for ReportForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Text => Self::Page,
            Form::Json | Form::JsonLine => Self::Document,
        }
    }
}

/// The program that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Ukexec,
    Kexec,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Ukexec => "ukexec",
            Self::Kexec => "kexec",
        }
    }
}

/// The caller's wishes.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    program: Program,
    quiet: bool,
    color: Color,
}

static WISHES: OnceLock<Wishes> = OnceLock::new();

/// Sets, once, how everything is printed: `quiet` without notes and progress.
pub(crate) fn start(program: Program, quiet: bool, color: Color) {
    WISHES.get_or_init(|| Wishes {
        program,
        quiet,
        color,
    });
}

fn wishes() -> Wishes {
    WISHES.get().copied().unwrap_or(Wishes {
        program: Program::Ukexec,
        quiet: false,
        color: Color::Auto,
    })
}

/// Returns the name of the program, for messages.
fn name() -> &'static str {
    wishes().program.name()
}

/// Returns the columns of stdout, for those who print there themselves.
pub(crate) fn columns() -> usize {
    stdout().width
}

fn stdout() -> Screen {
    screen::behind(io::stdout(), wishes().color)
}

fn stderr() -> Screen {
    screen::behind(io::stderr(), wishes().color)
}

/// Whether stdout has a report, and whether another one begins.
static HAS_REPORT: AtomicBool = AtomicBool::new(false);
static BEGINS: AtomicBool = AtomicBool::new(false);

/// Begins a report: a blank line keeps it apart from the one before it.
pub(crate) fn begin_report(form: Form) {
    let follows = form == Form::Text && HAS_REPORT.load(Ordering::Relaxed);
    BEGINS.store(follows, Ordering::Relaxed);
}

/// Writes `page` to stdout, as [`out`] does.
pub(crate) fn page(page: &Page) -> anyhow::Result<()> {
    print(&page.print(&stdout()))
}

/// Writes `text` to stdout. A reader that has gone away, such as `head`, is
/// not worth an error; a full disk is.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    print(&visible(text))
}

fn print(text: &str) -> anyhow::Result<()> {
    HAS_REPORT.store(true, Ordering::Relaxed);
    let gap = if BEGINS.swap(false, Ordering::Relaxed) {
        "\n"
    } else {
        ""
    };
    let mut stdout = Stdout;
    let written = stdout
        .write_all(format!("{gap}{text}").as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the report to stdout")
        }
        _ => Ok(()),
    }
}

/// Standard output, which refuses what nobody would ever get to read.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if has_no_stdout() {
            let text = "it is closed";
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        io::stdout().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Writes a note about a step to stderr, unless the caller wants none.
pub(crate) fn note(text: &str) {
    if !wishes().quiet {
        message(Text::from(format!("{}: {text}", name())), 8);
    }
}

/// Writes notes about records of loads to stderr, unless the caller wants none.
pub(crate) fn record_notes(notes: impl IntoIterator<Item = String>) {
    let notes = notes.into_iter();
    notes.for_each(|text| note(&format!("note: {text}")));
}

/// Writes a warning to stderr.
pub(crate) fn warn(text: &str) {
    let label = Text::from(format!("{}: ", name())).and(Style::Warn, "warning:");
    message(label.and(Style::Plain, format!(" {text}")), 8);
}

/// Writes why something failed to stderr.
pub(crate) fn error(text: &str) {
    let label = Text::styled(Style::Bad, format!("{}:", name()));
    message(label.and(Style::Plain, format!(" {text}")), 8);
}

/// Writes a message to stderr: one line, which a terminal wraps into column
/// `hanging`.
fn message(text: Text, hanging: usize) {
    let mut page = Page::default();
    page.line(Labelled {
        indent: 0,
        label: text,
        column: hanging,
        text: Text::default(),
        whole: true,
    });
    err_page(&page);
}

/// Writes a page to stderr.
pub(crate) fn err_page(page: &Page) {
    let text = page.print(&stderr());
    let _gone = progress::beside(|| io::stderr().write_all(text.as_bytes()));
}

/// Returns whether somebody sees a question and can answer it.
pub(crate) fn has_answers() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes a question to stderr, and returns the line that is the answer to it.
pub(crate) fn ask(question: &str) -> anyhow::Result<String> {
    let question = format!("{}: {question}", name());
    progress::beside(|| io::stderr().write_all(visible(&question).as_bytes()))?;
    let mut answer = String::new();
    let line = io::stdin().lock().take(ANSWER_MAX).read_line(&mut answer);
    line.context("cannot read the answer")?;
    Ok(answer)
}

/// Bytes of an answer.
const ANSWER_MAX: u64 = 4096;

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
    findings(unfolding.report(), form)?;
    warnings(unfolding);
    Ok(())
}

/// Writes findings to stdout; a document in one line or several.
pub(crate) fn findings(findings: &Findings, form: Form) -> anyhow::Result<()> {
    match findings {
        Findings::Page(it) => page(it),
        Findings::Document(it) => document(it, form),
    }
}

/// Prints the warnings of an unfolding, which no page has.
pub(crate) fn warnings(unfolding: &Unfolding) {
    unfolding.warnings().iter().for_each(|text| warn(text));
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
        // A worker does not know which program started it.
        let line = match line.strip_prefix("ukexec: ") {
            Some(said) => format!("{}: {said}", name()),
            None => line.to_owned(),
        };
        message(Text::from(line), 2);
    }

    fn progress(&self, what: &str, len: Option<u64>) -> Box<dyn Progress> {
        if wishes().quiet || !screen::has_lines(io::stderr()) {
            return Box::new(());
        }
        Box::new(Bar::new(what, len, stderr().utf8))
    }
}

/// Takes lines of this process's own log.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(lines);
        text.lines().for_each(|line| message(Text::from(line), 2));
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
