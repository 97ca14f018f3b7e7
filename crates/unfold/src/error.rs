//! Why an unfolding failed, and where.

use std::error::Error;
use std::fmt;

use ukexec_bpf::{BpfError, Meter, Rope, RopeError};
use ukexec_pe::PeError;

use crate::{ParserInfo, Report};

/// Why an unfolding failed.
///
/// Its text begins with the place: the layer, and as far as they are known the
/// stage, the parser and the hook. The error of a [`Gate`](crate::Gate) is the
/// [`source`](Error::source).
#[derive(Debug)]
pub struct UnfoldError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    /// Empty where the source says all.
    text: String,
    /// Facts about what happened before.
    notes: Vec<String>,
    is_limit: bool,
    is_forbidden: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
    report: Report,
    left: Leftovers,
}

/// The parts that parsers had handed over when an unfolding failed: for reports, and
/// never to boot.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Leftovers {
    /// The initrd, without the caller's.
    pub initrd: Option<Rope>,
    /// The command line, without the caller's words.
    pub cmdline: Option<Vec<u8>>,
}

/// Where something failed, as far as known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) layer: String,
    pub(crate) stage: Option<u32>,
    pub(crate) parser: Option<ParserInfo>,
    pub(crate) hook: Option<&'static str>,
}

impl Place {
    pub(crate) fn in_layer(path: &str, stage: Option<u32>) -> Self {
        Self {
            layer: path.to_owned(),
            stage,
            ..Self::default()
        }
    }
}

impl UnfoldError {
    /// Returns an error without a place, which [`UnfoldError::at`] adds.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            place: Place::default(),
            text: text.into(),
            notes: Vec::new(),
            is_limit: false,
            is_forbidden: false,
            source: None,
            report: Report::default(),
            left: Leftovers::default(),
        }))
    }

    pub(crate) fn caused(
        text: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let mut error = Self::new(text);
        error.0.source = Some(source.into());
        error
    }

    pub(crate) fn unread(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused("the image cannot be read", source)
    }

    /// Returns an error because of a limit of the budget.
    pub(crate) fn limit(text: impl Into<String>) -> Self {
        let mut error = Self::new(text);
        error.0.is_limit = true;
        error
    }

    /// Returns an error because the image alone decides what the caller asked for.
    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        let mut error = Self::new(text);
        error.0.is_forbidden = true;
        error
    }

    /// Adds facts about what happened before.
    pub(crate) fn noted(mut self, notes: Vec<String>) -> Self {
        self.0.notes = notes;
        self
    }

    /// Adds one more.
    pub(crate) fn and_note(mut self, note: String) -> Self {
        self.0.notes.push(note);
        self
    }

    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.0.place = place.clone();
        self
    }

    /// Adds what was found and done before, and what is `left` of that.
    pub(crate) fn with_report(mut self, report: Report, left: Leftovers) -> Self {
        self.0.report = report;
        self.0.left = left;
        self
    }

    /// Returns what was found and done before: the last layer is the one that
    /// failed.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// Returns the parts that had been handed over.
    #[must_use]
    pub fn left(&self) -> &Leftovers {
        &self.0.left
    }

    /// Returns the path of the layer, such as `uki.efi > .linux`.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.0.place.layer
    }

    /// Returns the stage's number, from 1.
    #[must_use]
    pub fn stage(&self) -> Option<u32> {
        self.0.place.stage
    }

    /// Returns the hook whose program failed.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.0.place.hook
    }

    /// Returns the parser at work.
    #[must_use]
    pub fn parser(&self) -> Option<&ParserInfo> {
        self.0.place.parser.as_ref()
    }

    /// Returns why the parser was refused, or its run ended early.
    #[must_use]
    pub fn fault(&self) -> Option<&BpfError> {
        self.cause()
    }

    /// Returns the instruction that failed: a slot in its program's code.
    #[must_use]
    pub fn insn(&self) -> Option<u32> {
        let place = self.fault()?.place()?;
        // One in a section of an object is in no program yet.
        place.section.is_none().then_some(place.slot)
    }

    /// Returns whether a limit of the budget is used up.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.0.is_limit || self.fault().is_some_and(BpfError::is_limit)
    }

    /// Returns whether the caller asked for what
    /// [the image decides](crate::Options::image_decides_cmdline).
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.0.is_forbidden
    }

    /// Returns what failed, without the place. The [`source`](Error::source) may
    /// say more, or all.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns facts about what happened before: the last calls that failed, and
    /// the last lines that the parser printed.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Returns the byte of the layer that is wrong.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.cause::<PeError>()?.offset()
    }

    /// Returns whether no other parser may make up for it: a limit is used up, bytes cannot be
    /// read, or the host ended the run.
    pub(crate) fn is_final(&self) -> bool {
        // The host's own errors have a cause; others are about what a program did.
        let is_final = |fault: &BpfError| {
            fault.is_unreadable() || (fault.is_from_host() && fault.source().is_some())
        };
        self.is_limit() || self.fault().is_some_and(is_final) || self.cause::<RopeError>().is_some()
    }

    /// Returns what failed and its causes, without the place.
    pub(crate) fn reason(&self) -> String {
        let cause = self.source().map(chain);
        let texts = [Some(self.text().to_owned()), cause].into_iter().flatten();
        let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
        texts.join(": ")
    }

    fn cause<E: Error + 'static>(&self) -> Option<&E> {
        self.0.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for UnfoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { place, text, .. } = &*self.0;
        let mut parts = vec![place.layer.clone()];
        parts.extend(match (place.stage, &place.parser) {
            (Some(stage), Some(parser)) => Some(format!("stage {stage} ({parser})")),
            (Some(stage), None) => Some(format!("stage {stage}")),
            (None, Some(parser)) => Some(format!("parser {parser}")),
            (None, None) => None,
        });
        parts.extend(place.hook.map(|hook| format!("hook {hook}")));
        parts.push(text.clone());
        parts.retain(|part| !part.is_empty());
        f.write_str(&parts.join(": "))
    }
}

impl Error for UnfoldError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_ref()?;
        Some(&**source)
    }
}

/// Says of a fault that a limit caused how much was `granted`, and which option
/// raises it.
pub(crate) fn name_limit(fault: BpfError, granted: &Meter) -> BpfError {
    let (limit, unit, option) = if fault.is_out_of_insns() {
        (granted.insns, "instructions", "--max-insns")
    } else if fault.is_out_of_memory() {
        (granted.memory, "bytes of memory", "--max-memory")
    } else {
        return fault;
    };
    let more = fault
        .note()
        .map_or_else(String::new, |note| format!(" ({note})"));
    let limit = grouped(limit);
    fault.of_limit(format!(
        "the budget of {limit} {unit} is used up{more}; {option} raises it"
    ))
}

/// Returns `number` with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (left, digit) in (1..=digits.len()).rev().zip(digits.chars()) {
        text.push(digit);
        if left > 1 && left % 3 == 1 {
            text.push(',');
        }
    }
    text
}

/// Returns an error and all its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
