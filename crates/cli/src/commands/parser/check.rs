//! `ukexec parser check`: the facts about a parser, or every reason why it is
//! refused.

use serde::Serialize;
use ukexec_bpf::Place;
use ukexec_unfold::{ParserRefusal, accept};

use super::facts::Facts;
use super::read;
use crate::args::ParserCheck;
use crate::console;
use ukexec_loader::Failure;
use ukexec_loader::report::Page;
use ukexec_loader::report::failure::sentence;
use ukexec_loader::report::fault;
use ukexec_loader::shown;

pub(crate) fn check(args: &ParserCheck) -> anyhow::Result<()> {
    let object = read(&args.file)?;
    let accepted = accept(&object).map_err(|reasons| Refused {
        file: shown(&args.file),
        reasons: reasons.into_iter().map(Reason::from).collect(),
    })?;
    let facts = Facts::new(&args.file, &object, &accepted);
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
            ParserRefusal::Mixed(message) => Self::stated(message),
        }
    }
}

impl Reason {
    fn stated(message: String) -> Self {
        Self {
            failure: fault::stated(message.clone()),
            place: None,
            message,
        }
    }
}
