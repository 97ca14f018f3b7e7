//! Parser containers: ELF files whose sections are parsers, the *slots*, and in
//! one more section the container for the layer inside.
//!
//! Spec: the kernel series, v7: sections `.bpf.1` to `.bpf.8` and
//! `.bpf.nested`. Of the ELF file nothing else counts, neither its type and
//! machine nor types, flags and addresses of sections. A signature appended to
//! it is in no section, and is not looked at here. Nor are the slots' bytes,
//! which [`Parser::load`](crate::Parser::load) takes.
//!
//! No input panics. All levels are checked before anything of them runs. Nothing
//! is copied, and the work is bounded by the sections of [`MAX_LEVELS`] levels.

mod write;

use object::LittleEndian as Le;
use object::elf::SHT_NOBITS;

pub use self::write::pack;
use super::elf::{HEADER, Header, SectionHeader, check_format, content, expect, header, sections};
use crate::BpfError;
use crate::bounds::{at_most, before_nul, rest, size};

/// The most levels, the outermost container included.
pub const MAX_LEVELS: usize = 5;

/// The names of the slots, in the order in which they are tried.
const SLOTS: [&str; 8] = [
    ".bpf.1", ".bpf.2", ".bpf.3", ".bpf.4", ".bpf.5", ".bpf.6", ".bpf.7", ".bpf.8",
];
/// The name of the section that holds the container for the layer inside.
pub const NESTED: &str = ".bpf.nested";
const NAMES: &str = ".shstrtab";

/// Bytes of a name that are looked at; those that count are shorter.
const MAX_NAME: usize = 64;

/// A level of a container: the parsers of which one takes a layer apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level<'a> {
    /// The container itself, with all that lies in it and behind it.
    pub file: &'a [u8],
    /// One to eight parsers, in the order in which they are tried.
    pub slots: Vec<&'a [u8]>,
}

/// Returns whether a file is a parser container, sound or not: an ELF64 file
/// with a section for a slot or for a nested container.
#[must_use]
pub fn is_container(file: &[u8]) -> bool {
    let counts = |name: &[u8]| slot(name).is_some() || name == NESTED.as_bytes();
    names_of(file).any(counts)
}

/// Returns the levels of a container, the outermost first.
///
/// # Errors
///
/// [`BpfError`] names the level, the section and the rule that it breaks.
pub fn levels(container: &[u8]) -> Result<Vec<Level<'_>>, BpfError> {
    let mut levels = Vec::new();
    let mut next = Some(container);
    while let Some(file) = next {
        let path = vec![NESTED; levels.len()].join(" > ");
        let read = Level::read(file).and_then(|(level, nested)| {
            levels.push(level);
            let fits = nested.is_none() || levels.len() < MAX_LEVELS;
            let found = "one more";
            let expected = format_args!("a container of at most {MAX_LEVELS} levels");
            expect(NESTED, "its depth", expected, found, fits)?;
            Ok(nested)
        });
        next = match read {
            Err(error) if !path.is_empty() => return Err(error.of(path)),
            read => read?,
        };
    }
    Ok(levels)
}

/// Returns the name of a slot as commands take it, by the indices of its level and of the slot:
/// `2`, or `nested.1` in the first container inside.
#[must_use]
pub fn slot_name(level: usize, slot: usize) -> String {
    format!("{}{}", "nested.".repeat(level), slot.saturating_add(1))
}

/// Returns why a file that is meant as a container is no parser; `None` where it
/// is not meant as one.
pub(super) fn explain(file: &[u8]) -> Option<BpfError> {
    const PREFIX: &[u8] = b".bpf.";
    // In a table of names; names of sources begin alike.
    const FIRST: &[u8] = b"\0.bpf.1\0";
    let mut names = names_of(file).filter(|name| !name.is_empty()).peekable();
    let is_meant = match names.peek() {
        Some(_) => names.any(|name| name.starts_with(PREFIX)),
        // Its names cannot be read, but may be there.
        None => file.windows(FIRST.len()).any(|bytes| bytes == FIRST),
    };
    is_meant.then(|| match levels(file) {
        Ok(_sound) => BpfError::new(
            "this is a parser container, whose place is beside an image (--parser gives it); \
             expected one parser",
        ),
        Err(error) => error.of("this is no sound parser container"),
    })
}

impl<'a> Level<'a> {
    /// Returns a level and the container in it.
    fn read(file: &'a [u8]) -> Result<(Self, Option<&'a [u8]>), BpfError> {
        // Nothing depends on the version.
        let _version = check_format(file)?;
        let header = header(file)?;
        let (field, offset) = ("e_shoff at byte 0x28", header.e_shoff.get(Le));
        expect(
            HEADER,
            field,
            "the offset of section headers",
            0,
            offset != 0,
        )?;
        let sections = sections(header, file)?;
        let names = names(header, sections, file)?;
        let mut slots = [None; SLOTS.len()];
        let mut nested = None;
        for (index, section) in (0_u32..).zip(sections) {
            let name = name(names, index, section)?;
            let shown = String::from_utf8_lossy(name);
            let (open, close) = if name.is_empty() {
                ("", "")
            } else {
                (" (", ")")
            };
            let part = format_args!("section {index}{open}{shown}{close}");
            let has_bytes = section.sh_type.get(Le) != SHT_NOBITS;
            expect(
                part,
                "sh_type",
                "bytes in the file",
                "8 (NOBITS)",
                has_bytes,
            )?;
            let bytes = content(file, part, section)?;
            let place = match slot(name) {
                Some(number) => slots.get_mut(number),
                None if name == NESTED.as_bytes() => Some(&mut nested),
                None if name.is_empty() || name == NAMES.as_bytes() => continue,
                None => None,
            };
            let place = place.ok_or_else(|| foreign(index, &shown))?;
            let is_first = place.replace(bytes).is_none();
            expect(
                part,
                "its name",
                "one section of this name",
                "two",
                is_first,
            )?;
        }
        check_numbers(&slots)?;
        let slots = slots.into_iter().flatten().collect();
        Ok((Self { file, slots }, nested))
    }
}

/// Refuses slots of which there is none, or one without that before it.
fn check_numbers(slots: &[Option<&[u8]>; SLOTS.len()]) -> Result<(), BpfError> {
    let mut numbered = SLOTS.iter().zip(slots);
    let missing = numbered.find(|(_, slot)| slot.is_none());
    match (missing, numbered.find(|(_, slot)| slot.is_some())) {
        (Some((missing, _)), Some((found, _))) => Err(BpfError::new(format!(
            "the container has a section {found} and no {missing}; expected numbers from 1 \
             without a gap"
        ))),
        (Some((&".bpf.1", _)), None) => Err(BpfError::new(
            "the container holds no parser; expected a section .bpf.1",
        )),
        _ => Ok(()),
    }
}

/// Returns the index of the slot with this name.
fn slot(name: &[u8]) -> Option<usize> {
    SLOTS.iter().position(|slot| slot.as_bytes() == name)
}

/// Refuses a section that has no place in a container.
fn foreign(index: u32, name: &str) -> BpfError {
    let found = match name {
        ".symtab" | ".strtab" => {
            format!("{name}, which llvm-objcopy leaves; use GNU objcopy or `ukexec parser pack`")
        }
        _ => name.to_owned(),
    };
    let expected = format_args!("{} to {} or {NESTED}", SLOTS[0], SLOTS[7]);
    let part = format_args!("section {index}");
    BpfError::field(part, "its name", expected, found)
}

/// Returns the names of sections, which end in a NUL.
fn names<'a>(
    header: &Header,
    sections: &[SectionHeader],
    file: &'a [u8],
) -> Result<&'a [u8], BpfError> {
    let index = header.e_shstrndx.get(Le).0;
    let Some(table) = sections.get(usize::from(index)) else {
        let expected = format_args!("the number of a section, below {}", sections.len());
        let field = "e_shstrndx at byte 0x3e";
        return Err(BpfError::field(HEADER, field, expected, index));
    };
    let part = format_args!("section {index}, of the names");
    let names = content(file, part, table)?;
    let Some(last) = names.last() else {
        return Err(BpfError::field(part, "sh_size", "the bytes of names", 0));
    };
    expect(part, "its last byte", "0 (NUL)", last, *last == 0)?;
    Ok(names)
}

/// Returns the name of a section, as much of it as counts.
fn name<'a>(names: &'a [u8], index: u32, section: &SectionHeader) -> Result<&'a [u8], BpfError> {
    let offset = section.sh_name.get(Le);
    let text = rest(names, size(offset));
    let part = format_args!("section {index}");
    let expected = format_args!("an offset in the names, below {}", names.len());
    expect(part, "sh_name", expected, offset, !text.is_empty())?;
    Ok(shortened(text))
}

/// Returns the names of all sections, as far as they can be read.
fn names_of(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let read = || {
        let _version = check_format(file)?;
        let header = header(file)?;
        let sections = sections(header, file)?;
        Ok::<_, BpfError>((header.e_shstrndx.get(Le).0, sections))
    };
    let (index, sections) = read().unwrap_or_default();
    let table = sections.get(usize::from(index));
    let names = table.map_or(&[][..], |table| {
        let bytes = rest(file, size(table.sh_offset.get(Le)));
        at_most(bytes, size(table.sh_size.get(Le)))
    });
    let name = |section: &SectionHeader| rest(names, size(section.sh_name.get(Le)));
    sections.iter().map(name).map(shortened)
}

fn shortened(name: &[u8]) -> &[u8] {
    before_nul(at_most(name, MAX_NAME))
}

#[cfg(test)]
mod tests;
