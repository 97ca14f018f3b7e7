//! Bounds of a worker's log, report and warnings.
//!
//! An honest worker stops before them for every image. One that passes a bound
//! was taken over, so the parent ends it. Without `-v`, and with the default of
//! `--max-log-lines`, the parent prints less than 1 MiB of all this for 100
//! columns, and less than 3 MiB for any other width, with colours.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;

use crate::error::{LoaderError, Result};
use crate::protocol::line::{LINE_MAX, short_line};
use crate::report::printable::json_visible;
use crate::report::{Findings, Page, ReportForm, Screen};

/// Bytes of a log that a line costs beyond its own.
const LINE_COST: u64 = 32;

/// Bytes of a log for each line that parsers may print.
const PRINTED: u64 = 256;

/// Bytes of a log, and of a report, beside the lines of parsers.
const LOG_BASE: u64 = 64 << 10;
const REPORT_BASE: u64 = 640 << 10;

/// A report has at most so many times the bytes on the narrowest terminal, for its
/// indents and colours.
const NARROW: u64 = 3;

/// Sections, and bytes that no section covers, that a report has room for.
pub(crate) const SECTIONS_MAX: usize = 1000;

/// Bytes of the signers and certificates in a report.
pub(crate) const SIGNERS_MAX: usize = 64 << 10;

/// Bytes of the companions in a report.
pub(crate) const COMPANIONS_MAX: usize = 64 << 10;

/// Bytes of the texts of sections in a report, as they are printed.
pub(crate) const TEXTS_MAX: usize = 72 << 10;

/// Bytes of all warnings.
pub(crate) const WARNINGS_MAX: usize = 32 << 10;

/// Reports of progress: five a second for three hours.
pub(crate) const PROGRESS_MAX: u32 = 1 << 16;

/// Returns how many bytes of log a worker may send that is so `verbose` (`-v` is
/// 1), where parsers may print `log_lines`.
pub(crate) fn log_max(verbose: u8, log_lines: u32) -> u64 {
    // Each level of -v logs all that the one below does, and may repeat each line.
    LOG_BASE + u64::from(verbose) * u64::from(log_lines) * PRINTED
}

/// The rest of a log's bound.
#[derive(Debug)]
pub(crate) struct LogLeft(AtomicU64);

impl LogLeft {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// As [`new`](Self::new), for the parent of a worker that keeps to `bytes`:
    /// it may say that they are used up.
    pub(crate) fn with_last_word(bytes: u64) -> Self {
        Self::new(bytes.saturating_add(LINE_MAX as u64))
    }

    /// Takes what `line` costs off; returns whether so much was left.
    pub(crate) fn take(&self, line: &str) -> bool {
        let cost = LINE_COST + line.len() as u64;
        let left = |left: u64| left.checked_sub(cost);
        let relaxed = Ordering::Relaxed;
        self.0.fetch_update(relaxed, relaxed, left).is_ok()
    }
}

/// Returns `warnings` as far as they fit, and how many do not.
pub(crate) fn fitting(warnings: Vec<String>) -> Vec<String> {
    let count = warnings.len();
    let mut left = WARNINGS_MAX - LINE_MAX;
    let mut fitting = Vec::new();
    for warning in warnings {
        let warning = short_line(&warning);
        let Some(rest) = left.checked_sub(cost(&warning)) else {
            let more = count - fitting.len();
            fitting.push(format!("warnings left out: {more}"));
            break;
        };
        left = rest;
        fitting.push(warning);
    }
    fitting
}

/// Shortens what parsers printed, stage by stage, to what a report has room
/// for; `log_lines` is how much they might.
pub(crate) fn shorten_logs<'a>(logs: impl Iterator<Item = &'a mut Vec<String>>, log_lines: u32) {
    let mut left = u64::from(log_lines) * PRINTED;
    for log in logs {
        let mut fits = |line: &String| {
            let escaped = Value::from(line.as_str()).to_string();
            let rest = left.checked_sub(LINE_COST + escaped.len() as u64);
            rest.map(|rest| left = rest).is_some()
        };
        let count = log
            .iter()
            .map_while(|line| Some(line).filter(|line| fits(line)))
            .count();
        if count < log.len() {
            let more = log.len() - count;
            log.truncate(count);
            log.push(format!("(lines without room in a report: {more})"));
            left = 0;
        }
    }
}

/// Shortens a list to the `room` that a report has for it and others, and returns
/// how many elements are left out.
pub(crate) fn shorten<T>(list: &mut Vec<T>, room: &mut usize) -> usize {
    let left_out = list.len().saturating_sub(*room);
    list.truncate(*room);
    *room -= list.len();
    left_out
}

/// Room in a report for parts of it.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    /// How many parts have none.
    pub(crate) left_out: usize,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, left_out: 0 }
    }

    /// Returns whether there is room for `part`.
    pub(crate) fn takes(&mut self, part: &impl Serialize) -> bool {
        let fits = self.fit(part).is_some();
        self.left_out += usize::from(!fits);
        fits
    }

    fn fit(&mut self, part: &impl Serialize) -> Option<()> {
        let part = serde_json::to_string_pretty(part).ok()?;
        let cost = json_visible(&part).len() + INDENT * part.lines().count();
        self.bytes = self.bytes.checked_sub(cost)?;
        Some(())
    }

    /// Shortens `list` to what there is room for.
    pub(crate) fn shorten<T: Serialize>(&mut self, list: &mut Vec<T>) {
        let count = list.iter().map_while(|one| self.fit(one)).count();
        self.left_out += list.len() - count;
        if count < list.len() {
            list.truncate(count);
            self.bytes = 0;
        }
    }
}

/// Blanks before a line of a document.
const INDENT: usize = 16;

/// Refuses a report that is not of this `form`, or too long once it is printed, where
/// parsers may print `log_lines`.
pub(crate) fn check_report(report: &Findings, form: ReportForm, log_lines: u32) -> Result<()> {
    let max = REPORT_BASE + u64::from(log_lines) * PRINTED;
    match (form, report) {
        (ReportForm::Page, Findings::Page(page)) => check_page(page, max),
        (ReportForm::Document, Findings::Document(document)) if document.is_object() => {
            check_document(document, max)
        }
        (ReportForm::Page, _) => Err(LoaderError::new("a report that is no page")),
        (ReportForm::Document, _) => Err(LoaderError::new("a report that is no document")),
    }
}

fn check_page(page: &Page, max: u64) -> Result<()> {
    if !page.is_simple() {
        return Err(LoaderError::new("a report that takes too long to lay out"));
    }
    // Most pages are far from it.
    if page.len_bound() as u64 <= max {
        return Ok(());
    }
    for (screen, max) in [(Screen::FILE, max), (Screen::NARROWEST, max * NARROW)] {
        if page.print(&screen).len() as u64 > max {
            let width = screen.width;
            return Err(LoaderError::new(format!(
                "a report of more than {max} bytes in {width} columns"
            )));
        }
    }
    Ok(())
}

fn check_document(document: &Value, max: u64) -> Result<()> {
    if document_bound(document, 0) as u64 <= max {
        return Ok(());
    }
    let mut json = Within {
        text: String::new(),
        max,
    };
    let written = writeln!(json, "{document:#}").is_ok();
    if written && json_visible(&json.text).len() as u64 <= max {
        Ok(())
    } else {
        Err(LoaderError::new(format!(
            "a document of more than {max} bytes"
        )))
    }
}

/// Returns a bound on the bytes of a document that is printed: more than it has, and
/// cheaper than printing it. A byte of a text has at most six.
fn document_bound(value: &Value, depth: usize) -> usize {
    let line = |value: &Value| document_bound(value, depth + 1) + 2 * depth + 4;
    let text = |text: &str| 6 * text.len() + 4;
    match value {
        Value::Null | Value::Bool(_) => 8,
        Value::Number(_) => 32,
        Value::String(string) => text(string),
        Value::Array(values) => 2 * depth + 4 + values.iter().map(line).sum::<usize>(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| text(name) + line(value));
            2 * depth + 4 + fields.sum::<usize>()
        }
    }
}

/// Text that ends in an error where it gets too long.
struct Within {
    text: String,
    max: u64,
}

impl fmt::Write for Within {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if (self.text.len() + more.len()) as u64 > self.max {
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

/// Returns what a warning takes of [`WARNINGS_MAX`].
pub(crate) fn cost(warning: &str) -> usize {
    LINE_COST as usize + warning.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::error::Failure;
    use crate::protocol::Event;

    #[test]
    fn every_text_of_a_worker_is_read_as_a_line() {
        let text = || "\u{7}".repeat(2000);
        let mut failure = Failure::new(text());
        failure.place.layer = Some(text());
        failure.place.hook = Some(text());
        let read = |event: &Event| {
            let event = serde_json::from_slice(&serde_json::to_vec(event).unwrap()).unwrap();
            match event {
                Event::Log(line) => vec![line],
                Event::Failed(ending) => {
                    let Failure { place, message, .. } = ending.failure;
                    vec![place.layer.unwrap(), place.hook.unwrap(), message]
                }
                other => panic!("{other:?}"),
            }
        };
        for line in [Event::Log(text()), Event::Failed(Box::new(failure.into()))]
            .iter()
            .flat_map(read)
        {
            assert_eq!(line, short_line(&text()));
        }
    }

    #[test]
    fn lines_of_a_log_draw_on_it_also_when_they_are_empty() {
        let log = LogLeft::new(log_max(0, 1000));
        assert_eq!((0..1 << 20).take_while(|_| log.take("")).count(), 2048);
        assert_eq!(log_max(1, 1000), (64 << 10) + 256_000);
        let log = LogLeft::new(100);
        assert!(!log.take(&"x".repeat(69)) && log.take(&"x".repeat(68)) && !log.take(""));
    }

    #[test]
    fn warnings_that_do_not_fit_are_counted() {
        let some = vec!["one".to_owned(), "two\n".to_owned()];
        assert_eq!(fitting(some), ["one", "two\\n"]);
        let many = fitting(vec!["x".repeat(1000); 100]);
        assert_eq!(many.len(), 28);
        assert_eq!(many[27], "warnings left out: 73");
        assert!(many.iter().map(|warning| cost(warning)).sum::<usize>() <= WARNINGS_MAX);
    }

    #[test]
    fn a_log_that_does_not_fit_a_report_says_so() {
        let log = || vec!["x".repeat(100); 10];
        let mut logs = [log(), log(), log()];
        shorten_logs(logs.iter_mut(), 8);
        assert_eq!(logs[0], log());
        assert_eq!(logs[1].len(), 6);
        assert_eq!(logs[1][5], "(lines without room in a report: 5)");
        assert_eq!(logs[2], ["(lines without room in a report: 10)"]);
        let mut usual = [vec!["x".repeat(200); 1000], vec![]];
        shorten_logs(usual.iter_mut(), 1000);
        assert_eq!(usual[0].len(), 1000);
        assert!(usual[1].is_empty());
    }

    #[test]
    fn sections_that_do_not_fit_a_report_are_counted() {
        let (mut room, mut lists) = (SECTIONS_MAX, [vec![0; 3], vec![0; 65_535], vec![0; 2]]);
        let left_out = lists.iter_mut().map(|list| shorten(list, &mut room));
        assert_eq!(left_out.sum::<usize>(), 65_535 + 5 - SECTIONS_MAX);
        let lens = lists.map(|list| list.len());
        assert_eq!(lens, [3, SECTIONS_MAX - 3, 0]);
        assert_eq!(shorten(&mut vec![0; 96], &mut { SECTIONS_MAX }), 0);
    }

    #[test]
    fn signers_that_do_not_fit_a_report_are_counted() {
        let mut room = Room::new(TEXTS_MAX);
        assert!(room.takes(&["x".repeat(40 << 10)]));
        assert!(
            !room.takes(&vec![""; 2000]),
            "each line takes one of the page"
        );
        assert!(
            !room.takes(&["\u{1}".repeat(6 << 10)]),
            "it is printed as six bytes"
        );
        assert_eq!(room.left_out, 2);
        let mut room = Room::new(SIGNERS_MAX);
        let mut usual = vec!["x".repeat(1500); 30];
        room.shorten(&mut usual);
        assert_eq!((usual.len(), room.left_out), (30, 0));
        // Escapes count.
        let mut long = vec!["\u{202e}".repeat(600); 30];
        room.shorten(&mut long);
        assert_eq!((long.len(), room.left_out), (5, 25));
        let mut more = vec![""];
        room.shorten(&mut more);
        assert_eq!((more.len(), room.left_out), (0, 26));
    }

    #[test]
    fn a_report_is_as_long_as_it_is_printed() {
        let max = REPORT_BASE + 1000 * PRINTED;
        let page = |text: &str| check_page(&Page::of_lines(text), max).is_err();
        let document = |document: &Value| check_document(document, max).is_err();
        let section = json!({
            "name": "\\u{7f}".repeat(8), "offset": u32::MAX, "size": u32::MAX, "address": u32::MAX,
            "virtual_size": u32::MAX, "permissions": "rwx", "characteristics": u32::MAX,
            "sha256": "0".repeat(64),
        });
        let sections =
            |count| json!({ "layers": [{ "pe": { "sections": vec![section.clone(); count] }}]});
        assert!(!document(&sections(SECTIONS_MAX)));
        assert!(document(&sections(20_000)));
        let text = "x".repeat(900_000);
        assert!(!page(&text));
        assert!(page(&text.repeat(2)));
        // Escapes count.
        assert!(!page(&"\n".repeat(300_000)));
        assert!(page(&"\u{7}".repeat(300_000)));
        assert!(document(&json!(["\u{202e}".repeat(200_000)])));
        // So does the room before the lines.
        let deep = (0..100).fold(json!([0]), |inner, _| json!([inner]));
        assert!(document(&json!(vec![deep; 100])));
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let text = any::<Vec<u8>>().prop_map(|it| String::from_utf8_lossy(&it).into_owned());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            let array = prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from);
            let fields = prop::collection::vec((text.clone(), inner), 0..6);
            prop_oneof![
                array,
                fields.prop_map(|it| Value::Object(it.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn no_document_passes_its_bound(document in any_document()) {
            let printed = json_visible(&format!("{document:#}\n")).len();
            let bound = document_bound(&document, 0);
            prop_assert!(printed <= bound, "{printed} of {bound}: {document}");
        }
    }
}
