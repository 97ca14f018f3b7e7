//! A parser's fault, in the manner of a compiler: what is wrong, where, and the
//! facts around it.

use std::error::Error;

use ukexec_bpf::BpfError;
use ukexec_unfold::UnfoldError;

use super::failure::{find, sentence};
use super::page::{Labelled, Page, Style, Text};
use crate::error::{Failure, Place};
use crate::protocol::line::cut;

/// Notes of a failure.
pub(crate) const NOTES_MAX: usize = 24;
/// Bytes of a note, before the mark that it is cut.
pub(super) const NOTE_MAX: usize = 512;

/// Bytes of all notes, with their marks.
pub(crate) const NOTES_LEN_MAX: usize = NOTES_MAX * (NOTE_MAX + 4);

/// Returns what is wrong with a parser, or what it did wrong, and the facts around
/// it; nothing where `error` is about no parser.
pub(super) fn of(error: &(dyn Error + 'static)) -> (Option<String>, Vec<String>) {
    if let Some(Failure { summary, notes, .. }) = find(error) {
        return (summary.clone(), notes.clone());
    }
    let error: Option<&UnfoldError> = find(error);
    let Some(error) = error.filter(|error| error.parser().is_some()) else {
        return (None, Vec::new());
    };
    let fault = error.fault();
    let cause = match (fault, error.source()) {
        (Some(fault), _) => Some(summary(fault)),
        (None, cause) => cause.map(sentence),
    };
    let texts = [Some(error.text().to_owned()), cause];
    let texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
    let summary = texts.collect::<Vec<_>>().join(": ");
    let notes = fault.into_iter().flat_map(notes);
    let notes = notes.chain(error.notes().iter().cloned());
    let notes = notes.take(NOTES_MAX).map(|note| cut(&note, NOTE_MAX));
    (Some(summary), notes.collect())
}

/// Returns what is wrong, with its causes and without the place.
fn summary(fault: &BpfError) -> String {
    let cause = fault.source().map(|cause| format!(": {}", sentence(cause)));
    fault.summary() + &cause.unwrap_or_default()
}

/// Returns the address and what is there, the instruction if it is in no program
/// yet, and the calls that are open.
fn notes(fault: &BpfError) -> Vec<String> {
    let target = [fault.address(), fault.note()].into_iter().flatten();
    let target = target.collect::<Vec<_>>().join("; ");
    let target = Some(target).filter(|target| !target.is_empty());
    let section = fault.place().and_then(|place| {
        let section = place.section.as_ref()?;
        Some(format!("instruction {} of section {section}", place.slot))
    });
    let callers = fault.callers().iter();
    let callers = callers.map(|place| format!("called from {place}"));
    target.into_iter().chain(section).chain(callers).collect()
}

/// Returns a reason to refuse a parser that is about no instruction.
#[must_use]
pub fn stated(reason: String) -> Failure {
    Failure {
        summary: Some(reason.clone()),
        ..Failure::new(reason)
    }
}

/// Returns a reason to refuse a parser.
#[must_use]
pub fn refusal(reason: &BpfError) -> Failure {
    Failure {
        place: reason.place().map(Place::in_code).unwrap_or_default(),
        message: sentence(reason),
        summary: Some(summary(reason)),
        notes: notes(reason),
        ..Failure::default()
    }
}

impl Failure {
    /// Returns the failure in the manner of a compiler, if it is about a parser.
    #[must_use]
    pub fn page(&self) -> Option<Page> {
        let summary = self.summary.as_ref()?;
        let mut page = Page::default();
        let error = Text::styled(Style::Bad, "error:");
        page.line(line(0, 7, error.and(Style::Strong, format!(" {summary}"))));
        let context = self.place.context();
        let code = self.place.code();
        if let Some(place) = code.as_ref().or(context.as_ref()) {
            page.line(line(2, 6, behind("-->", place)));
        }
        if let Place {
            line: Some(number),
            source: Some(source),
            ..
        } = &self.place
            && !source.is_empty()
        {
            let number = format!("{number:>4} |    ");
            page.line(line(0, 11, behind(&number, source)));
        }
        let context = context.filter(|_| code.is_some());
        for note in self.notes.iter().chain(&context) {
            page.line(line(5, 7, behind("=", note)));
        }
        Some(page)
    }
}

impl Place {
    /// Returns the instruction, as `zboot.bpf.c:8 in parse_pe (hook H), instruction 6`.
    fn code(&self) -> Option<String> {
        let function = self.function.as_ref()?;
        let file = match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line} in "),
            _ => String::new(),
        };
        let program = self.program.as_ref().filter(|program| *program != function);
        let program = program.map(|program| format!("program {program}"));
        let hook = self.hook.as_ref().map(|hook| format!("hook {hook}"));
        let within: Vec<String> = [program, hook].into_iter().flatten().collect();
        let within = match within.as_slice() {
            [] => String::new(),
            within => format!(" ({})", within.join(", ")),
        };
        let insn = self.insn.map(|insn| format!(", instruction {insn}"));
        Some(format!(
            "{file}{function}{within}{}",
            insn.unwrap_or_default()
        ))
    }

    /// Returns the layer, the stage and the parser.
    fn context(&self) -> Option<String> {
        let layer = self.layer.clone()?;
        let stage = self.stage.map(|stage| format!("stage {stage}"));
        let parts = [Some(layer), stage, self.parser.clone()];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Returns `text` behind a sign that is no part of it.
fn behind(sign: &str, text: &str) -> Text {
    Text::styled(Style::Dim, sign).and(Style::Plain, format!(" {text}"))
}

/// Returns a row whose further lines begin at `column`.
fn line(indent: usize, column: usize, text: Text) -> Labelled {
    Labelled {
        indent,
        label: text,
        column,
        text: Text::default(),
        whole: false,
    }
}
