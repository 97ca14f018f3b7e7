//! Records of `.BTF.ext`, by the section they are about.

use std::collections::HashMap;

use super::Types;
use super::elf::Elf;
use super::functions::{Function, SLOT};
use crate::bounds::{size, small};
use crate::btf::ext::{LineInfo, Record, SectionRecords};
use crate::btf::{Btf, Texts};
use crate::{Place, SourceLine};

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
        let records = self.records.get(&function.section);
        records.map_or(&[], |records| {
            function.among(records, |record| record.insn_off().into())
        })
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
            let slot = base.saturating_add(small(size(slot)));
            let line = texts.source_line(btf, slot, record);
            lines.pop_if(|last| last.slot == slot);
            lines.push(line);
        }
        lines
    }

    /// Says where slot `slot` of `function` is.
    pub(super) fn place(&self, elf: &Elf<'_>, function: &Function<'_>, slot: u64) -> Box<Place> {
        // No section of an object has 2^32 slots.
        let slot = small(size(function.start.saturating_add(slot)));
        let records = self.records.about(function);
        let behind =
            records.partition_point(|record| u64::from(record.insn_off) / SLOT <= slot.into());
        let record = behind.checked_sub(1).and_then(|at| records.get(at));
        let line = self.btf.zip(record);
        let line = line.map(|(btf, record)| Texts::default().source_line(btf, slot, record));
        Box::new(Place {
            program: None,
            section: Some(elf.section_name(function.section)),
            function: function.name(),
            slot,
            line,
        })
    }
}
