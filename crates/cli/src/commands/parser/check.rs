//! `ukexec parser check`: the facts about a parser, or every reason why it is
//! refused.

use std::path::Path;

use serde::Serialize;
use ukexec_bpf::Vm;
use ukexec_bpf::{BpfError, Meter, Parser, Place};
use ukexec_unfold::can_hand_over;

use super::facts::Facts;
use super::read;
use crate::args::ParserCheck;
use crate::console;
use ukexec_loader::Failure;
use ukexec_loader::report::Page;
use ukexec_loader::report::failure::sentence;
use ukexec_loader::report::fault::{refusal, stated};
use ukexec_loader::shown;

pub(crate) fn check(args: &ParserCheck) -> anyhow::Result<()> {
    let object = read(&args.file)?;
    let (parser, memory) = accept(&args.file, &object)?;
    let facts = Facts::new(&args.file, &object, &parser, memory);
    if args.json {
        console::json(&serde_json::to_value(&facts)?)?;
    } else {
        console::page(&facts.page())?;
    }
    for warning in facts.warnings() {
        console::warn(warning);
    }
    Ok(())
}

/// Does all that an unfolding does before a parser runs. Returns the parser and
/// the bytes of memory that it takes.
fn accept(path: &Path, object: &[u8]) -> Result<(Parser, u64), Refused> {
    let refused = |reasons| Refused {
        file: shown(path),
        reasons,
    };
    let loaded = Parser::load_or_explain(object, &ukexec_unfold::interface());
    let parser = loaded.map_err(|all| refused(all.into_iter().map(Reason::from).collect()))?;
    let verified = parser.verify_or_explain();
    let mut reasons = Vec::new();
    if !can_hand_over(&parser) {
        let message = "no program is on hook bpf_handle_pefile, which parsers hand over in";
        reasons.push(Reason::plain(message.to_owned()));
    }
    let verified = match verified {
        Ok(verified) if reasons.is_empty() => verified,
        refusal => {
            let more = refusal.err().into_iter().flatten();
            reasons.extend(more.map(Reason::from));
            return Err(refused(reasons));
        }
    };
    let mut meter = Meter::default();
    let whole = meter.memory;
    match Vm::new(&verified, &mut meter) {
        Ok(_armed) => Ok((parser, whole.saturating_sub(meter.memory))),
        Err(fault) => Err(refused(vec![Reason::plain(sentence(&fault))])),
    }
}

/// A parser that this loader does not take.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{}{}", self.verdict(), self.only())]
pub(crate) struct Refused {
    #[serde(skip)]
    file: String,
    reasons: Vec<Reason>,
}

/// One reason: a sentence, and where in the parser that is known.
#[derive(Debug, Serialize)]
pub(crate) struct Reason {
    message: String,
    #[serde(flatten)]
    place: Option<Box<Place>>,
    #[serde(skip)]
    failure: Failure,
}

impl Refused {
    /// Returns the verdict, without the reasons.
    pub(crate) fn verdict(&self) -> String {
        let file = &self.file;
        match self.reasons.len() {
            0 | 1 => format!("{file}: this loader refuses the parser"),
            several => format!("{file}: this loader refuses the parser for {several} reasons"),
        }
    }

    /// Returns the reasons as people see them.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Page> {
        self.reasons
            .iter()
            .filter_map(|reason| reason.failure.page())
    }

    /// Returns the one reason behind a colon; documents list several.
    fn only(&self) -> String {
        match self.reasons.as_slice() {
            [only] => format!(": {}", only.message),
            _ => String::new(),
        }
    }
}

impl Reason {
    fn plain(message: String) -> Self {
        Self {
            failure: stated(message.clone()),
            place: None,
            message,
        }
    }
}

impl From<BpfError> for Reason {
    fn from(error: BpfError) -> Self {
        Self {
            failure: refusal(&error),
            message: sentence(&error),
            place: error.place().cloned().map(Box::new),
        }
    }
}
