//! Reading a `.BTF.ext` section: records about instructions.
//!
//! Spec: Linux `Documentation/bpf/btf.rst`, ".BTF.ext section". Its three
//! tables share one shape: a record size, then for each ELF section its name
//! and its records. A record may be longer than this crate knows.

use super::TypeId;
use super::parse::{Cursor, check_magic, field, header, part};
use crate::BpfError;
use crate::bounds::size;
use crate::error::check_count;
use crate::source_lines::LineInfo;

/// The most bytes of `.BTF.ext` that are taken.
pub(crate) const MAX_BTF_EXT_BYTES: usize = 16 << 20;
/// `hdr_len` of a header without CO-RE relocations.
const SHORT_HEADER_LEN: u32 = 24;
/// `hdr_len` of a header with them.
const HEADER_LEN: u32 = 32;

#[derive(Debug, Default)]
pub(crate) struct BtfExt {
    pub(crate) lines: Vec<SectionRecords<LineInfo>>,
    pub(crate) relos: Vec<SectionRecords<CoreRelo>>,
}

#[derive(Debug)]
pub(crate) struct SectionRecords<T> {
    /// The section's name, in the strings of the `.BTF` section.
    pub(crate) section_name: u32,
    pub(crate) records: Vec<T>,
}

/// `struct bpf_core_relo`: what an instruction's constant stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CoreRelo {
    /// In bytes, in an object and in `BPF_PROG_LOAD`.
    pub(crate) insn_off: u32,
    /// The root type, of the program's own types.
    pub(crate) type_id: TypeId,
    /// The access string, such as `0:1:2`.
    pub(crate) access: u32,
    /// `enum bpf_core_relo_kind`.
    pub(crate) kind: u32,
}

/// `struct bpf_func_info`: a function that begins at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FuncInfo {
    /// In bytes in an object, in slots in `BPF_PROG_LOAD`.
    pub(crate) insn_off: u32,
    /// The function's type, of the program's own types.
    pub(crate) type_id: TypeId,
}

/// A record that describes an instruction.
pub(crate) trait Record: Sized {
    const TABLE: &'static str;
    /// How many words this crate knows of a record, at most 4.
    const WORDS: u32;
    /// Reads the words that this crate knows of a record; zeros follow them.
    fn from_words(words: [u32; 4]) -> Self;
}

impl Record for FuncInfo {
    const TABLE: &'static str = "func_info";
    const WORDS: u32 = 2;

    fn from_words([insn_off, type_id, ..]: [u32; 4]) -> Self {
        let type_id = TypeId(type_id);
        Self { insn_off, type_id }
    }
}

impl Record for LineInfo {
    const TABLE: &'static str = "line_info";
    const WORDS: u32 = 4;

    fn from_words([insn_off, file_name, text, line_col]: [u32; 4]) -> Self {
        Self {
            insn_off,
            file_name,
            line: line_col >> 10,
            text,
        }
    }
}

impl Record for CoreRelo {
    const TABLE: &'static str = "core_relo";
    const WORDS: u32 = 4;

    fn from_words([insn_off, type_id, access, kind]: [u32; 4]) -> Self {
        Self {
            insn_off,
            type_id: TypeId(type_id),
            access,
            kind,
        }
    }
}

impl BtfExt {
    /// Reads the `.BTF.ext` section of a little-endian object.
    pub(crate) fn parse(section: &[u8]) -> Result<Self, BpfError> {
        check_count("bytes of BTF.ext", section.len(), MAX_BTF_EXT_BYTES)?;
        check_magic(section)?;
        let mut header = header(section, 4);
        let len = header.u32()?;
        if len < SHORT_HEADER_LEN {
            return Err(field("hdr_len", 4, SHORT_HEADER_LEN, len, ""));
        }
        // Function types are of no use to a loader that types nothing.
        let _func_info: [u32; 2] = header.words()?;
        let lines = header.words()?;
        let has_relos = len >= HEADER_LEN;
        let relos = if has_relos { header.words()? } else { [0, 0] };
        let (lines, relos) = (table(section, len, lines)?, table(section, len, relos)?);
        Ok(Self { lines, relos })
    }
}

/// Reads one table, with the record size in front.
fn table<T: Record>(
    section: &[u8],
    header_len: u32,
    [offset, len]: [u32; 2],
) -> Result<Vec<SectionRecords<T>>, BpfError> {
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut cursor = part(section, T::TABLE, header_len, offset, len)?;
    let record_len = cursor.u32()?;
    let mut tables = Vec::new();
    while cursor.at < cursor.data.len() {
        let [section_name, count] = cursor.words()?;
        let bytes = u64::from(record_len).saturating_mul(u64::from(count));
        cursor.need(bytes)?;
        let records = records(cursor.data, cursor.at, record_len, count)?;
        cursor.at = cursor.at.saturating_add(size(bytes));
        tables.push(SectionRecords {
            section_name,
            records,
        });
    }
    Ok(tables)
}

/// Reads `count` records of `record_len` bytes each, as they lie in `.BTF.ext`
/// and in the arrays of `BPF_PROG_LOAD`.
pub(crate) fn records<T: Record>(
    data: &[u8],
    start: usize,
    record_len: u32,
    count: u32,
) -> Result<Vec<T>, BpfError> {
    let known = T::WORDS.saturating_mul(4);
    if record_len < known || !record_len.is_multiple_of(4) {
        let hint = " (the size of a record)";
        return Err(field(T::TABLE, start, known, record_len, hint));
    }
    let (at, what) = (start, T::TABLE);
    let mut cursor = Cursor { data, at, what };
    cursor.need(u64::from(record_len).saturating_mul(u64::from(count)))?;
    let mut records = Vec::new();
    for _ in 0..count {
        let next = cursor.at.saturating_add(size(record_len));
        let mut words = [0; 4];
        for (word, _) in words.iter_mut().zip(0..T::WORDS) {
            *word = cursor.u32()?;
        }
        records.push(T::from_words(words));
        cursor.at = next;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// One line and one CO-RE record for the section whose name is at 1, the
    /// latter four bytes longer than known.
    fn minimal() -> Vec<u8> {
        let header = [0x0001_eb9f, 32, 0, 0, 0, 28, 28, 32];
        let lines = [16, 1, 1, 8, 2, 3, 42 << 10 | 7];
        let relos = [20, 1, 1, 16, 5, 6, 2, 0xdead];
        let words = [&header[..], &lines, &relos].concat();
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn reads_records_by_their_size() {
        let ext = BtfExt::parse(&minimal()).unwrap();
        let line = LineInfo {
            insn_off: 8,
            file_name: 2,
            line: 42,
            text: 3,
        };
        assert_eq!(ext.lines[0].records, [line]);
        let relo = CoreRelo {
            insn_off: 16,
            type_id: TypeId(5),
            access: 6,
            kind: 2,
        };
        assert_eq!(ext.relos[0].records, [relo]);
    }

    #[test]
    fn refuses_lies() {
        let edits: [fn(&mut Vec<u8>); 7] = [
            |_| {},
            |ext| {
                ext[4] = 24;
                ext.drain(24..32);
            },
            |ext| ext[4] = 20,
            |ext| ext[32] = 12,
            |ext| ext[32] = 18,
            |ext| ext[40..44].fill(0xff),
            |ext| ext[28] = 0xff,
        ];
        let results = edits.map(|edit| {
            let mut section = minimal();
            edit(&mut section);
            match BtfExt::parse(&section) {
                Ok(ext) => format!("{} and {}\n", ext.lines.len(), ext.relos.len()),
                Err(error) => format!("{error}\n"),
            }
        });
        expect![[r#"
            1 and 1
            1 and 0
            hdr_len at byte 0x4: expected 0x18, found 0x14
            line_info at byte 0x2c: expected 0x10, found 0xc (the size of a record)
            line_info at byte 0x2c: expected 18 bytes, found 16
            line_info at byte 0x2c: expected 68719476720 bytes, found 16
            core_relo at byte 0x3c: expected 255 bytes, found 32
        "#]]
        .assert_eq(&results.concat());
    }
}
