//! Writing containers, as GNU objcopy makes them in the kernel series: the
//! slots, the nested container, and their names.

use object::LittleEndian as Le;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, ET_REL, EV_CURRENT, Ident, SHT_NULL, SHT_PROGBITS, SHT_STRTAB,
    SectionType, SymbolSection,
};
use object::pod::{bytes_of, bytes_of_slice};
use object::{U16, U32, U64};

use super::{MAX_LEVELS, NAMES, NESTED, SLOTS, explain, is_container, levels};
use crate::BpfError;
use crate::bounds::{small, wide};
use crate::load::elf::{self, Header, SectionHeader, expect};
use crate::load::look_alike::refuse_look_alikes;
use crate::load::{object as plain, skeleton};

/// A machine as headers have it.
type Machine = U16<Le, object::elf::Machine>;

/// Sections begin at multiples of so many bytes, as skeletons expect.
const ALIGN: usize = 8;

/// Returns a container of parsers, in the order in which they are to be tried,
/// with the container for the layer inside. Equal input gives equal bytes.
///
/// # Errors
///
/// [`BpfError`] if there is not one parser to eight, if one is neither an object
/// nor a light skeleton, and if `nested` is no container or has too many levels.
pub fn pack(slots: &[&[u8]], nested: Option<&[u8]>) -> Result<Vec<u8>, BpfError> {
    let (found, most) = (slots.len(), SLOTS.len());
    let expected = format_args!("1 to {most}");
    let fits = (1..=most).contains(&found);
    expect("the container", "its parsers", expected, found, fits)?;
    for (name, slot) in SLOTS.iter().zip(slots) {
        check_slot(slot).map_err(|error| error.of(name))?;
    }
    if let Some(nested) = nested {
        if !is_container(nested) {
            let other = || BpfError::new("this is no parser container");
            return Err(explain(nested).unwrap_or_else(other).of(NESTED));
        }
        let inner = levels(nested).map_err(|error| error.of(NESTED))?.len();
        let expected = format_args!("at most {} levels", MAX_LEVELS.saturating_sub(1));
        expect(NESTED, "its depth", expected, inner, inner < MAX_LEVELS)?;
    }
    Ok(write(slots, nested))
}

/// Refuses a slot that is not the file of a parser, without a look at its programs.
fn check_slot(slot: &[u8]) -> Result<(), BpfError> {
    refuse_look_alikes(slot)?;
    if is_container(slot) {
        let text = "this is a parser container, not a parser; it can be the nested container";
        return Err(BpfError::new(text));
    }
    if skeleton::is_skeleton(slot) {
        skeleton::check_form(slot)
    } else {
        plain::check_form(slot)
    }
}

pub(super) fn write(slots: &[&[u8]], nested: Option<&[u8]>) -> Vec<u8> {
    // GNU objcopy reads files for its own machines alone, as the skeletons are.
    let first = slots.first().map(|slot| elf::header(slot));
    let machine = first.and_then(Result::ok).map(|header| header.e_machine);
    let nested = nested.map(|nested| (NESTED, nested));
    let mut file = File::default();
    for (name, bytes) in SLOTS.into_iter().zip(slots.iter().copied()).chain(nested) {
        let name = file.add_name(name);
        file.add(name, SHT_PROGBITS, bytes);
    }
    file.complete(machine.unwrap_or_default())
}

/// A file that grows: the sections' bytes, names and headers.
struct File {
    bytes: Vec<u8>,
    names: Vec<u8>,
    headers: Vec<SectionHeader>,
}

impl Default for File {
    /// Returns a file with room for its header, and with the section that all have.
    fn default() -> Self {
        Self {
            bytes: vec![0; size_of::<Header>()],
            names: vec![0],
            headers: vec![section(0, SHT_NULL, 0, 0)],
        }
    }
}

impl File {
    /// Returns where the name is.
    fn add_name(&mut self, name: &str) -> u32 {
        let offset = small(self.names.len());
        self.names.extend(name.as_bytes());
        self.names.push(0);
        offset
    }

    fn add(&mut self, name: u32, kind: SectionType, bytes: &[u8]) {
        self.align();
        let (offset, len) = (self.bytes.len(), bytes.len());
        self.headers.push(section(name, kind, offset, len));
        self.bytes.extend(bytes);
    }

    fn align(&mut self) {
        let len = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(len, 0);
    }

    fn complete(mut self, machine: Machine) -> Vec<u8> {
        let name = self.add_name(NAMES);
        let names = std::mem::take(&mut self.names);
        self.add(name, SHT_STRTAB, &names);
        self.align();
        let header = header(machine, self.bytes.len(), self.headers.len());
        let start = bytes_of(&header);
        self.bytes.splice(..start.len(), start.iter().copied());
        self.bytes.extend(bytes_of_slice(&self.headers));
        self.bytes
    }
}

/// Returns the header of a file with so many sections, whose headers are at
/// `offset`; the last section has the names.
fn header(machine: Machine, offset: usize, sections: usize) -> Header {
    let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let len = |len| U16::new(Le, short(len));
    Header {
        e_ident: Ident {
            magic: ELFMAG,
            class: ELFCLASS64,
            data: ELFDATA2LSB,
            version: EV_CURRENT,
            os_abi: Default::default(),
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: U16::new(Le, ET_REL),
        e_machine: machine,
        e_version: U32::new(Le, 1),
        e_entry: U64::new(Le, 0),
        e_phoff: U64::new(Le, 0),
        e_shoff: U64::new(Le, wide(offset)),
        e_flags: Default::default(),
        e_ehsize: len(size_of::<Header>()),
        e_phentsize: len(0),
        e_phnum: len(0),
        e_shentsize: len(size_of::<SectionHeader>()),
        e_shnum: len(sections),
        e_shstrndx: U16::new(Le, SymbolSection(short(sections.saturating_sub(1)))),
    }
}

fn section(name: u32, kind: SectionType, offset: usize, len: usize) -> SectionHeader {
    SectionHeader {
        sh_name: U32::new(Le, name),
        sh_type: U32::new(Le, kind),
        sh_flags: Default::default(),
        sh_addr: U64::new(Le, 0),
        sh_offset: U64::new(Le, wide(offset)),
        sh_size: U64::new(Le, wide(len)),
        sh_link: U32::new(Le, 0),
        sh_info: U32::new(Le, 0),
        sh_addralign: U64::new(Le, if kind == SHT_NULL { 0 } else { wide(ALIGN) }),
        sh_entsize: U64::new(Le, 0),
    }
}
