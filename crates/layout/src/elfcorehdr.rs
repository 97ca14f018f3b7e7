//! The ELF headers by which a crash kernel finds the memory of the one that crashed, and shows
//! it as `/proc/vmcore`.
//!
//! Spec: System V ABI, "Object Files"; Linux `kernel/crash_core.c`
//! (`crash_prepare_elf64_headers`). Virtual addresses are left out: those who read dumps take
//! them from the note of vmcoreinfo.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::LayoutError;
use crate::ranges::len;

/// Where the running kernel leaves notes when it crashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashNotes {
    /// The registers of each processor: `crash_notes` and `crash_notes_size` of it in
    /// `/sys/devices/system/cpu`.
    pub cpus: Vec<Range<u64>>,
    /// `/sys/kernel/vmcoreinfo`.
    pub vmcoreinfo: Option<Range<u64>>,
}

/// Writes the headers for the memory in `dumped`.
pub(crate) fn write(
    e_machine: u16,
    notes: &CrashNotes,
    dumped: &[Range<u64>],
) -> Result<Vec<u8>, LayoutError> {
    let notes = notes.cpus.iter().chain(&notes.vmcoreinfo);
    let notes = notes.map(|range| (PT_NOTE, 0, range));
    let loads = dumped.iter().map(|range| (PT_LOAD, PF_RWX, range));
    let segments: Vec<_> = notes.chain(loads).collect();
    let count = segments.len();
    let e_phnum = u16::try_from(count).ok().filter(|&count| count < PN_XNUM);
    let e_phnum = e_phnum.ok_or_else(|| {
        LayoutError::new(format!(
            "elfcorehdr: {count} notes and ranges of memory, and it has room for 65534"
        ))
    })?;

    let mut elf = Vec::new();
    // 64-bit, little-endian, version 1, no ABI.
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend([ET_CORE, e_machine].map(u16::to_le_bytes).as_flattened());
    elf.extend(1_u32.to_le_bytes()); // e_version
    // e_entry, e_phoff, e_shoff
    elf.extend(
        [0, u64::from(EHDR_LEN), 0]
            .map(u64::to_le_bytes)
            .as_flattened(),
    );
    elf.extend(0_u32.to_le_bytes()); // e_flags
    // No sections.
    let rest = [EHDR_LEN, PHDR_LEN, e_phnum, 0, 0, 0];
    elf.extend(rest.map(u16::to_le_bytes).as_flattened());
    for (p_type, p_flags, range) in segments {
        elf.extend([p_type, p_flags].map(u32::to_le_bytes).as_flattened());
        let (start, len) = (range.start, len(range));
        // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        let fields = [start, 0, start, len, len, 0];
        elf.extend(fields.map(u64::to_le_bytes).as_flattened());
    }
    Ok(elf)
}

const ET_CORE: u16 = 4;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_RWX: u32 = 7;
const EHDR_LEN: u16 = 64;
const PHDR_LEN: u16 = 56;
/// "If the number of program headers is greater than or equal to PN_XNUM", it is elsewhere.
const PN_XNUM: u16 = 0xffff;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(notes: &CrashNotes, dumped: &[Range<u64>], expected: Expect) {
        expected.assert_eq(&match write(183, notes, dumped) {
            Ok(elf) => {
                let words = elf
                    .chunks(8)
                    .map(|it| u64::from_le_bytes(it.try_into().unwrap()));
                let words: Vec<_> = words.map(|it| format!("{it:016x}")).collect();
                words.chunks(7).map(|it| it.join(" ") + "\n").collect()
            }
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn headers_of_a_dump() {
        let notes = CrashNotes {
            cpus: vec![0xbf80_0000..0xbf80_0200, 0xbf81_0000..0xbf81_0200],
            vmcoreinfo: Some(0xbf90_0000..0xbf90_1000),
        };
        let dumped = [0x4000_0000..0x9ee0_0000, 0xbee0_0000..0xc000_0000];
        check(
            &notes,
            &dumped,
            expect![[r#"
            00010102464c457f 0000000000000000 0000000100b70004 0000000000000000 0000000000000040 0000000000000000 0038004000000000
            0000000000000005 0000000000000004 00000000bf800000 0000000000000000 00000000bf800000 0000000000000200 0000000000000200
            0000000000000000 0000000000000004 00000000bf810000 0000000000000000 00000000bf810000 0000000000000200 0000000000000200
            0000000000000000 0000000000000004 00000000bf900000 0000000000000000 00000000bf900000 0000000000001000 0000000000001000
            0000000000000000 0000000700000001 0000000040000000 0000000000000000 0000000040000000 000000005ee00000 000000005ee00000
            0000000000000000 0000000700000001 00000000bee00000 0000000000000000 00000000bee00000 0000000001200000 0000000001200000
            0000000000000000
        "#]],
        );
    }

    #[test]
    fn more_than_fits_is_refused() {
        let notes = CrashNotes {
            cpus: vec![0..1; 65535],
            vmcoreinfo: None,
        };
        check(
            &notes,
            &[],
            expect!["elfcorehdr: 65535 notes and ranges of memory, and it has room for 65534"],
        );
    }
}
