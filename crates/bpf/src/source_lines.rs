//! The source lines of a program, by its instructions.

use crate::bounds::at_most;
use crate::btf::Strings;

/// One line record: from `slot` on, the code came from this line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// First instruction slot of [`Program::code`](crate::Program::code) it covers.
    pub slot: u32,
    /// File name as compiled.
    pub file: String,
    /// Line number, from 1.
    pub line: u32,
    /// The source text of the line, trimmed; may be empty.
    pub text: String,
}

/// `struct bpf_line_info`: where an instruction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineInfo {
    /// In bytes in an object, in slots of a program.
    pub(crate) insn_off: u32,
    pub(crate) file_name: u32,
    pub(crate) line: u32,
    pub(crate) text: u32,
}

/// The line records of a program, ascending by slot.
///
/// Only faults and listings need their texts, so a record has their offsets in strings
/// that all programs of an object share.
#[derive(Clone, Debug, Default)]
pub struct SourceLines {
    strings: Strings,
    records: Vec<LineInfo>,
}

impl SourceLines {
    /// Returns the lines of `records`, whose texts are in `strings`, and whose
    /// instructions are slots in ascending order. Of several records for one slot the
    /// last holds.
    pub(crate) fn new(strings: &Strings, records: impl IntoIterator<Item = LineInfo>) -> Self {
        let mut kept = Vec::<LineInfo>::new();
        for record in records {
            kept.pop_if(|last| last.insn_off == record.insn_off);
            kept.push(record);
        }
        Self {
            strings: strings.clone(),
            records: kept,
        }
    }

    /// Returns all of them.
    pub fn iter(&self) -> impl Iterator<Item = SourceLine> {
        self.records.iter().map(|record| self.line(record))
    }

    /// Returns the line that slot `slot` came from: that of the last record up to it.
    #[must_use]
    pub fn at(&self, slot: u32) -> Option<SourceLine> {
        let begun = |record: &LineInfo| record.insn_off <= slot;
        let begun = self.records.partition_point(begun);
        let record = at_most(&self.records, begun).last();
        record.map(|record| self.line(record))
    }

    fn line(&self, record: &LineInfo) -> SourceLine {
        let text = |offset| String::from_utf8_lossy(self.strings.get(offset));
        SourceLine {
            slot: record.insn_off,
            file: text(record.file_name).trim().to_owned(),
            line: record.line,
            text: text(record.text).trim().to_owned(),
        }
    }
}

/// Lines in ascending order of their slots.
impl FromIterator<SourceLine> for SourceLines {
    fn from_iter<T: IntoIterator<Item = SourceLine>>(lines: T) -> Self {
        let mut strings = Strings::default();
        let records = lines.into_iter().map(|line| LineInfo {
            insn_off: line.slot,
            file_name: strings.push(&line.file),
            line: line.line,
            text: strings.push(&line.text),
        });
        let records: Vec<LineInfo> = records.collect();
        Self::new(&strings, records)
    }
}
