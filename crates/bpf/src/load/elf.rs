//! Steps that the readers of objects, of light skeletons and of parser
//! containers share.
//!
//! Spec: System V ABI, "Object Files".

use std::fmt::Display;

use object::LittleEndian as Le;
use object::elf;
use object::pod::{from_bytes, slice_from_bytes};

use super::limits::MAX_SECTIONS;
use crate::BpfError;
use crate::bounds::{size, wide};

pub(super) type Header = elf::FileHeader64<Le>;
pub(super) type SectionHeader = elf::SectionHeader64<Le>;
pub(super) type SymbolEntry = elf::Sym64<Le>;

/// The header's name in messages.
pub(super) const HEADER: &str = "ELF header";

/// Checks the bytes that say how to read all others.
pub(super) fn check_ident(data: &[u8]) -> Result<(), BpfError> {
    let version = check_format(data)?;
    expect(HEADER, "EI_VERSION at byte 0x6", "1", version, version == 1)
}

/// Checks that a file is an ELF64 little-endian one, and returns its version.
pub(super) fn check_format(data: &[u8]) -> Result<u8, BpfError> {
    let magic = "EI_MAG at byte 0x0";
    let Some(&[m0, m1, m2, m3, class, order, version]) = data.first_chunk() else {
        let found = format!("{} bytes", data.len());
        return Err(BpfError::field(HEADER, magic, "an ELF file", found));
    };
    let found = format_args!("{m0:02x} {m1:02x} {m2:02x} {m3:02x}");
    let is_elf = [m0, m1, m2, m3] == elf::ELFMAG;
    expect(HEADER, magic, "7f 45 4c 46 (ELF)", found, is_elf)?;
    let bits = if class == 1 { " (32-bit)" } else { "" };
    let (field, found) = ("EI_CLASS at byte 0x4", format_args!("{class}{bits}"));
    expect(HEADER, field, "2 (64-bit)", found, class == 2)?;
    let endian = if order == 2 { " (big-endian)" } else { "" };
    let (field, found) = ("EI_DATA at byte 0x5", format_args!("{order}{endian}"));
    expect(HEADER, field, "1 (little-endian)", found, order == 1)?;
    Ok(version)
}

/// Returns the header of a file whose first bytes were checked.
pub(super) fn header(data: &[u8]) -> Result<&Header, BpfError> {
    let Ok((header, _)) = from_bytes::<Header>(data) else {
        let expected = format_args!("a header of {} bytes", size_of::<Header>());
        return Err(BpfError::field(HEADER, "its size", expected, data.len()));
    };
    Ok(header)
}

/// Returns the section headers.
pub(super) fn sections<'a>(
    header: &Header,
    object: &'a [u8],
) -> Result<&'a [SectionHeader], BpfError> {
    let (entry, entsize) = (header.e_shentsize.get(Le), wide(size_of::<SectionHeader>()));
    expect(
        HEADER,
        "e_shentsize",
        entsize,
        entry,
        u64::from(entry) == entsize,
    )?;
    let count = usize::from(header.e_shnum.get(Le));
    let expected = format_args!("1 to {MAX_SECTIONS} sections");
    let good = (1..=MAX_SECTIONS).contains(&count);
    expect(HEADER, "e_shnum", expected, count, good)?;
    let offset = header.e_shoff.get(Le);
    let table = object.get(size(offset)..);
    let Some(Ok((sections, _))) = table.map(|table| slice_from_bytes(table, count)) else {
        let len = object.len();
        let expected =
            format_args!("the start of {count} section headers in a file of {len} bytes");
        return Err(BpfError::field(HEADER, "e_shoff", expected, offset));
    };
    Ok(sections)
}

/// Returns the bytes of the section that messages call `part`.
pub(super) fn content<'a>(
    object: &'a [u8],
    part: impl Display,
    section: &SectionHeader,
) -> Result<&'a [u8], BpfError> {
    let (offset, len) = (section.sh_offset.get(Le), section.sh_size.get(Le));
    let Some(rest) = object.get(size(offset)..) else {
        let expected = format_args!("an offset in a file of {} bytes", object.len());
        return Err(BpfError::field(part, "sh_offset", expected, offset));
    };
    rest.get(..size(len)).ok_or_else(|| {
        let expected = format_args!("at most the {} bytes to the file's end", rest.len());
        BpfError::field(part, "sh_size", expected, len)
    })
}

/// Returns the one symbol table with its index; `hint` says how to know one.
pub(super) fn symbol_table<'a>(
    sections: &'a [SectionHeader],
    hint: &str,
) -> Result<(u32, &'a SectionHeader), BpfError> {
    let is_table = |section: &&SectionHeader| section.sh_type.get(Le) == elf::SHT_SYMTAB;
    let mut tables = (0..).zip(sections).filter(|(_, section)| is_table(section));
    if let (Some(table), None) = (tables.next(), tables.next()) {
        return Ok(table);
    }
    let found = sections.iter().filter(is_table).count();
    let text = format!("the object has {found} symbol tables{hint}, and one is needed");
    Err(BpfError::new(text))
}

/// Refuses a field that is not `good`; only then are the values formatted.
pub(super) fn expect(
    part: impl Display,
    field: &str,
    expected: impl Display,
    found: impl Display,
    good: bool,
) -> Result<(), BpfError> {
    if good {
        return Ok(());
    }
    Err(BpfError::field(part, field, expected, found))
}
