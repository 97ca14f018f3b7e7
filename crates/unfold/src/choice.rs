//! Which parser takes an image apart.
//!
//! In this order: the one the caller gave (outermost image only), the image's
//! own, the first of the list whose match program says yes. If none fits, the
//! image is the kernel. A parser that cannot be loaded, or whose match program
//! fails, is an error: "not my format" and "broken" must not be mixed up.

use tracing::debug;
use ukexec_bpf::{AttachKind, Parser, VerifiedParser};
use ukexec_pe::Subsystem;

use crate::context::Inputs;
use crate::error::Place;
use crate::generation::Generation;
use crate::layer::LayerImage;
use crate::names::{MATCH, PARSER_MAX, PARSER_SECTION};
use crate::report::{AskedReport, ParserInfo};
use crate::stage::{Armed, Session};
use crate::{Options, ParserFile, ParserOrigin, UnfoldError};

/// A parser that is going to run.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) info: ParserInfo,
    pub(crate) parser: VerifiedParser,
    pub(crate) generation: Generation,
}

/// A parser that was loaded, and the generation that it is for.
type Loaded = (VerifiedParser, Generation);

/// The parsers there are to choose from.
#[derive(Debug)]
pub(crate) struct Chooser<'a> {
    options: &'a Options,
    /// The parsers of the list, each loaded when it is first asked.
    listed: Vec<(&'a ParserFile, Option<Loaded>)>,
}

impl<'a> Chooser<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        let listed = options.parsers.iter().map(|file| (file, None)).collect();
        Self { options, listed }
    }

    /// Returns the parser for stage number `stage`, or `None` if the image is
    /// the kernel.
    pub(crate) fn choose(
        &mut self,
        stage: u32,
        layer: &LayerImage,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        let mut place = Place::in_layer(&layer.path, Some(stage));
        let mut chosen = match &self.options.parser {
            Some(file) if stage == 1 => {
                let info = ParserInfo::new(&file.name, ParserOrigin::Given);
                Some(Chosen::load(info, &file.object, &mut place, session)?)
            }
            _ => self.own(&mut place, layer, session)?,
        };
        if chosen.is_none() {
            chosen = self.listed(&mut place, inputs, session)?;
        }
        if let (Some(_), Some(fault)) = (&chosen, layer.pe_fault()) {
            let text = format!(
                "the image begins with MZ but is no sound PE32+ file, so that no signature and no \
                 .bpf section of it is looked for: {fault}"
            );
            session.warn(&layer.path, None, text);
        }
        Ok(chosen)
    }

    /// Returns the parser that the image carries.
    fn own(
        &self,
        place: &mut Place,
        layer: &LayerImage,
        session: &mut Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        let pe = layer.pe().filter(|_| self.options.embedded_parsers);
        let Some((pe, section)) = pe.and_then(|pe| Some((pe, pe.section(PARSER_SECTION)?))) else {
            return Ok(None);
        };
        if !pe.is_efi_application() {
            let Subsystem(subsystem) = pe.subsystem();
            let text = format!(
                "section .bpf is ignored: the image is no EFI application (Subsystem is \
                 {subsystem}, not 10)"
            );
            session.warn(&layer.path, None, text);
            return Ok(None);
        }
        let info = ParserInfo::new(PARSER_SECTION, ParserOrigin::Embedded);
        place.parser = Some(info.clone());
        let content = section.content();
        let size = content.end.saturating_sub(content.start);
        let limit = session.budget.meter.memory.min(PARSER_MAX);
        if size > limit {
            return Err(UnfoldError::new(format!(
                "section .bpf has {size} bytes; expected at most {limit} (parsers have up to 64 \
                 MiB, and no more than the memory budget has left)"
            ))
            .at(place));
        }
        let object = layer
            .image
            .slice(content)
            .and_then(|content| content.to_vec())
            .map_err(|error| UnfoldError::unread(error).at(place))?;
        if object.is_empty() {
            let text =
                "section .bpf is empty; expected a BPF object (ukexec attach puts one there)";
            return Err(UnfoldError::new(text).at(place));
        }
        Chosen::load(info, &object, place, session).map(Some)
    }

    /// Returns the first parser of the list that says the image is its own.
    fn listed(
        &mut self,
        place: &mut Place,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Chosen>, UnfoldError> {
        for (file, loaded) in &mut self.listed {
            let info = ParserInfo::new(&file.name, file.origin);
            let chosen = match loaded.clone() {
                Some((parser, generation)) => Chosen {
                    info,
                    parser,
                    generation,
                },
                None => {
                    let chosen = Chosen::load(info, &file.object, place, session)?;
                    warn_unless_answering(&chosen, place, session);
                    *loaded = Some((chosen.parser.clone(), chosen.generation));
                    chosen
                }
            };
            if !can_answer(&chosen.parser) {
                continue;
            }
            place.parser = Some(chosen.info.clone());
            let answer = chosen.ask(place, inputs, session)?;
            let fits = answer.fits;
            session.asked.push(answer);
            if fits {
                return Ok(Some(chosen));
            }
        }
        place.parser = None;
        Ok(None)
    }
}

/// Warns of a parser of the list that never fits.
fn warn_unless_answering(chosen: &Chosen, place: &Place, session: &mut Session<'_>) {
    let mut programs = chosen.parser.programs.iter();
    let why = match programs.any(|program| program.hook == MATCH) {
        _ if can_answer(&chosen.parser) => return,
        false => "it has no program on hook ukexec_match_image",
        true => {
            "its program on hook ukexec_match_image is fentry, which has no answer; make it fmod_ret"
        }
    };
    let text = format!("parser {} is never chosen: {why}", chosen.info.name);
    session.warn(&place.layer, None, text);
}

/// Returns whether `parser` has a match program whose answer counts: an
/// `fentry` program has none.
pub(crate) fn can_answer(parser: &Parser) -> bool {
    parser
        .programs
        .iter()
        .any(|program| program.hook == MATCH && program.attach == AttachKind::FmodRet)
}

impl Chosen {
    /// Loads a plain BPF object or a light skeleton, and has `place` name it.
    pub(crate) fn load(
        info: ParserInfo,
        object: &[u8],
        place: &mut Place,
        session: &mut Session<'_>,
    ) -> Result<Self, UnfoldError> {
        place.parser = Some(info.clone());
        let parser = Parser::load(object, session.interface)
            .map_err(|error| UnfoldError::caused("the parser cannot be loaded", error).at(place))?
            .verify()
            .map_err(|error| UnfoldError::caused("the parser is refused", error).at(place))?;
        let generation = Generation::of(&parser).map_err(|mixed| {
            UnfoldError::new(format!("the parser is refused: {mixed}")).at(place)
        })?;
        Ok(Self {
            info,
            parser,
            generation,
        })
    }

    /// Returns the answer of the parser's match programs.
    pub(crate) fn ask(
        &self,
        place: &Place,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<AskedReport, UnfoldError> {
        let insns = session.budget.meter.insns;
        let mut armed = Armed::new(place.clone(), self, inputs, session)?;
        let fits = armed.run_hook(MATCH)?;
        let (record, _programs) = armed.disarm();
        let insns = insns.saturating_sub(session.budget.meter.insns);
        let (layer, parser) = (&place.layer, &self.info.name);
        debug!(layer, parser, fits, insns, "asked a parser");
        Ok(AskedReport {
            parser: self.info.clone(),
            fits,
            insns,
            log: record.log,
            refusals: record.refusals,
        })
    }
}
