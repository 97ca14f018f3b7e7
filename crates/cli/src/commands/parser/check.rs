//! `ukexec parser check`: the facts about a parser, or every reason why it is
//! refused.

use std::borrow::Cow;

use serde::Serialize;
use ukexec_bpf::Place;
use ukexec_unfold::{ParserRefusal, accept};

use super::facts::Facts;
use super::read_all;
use crate::args::ParserCheck;
use crate::console;
use ukexec_loader::Failure;
use ukexec_loader::report::failure::sentence;
use ukexec_loader::report::fault;
use ukexec_loader::report::{Page, SCHEMA};
use ukexec_loader::shown;

pub(crate) fn check(args: &ParserCheck) -> anyhow::Result<()> {
    let subjects = read_all(&args.file, args.slot.as_deref())?;
    let several = subjects.len() > 1;
    let mut accepted = Vec::new();
    let mut reasons = Vec::new();
    for subject in &subjects {
        match accept(&subject.object, subject.place) {
            Ok(parser) => accepted.push((subject, parser)),
            Err(refusals) => {
                let slot = subject.slot.as_deref().filter(|_| several);
                let its_reasons = refusals.into_iter().map(Reason::from);
                reasons.extend(its_reasons.map(|reason| reason.of_slot(slot)));
            }
        }
    }
    if !reasons.is_empty() {
        let file = match subjects.as_slice() {
            [only] => only.name.clone(),
            _ => shown(&args.file),
        };
        return Err(Refused::new(file, reasons).into());
    }
    let facts = accepted.iter();
    let facts = facts.map(|(subject, parser)| Facts::new(&args.file, subject, parser));
    let facts: Vec<Facts<'_>> = facts.collect();
    match (args.json, facts.as_slice()) {
        (true, [only]) if args.slot.is_some() || only.slot.is_none() => {
            console::json(&serde_json::to_value(only)?)?;
        }
        (true, slots) => console::json(&serde_json::to_value(Container {
            schema: SCHEMA,
            parser: args.file.to_string_lossy(),
            form: "container",
            slots,
        })?)?,
        (false, all) => {
            for (index, one) in all.iter().enumerate() {
                if index > 0 {
                    console::out("\n")?;
                }
                console::page(&one.page())?;
            }
        }
    }
    for one in &facts {
        for warning in one.warnings() {
            match one.slot.filter(|_| several) {
                Some(slot) => console::warn(&format!("slot {slot}: {warning}")),
                None => console::warn(warning),
            }
        }
    }
    Ok(())
}

/// The parsers of a container, in the order in which they are tried.
#[derive(Serialize)]
struct Container<'a> {
    schema: u32,
    parser: Cow<'a, str>,
    form: &'static str,
    slots: &'a [Facts<'a>],
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
    /// Refuses the parser in `file` for `reasons`.
    pub(super) fn new(file: String, reasons: Vec<Reason>) -> Self {
        Self { file, reasons }
    }

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

impl From<ParserRefusal> for Reason {
    fn from(refusal: ParserRefusal) -> Self {
        match refusal {
            ParserRefusal::Fault(error) => Self {
                failure: fault::refusal(&error),
                message: sentence(&error),
                place: error.place().cloned().map(Box::new),
            },
            ParserRefusal::HandsOverNothing(generation) => Self::stated(format!(
                "no program is on hook {}, which parsers of ABI {generation} hand over in",
                generation.hook()
            )),
            ParserRefusal::Generation(message) => Self::stated(message),
        }
    }
}

impl Reason {
    /// Says which slot of a container it is about, where there are several.
    fn of_slot(mut self, slot: Option<&str>) -> Self {
        if let Some(slot) = slot {
            let slot = format!("slot {slot}");
            self.message = format!("{slot}: {}", self.message);
            self.failure = self.failure.of_part(&slot);
        }
        self
    }

    fn stated(message: String) -> Self {
        Self {
            failure: fault::stated(message.clone()),
            place: None,
            message,
        }
    }
}
