//! The effects of a stage's programs, as far as its host saw them.

use std::collections::BTreeSet;

use ukexec_bpf::{Rope, SourceId};

use crate::handed_over::{Charged, HandedOver};
use crate::report::{Resource, last_lines, without_kernel};
use crate::{Budget, UnfoldError};

/// The effects of programs, as far as the host saw them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) handed_over: HandedOver,
    /// The profile that the parser says it chose.
    pub(crate) profile: Option<u32>,
    pub(crate) log: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// The resources that a limit of ukexec's kept out, and why. A parser may
    /// pass over that like over any refusal; the stage may not.
    pub(crate) kept_out: Vec<(Resource, String)>,
    /// Why calls failed: the last few, oldest first.
    pub(crate) refusals: Vec<String>,
    /// Why the last of them did that a limit is to blame for.
    pub(crate) limit: Option<String>,
    /// How often decompression was tried, failures included.
    pub(crate) decompressions: u32,
    /// Bytes of images whose signature was asked about.
    pub(crate) verified: u64,
    /// The output of decompression, and its length.
    pub(crate) outputs: Vec<SourceId>,
    pub(crate) decompressed: u64,
    /// The buffers for the parser of the next level, in v7.
    pub(crate) filled: Vec<Charged<Rope>>,
    /// The resources that commands handed over.
    pub(crate) copied: BTreeSet<Resource>,
    /// Whether the parser said that it is done, in v7.
    pub(crate) done: bool,
    /// Whether a command failed since.
    pub(crate) failed: bool,
    /// Bytes of [`crate::Budget::output`] that are drawn for hand-overs that
    /// are longer than all there is.
    pub(crate) repeated: u64,
}

impl Record {
    /// Remembers a warning, the same one once.
    pub(crate) fn warn(&mut self, warning: String) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Remembers why a call failed, and whether a limit is to blame.
    pub(crate) fn refuse(&mut self, reason: String, is_limit: bool) {
        if is_limit {
            self.limit = Some(reason.clone());
        }
        if self.refusals.len() >= MAX_REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push(reason);
    }

    /// Gives back to `budget` what lives with the hand-overs, none of which counts. Work that was
    /// done stays paid for.
    pub(crate) fn roll_back(self, budget: &mut Budget) {
        let filled = self.filled.iter().map(|buffer| buffer.charged);
        let held = filled.fold(self.handed_over.charged(), u64::saturating_add);
        let Budget { meter, output, .. } = budget;
        meter.memory = meter.memory.saturating_add(held);
        *output = output.saturating_add(self.repeated);
    }

    /// Refuses a stage that a limit kept a resource out of.
    pub(crate) fn check_kept_out(&self) -> Result<(), UnfoldError> {
        match self.kept_out.first() {
            None => Ok(()),
            Some((resource, reason)) => Err(self.limited(format!(
                "the parser supplied the {resource}, but it was rejected: {reason}"
            ))),
        }
    }

    /// Returns the error of a stage that ended without a kernel.
    pub(crate) fn no_kernel(&self) -> UnfoldError {
        if let Some(limit) = &self.limit {
            return self.limited(limit.clone());
        }
        let text = without_kernel(&self.handed_over.report());
        let mut notes = self.notes();
        if self.log.is_empty() {
            notes.push("the parser printed nothing".to_owned());
        }
        UnfoldError::new(text).noted(notes)
    }

    /// Returns the error of a stage that a limit kept from its end, as `text` says.
    pub(crate) fn limited(&self, text: String) -> UnfoldError {
        UnfoldError::limit(&text).noted(self.notes_without(&text))
    }

    /// Returns the [`Self::notes`] but for the reason that `text` ends with.
    pub(crate) fn notes_without(&self, text: &str) -> Vec<String> {
        let says_it = |note: &String| {
            let known = note.strip_prefix(FAILED);
            known
                .and_then(|it| it.split_once(": "))
                .is_some_and(|(_, reason)| text.ends_with(reason))
        };
        let mut notes = self.notes();
        notes.retain(|note| !says_it(note));
        notes
    }

    /// Returns the last calls that failed, and the last lines that the parser
    /// printed.
    pub(crate) fn notes(&self) -> Vec<String> {
        let failed = self.refusals.iter();
        let failed = failed.map(|reason| format!("{FAILED}{reason}"));
        failed.chain(last_lines(&self.log)).collect()
    }
}

/// Begins the note of a call that failed.
const FAILED: &str = "failed: ";
/// Warnings of a stage that are remembered.
const MAX_WARNINGS: usize = 16;
/// Refusals that are remembered.
const MAX_REFUSALS: usize = 4;
