//! Plans: the parsers that a file holds, in levels. Of each level one takes a layer apart.
//!
//! An object or a light skeleton is a plan of one parser; a container has up to 8 slots on each
//! of up to 5 levels. A parser of a slot lets an image be that is not its own, or breaks off, and
//! the next slot is tried; nothing of it counts then.

use std::{iter, mem};

use bytes::Bytes;
use ukexec_bpf::container;
use ukexec_pe::counted;

use crate::chosen::{Chosen, can_answer};
use crate::context::Inputs;
use crate::costs::wide;
use crate::error::Place;
use crate::layer::LayerImage;
use crate::report::{AskedReport, ParserInfo, StageReport};
use crate::stage::{self, Attempt, Session, StageResult};
use crate::{ParserFile, ParserOrigin, ParserPlace, UnfoldError};

/// A parser of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    info: ParserInfo,
    object: Bytes,
    /// The parser, once it is loaded.
    loaded: Option<Chosen>,
    /// The same, of its match programs alone.
    asking: Option<Chosen>,
}

/// The parsers that may take a layer apart, in the order in which they are tried.
pub(crate) type Level = Vec<Slot>;

/// The parsers that a file holds.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// It is one: an object or a light skeleton.
    One(Box<Slot>),
    /// It is a container: its outermost level, and those inside.
    Levels(Level, Vec<Level>),
}

impl Plan {
    /// Reads a parser file from `origin`.
    pub(crate) fn read(
        file: &ParserFile,
        origin: ParserOrigin,
        place: &mut Place,
    ) -> Result<Self, UnfoldError> {
        let info = ParserInfo::new(&file.name, origin);
        if !container::is_container(&file.object) {
            let object = file.object.clone();
            return Ok(Self::One(Box::new(Slot::new(info, object))));
        }
        place.parser = Some(info.clone());
        let levels = container::levels(&file.object).map_err(|error| {
            UnfoldError::caused("the parser container is refused", error).at(place)
        })?;
        let mut levels = levels.into_iter().enumerate().map(|(depth, level)| {
            let slots = level.slots.into_iter().enumerate();
            let slots = slots.map(|(index, parser)| {
                let slot = Some(container::slot_name(depth, index));
                let info = ParserInfo {
                    slot,
                    ..info.clone()
                };
                Slot::new(info, file.object.slice_ref(parser))
            });
            slots.collect()
        });
        let outermost = levels.next().unwrap_or_default();
        Ok(Self::Levels(outermost, levels.collect()))
    }
}

impl Slot {
    fn new(info: ParserInfo, object: Bytes) -> Self {
        Self {
            info,
            object,
            loaded: None,
            asking: None,
        }
    }

    /// Returns the parser, which is loaded once.
    pub(crate) fn load(
        &mut self,
        place: &mut Place,
        session: &Session<'_>,
    ) -> Result<&Chosen, UnfoldError> {
        let chosen = match self.loaded.take() {
            Some(chosen) => chosen,
            None => {
                let chosen = Chosen::load(self.info.clone(), &self.object, place, session)?;
                if self.info.slot.is_some() {
                    chosen.check_place(ParserPlace::Slot, place)?;
                }
                chosen
            }
        };
        Ok(self.loaded.insert(chosen))
    }

    /// Drops what was loaded: parsers that are tried may be many, and large, and one by one they
    /// take no more than one of them.
    fn forget(&mut self) {
        self.loaded = None;
    }

    /// Returns the parser to ask whether an image is its own, and whether that was never asked
    /// before. Built-in parsers are known to load, so that only their match program is loaded.
    pub(crate) fn asking(
        &mut self,
        place: &mut Place,
        session: &Session<'_>,
    ) -> Result<(&Chosen, bool), UnfoldError> {
        if self.info.origin != ParserOrigin::BuiltIn {
            let is_first = self.loaded.is_none();
            return self.load(place, session).map(|chosen| (chosen, is_first));
        }
        let is_first = self.asking.is_none();
        let chosen = match self.asking.take() {
            Some(chosen) => chosen,
            None => Chosen::load_match(self.info.clone(), &self.object, place, session)?,
        };
        Ok((self.asking.insert(chosen), is_first))
    }
}

/// Tries the parsers of `level` on `layer`, until one takes it apart. `None` if all let it be.
///
/// # Errors
///
/// None took it apart, and one broke off; the notes name each. Or one broke off for a reason
/// that no other makes up for.
pub(crate) fn try_level(
    stage: u32,
    layer: &LayerImage,
    level: &mut [Slot],
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<Option<Box<StageResult>>, UnfoldError> {
    let before = session.asked.len();
    let mut broken = None;
    for slot in level.iter_mut() {
        match attempt(stage, layer, slot, inputs, session) {
            Attempt::Done(found) => {
                session.chosen = Some(slot.info.clone());
                warn_of_headers(layer, session);
                warn_of_broken(before, &found, session);
                return Ok(Some(found));
            }
            Attempt::NotMine(asked) => {
                slot.forget();
                session.asked.push(asked);
            }
            Attempt::Broken(asked, error) => {
                slot.forget();
                session.asked.push(asked);
                if error.is_final() {
                    return Err(error);
                }
                broken = Some(error);
            }
        }
    }
    match broken {
        // It says more.
        Some(error) if level.len() == 1 => Err(error),
        Some(_) => Err(none_takes_it(stage, layer, level, session)),
        None => Ok(None),
    }
}

/// Returns the error of a level of which no parser took `layer` apart: what each of them did.
pub(crate) fn none_takes_it(
    stage: u32,
    layer: &LayerImage,
    level: &[Slot],
    session: &Session<'_>,
) -> UnfoldError {
    let mut place = Place::in_layer(&layer.path, Some(stage));
    let tried = |info: &ParserInfo| level.iter().any(|slot| slot.info == *info);
    let asked = session.asked.iter();
    let asked: Vec<_> = asked.filter(|it| !it.fits && tried(&it.parser)).collect();
    if let [only] = asked[..] {
        place.parser = Some(only.parser.clone());
        return only.let_it_be().at(&place);
    }
    place.parser = level.first().map(|slot| ParserInfo {
        slot: None,
        ..slot.info.clone()
    });
    let notes = asked.into_iter().flat_map(notes).collect();
    let text = format!(
        "none of {} takes the image apart",
        counted(wide(level.len()), "parser")
    );
    UnfoldError::new(text).noted(notes).at(&place)
}

/// Returns what a parser did that did not take the image apart, and its last lines.
fn notes(asked: &AskedReport) -> Vec<String> {
    let slot = asked.parser.slot.as_deref().unwrap_or(&asked.parser.name);
    let end = match &asked.fault {
        Some(fault) => format!("slot {slot} breaks off: {fault}"),
        None => format!("slot {slot} {}", asked.letting_it_be()),
    };
    let reasons = asked.refusals.iter().filter(|_| asked.fault.is_none());
    let reasons = reasons.map(|reason| format!("slot {slot} failed: {reason}"));
    let from = asked.log.len().saturating_sub(QUOTED_LINES);
    let printed = asked.log.iter().skip(from);
    let printed = printed.map(|line| format!("slot {slot} printed: {line}"));
    iter::once(end).chain(reasons).chain(printed).collect()
}

/// Warns of parsers that broke off before another one took the layer apart.
fn warn_of_broken(before: usize, found: &StageResult, session: &mut Session<'_>) {
    let StageReport {
        layer,
        number,
        parser,
        ..
    } = &found.report;
    let asked = mem::take(&mut session.asked);
    for (broken, fault) in asked
        .iter()
        .skip(before)
        .filter_map(|asked| Some((&asked.parser, asked.fault.as_ref()?)))
    {
        let (broken, parser) = (broken.full_name(), parser.full_name());
        let text = format!("{broken} breaks off, and {parser} takes the image apart: {fault}");
        session.warn(layer, Some(*number), text);
    }
    session.asked = asked;
}

/// Warns of an image of which less is looked at, since its headers are unsound.
pub(crate) fn warn_of_headers(layer: &LayerImage, session: &mut Session<'_>) {
    if let Some(fault) = layer.pe_fault() {
        let text = format!(
            "the image begins with MZ but is no sound PE32+ file, so that no signature and no \
             .bpf section of it is looked for: {fault}"
        );
        session.warn(&layer.path, None, text);
    }
}

/// Asks a parser whether the image is its own, where it can say so before it runs, and runs it.
fn attempt(
    stage: u32,
    layer: &LayerImage,
    slot: &mut Slot,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Attempt {
    let info = slot.info.clone();
    let mut place = Place::in_layer(&layer.path, Some(stage));
    let chosen = match slot.load(&mut place, session) {
        Ok(chosen) => chosen,
        Err(error) => return Attempt::not_begun(info, error),
    };
    let answers = can_answer(&chosen.parser);
    if answers {
        match chosen.ask(&place, inputs, session) {
            (Ok(true), asked) => session.asked.push(asked),
            (Ok(false), asked) => return Attempt::NotMine(asked),
            (Err(error), asked) => return Attempt::Broken(asked, error),
        }
    }
    let attempt = stage::run(stage, &layer.path, chosen, inputs, session);
    if let Attempt::NotMine(asked) = &attempt {
        let name = info.full_name();
        let text = match asked.refusals.last() {
            Some(reason) => Some(format!(
                "parser {name} lets the image be, and this failed: {reason}"
            )),
            None if answers => Some(format!(
                "parser {name} says that the image is its own, and lets it be"
            )),
            None => None,
        };
        if let Some(text) = text {
            session.warn(&layer.path, Some(stage), text);
        }
    }
    attempt
}

/// Lines of a parser that the error about a level quotes.
const QUOTED_LINES: usize = 2;
