//! Records of `.BTF.ext`, by the section they are about.

use std::collections::HashMap;
use std::sync::Arc;

use super::Types;
use super::elf::Elf;
use super::functions::{Function, SLOT};
use crate::btf::Btf;
use crate::btf::ext::{LineInfo, Record, SectionRecords};
use crate::{CodePlace, SourceLine};

/// The most bytes of source text that are kept; what comes later is empty.
const MAX_TEXT: usize = 4 << 20;

/// Records by section, each section's in the order of its instructions.
#[derive(Debug)]
pub(super) struct BySection<T> {
    records: HashMap<usize, Vec<T>>,
}

impl<T: Record + Copy> BySection<T> {
    pub(super) fn new(elf: &Elf<'_>, btf: &Btf, tables: &[SectionRecords<T>]) -> Self {
        let mut sections = HashMap::new();
        for (index, section) in elf.sections.iter().enumerate() {
            sections.entry(section.name.as_bytes()).or_insert(index);
        }
        let mut records = HashMap::<usize, Vec<T>>::new();
        for table in tables {
            if let Some(&index) = sections.get(btf.name(table.section_name)) {
                records
                    .entry(index)
                    .or_default()
                    .extend_from_slice(&table.records);
            }
        }
        for records in records.values_mut() {
            records.sort_by_key(Record::insn_off);
        }
        Self { records }
    }

    /// Returns the records about a function.
    pub(super) fn about(&self, function: &Function<'_>) -> &[T] {
        let records = self
            .records
            .get(&function.section)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let before = |slot: u64| {
            records
                .partition_point(|record| u64::from(record.insn_off()) < slot.saturating_mul(SLOT))
        };
        records
            .get(before(function.start)..before(function.end()))
            .unwrap_or_default()
    }
}

/// Source lines of instructions.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    btf: Option<&'a Btf>,
    records: BySection<LineInfo>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(elf: &Elf<'_>, types: &'a Types) -> Self {
        let btf = types.btf.as_ref();
        let records = btf.map(|btf| BySection::new(elf, btf, &types.ext.lines));
        let mut records = records.unwrap_or_else(|| BySection {
            records: HashMap::new(),
        });
        for records in records.records.values_mut() {
            // Of several records for one instruction the last holds.
            records.dedup_by(|next, kept| {
                let same = next.insn_off == kept.insn_off;
                if same {
                    *kept = *next;
                }
                same
            });
        }
        Self { btf, records }
    }

    /// Returns the lines of a function that begins at slot `base` of a
    /// program.
    pub(super) fn of(
        &self,
        function: &Function<'_>,
        base: u32,
        texts: &mut Texts,
    ) -> Vec<SourceLine> {
        let Some(btf) = self.btf else {
            return Vec::new();
        };
        let mut lines = Vec::<SourceLine>::new();
        for record in self.records.about(function) {
            let slot = (u64::from(record.insn_off) / SLOT).saturating_sub(function.start);
            let slot = base.saturating_add(u32::try_from(slot).unwrap_or(u32::MAX));
            let line = SourceLine {
                slot,
                file: texts.get(btf, record.file_name),
                line: record.line,
                text: texts.get(btf, record.text),
            };
            lines.pop_if(|last| last.slot == slot);
            lines.push(line);
        }
        lines
    }

    /// Says where slot `slot` of `function` is.
    pub(super) fn place(
        &self,
        elf: &Elf<'_>,
        function: &Function<'_>,
        slot: u64,
    ) -> Box<CodePlace> {
        let slot = function.start.saturating_add(slot);
        let records = self.records.about(function);
        let behind = records.partition_point(|record| u64::from(record.insn_off) / SLOT <= slot);
        let record = behind.checked_sub(1).and_then(|at| records.get(at));
        let line = self.btf.zip(record).map(|(btf, record)| SourceLine {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            file: btf.text(record.file_name).into(),
            line: record.line,
            text: btf.text(record.text).trim().into(),
        });
        let section = elf.section_name(function.section);
        Box::new(CodePlace {
            section,
            function: function.name(),
            slot,
            line,
        })
    }
}

/// File names and lines, each kept once.
#[derive(Debug)]
pub(super) struct Texts {
    texts: HashMap<u32, Arc<str>>,
    left: usize,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            texts: HashMap::new(),
            left: MAX_TEXT,
        }
    }

    fn get(&mut self, btf: &Btf, offset: u32) -> Arc<str> {
        if let Some(text) = self.texts.get(&offset) {
            return Arc::clone(text);
        }
        if self.left == 0 {
            return Arc::from("");
        }
        let text = btf.text(offset);
        let text = Some(text.trim())
            .filter(|text| text.len() <= self.left)
            .unwrap_or_default();
        self.left = self.left.saturating_sub(text.len());
        let text: Arc<str> = text.into();
        self.texts.insert(offset, Arc::clone(&text));
        text
    }
}
