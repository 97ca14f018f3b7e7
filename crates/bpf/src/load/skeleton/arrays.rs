//! The two arrays of a light skeleton, in the object file that a C compiler
//! made of them.
//!
//! Spec: System V ABI, "Object Files". Only what leads to the two symbols is
//! looked at, and each field of it is checked where it is used.

use object::LittleEndian as Le;
use object::elf;
use object::pod::slice_from_all_bytes;

use crate::BpfError;
use crate::bounds::{size, wide};
use crate::load::elf::{
    HEADER, SectionHeader, SymbolEntry, check_ident, content, expect, header, sections,
    symbol_table,
};
use crate::load::look_alike::CLANG;

/// The blob that the loader program works on.
pub(super) const DATA: &str = "opts_data";
/// The loader program.
pub(super) const INSNS: &str = "opts_insn";

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
    pub(super) fn find(object: &'a [u8]) -> Result<Self, BpfError> {
        let file = File::parse(object)?;
        let data = file.array(DATA)?;
        let bytes = file.array(INSNS)?;
        let (insns, rest) = bytes.as_chunks();
        let expected = "whole instructions of 8 bytes and a trailing NUL";
        let found = wide(bytes.len()).saturating_add(1);
        let part = format_args!("symbol {INSNS}");
        expect(part, "st_size", expected, found, rest.is_empty())?;
        Ok(Self { data, insns })
    }
}

/// Returns the name of a machine that parsers may be compiled on.
fn machine_name(machine: u16) -> String {
    match elf::Machine(machine) {
        elf::EM_X86_64 => "x86_64".to_owned(),
        elf::EM_AARCH64 => "arm64".to_owned(),
        elf::EM_RISCV => "riscv".to_owned(),
        elf::EM_BPF => "BPF".to_owned(),
        _ => format!("machine {machine}"),
    }
}

#[derive(Debug)]
struct File<'a> {
    object: &'a [u8],
    machine: u16,
    sections: &'a [SectionHeader],
    symbols: &'a [SymbolEntry],
    /// The names of the symbols.
    strings: &'a [u8],
}

impl<'a> File<'a> {
    fn parse(object: &'a [u8]) -> Result<Self, BpfError> {
        check_ident(object)?;
        let header = header(object)?;
        let (kind, machine) = (header.e_type.get(Le), header.e_machine.get(Le).0);
        let found = format_args!(
            "{}, a program for {}; compile the parser with {CLANG}",
            kind.0,
            machine_name(machine)
        );
        expect(
            HEADER,
            "e_type",
            "1 (an object)",
            found,
            kind == elf::ET_REL,
        )?;
        let sections = sections(header, object)?;
        let (index, table) = symbol_table(sections, " (sh_type 2)")?;
        let part = format_args!("section {index}");
        let (entry, entsize) = (table.sh_entsize.get(Le), wide(size_of::<SymbolEntry>()));
        expect(part, "sh_entsize", entsize, entry, entry == entsize)?;
        let bytes = content(object, part, table)?;
        let Ok(symbols) = slice_from_all_bytes(bytes) else {
            let expected = "a multiple of 24";
            return Err(BpfError::field(part, "sh_size", expected, bytes.len()));
        };
        let link = table.sh_link.get(Le);
        let strings = sections.get(size(link));
        let strings = strings.filter(|strings| strings.sh_type.get(Le) == elf::SHT_STRTAB);
        let strings = strings.ok_or_else(|| {
            let expected = "the number of a string table (sh_type 3)";
            BpfError::field(part, "sh_link", expected, link)
        })?;
        Ok(Self {
            object,
            machine,
            sections,
            symbols,
            strings: content(object, format_args!("section {link}"), strings)?,
        })
    }

    fn symbol(&self, name: &str) -> Result<&'a SymbolEntry, BpfError> {
        let is_it = |symbol: &&SymbolEntry| {
            let text = self.strings.get(size(symbol.st_name.get(Le))..);
            let rest = text.and_then(|text| text.strip_prefix(name.as_bytes()));
            symbol.st_shndx.get(Le) != elf::SHN_UNDEF
                && rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        let mut found = self.symbols.iter().filter(is_it);
        Err(BpfError::new(match (found.next(), found.next()) {
            (Some(symbol), None) => return Ok(symbol),
            (None, _) => format!(
                "this is an object for {}, and no light skeleton: it defines no symbol {name}; \
                 compile the parser with {CLANG}",
                machine_name(self.machine)
            ),
            (Some(_), Some(_)) => format!("the object defines symbol {name} more than once"),
        }))
    }

    /// Returns the payload of an array: all of it but the trailing NUL.
    fn array(&self, name: &str) -> Result<&'a [u8], BpfError> {
        let symbol = self.symbol(name)?;
        let part = format_args!("symbol {name}");
        let index = symbol.st_shndx.get(Le).0;
        let Some(section) = self.sections.get(usize::from(index)) else {
            let expected = format_args!("the number of a section, below {}", self.sections.len());
            return Err(BpfError::field(part, "st_shndx", expected, index));
        };
        let (kind, flags) = (section.sh_type.get(Le), section.sh_flags.get(Le));
        let its_section = format_args!("section {index}");
        let expected = "1 (PROGBITS), which has its bytes in the file";
        let has_bytes = kind == elf::SHT_PROGBITS;
        expect(its_section, "sh_type", expected, kind.0, has_bytes)?;
        let expected = "bytes that are not compressed (0x800)";
        let plain = !flags.contains(elf::SHF_COMPRESSED);
        expect(its_section, "sh_flags", expected, flags.0, plain)?;
        let bytes = content(self.object, its_section, section)?;
        let (value, len) = (symbol.st_value.get(Le), symbol.st_size.get(Le));
        let expected = "some bytes and a trailing NUL";
        expect(part, "st_size", expected, len, len >= 2)?;
        let Some(rest) = bytes.get(size(value)..) else {
            let expected = format_args!("an offset in its section of {} bytes", bytes.len());
            return Err(BpfError::field(part, "st_value", expected, value));
        };
        match rest.get(..size(len)).and_then(<[u8]>::split_last) {
            Some((_nul, payload)) => Ok(payload),
            None => {
                let expected =
                    format_args!("at most the {} bytes to its section's end", rest.len());
                Err(BpfError::field(part, "st_size", expected, len))
            }
        }
    }
}
