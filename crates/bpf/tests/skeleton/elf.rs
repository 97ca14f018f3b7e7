//! Object files with the two arrays, of which every field can be set.

use ukexec_bpf::Insn;

/// Where the parts of [`object`] are.
pub(crate) const SECTIONS: usize = 64;
pub(crate) const SECTION_LEN: usize = 64;
pub(crate) const SYMBOLS: usize = SECTIONS + 5 * SECTION_LEN;
pub(crate) const SYMBOL_LEN: usize = 24;

/// Sections by what they hold.
pub(crate) const RODATA: usize = 1;
pub(crate) const SYMTAB: usize = 2;
pub(crate) const STRTAB: usize = 3;
pub(crate) const SPARE: usize = 4;

/// Symbols by what they name.
pub(crate) const OPTS_DATA: usize = 1;
pub(crate) const OPTS_INSN: usize = 2;
pub(crate) const SPARE_SYMBOL: usize = 3;

const NAMES: &[u8] = b"\0opts_data\0opts_insn\0";

/// Returns a relocatable object for x86-64 with the two arrays, each with its
/// NUL, a section that is empty and a symbol that is not defined.
pub(crate) fn object(data: &[u8], code: &[Insn]) -> Vec<u8> {
    let insns: Vec<u8> = code.iter().flat_map(|insn| insn.to_le_bytes()).collect();
    let names = SYMBOLS + 4 * SYMBOL_LEN;
    let start = (names + NAMES.len()).next_multiple_of(8);
    let second = (data.len() + 1).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(start + second + insns.len() + 1, 0);
    put(&mut file, 16, &[1, 0, 62, 0, 1]);
    put(&mut file, 40, &number(SECTIONS));
    put(&mut file, 52, &[64, 0, 0, 0, 0, 0, 64, 0, 5, 0, 3, 0]);
    let mut section = |index, kind: u32, offset, size, link: u32, entry| {
        let at = SECTIONS + SECTION_LEN * index;
        put(&mut file, at + 4, &kind.to_le_bytes());
        put(&mut file, at + 24, &number(offset));
        put(&mut file, at + 32, &number(size));
        put(&mut file, at + 40, &link.to_le_bytes());
        put(&mut file, at + 56, &number(entry));
    };
    section(RODATA, 1, start, second + insns.len() + 1, 0, 0);
    section(SYMTAB, 2, SYMBOLS, 4 * SYMBOL_LEN, 3, SYMBOL_LEN);
    section(STRTAB, 3, names, NAMES.len(), 0, 0);
    let mut symbol = |index, name: u32, section: u16, value, size| {
        let at = SYMBOLS + SYMBOL_LEN * index;
        put(&mut file, at, &name.to_le_bytes());
        put(&mut file, at + 4, &[0x11, 0]);
        put(&mut file, at + 6, &section.to_le_bytes());
        put(&mut file, at + 8, &number(value));
        put(&mut file, at + 16, &number(size));
    };
    symbol(OPTS_DATA, 1, 1, 0, data.len() + 1);
    symbol(OPTS_INSN, 11, 1, second, insns.len() + 1);
    symbol(SPARE_SYMBOL, 11, 0, 0, 0);
    put(&mut file, names, NAMES);
    put(&mut file, start, data);
    put(&mut file, start + second, &insns);
    file
}

pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(crate) fn number(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap().to_le_bytes()
}
