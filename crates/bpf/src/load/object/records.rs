//! Records about instructions, by the section they are about: those of
//! `.BTF.ext`, and relocations of code.

use std::collections::HashMap;

use super::elf::{Elf, Relocation};
use super::functions::{Function, SLOT};
use super::maps::data_section;
use super::parts::Types;
use crate::bounds::{at_most, size, small};
use crate::btf::Btf;
use crate::btf::ext::SectionRecords;
use crate::source_lines::LineInfo;
use crate::{BpfError, Place, SourceLines};

/// Records by section, each section's in the order of its instructions.
#[derive(Debug)]
pub(super) struct BySection<T> {
    records: HashMap<usize, Vec<T>>,
    /// Returns the byte of the section that a record is about.
    offset: fn(&T) -> u64,
}

impl<T: Copy> BySection<T> {
    fn new(mut records: HashMap<usize, Vec<T>>, offset: fn(&T) -> u64) -> Self {
        for records in records.values_mut() {
            records.sort_by_key(offset);
        }
        Self { records, offset }
    }

    /// Sorts tables of `.BTF.ext`; without `btf` there are none.
    pub(super) fn of_tables(
        elf: &Elf<'_>,
        btf: Option<&Btf>,
        tables: &[SectionRecords<T>],
        offset: fn(&T) -> u64,
    ) -> Self {
        let mut sections = HashMap::new();
        for (index, section) in elf.sections.iter().enumerate() {
            sections.entry(section.name.as_bytes()).or_insert(index);
        }
        let mut records = HashMap::<usize, Vec<T>>::new();
        for table in tables {
            let name = btf.map(|btf| btf.name(table.section_name));
            if let Some(&index) = name.and_then(|name| sections.get(name)) {
                let records = records.entry(index).or_default();
                records.extend_from_slice(&table.records);
            }
        }
        Self::new(records, offset)
    }

    /// Returns the records about a function.
    pub(super) fn about(&self, function: &Function<'_>) -> &[T] {
        let records = self.records.get(&function.section);
        records.map_or(&[], |records| function.among(records, self.offset))
    }
}

/// Reads the relocations of code. Those of type information are for other
/// linkers: names lead to what they would change.
///
/// As libbpf does, it passes over pointers in data, which `warnings` says.
pub(super) fn relocations(
    elf: &Elf<'_>,
    warnings: &mut Vec<String>,
) -> Result<BySection<Relocation>, BpfError> {
    let mut records = HashMap::<usize, Vec<Relocation>>::new();
    for (target, table) in elf.relocations() {
        let Some(section) = elf.sections.get(target) else {
            continue;
        };
        if section.name == ".maps" && !table.data.is_empty() {
            return Err(section.error(
                "has pointers in its initial values, and only code can be relocated; set them \
                 at run time",
            ));
        }
        if data_section(section).is_some() && !table.data.is_empty() {
            warnings.push(format!(
                "section {} has pointers in its initial values, which are left as offsets, as \
                 libbpf does (it skips {}): only code is relocated; set them at run time",
                section.name, table.name
            ));
        }
        if section.executable {
            records.entry(target).or_default().extend(table.entries()?);
        }
    }
    Ok(BySection::new(records, |relocation| relocation.offset))
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
        let offset = |line: &LineInfo| u64::from(line.insn_off);
        let mut records = BySection::of_tables(elf, btf, &types.ext.lines, offset);
        for records in records.records.values_mut() {
            // Of several records for one instruction the last holds.
            records.reverse();
            records.dedup_by_key(|record| record.insn_off);
            records.reverse();
        }
        Self { btf, records }
    }

    /// Returns the records of a function that begins at slot `base` of a program, by
    /// slots of that program.
    pub(super) fn of(&self, function: &Function<'_>, base: u32) -> impl Iterator<Item = LineInfo> {
        let start = function.start;
        self.records.about(function).iter().map(move |record| {
            let slot = (u64::from(record.insn_off) / SLOT).saturating_sub(start);
            LineInfo {
                insn_off: base.saturating_add(small(size(slot))),
                ..*record
            }
        })
    }

    /// Returns the lines of records of one program.
    pub(super) fn table(&self, records: impl IntoIterator<Item = LineInfo>) -> SourceLines {
        let btf = self.btf.map(|btf| SourceLines::new(btf.strings(), records));
        btf.unwrap_or_default()
    }

    /// Returns where slot `slot` of `function` is.
    pub(super) fn place(&self, elf: &Elf<'_>, function: &Function<'_>, slot: usize) -> Place {
        // No section of an object has 2^32 slots.
        let slot = small(size(function.start).saturating_add(slot));
        let records = self.records.about(function);
        let begun = |record: &LineInfo| u64::from(record.insn_off) / SLOT <= slot.into();
        let record = at_most(records, records.partition_point(begun)).last();
        let record = record.map(|record| LineInfo {
            insn_off: slot,
            ..*record
        });
        Place {
            program: None,
            section: Some(elf.section_name(function.section)),
            function: function.name(),
            slot,
            line: self.table(record).at(slot),
        }
    }
}
