//! `ukexec parser check`: what a parser is, or every reason why it is refused.

use std::path::Path;

use serde_json::{Value, json};
use ukexec_bpf::vm::Vm;
use ukexec_bpf::{LoadError, Meter, Parser, VerifyError};
use ukexec_unfold::HANDLE_HOOK;

use super::facts::{Facts, place};
use super::read;
use crate::args::ParserCheck;
use crate::console;
use ukexec_loader::report::failure::sentence;
use ukexec_loader::shown;

pub(crate) fn check(args: &ParserCheck) -> anyhow::Result<()> {
    let object = read(&args.file)?;
    let (parser, memory) = accept(&args.file, &object)?;
    let facts = Facts {
        path: &args.file,
        object: &object,
        parser: &parser,
        memory,
    };
    if args.json {
        console::json(&facts.document())
    } else {
        console::out(&facts.text())
    }
}

/// Does all that an unfolding does before a parser runs. Returns the parser and
/// the bytes of memory that it takes.
fn accept(path: &Path, object: &[u8]) -> Result<(Parser, u64), Refused> {
    let refused = |reasons| Refused {
        file: shown(path),
        reasons,
    };
    let loaded = Parser::load_or_explain(object, &ukexec_unfold::interface());
    let parser = loaded.map_err(|all| refused(all.iter().map(Reason::of_load).collect()))?;
    let verified = parser.verify_or_explain();
    let mut reasons = Vec::new();
    if !parser
        .programs
        .iter()
        .any(|program| program.hook == HANDLE_HOOK)
    {
        reasons.push(Reason::plain(format!(
            "no program is on hook {HANDLE_HOOK}, which parsers hand over in"
        )));
    }
    let verified = match verified {
        Ok(verified) if reasons.is_empty() => verified,
        Ok(_) => return Err(refused(reasons)),
        Err(all) => {
            reasons.extend(all.iter().map(Reason::of_verify));
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
#[derive(Debug, thiserror::Error)]
#[error("{file}: this loader refuses the parser{}", told(.reasons))]
pub(crate) struct Refused {
    file: String,
    reasons: Vec<Reason>,
}

impl Refused {
    /// Returns all reasons as documents have them.
    pub(crate) fn reasons(&self) -> Value {
        self.reasons
            .iter()
            .map(|reason| {
                let mut value = reason.place.clone();
                value["message"] = json!(reason.message);
                value
            })
            .collect()
    }
}

/// One reason: a sentence, and where in the parser.
#[derive(Debug)]
struct Reason {
    message: String,
    /// The fields of a place that are known.
    place: Value,
}

impl Reason {
    fn plain(message: String) -> Self {
        Self {
            message,
            place: json!({}),
        }
    }

    fn of_load(error: &LoadError) -> Self {
        let (program, code) = match error {
            LoadError::Kfunc { program, place, .. } => (Some(program), place),
            LoadError::Relocation { place, .. } | LoadError::CoreRelo { place, .. } => {
                (None, place)
            }
            _ => return Self::plain(sentence(error)),
        };
        let line = code.line.as_ref();
        Self {
            message: sentence(error),
            place: json!({
                "program": program,
                "section": code.section,
                "function": code.function,
                "insn": code.slot,
                "file": line.map(|line| &*line.file),
                "line": line.map(|line| line.line),
            }),
        }
    }

    fn of_verify(error: &VerifyError) -> Self {
        match error {
            VerifyError::Insn { place: at, .. } => Self {
                message: sentence(error),
                place: place(at),
            },
            _ => Self::plain(sentence(error)),
        }
    }
}

/// Returns one reason behind a colon, several one below the other.
fn told(reasons: &[Reason]) -> String {
    match reasons {
        [] => String::new(),
        [only] => format!(": {}", only.message),
        several => {
            let lines = several
                .iter()
                .map(|reason| format!("\n  {}", reason.message));
            format!(
                " for {} reasons:{}",
                several.len(),
                lines.collect::<String>()
            )
        }
    }
}
