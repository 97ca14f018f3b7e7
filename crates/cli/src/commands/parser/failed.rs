//! Calls of helpers and kfuncs that failed, which a parser may pass over.

use std::fmt::{self, Display};

use serde::Serialize;
use ukexec_bpf::trace::Call;
use ukexec_bpf::{Parser, Place};
use ukexec_loader::report::page::{Page, Style, Text};
use ukexec_pe::counted;

use super::trace::{Argument, errno, place};

/// The calls that failed in a run: the first of each instruction, and how often
/// it failed.
#[derive(Debug, Default, Serialize)]
pub(super) struct FailedCalls {
    failed_calls: Vec<FailedCall>,
    /// Those of instructions that had no room.
    more_failed_calls: u64,
}

/// A call that failed.
#[derive(Debug, Serialize)]
struct FailedCall {
    callee: String,
    #[serde(flatten)]
    place: Option<Place>,
    #[serde(skip)]
    at: (usize, u32),
    /// The answer, as `-EFAULT`; `NULL` where it has no error number.
    answer: String,
    reason: Option<String>,
    /// The guest address that the call is about.
    address: Option<String>,
    /// The bytes there.
    len: Option<u64>,
    args: Vec<Argument>,
    count: u64,
}

impl FailedCalls {
    /// Adds a call that has answered `r0`. Returns it in words if it is the first
    /// of its instruction.
    pub(super) fn add(
        &mut self,
        parser: Option<&Parser>,
        call: &Call<'_>,
        r0: u64,
        reason: Option<&str>,
    ) -> Option<String> {
        let at = (call.program, call.slot);
        if let Some(known) = self.failed_calls.iter_mut().find(|known| known.at == at) {
            known.count = known.count.saturating_add(1);
            return None;
        }
        if self.failed_calls.len() >= PLACES_MAX {
            self.more_failed_calls = self.more_failed_calls.saturating_add(1);
            return None;
        }
        let args = Argument::all(call);
        let first = |names: &[&str]| {
            let mut names = names.iter();
            names.find_map(|name| args.iter().find(|arg| arg.name == *name))
        };
        let address = first(&ADDRESSES).map(|arg| call.memory.describe(arg.value.value));
        let len = first(&LENGTHS).map(|arg| arg.value.value);
        let failed = FailedCall {
            callee: call.callee.name().to_owned(),
            place: parser.and_then(|parser| place(parser, call.program, call.slot)),
            at,
            answer: errno(r0).unwrap_or_else(|| "NULL".to_owned()),
            reason: reason.map(str::to_owned),
            address,
            len,
            args,
            count: 1,
        };
        let text = failed.to_string();
        self.failed_calls.push(failed);
        Some(text)
    }

    /// Adds the calls that failed more than once.
    pub(super) fn rows(&self, page: &mut Page) {
        let again = self.failed_calls.iter().filter(|failed| failed.count > 1);
        for failed in again {
            let FailedCall { count, .. } = failed;
            page.row(
                Text::styled(Style::Warn, "failed"),
                format!("{count} times: {failed}"),
            );
        }
        if self.more_failed_calls > 0 {
            let text = format!("{} times: calls elsewhere", self.more_failed_calls);
            page.row(Text::styled(Style::Warn, "failed"), text);
        }
    }
}

impl Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.callee)?;
        if let Some(place) = &self.place {
            write!(f, " at {place}")?;
        }
        write!(f, ": {}", self.answer)?;
        match (&self.address, self.len) {
            (Some(address), Some(len)) => {
                let len = counted(len, "byte");
                write!(f, " ({address}, {len})")?;
            }
            (Some(address), None) => write!(f, " ({address})")?,
            (None, _) => {}
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Instructions that are remembered.
const PLACES_MAX: usize = 20;

/// Parameters that are addresses, the one that is read first.
const ADDRESSES: [&str; 12] = [
    "src", "user_ptr", "payload", "buf", "data", "s1", "s", "str", "key", "value", "ptr", "map",
];

/// Parameters that are lengths.
const LENGTHS: [&str; 6] = ["size", "len", "buf_len", "data_len", "s1_sz", "count"];
