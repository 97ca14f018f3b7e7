//! The ELF file under an object: sections, symbols and relocations, checked
//! once.

use std::borrow::Cow;

use object::LittleEndian as Le;
use object::elf;
use object::read::elf::{FileHeader as _, Rel as _, SectionHeader as _, Sym as _};

use crate::BpfError;
use crate::bounds::{at_most, before_nul, rest, size};
use crate::error::check_count;
use crate::load::elf::{
    HEADER, Header, SectionHeader, SymbolEntry, check_ident, expect, symbol_table,
};
use crate::load::limits::MAX_SECTIONS;

const MAX_NAME: usize = 512;

/// An object's sections and symbols.
#[derive(Debug)]
pub(super) struct Elf<'a> {
    pub(super) sections: Vec<Section<'a>>,
    pub(super) symbols: Vec<Symbol<'a>>,
}

/// A section; its bytes share none with another's.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) kind: elf::SectionType,
    pub(super) executable: bool,
    pub(super) allocated: bool,
    /// `sh_offset`.
    offset: u64,
    /// `sh_size`; of a `SHT_NOBITS` section, which has no `data`, any number.
    pub(super) size: u64,
    pub(super) data: &'a [u8],
    /// For relocations: which section they are about.
    info: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol<'a> {
    pub(super) raw_name: &'a [u8],
    pub(super) place: SymbolPlace,
    pub(super) value: u64,
    pub(super) size: u64,
    pub(super) is_function: bool,
    pub(super) is_section: bool,
    pub(super) is_local: bool,
    pub(super) is_weak: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SymbolPlace {
    Undefined,
    Section(usize),
    /// In no section: absolute or common.
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    pub(super) offset: u64,
    pub(super) symbol: u32,
    pub(super) kind: u32,
}

impl Symbol<'_> {
    pub(super) fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw_name)
    }
}

impl<'a> Elf<'a> {
    /// Reads an ELF64 little-endian relocatable object for BPF.
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, BpfError> {
        check_ident(data)?;
        let header = Header::parse(data).map_err(unreadable("header"))?;
        let (kind, machine) = (header.e_type.get(Le), header.e_machine.get(Le));
        let field = "e_type at byte 0x10";
        let expected = "1 (a relocatable object, as clang -c writes it)";
        expect(HEADER, field, expected, kind.0, kind == elf::ET_REL)?;
        let (field, expected) = ("e_machine at byte 0x12", "247 (BPF: clang --target=bpf)");
        expect(HEADER, field, expected, machine.0, machine == elf::EM_BPF)?;
        let headers = header
            .section_headers(Le, data)
            .map_err(unreadable("section headers"))?;
        check_count("sections", headers.len(), MAX_SECTIONS)?;
        let mut names = &[][..];
        if !headers.is_empty() {
            let index = header.section_strings_index(Le, data);
            let table = headers.get(index.map_err(unreadable("section names"))?.0);
            // Without the table every name is empty, and no section is found.
            let bytes = table.and_then(|table| table.data(Le, data).ok());
            names = bytes.unwrap_or_default();
        }
        let sections = headers.iter().map(|header| section(header, data, names));
        let sections = sections.collect::<Result<Vec<_>, _>>()?;
        check_overlaps(&sections)?;
        let symbols = symbols(headers, &sections, data)?;
        Ok(Self { sections, symbols })
    }

    pub(super) fn section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        let mut sections = self.sections.iter().enumerate();
        sections.find(|(_, section)| section.name == name)
    }

    pub(super) fn section_name(&self, index: usize) -> String {
        let section = self.sections.get(index);
        section.map_or_else(String::new, |section| section.name.to_string())
    }

    /// Returns each section of relocations with the index of the section that
    /// they are about.
    pub(super) fn relocations(&self) -> impl Iterator<Item = (usize, &Section<'a>)> {
        let is_table =
            |section: &&Section<'_>| matches!(section.kind, elf::SHT_REL | elf::SHT_RELA);
        let tables = self.sections.iter().filter(is_table);
        tables.map(|table| (size(table.info), table))
    }
}

impl Section<'_> {
    /// Returns the relocations of a table of them.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Relocation>, BpfError> {
        if self.kind == elf::SHT_RELA {
            let problem = "holds relocations with addends (RELA), which BPF does not have";
            return Err(self.error(problem));
        }
        let entries = object::pod::slice_from_all_bytes::<elf::Rel64<Le>>(self.data);
        let Ok(entries) = entries else {
            return Err(self.error("holds relocations, and its size is no multiple of 16"));
        };
        Ok(entries.iter().map(|entry| Relocation {
            offset: entry.r_offset(Le),
            symbol: entry.r_sym(Le),
            kind: entry.r_type(Le).0,
        }))
    }

    /// Returns the error that says `problem` of this section.
    pub(super) fn error(&self, problem: &str) -> BpfError {
        BpfError::new(format!("section {} {problem}", self.name))
    }
}

/// Returns the error of a part that needs types.
pub(super) fn no_btf(needed_by: &str) -> BpfError {
    BpfError::new(format!(
        "{needed_by} needs the section .BTF, which the object lacks: compile with -g"
    ))
}

fn unreadable(part: &str) -> impl Fn(object::read::Error) -> BpfError {
    move |source| BpfError::new(format!("the ELF file's {part} cannot be read")).because(source)
}

fn section<'a>(
    header: &SectionHeader,
    data: &'a [u8],
    names: &'a [u8],
) -> Result<Section<'a>, BpfError> {
    let name = String::from_utf8_lossy(string(names, header.sh_name(Le)));
    let kind = header.sh_type(Le);
    let (offset, size) = (header.sh_offset(Le), header.sh_size(Le));
    let bytes = if kind == elf::SHT_NULL {
        &[]
    } else {
        header.data(Le, data).map_err(|_the_only_reason| {
            BpfError::new(format!(
                "section {name}: bytes {offset:#x} to {offset:#x}+{size:#x} pass the end of \
                     the object, which has {:#x}",
                data.len()
            ))
        })?
    };
    let flags = header.sh_flags(Le);
    Ok(Section {
        name,
        kind,
        executable: kind == elf::SHT_PROGBITS && flags.contains(elf::SHF_EXECINSTR),
        allocated: flags.contains(elf::SHF_ALLOC),
        offset,
        size,
        data: bytes,
        info: header.sh_info(Le),
    })
}

/// Refuses sections that share bytes. No compiler makes them, and without them
/// no work over all sections passes the object's length.
fn check_overlaps(sections: &[Section<'_>]) -> Result<(), BpfError> {
    let with_bytes = sections.iter().filter(|section| !section.data.is_empty());
    let mut with_bytes = with_bytes.collect::<Vec<_>>();
    with_bytes.sort_by_key(|section| section.offset);
    for pair in with_bytes.windows(2) {
        if let [first, second] = pair
            && second.offset < first.offset.saturating_add(first.size)
        {
            return Err(BpfError::new(format!(
                "sections {} and {} overlap at byte {:#x}",
                first.name, second.name, second.offset
            )));
        }
    }
    Ok(())
}

fn symbols<'a>(
    headers: &[SectionHeader],
    sections: &[Section<'a>],
    data: &'a [u8],
) -> Result<Vec<Symbol<'a>>, BpfError> {
    let (_, table) = symbol_table(headers, "")?;
    let entries = table
        .data_as_array::<SymbolEntry, _>(Le, data)
        .map_err(unreadable("symbol table"))?;
    let strings = sections.get(table.link(Le).0);
    let strings = strings.map_or(&[][..], |strings| strings.data);
    let symbol = |entry: &SymbolEntry| {
        let section = entry.st_shndx(Le);
        let place = match section.index() {
            _ if section == elf::SHN_UNDEF => SymbolPlace::Undefined,
            Some(index) if usize::from(index) < sections.len() => {
                SymbolPlace::Section(usize::from(index))
            }
            _ => SymbolPlace::Elsewhere,
        };
        Symbol {
            raw_name: string(strings, entry.st_name(Le)),
            place,
            value: entry.st_value(Le),
            size: entry.st_size(Le),
            is_function: entry.st_type() == elf::STT_FUNC,
            is_section: entry.st_type() == elf::STT_SECTION,
            is_local: entry.st_bind() == elf::STB_LOCAL,
            is_weak: entry.st_bind() == elf::STB_WEAK,
        }
    };
    Ok(entries.iter().map(symbol).collect())
}

/// Returns the string at `offset`, at most [`MAX_NAME`] bytes of it: names may
/// share their tails, and reading each whole would take the square of the
/// table's length. Outside of the table there are empty names.
fn string(strings: &[u8], offset: u32) -> &[u8] {
    before_nul(at_most(rest(strings, size(offset)), MAX_NAME))
}
