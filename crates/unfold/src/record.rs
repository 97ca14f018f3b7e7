//! The effects of a stage's programs, as far as its host saw them.

use ukexec_bpf::SourceId;

use crate::UnfoldCause;
use crate::handed_over::HandedOver;
use crate::report::{Resource, WarningKind};

/// The effects of programs, as far as the host saw them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) handed_over: HandedOver,
    /// The profile that the parser says it chose.
    pub(crate) profile: Option<u32>,
    pub(crate) log: Vec<String>,
    pub(crate) warnings: Vec<WarningKind>,
    /// What was not taken because of a limit of ukexec's, and why. A parser may
    /// pass over that like over any refusal; the stage may not.
    pub(crate) limited: Vec<(Resource, String)>,
    /// Why calls failed: the last few, oldest first.
    pub(crate) refusals: Vec<String>,
    /// How often decompression was tried, failures included.
    pub(crate) decompressions: u32,
    /// The output of decompression, and its length.
    pub(crate) outputs: Vec<SourceId>,
    pub(crate) decompressed: u64,
    /// Bytes of [`crate::Budget::output`] that are drawn for hand-overs that
    /// are longer than all there is.
    pub(crate) repeated: u64,
}

impl Record {
    /// Remembers a warning, the same one once.
    pub(crate) fn warn(&mut self, warning: WarningKind) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Remembers why a call failed.
    pub(crate) fn refuse(&mut self, reason: String) {
        if self.refusals.len() >= MAX_REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push(reason);
    }

    /// Returns the error of a stage that ended without a kernel.
    pub(crate) fn nothing_handed_over(&self) -> UnfoldCause {
        let HandedOver {
            initrd, cmdline, ..
        } = &self.handed_over;
        let handed_over = [
            initrd.as_ref().map(|_| Resource::Initrd),
            cmdline.as_ref().map(|_| Resource::Cmdline),
        ];
        let quoted_from = self.log.len().saturating_sub(QUOTED_LINES);
        UnfoldCause::NothingHandedOver {
            handed_over: handed_over.into_iter().flatten().collect(),
            log: self.log.iter().skip(quoted_from).cloned().collect(),
            refusals: self.refusals.clone(),
        }
    }
}

/// Warnings of a stage that are remembered.
const MAX_WARNINGS: usize = 16;
/// Refusals that are remembered.
const MAX_REFUSALS: usize = 4;
/// Lines of a parser that an error quotes.
const QUOTED_LINES: usize = 5;
