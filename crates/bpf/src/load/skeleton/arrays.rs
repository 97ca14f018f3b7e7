//! The two arrays of a light skeleton, in the object file that a C compiler
//! made of them.
//!
//! Spec: System V ABI, "Object Files". Only what leads to the two symbols is
//! looked at, and each field of it is checked where it is used.

use object::elf;
use object::pod::{from_bytes, slice_from_all_bytes, slice_from_bytes};
use object::{LittleEndian as Le, U16};

use super::SkeletonError;
use crate::LoadError;
use crate::bounds::{size, wide};
use crate::load::object::{MAX_SECTIONS, check_ident};

/// The blob that the loader program works on.
pub(super) const DATA: &str = "opts_data";
/// The loader program.
pub(super) const INSNS: &str = "opts_insn";

type Header = elf::FileHeader64<Le>;
type Section = elf::SectionHeader64<Le>;
type Symbol = elf::Sym64<Le>;

/// The payloads of the two arrays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrays<'a> {
    pub(super) data: &'a [u8],
    /// Whole instruction slots.
    pub(super) insns: &'a [[u8; 8]],
}

/// Returns whether `object` defines both arrays. An object that is for BPF and
/// does not is a plain one.
pub(super) fn has_arrays(object: &[u8]) -> bool {
    let Ok(file) = File::parse(object) else {
        return false;
    };
    [DATA, INSNS].map(|name| file.symbol(name).is_ok()) == [true; 2]
}

impl<'a> Arrays<'a> {
    /// Finds the arrays in an ELF64 little-endian relocatable object for any
    /// machine.
    pub(super) fn find(object: &'a [u8]) -> Result<Self, LoadError> {
        let file = File::parse(object)?;
        let data = file.array(DATA)?;
        let bytes = file.array(INSNS)?;
        let (insns, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            let expected = "whole instructions of 8 bytes and a trailing NUL";
            let found = wide(bytes.len()).saturating_add(1);
            return Err(lie(symbol_text(INSNS), "st_size", expected, found).into());
        }
        Ok(Self { data, insns })
    }
}

/// The tables of an object file.
#[derive(Debug)]
struct File<'a> {
    object: &'a [u8],
    machine: u16,
    sections: &'a [Section],
    symbols: &'a [Symbol],
    /// The names of the symbols.
    strings: &'a [u8],
}

impl<'a> File<'a> {
    fn parse(object: &'a [u8]) -> Result<Self, LoadError> {
        check_ident(object)?;
        let Ok((header, _)) = from_bytes::<Header>(object) else {
            let expected = format!("a header of {} bytes", size_of::<Header>());
            return Err(lie(
                "ELF header".into(),
                "its size",
                expected,
                wide(object.len()),
            )
            .into());
        };
        let kind = u64::from(header.e_type.get(Le).0);
        let expected = "1 (a relocatable object, as a compiler writes it with -c)";
        expect("ELF header", "e_type", expected, kind, kind == 1)?;
        let sections = sections(header, object)?;
        let is_table = |section: &&Section| section.sh_type.get(Le) == elf::SHT_SYMTAB;
        let mut tables = (0..).zip(sections).filter(|(_, section)| is_table(section));
        let (Some((index, table)), None) = (tables.next(), tables.next()) else {
            let found = sections.iter().filter(is_table).count();
            return Err(SkeletonError::SymbolTables { found }.into());
        };
        let part = section_text(index);
        let entry = table.sh_entsize.get(Le);
        let entsize = wide(size_of::<Symbol>());
        expect(
            &part,
            "sh_entsize",
            entsize.to_string(),
            entry,
            entry == entsize,
        )?;
        let bytes = content(object, index, table)?;
        let Ok(symbols) = slice_from_all_bytes(bytes) else {
            return Err(lie(part, "sh_size", "a multiple of 24", wide(bytes.len())).into());
        };
        let link = table.sh_link.get(Le);
        let strings = sections.get(size(link));
        let strings = strings.filter(|strings| strings.sh_type.get(Le) == elf::SHT_STRTAB);
        let Some(strings) = strings else {
            let expected = "the number of a string table (sh_type 3)";
            return Err(lie(part, "sh_link", expected, link.into()).into());
        };
        let strings = content(object, link, strings)?;
        Ok(Self {
            object,
            machine: header.e_machine.get(Le).0,
            sections,
            symbols,
            strings,
        })
    }

    /// Returns the one symbol of this name that is defined.
    fn symbol(&self, name: &'static str) -> Result<&'a Symbol, SkeletonError> {
        let is_it = |symbol: &&Symbol| {
            let text = self.strings.get(size(symbol.st_name.get(Le))..);
            let rest = text.and_then(|text| text.strip_prefix(name.as_bytes()));
            symbol.st_shndx.get(Le) != elf::SHN_UNDEF
                && rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        let mut found = self.symbols.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(symbol), None) => Ok(symbol),
            (None, _) => Err(SkeletonError::NoSymbol {
                symbol: name,
                machine: self.machine,
            }),
            (Some(_), Some(_)) => Err(SkeletonError::Twice { symbol: name }),
        }
    }

    /// Returns the payload of an array: all of it but the trailing NUL.
    fn array(&self, name: &'static str) -> Result<&'a [u8], SkeletonError> {
        let symbol = self.symbol(name)?;
        let part = || symbol_text(name);
        let index = symbol.st_shndx.get(Le).0;
        let Some(section) = self.sections.get(usize::from(index)) else {
            let expected = format!("the number of a section, below {}", self.sections.len());
            return Err(lie(part(), "st_shndx", expected, index.into()));
        };
        let kind = section.sh_type.get(Le);
        let expected = "1 (PROGBITS), which has its bytes in the file";
        let (found, good) = (kind.0.into(), kind == elf::SHT_PROGBITS);
        expect(
            &section_text(index.into()),
            "sh_type",
            expected,
            found,
            good,
        )?;
        let flags = section.sh_flags.get(Le).0;
        let good = !section.sh_flags.get(Le).contains(elf::SHF_COMPRESSED);
        let expected = "bytes that are not compressed (0x800)";
        expect(
            &section_text(index.into()),
            "sh_flags",
            expected,
            flags,
            good,
        )?;
        let bytes = content(self.object, index.into(), section)?;
        let (value, len) = (symbol.st_value.get(Le), symbol.st_size.get(Le));
        if len < 2 {
            let expected = "some bytes and a trailing NUL";
            return Err(lie(part(), "st_size", expected, len));
        }
        let Some(rest) = bytes.get(size(value)..) else {
            let expected = format!("an offset in its section of {} bytes", bytes.len());
            return Err(lie(part(), "st_value", expected, value));
        };
        match rest.get(..size(len)).and_then(<[u8]>::split_last) {
            Some((_nul, payload)) => Ok(payload),
            None => {
                let expected = format!("at most the {} bytes to its section's end", rest.len());
                Err(lie(part(), "st_size", expected, len))
            }
        }
    }
}

fn sections<'a>(header: &Header, object: &'a [u8]) -> Result<&'a [Section], SkeletonError> {
    let field = |value: U16<Le>| u64::from(value.get(Le));
    let part = "ELF header";
    let entsize = wide(size_of::<Section>());
    let found = field(header.e_shentsize);
    expect(
        part,
        "e_shentsize",
        entsize.to_string(),
        found,
        found == entsize,
    )?;
    let count = field(header.e_shnum);
    let expected = format!("1 to {MAX_SECTIONS} sections");
    let good = (1..=wide(MAX_SECTIONS)).contains(&count);
    expect(part, "e_shnum", expected, count, good)?;
    let offset = header.e_shoff.get(Le);
    let table = object.get(size(offset)..);
    let Some(Ok((sections, _))) = table.map(|table| slice_from_bytes(table, size(count))) else {
        let expected = format!(
            "the start of {count} section headers in a file of {} bytes",
            object.len()
        );
        return Err(lie(part.into(), "e_shoff", expected, offset));
    };
    Ok(sections)
}

/// Returns the bytes of section `index`.
fn content<'a>(object: &'a [u8], index: u32, section: &Section) -> Result<&'a [u8], SkeletonError> {
    let (offset, len) = (section.sh_offset.get(Le), section.sh_size.get(Le));
    let Some(rest) = object.get(size(offset)..) else {
        let expected = format!("an offset in a file of {} bytes", object.len());
        return Err(lie(section_text(index), "sh_offset", expected, offset));
    };
    rest.get(..size(len)).ok_or_else(|| {
        let expected = format!("at most the {} bytes to the file's end", rest.len());
        lie(section_text(index), "sh_size", expected, len)
    })
}

fn expect(
    part: &str,
    field: &'static str,
    expected: impl Into<String>,
    found: u64,
    good: bool,
) -> Result<(), SkeletonError> {
    if good {
        return Ok(());
    }
    Err(lie(part.to_owned(), field, expected, found))
}

fn lie(
    part: String,
    field: &'static str,
    expected: impl Into<String>,
    found: u64,
) -> SkeletonError {
    let expected = expected.into();
    SkeletonError::Field {
        part,
        field,
        expected,
        found,
    }
}

fn section_text(index: u32) -> String {
    format!("section {index}")
}

fn symbol_text(name: &str) -> String {
    format!("symbol {name}")
}
