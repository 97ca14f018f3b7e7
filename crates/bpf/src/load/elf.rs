//! Steps that the readers of objects and of light skeletons share.
//!
//! Spec: System V ABI, "Object Files".

use std::fmt::Display;

use object::LittleEndian as Le;
use object::elf;

use crate::BpfError;

pub(super) type Header = elf::FileHeader64<Le>;
pub(super) type SectionHeader = elf::SectionHeader64<Le>;
pub(super) type SymbolEntry = elf::Sym64<Le>;

/// The header's name in messages.
pub(super) const HEADER: &str = "ELF header";

/// Checks the bytes that say how to read all others.
pub(super) fn check_ident(data: &[u8]) -> Result<(), BpfError> {
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
    expect(HEADER, "EI_VERSION at byte 0x6", "1", version, version == 1)
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
