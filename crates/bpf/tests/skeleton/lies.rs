//! Every field on the way to the arrays may lie (section 3a of the ABI): the
//! error names it.

use expect_test::{Expect, expect};
use ukexec_bpf::Insn;

use crate::elf::{
    OPTS_DATA, OPTS_INSN, RODATA, SECTION_LEN, SECTIONS, SPARE, SPARE_SYMBOL, STRTAB, SYMBOL_LEN,
    SYMBOLS, SYMTAB, number, object, put,
};
use crate::{hosts, refusal};

/// Expects what is said of an object in which `bytes` are at `at`.
fn check(at: usize, bytes: &[u8], expected: Expect) {
    let exit = Insn {
        code: 0x95,
        ..Insn::default()
    };
    let mut object = object(&[0; 16], &[exit]);
    put(&mut object, at, bytes);
    expected.assert_eq(&refusal(&object, &hosts::kexec()));
}

fn section(index: usize, field: usize) -> usize {
    SECTIONS + SECTION_LEN * index + field
}

fn symbol(index: usize, field: usize) -> usize {
    SYMBOLS + SYMBOL_LEN * index + field
}

#[test]
fn the_honest_object_runs() {
    check(0, b"", expect!["the skeleton's loader left no program"]);
    // For BPF too, if both arrays are there.
    check(
        18,
        &247_u16.to_le_bytes(),
        expect!["the skeleton's loader left no program"],
    );
}

#[test]
fn lies_of_the_header_are_refused() {
    check(
        4,
        &[1],
        expect!["ELF header, EI_CLASS at byte 0x4: expected 2 (64-bit), found 1 (32-bit)"],
    );
    check(
        5,
        &[2],
        expect![
            "ELF header, EI_DATA at byte 0x5: expected 1 (little-endian), found 2 (big-endian)"
        ],
    );
    check(
        16,
        &[2],
        expect![
            "ELF header, e_type: expected 1 (an object), found 2, a program for x86_64; compile the parser with clang -target bpf -g -O2 -c"
        ],
    );
    check(
        40,
        &number(1 << 20),
        expect![
            "ELF header, e_shoff: expected the start of 5 section headers in a file of 537 bytes, found 1048576"
        ],
    );
    check(
        40,
        &[0xff; 8],
        expect![
            "ELF header, e_shoff: expected the start of 5 section headers in a file of 537 bytes, found 18446744073709551615"
        ],
    );
    check(
        58,
        &[63],
        expect!["ELF header, e_shentsize: expected 64, found 63"],
    );
    check(
        60,
        &[0],
        expect!["ELF header, e_shnum: expected 1 to 4096 sections, found 0"],
    );
    check(
        60,
        &[0xff, 0xff],
        expect!["ELF header, e_shnum: expected 1 to 4096 sections, found 65535"],
    );
    check(
        60,
        &[0x10, 0],
        expect![
            "ELF header, e_shoff: expected the start of 16 section headers in a file of 537 bytes, found 64"
        ],
    );
}

#[test]
fn lies_of_the_symbol_table_are_refused() {
    check(
        section(SYMTAB, 4),
        &[3],
        expect!["the object has 0 symbol tables (sh_type 2), and one is needed"],
    );
    check(
        section(SPARE, 4),
        &[2],
        expect!["the object has 2 symbol tables (sh_type 2), and one is needed"],
    );
    check(
        section(SYMTAB, 24),
        &[0xff; 8],
        expect![
            "section 2, sh_offset: expected an offset in a file of 537 bytes, found 18446744073709551615"
        ],
    );
    check(
        section(SYMTAB, 32),
        &[0xff; 8],
        expect![
            "section 2, sh_size: expected at most the 153 bytes to the file's end, found 18446744073709551615"
        ],
    );
    check(
        section(SYMTAB, 32),
        &[90],
        expect!["section 2, sh_size: expected a multiple of 24, found 90"],
    );
    check(
        section(SYMTAB, 40),
        &[1],
        expect!["section 2, sh_link: expected the number of a string table (sh_type 3), found 1"],
    );
    check(
        section(SYMTAB, 40),
        &[9],
        expect!["section 2, sh_link: expected the number of a string table (sh_type 3), found 9"],
    );
    check(
        section(SYMTAB, 56),
        &[0],
        expect!["section 2, sh_entsize: expected 24, found 0"],
    );
    check(
        section(STRTAB, 24),
        &[0xff; 8],
        expect![
            "section 3, sh_offset: expected an offset in a file of 537 bytes, found 18446744073709551615"
        ],
    );
    check(
        section(STRTAB, 32),
        &[20],
        expect![
            "this is an object for x86_64, and no light skeleton: it defines no symbol opts_insn; compile the parser with clang -target bpf -g -O2 -c"
        ],
    );
}

#[test]
fn lies_of_the_symbols_are_refused() {
    check(
        symbol(OPTS_DATA, 0),
        &[0xff; 4],
        expect![
            "this is an object for x86_64, and no light skeleton: it defines no symbol opts_data; compile the parser with clang -target bpf -g -O2 -c"
        ],
    );
    check(
        symbol(SPARE_SYMBOL, 6),
        &[1],
        expect!["the object defines symbol opts_insn more than once"],
    );
    check(
        symbol(OPTS_DATA, 6),
        &[0],
        expect![
            "this is an object for x86_64, and no light skeleton: it defines no symbol opts_data; compile the parser with clang -target bpf -g -O2 -c"
        ],
    );
    check(
        symbol(OPTS_DATA, 6),
        &[5],
        expect!["symbol opts_data, st_shndx: expected the number of a section, below 5, found 5"],
    );
    check(
        symbol(OPTS_DATA, 6),
        &[0xf1, 0xff],
        expect![
            "symbol opts_data, st_shndx: expected the number of a section, below 5, found 65521"
        ],
    );
    check(
        symbol(OPTS_DATA, 8),
        &[0xff; 8],
        expect![
            "symbol opts_data, st_value: expected an offset in its section of 33 bytes, found 18446744073709551615"
        ],
    );
    check(
        symbol(OPTS_DATA, 16),
        &[0xff; 8],
        expect![
            "symbol opts_data, st_size: expected at most the 33 bytes to its section's end, found 18446744073709551615"
        ],
    );
    check(
        symbol(OPTS_DATA, 16),
        &[0],
        expect!["symbol opts_data, st_size: expected some bytes and a trailing NUL, found 0"],
    );
    check(
        symbol(OPTS_INSN, 16),
        &[0],
        expect!["symbol opts_insn, st_size: expected some bytes and a trailing NUL, found 0"],
    );
    check(
        symbol(OPTS_INSN, 16),
        &[1],
        expect!["symbol opts_insn, st_size: expected some bytes and a trailing NUL, found 1"],
    );
    check(
        symbol(OPTS_INSN, 16),
        &[8],
        expect![
            "symbol opts_insn, st_size: expected whole instructions of 8 bytes and a trailing NUL, found 8"
        ],
    );
    check(
        symbol(OPTS_INSN, 8),
        &[25],
        expect![
            "symbol opts_insn, st_size: expected at most the 8 bytes to its section's end, found 9"
        ],
    );
}

#[test]
fn lies_of_the_arrays_section_are_refused() {
    check(
        section(RODATA, 4),
        &[8],
        expect![
            "section 1, sh_type: expected 1 (PROGBITS), which has its bytes in the file, found 8"
        ],
    );
    check(
        section(RODATA, 8),
        &[0, 8],
        expect!["section 1, sh_flags: expected bytes that are not compressed (0x800), found 2048"],
    );
    check(
        section(RODATA, 24),
        &[0xff; 8],
        expect![
            "section 1, sh_offset: expected an offset in a file of 537 bytes, found 18446744073709551615"
        ],
    );
    check(
        section(RODATA, 32),
        &[0xff; 8],
        expect![
            "section 1, sh_size: expected at most the 33 bytes to the file's end, found 18446744073709551615"
        ],
    );
    check(
        section(RODATA, 32),
        &[8],
        expect![
            "symbol opts_data, st_size: expected at most the 8 bytes to its section's end, found 17"
        ],
    );
}
