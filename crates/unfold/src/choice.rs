//! Which parser takes an image apart.
//!
//! In this order: the one the caller gave (outermost image only), the image's
//! own, the first of the list whose match program says yes. If none fits, the
//! image is the kernel. A parser that cannot be loaded, or whose match program
//! fails, is an error: "not my format" and "broken" must not be mixed up.

use tracing::debug;
use ukexec_bpf::{AttachKind, Interface, Parser, VerifiedParser};
use ukexec_pe::Subsystem;

use crate::error::Place;
use crate::host::Phase;
use crate::interface::{MATCH, PARSER_MAX, PARSER_SECTION};
use crate::layer::Current;
use crate::report::{AskedReport, ParserInfo, Warning, WarningKind};
use crate::stage::{Armed, Inputs, Session, programs_on};
use crate::{Options, ParserFile, ParserOrigin, UnfoldCause, UnfoldError};

/// A parser that is going to run.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) info: ParserInfo,
    pub(crate) parser: VerifiedParser,
}

/// The parsers there are to choose from.
#[derive(Debug)]
pub(crate) struct Chooser<'a> {
    options: &'a Options,
    listed: Vec<Listed<'a>>,
}

/// A parser of the list, loaded when it is first asked.
#[derive(Debug)]
struct Listed<'a> {
    file: &'a ParserFile,
    loaded: Option<VerifiedParser>,
}

impl<'a> Chooser<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        let listed = options
            .parsers
            .iter()
            .map(|file| Listed { file, loaded: None })
            .collect();
        Self { options, listed }
    }

    /// Returns the parser for stage number `stage`, or `None` if the image is
    /// the kernel.
    pub(crate) fn choose(
        &mut self,
        stage: u32,
        layer: &Current,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        let mut place = Place::in_layer(&layer.path, Some(stage));
        let chosen = match self.given(stage, &mut place, session)? {
            Some(given) => Some(given),
            None => match self.own(&mut place, layer, session)? {
                Some(own) => Some(own),
                None => self.listed(&mut place, inputs, session)?,
            },
        };
        if let (Some(_), Some(fault)) = (&chosen, layer.pe_fault()) {
            session.warnings.push(Warning {
                layer: layer.path.clone(),
                stage: None,
                kind: WarningKind::PeFault {
                    reason: fault.to_string(),
                },
            });
        }
        Ok(chosen)
    }

    /// Returns the parser that the caller gave, for the outermost image.
    fn given(
        &self,
        stage: u32,
        place: &mut Place,
        session: &Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        let Some(file) = self.options.parser.as_ref().filter(|_| stage == 1) else {
            return Ok(None);
        };
        let info = ParserInfo::new(&file.name, ParserOrigin::Given);
        place.parser = Some(info.clone());
        let parser = load(&file.object, session.interface).map_err(|c| place.error(c))?;
        Ok(Some(Chosen { info, parser }))
    }

    /// Returns the parser that the image carries.
    fn own(
        &self,
        place: &mut Place,
        layer: &Current,
        session: &mut Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        let pe = layer.pe().filter(|_| self.options.embedded_parsers);
        let Some((pe, section)) = pe.and_then(|pe| Some((pe, pe.section(PARSER_SECTION)?))) else {
            return Ok(None);
        };
        if !pe.is_efi_application() {
            let Subsystem(subsystem) = pe.subsystem();
            session.warnings.push(Warning {
                layer: layer.path.clone(),
                stage: None,
                kind: WarningKind::NotAnEfiApplication { subsystem },
            });
            return Ok(None);
        }
        let info = ParserInfo::new(PARSER_SECTION, ParserOrigin::Embedded);
        place.parser = Some(info.clone());
        let content = section.content();
        let size = content.end.saturating_sub(content.start);
        let limit = session.budget.meter.memory.min(PARSER_MAX);
        if size > limit {
            return Err(place.error(UnfoldCause::ParserTooBig { size, limit }));
        }
        let object = layer
            .image
            .slice(content)
            .and_then(|content| content.to_vec());
        let object = object.map_err(|error| place.error(error))?;
        let parser = load_own(&object, session.interface).map_err(|cause| place.error(cause))?;
        Ok(Some(Chosen { info, parser }))
    }

    /// Returns the first parser of the list that says the image is its own.
    fn listed(
        &mut self,
        place: &mut Place,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        for listed in &mut self.listed {
            let info = ParserInfo::new(&listed.file.name, listed.file.origin);
            place.parser = Some(info.clone());
            let parser = listed.parser(place, session)?;
            if !can_answer(&parser) {
                continue;
            }
            let answer = ask(place, &info, &parser, inputs, session)?;
            let fits = answer.fits;
            session.asked.push(answer);
            if fits {
                return Ok(Some(Chosen { info, parser }));
            }
        }
        place.parser = None;
        Ok(None)
    }
}

impl Listed<'_> {
    fn parser(
        &mut self,
        place: &Place,
        session: &mut Session<'_>,
    ) -> Result<VerifiedParser, UnfoldError> {
        if let Some(parser) = &self.loaded {
            return Ok(parser.clone());
        }
        let parser =
            load(&self.file.object, session.interface).map_err(|cause| place.error(cause))?;
        if !can_answer(&parser) {
            let name = self.file.name.clone();
            let kind = match programs_on(&parser, MATCH).next() {
                None => WarningKind::NoMatchProgram { parser: name },
                Some(_) => WarningKind::MatchCannotAnswer { parser: name },
            };
            session.warnings.push(Warning {
                layer: place.layer.clone(),
                stage: None,
                kind,
            });
        }
        Ok(self.loaded.insert(parser).clone())
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

/// Returns what the match programs of `parser` say.
pub(crate) fn ask(
    place: &Place,
    info: &ParserInfo,
    parser: &VerifiedParser,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<AskedReport, UnfoldError> {
    let insns = session.budget.meter.insns;
    let mut armed = Armed::new(place.clone(), parser, inputs, session)?;
    let fits = armed.run_hook(Phase::Match)?;
    let (record, _programs) = armed.disarm();
    let insns = insns.saturating_sub(session.budget.meter.insns);
    debug!(
        layer = place.layer,
        parser = info.name,
        fits,
        insns,
        "asked a parser"
    );
    Ok(AskedReport {
        parser: info.clone(),
        fits,
        insns,
        log: record.log,
        refusals: record.refusals,
    })
}

/// Loads a plain BPF object or a light skeleton.
pub(crate) fn load(object: &[u8], interface: &Interface) -> Result<VerifiedParser, UnfoldCause> {
    Ok(Parser::load(object, interface)?.verify()?)
}

/// Loads what lies in a section `.bpf`.
fn load_own(object: &[u8], interface: &Interface) -> Result<VerifiedParser, UnfoldCause> {
    if object.is_empty() {
        return Err(UnfoldCause::EmptyParser);
    }
    load(object, interface)
}
