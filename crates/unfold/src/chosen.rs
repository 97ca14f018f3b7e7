//! A parser that was loaded, and the question whether an image is its own.

use tracing::debug;
use ukexec_bpf::{AttachKind, BpfError, Parser, VerifiedParser};

use crate::context::Inputs;
use crate::error::Place;
use crate::generation::Generation;
use crate::names::MATCH;
use crate::record::Record;
use crate::report::{AskedReport, ParserInfo};
use crate::stage::{Armed, Session};
use crate::{ParserPlace, UnfoldError};

/// A parser that may run.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) info: ParserInfo,
    pub(crate) parser: VerifiedParser,
    pub(crate) generation: Generation,
}

impl Chosen {
    /// Loads a plain BPF object or a light skeleton, and has `place` name it.
    pub(crate) fn load(
        info: ParserInfo,
        object: &[u8],
        place: &mut Place,
        session: &Session<'_>,
    ) -> Result<Self, UnfoldError> {
        let loaded = Parser::load(object, session.interface);
        Self::checked(info, loaded, place)
    }

    /// As [`Self::load`], of the match programs alone.
    pub(crate) fn load_match(
        info: ParserInfo,
        object: &[u8],
        place: &mut Place,
        session: &Session<'_>,
    ) -> Result<Self, UnfoldError> {
        let loaded = Parser::load_hook(object, session.interface, MATCH);
        Self::checked(info, loaded, place)
    }

    fn checked(
        info: ParserInfo,
        loaded: Result<Parser, BpfError>,
        place: &mut Place,
    ) -> Result<Self, UnfoldError> {
        place.parser = Some(info.clone());
        let parser = loaded
            .map_err(|error| UnfoldError::caused("the parser cannot be loaded", error).at(place))?;
        let generation = Generation::of(&parser).map_err(|mixed| {
            UnfoldError::new(format!("the parser is refused: {mixed}")).at(place)
        })?;
        let refused = match generation {
            Generation::V5 => "the parser is refused".to_owned(),
            Generation::V6 | Generation::V7 => {
                format!("the parser, of parser ABI {generation}, is refused")
            }
        };
        let parser = parser.verify();
        let parser = parser.map_err(|error| UnfoldError::caused(refused, error).at(place))?;
        Ok(Self {
            info,
            parser,
            generation,
        })
    }

    /// Refuses a parser of a generation that does not belong where it lies.
    pub(crate) fn check_place(&self, lies: ParserPlace, place: &Place) -> Result<(), UnfoldError> {
        let belongs = self.generation.check_place(lies);
        belongs.map_err(|text| UnfoldError::new(text).at(place))
    }

    /// Asks the parser's match programs. Returns their answer, or why there is none, and what
    /// they did.
    pub(crate) fn ask(
        &self,
        place: &Place,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> (Result<bool, UnfoldError>, AskedReport) {
        let insns = session.budget.meter.insns;
        let armed = Armed::new(place.clone(), self, inputs, session);
        let (answer, record) = match armed {
            Ok(mut armed) => {
                let answer = armed.run_hook(MATCH);
                (answer, armed.disarm().0)
            }
            Err(error) => (Err(error), Record::default()),
        };
        let insns = insns.saturating_sub(session.budget.meter.insns);
        let (layer, parser) = (&place.layer, &self.info.name);
        debug!(layer, parser, ?answer, insns, "asked a parser");
        let asked = AskedReport {
            parser: self.info.clone(),
            fits: matches!(answer, Ok(true)),
            insns,
            log: record.log,
            refusals: record.refusals,
            fault: answer.as_ref().err().map(UnfoldError::reason),
            done: false,
        };
        (answer, asked)
    }
}

/// Returns whether `parser` has a match program whose answer counts: an
/// `fentry` program has none.
pub(crate) fn can_answer(parser: &Parser) -> bool {
    parser
        .programs
        .iter()
        .any(|program| program.hook == MATCH && program.attach == AttachKind::FmodRet)
}
