//! `ukexec parser`: for authors of parsers.

mod calls;
mod check;
mod disasm;
mod facts;
mod failed;
mod helpers;
mod new;
mod pack;
mod run;
mod trace;

use std::io;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use ukexec_bpf::{Parser, SourceLine, VerifiedParser, container};
use ukexec_loader::{IMAGE_LEN_MAX, read_named, shown};
use ukexec_pe::PeImage;
use ukexec_unfold::{Generation, PARSER_SECTION, ParserPlace};

pub(crate) use self::check::{Refused, check};
pub(crate) use self::disasm::disasm;
pub(crate) use self::helpers::helpers;
pub(crate) use self::new::new;
pub(crate) use self::pack::pack;
pub(crate) use self::run::run;

/// Loads and verifies `object`, which is to lie in an image, as an unfolding would.
pub(crate) fn loadable(object: &[u8]) -> anyhow::Result<VerifiedParser> {
    let parser = Parser::load(object, ukexec_unfold::interface())?.verify()?;
    check_place(&parser, ParserPlace::Image)?;
    Ok(parser)
}

/// Refuses a parser that does not belong where it lies.
fn check_place(parser: &Parser, place: ParserPlace) -> anyhow::Result<()> {
    let generation = Generation::of(parser).map_err(|mixed| anyhow!(mixed))?;
    let belongs = generation.check_place(place);
    belongs.map_err(|elsewhere| anyhow!(elsewhere))
}

/// A parser that was read from a file.
#[derive(Debug)]
struct Subject {
    /// The file, and the slot if it is a container.
    name: String,
    /// The slot of a container.
    slot: Option<String>,
    object: Vec<u8>,
    place: ParserPlace,
}

/// Returns the names of slots, for messages.
fn slots(subjects: &[Subject]) -> String {
    let slots = subjects.iter().filter_map(|it| it.slot.as_deref());
    slots.collect::<Vec<_>>().join(", ")
}

/// Reads the parser of `path`: the file itself, the section `.bpf` of an image, or of a container
/// the one in `slot`, which need not be named where there is but one.
fn read_one(path: &Path, slot: Option<&str>) -> anyhow::Result<Subject> {
    let all = read_all(path, slot)?;
    <[Subject; 1]>::try_from(all).map_or_else(
        |all| {
            bail!(
                "{}: the container has several parsers; --slot names one of {}",
                shown(path),
                slots(&all)
            )
        },
        |[only]| Ok(only),
    )
}

/// Reads the parser of `path`, or those of a container: all, or the one in `slot`.
fn read_all(path: &Path, slot: Option<&str>) -> anyhow::Result<Vec<Subject>> {
    let (file, place) = read(path)?;
    let name = shown(path);
    // In an image, it is no parser.
    if place != ParserPlace::Alone || !container::is_container(&file) {
        ensure!(
            slot.is_none(),
            "{name} is no parser container; leave out --slot"
        );
        let slot = None;
        return Ok(vec![Subject {
            name,
            slot,
            object: file,
            place,
        }]);
    }
    let levels = container::levels(&file)
        .with_context(|| format!("{name}: this loader refuses the parser container"))?;
    let mut subjects = Vec::new();
    for (depth, level) in levels.iter().enumerate() {
        for (index, object) in level.slots.iter().enumerate() {
            let slot = container::slot_name(depth, index);
            subjects.push(Subject {
                name: format!("{name} slot {slot}"),
                slot: Some(slot),
                object: object.to_vec(),
                place: ParserPlace::Slot,
            });
        }
    }
    let Some(wanted) = slot else {
        return Ok(subjects);
    };
    let is_wanted = |subject: &Subject| subject.slot.as_deref() == Some(wanted);
    ensure!(
        subjects.iter().any(is_wanted),
        "{name}: there is no slot {wanted:?}; its slots are {}",
        slots(&subjects)
    );
    subjects.retain(is_wanted);
    Ok(subjects)
}

/// Reads a file of parsers: the file itself, or the section `.bpf` of an image.
fn read(path: &Path) -> anyhow::Result<(Vec<u8>, ParserPlace)> {
    if path.is_dir() {
        let text = format!("{} is a folder; name the object in it", shown(path));
        return Err(io::Error::new(io::ErrorKind::IsADirectory, text).into());
    }
    let (bytes, _) =
        read_named(path, IMAGE_LEN_MAX).with_context(|| format!("cannot read {}", shown(path)))?;
    let Ok(pe) = PeImage::parse(&bytes[..]) else {
        return Ok((bytes, ParserPlace::Alone));
    };
    let section = pe.section(PARSER_SECTION).with_context(|| {
        format!(
            "{}: the image carries no parser (section {PARSER_SECTION})",
            shown(path)
        )
    })?;
    let content = section.content();
    let (start, end) = (
        usize::try_from(content.start)?,
        usize::try_from(content.end)?,
    );
    let parser = bytes.get(start..end);
    let parser = parser.context("a section of sound headers is cut off")?;
    Ok((parser.to_vec(), ParserPlace::Image))
}

/// Returns whether two records are about one line.
fn same_line(one: &SourceLine, other: &SourceLine) -> bool {
    (one.line, &one.file) == (other.line, &other.file)
}

/// Returns a source line as listings show it.
fn source(line: &SourceLine) -> String {
    let SourceLine {
        file, line, text, ..
    } = line;
    if text.is_empty() {
        format!("; {file}:{line}")
    } else {
        format!("; {file}:{line}: {text}")
    }
}
