//! The border of trust: what a worker says is held against what it can be.
//!
//! A worker that was taken over can send whatever it likes. An honest one stays
//! within these bounds, whatever the image is: so one that does not is ended.

use std::fmt;

use ukexec_pe::ByteRanges;
use ukexec_unfold::CMDLINE_MAX;

use crate::protocol::Answer;
use crate::protocol::bounds::{WARNINGS_MAX, check_report, cost};

/// Objections of a machine to a kernel: there are few kinds of them.
const PROBLEMS_MAX: usize = 64;

/// A PE has 65,535 sections at most, and a few ranges of its headers are hashed.
const RANGES_MAX: usize = (1 << 16) + 8;

/// Authenticode fills up to a multiple of 8.
const PADDING_MAX: u64 = 7;

/// The worker's numbers do not fit what there is. No image can cause that, only
/// a worker that was taken over.
#[derive(Debug, thiserror::Error)]
#[error("the worker cannot be trusted: it {what}; nothing was done with its answer")]
pub(crate) struct BadAnswer {
    what: String,
}

impl BadAnswer {
    /// It names `what`, which is not there or not to be named.
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        let what = format!("names {what}");
        Self { what }
    }

    /// It sends `what`, which is more than can be, or no sense.
    pub(crate) fn sent(what: impl fmt::Display) -> Self {
        let what = format!("sends {what}");
        Self { what }
    }
}

/// Refuses an answer of which something is longer than it can be; its spans are
/// not looked at.
pub(crate) fn check_answer(answer: &Answer, log_lines: u32) -> Result<(), BadAnswer> {
    let report = check_report(&answer.text, &answer.document, log_lines);
    report.map_err(|error| BadAnswer::sent(error.to_string()))?;
    let warnings: usize = answer.warnings.iter().map(|warning| cost(warning)).sum();
    if warnings > WARNINGS_MAX {
        let what = format!("warnings of {warnings} bytes, where {WARNINGS_MAX} are all");
        return Err(BadAnswer::sent(what));
    }
    if let Ok(kernel) = &answer.identity
        && kernel.problems.len() > PROBLEMS_MAX
    {
        let what = format!("{} objections to one kernel", kernel.problems.len());
        return Err(BadAnswer::sent(what));
    }
    let cmdline = answer.cmdline.as_deref().unwrap_or_default();
    if cmdline.len() as u64 > CMDLINE_MAX {
        let len = cmdline.len();
        let what = format!("a command line of {len} bytes, where {CMDLINE_MAX} are all");
        return Err(BadAnswer::sent(what));
    }
    match cmdline.iter().position(|byte| *byte == 0) {
        Some(at) => Err(BadAnswer::sent(format!(
            "a command line with a NUL at byte {at}"
        ))),
        None => Ok(()),
    }
}

/// Refuses to hash what no PE image calls for.
pub(crate) fn check_hashed(hashed: &ByteRanges) -> Result<(), BadAnswer> {
    let count = hashed.ranges.len();
    if count > RANGES_MAX {
        return Err(BadAnswer::sent(format!(
            "{count} ranges to hash, where {RANGES_MAX} are all"
        )));
    }
    let padding = hashed.padding;
    if padding > PADDING_MAX {
        let what = format!("{padding} bytes of padding to hash, where {PADDING_MAX} are all");
        return Err(BadAnswer::sent(what));
    }
    Ok(())
}
