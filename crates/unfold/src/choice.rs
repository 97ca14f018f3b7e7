//! Which parser takes an image apart.
//!
//! In this order: the one the caller gave (outermost image only), the image's
//! own, the first of the list that is for it. If none is, the image is the
//! kernel. A parser that cannot be loaded, or whose match program fails, is an
//! error: "not my format" and "broken" must not be mixed up.
//!
//! Parsers of v5 and v6 say by a match program that an image is theirs; what
//! they do then counts. Those of v7, in containers and alone, may let an image be
//! after a look at it, so that they are tried.

use std::slice;

use ukexec_pe::Subsystem;

use crate::chosen::{Chosen, can_answer};
use crate::context::Inputs;
use crate::error::Place;
use crate::generation::Generation;
use crate::layer::LayerImage;
use crate::names::{MATCH, PARSER_MAX, PARSER_SECTION};
use crate::plan::{Level, Plan, Slot, none_takes_it, try_level, warn_of_headers};
use crate::report::ParserInfo;
use crate::stage::{self, Session, StageResult};
use crate::{Options, ParserFile, ParserOrigin, ParserPlace, UnfoldError};

/// The end of a stage, and the levels for the layers inside.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) found: Box<StageResult>,
    pub(crate) levels: Vec<Level>,
}

impl Taken {
    fn alone(found: Box<StageResult>) -> Self {
        let levels = Vec::new();
        Self { found, levels }
    }
}

/// The parsers there are to choose from.
#[derive(Debug)]
pub(crate) struct Chooser<'a> {
    /// The one that the caller gave, until the outermost image is looked at.
    given: Option<&'a ParserFile>,
    embedded: bool,
    /// The parsers of the list, each read when it is first needed.
    listed: Vec<(&'a ParserFile, Option<Plan>)>,
}

impl<'a> Chooser<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self {
            given: options.parser.as_ref(),
            embedded: options.embedded_parsers,
            listed: options.parsers.iter().map(|file| (file, None)).collect(),
        }
    }

    /// Has a parser take `layer` apart in stage number `stage`. `None` if the image is the kernel.
    pub(crate) fn take_apart(
        &mut self,
        stage: u32,
        layer: &LayerImage,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Taken>, UnfoldError> {
        let mut place = Place::in_layer(&layer.path, Some(stage));
        let taken = match self.given.take() {
            Some(file) => Some(given(file, &mut place, layer, inputs, session)?),
            None => self.own(&mut place, layer, inputs, session)?,
        };
        match taken {
            Some(taken) => Ok(Some(taken)),
            None => self.listed(&mut place, layer, inputs, session),
        }
    }

    /// Runs the parser that the image carries.
    fn own(
        &mut self,
        place: &mut Place,
        layer: &LayerImage,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Taken>, UnfoldError> {
        let object = match self.section(place, layer, session) {
            Ok(None) => return Ok(None),
            Ok(Some(object)) => Ok(object),
            Err(error) => Err(error),
        };
        let taken = object.and_then(|object| {
            let info = ParserInfo::new(PARSER_SECTION, ParserOrigin::Embedded);
            let chosen = Chosen::load(info, &object, place, session)?;
            chosen.check_place(ParserPlace::Image, place)?;
            run(&chosen, place, layer, inputs, session)
        });
        match taken {
            // Where signatures are required, an image's own parser is not passed over.
            Err(error) if !error.is_final() && !session.gate.requires_signatures() => {
                Err(self.advise(error, layer, inputs, session))
            }
            taken => taken.map(Taken::alone).map(Some),
        }
    }

    /// Returns the parser in section `.bpf`.
    fn section(
        &self,
        place: &mut Place,
        layer: &LayerImage,
        session: &mut Session<'_>,
    ) -> Result<Option<Vec<u8>>, UnfoldError> {
        let pe = layer.pe().filter(|_| self.embedded);
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
        Ok(Some(object))
    }

    /// Adds to the error of an image's own parser that another one would take the image apart.
    fn advise(
        &mut self,
        error: UnfoldError,
        layer: &LayerImage,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> UnfoldError {
        let place = Place::in_layer(&layer.path, None);
        let mut built_in = self
            .listed
            .iter_mut()
            .filter(|(file, _)| file.origin == ParserOrigin::BuiltIn);
        let fitting = built_in.find_map(|(file, _)| {
            let info = ParserInfo::new(&file.name, file.origin);
            let chosen = Chosen::load_match(info, &file.object, &mut place.clone(), session);
            let chosen = chosen.ok()?;
            let (answer, _) = chosen.ask(&place, inputs, session);
            answer.unwrap_or(false).then(|| file.name.clone())
        });
        match fitting {
            Some(name) => error.and_note(format!(
                "the built-in parser {name} fits; it runs with --no-embedded-parser"
            )),
            None => error,
        }
    }

    /// Has the first parser of the list that is for the image take it apart.
    fn listed(
        &mut self,
        place: &mut Place,
        layer: &LayerImage,
        inputs: &Inputs<'_>,
        session: &mut Session<'_>,
    ) -> Result<Option<Taken>, UnfoldError> {
        let stage = place.stage.unwrap_or_default();
        for (file, plan) in &mut self.listed {
            place.parser = None;
            let plan = match plan {
                Some(plan) => plan,
                None => plan.insert(Plan::read(file, file.origin, place)?),
            };
            let found = match plan {
                Plan::One(slot) => answering(slot, place, layer, inputs, session)?,
                Plan::Levels(level, _) => try_level(stage, layer, level, inputs, session)?,
            };
            if let Some(found) = found {
                let levels = match plan {
                    Plan::One(_) => Vec::new(),
                    Plan::Levels(_, inner) => inner.clone(),
                };
                return Ok(Some(Taken { found, levels }));
            }
        }
        Ok(None)
    }
}

/// Has a parser of the list take `layer` apart, if it is for it.
fn answering(
    slot: &mut Slot,
    place: &mut Place,
    layer: &LayerImage,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<Option<Box<StageResult>>, UnfoldError> {
    let (chosen, is_first) = slot.asking(place, session)?;
    if chosen.generation == Generation::V7 {
        let stage = place.stage.unwrap_or_default();
        return try_level(stage, layer, slice::from_mut(slot), inputs, session);
    }
    if is_first {
        warn_unless_answering(chosen, place, session);
    }
    if !can_answer(&chosen.parser) {
        return Ok(None);
    }
    place.parser = Some(chosen.info.clone());
    let (answer, asked) = chosen.ask(place, inputs, session);
    let fits = answer?;
    session.asked.push(asked);
    if !fits {
        return Ok(None);
    }
    let chosen = slot.load(place, session)?;
    run(chosen, place, layer, inputs, session).map(Some)
}

/// Has the parser take `layer` apart that the caller gave for it.
fn given(
    file: &ParserFile,
    place: &mut Place,
    layer: &LayerImage,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<Taken, UnfoldError> {
    let (mut level, levels) = match Plan::read(file, ParserOrigin::Given, place)? {
        Plan::One(mut slot) => {
            let chosen = slot.load(place, session)?;
            return run(chosen, place, layer, inputs, session).map(Taken::alone);
        }
        Plan::Levels(level, levels) => (level, levels),
    };
    let stage = place.stage.unwrap_or_default();
    let found = try_level(stage, layer, &mut level, inputs, session)?;
    let found = found.ok_or_else(|| none_takes_it(stage, layer, &level, session))?;
    Ok(Taken { found, levels })
}

/// Runs a parser that alone is to take `layer` apart.
fn run(
    chosen: &Chosen,
    place: &Place,
    layer: &LayerImage,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<Box<StageResult>, UnfoldError> {
    warn_of_headers(layer, session);
    session.chosen = Some(chosen.info.clone());
    let stage = place.stage.unwrap_or_default();
    stage::run(stage, &layer.path, chosen, inputs, session).of_only_one(place)
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
