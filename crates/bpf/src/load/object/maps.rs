//! An object's maps: those defined in `.maps`, and data sections.

use std::collections::HashMap;

use bytes::Bytes;
use object::elf::{SHT_NOBITS, SHT_PROGBITS};

use super::elf::{Elf, Section, SymbolPlace, no_btf};
use crate::bounds::{size, small};
use crate::btf::{Btf, Kind};
use crate::error::check_count;
use crate::load::definition;
use crate::load::limits::{MAX_MAPS, MAX_VALUE_BYTES};
use crate::{BpfError, Map};

/// An object's maps, and where they lie in it.
#[derive(Debug, Default)]
pub(super) struct Maps {
    pub(super) maps: Vec<Map>,
    pub(super) section: Option<usize>,
    /// Indices of maps by their definition's offset in `.maps`.
    defined: HashMap<u64, usize>,
    /// Indices of maps by their data section.
    data: HashMap<usize, usize>,
}

impl Maps {
    pub(super) fn read(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Self, BpfError> {
        let mut maps = Self::default();
        maps.read_definitions(elf, btf)?;
        maps.read_data(elf)?;
        Ok(maps)
    }

    /// Returns the index of the map that is defined at `offset` of `.maps`.
    pub(super) fn defined_at(&self, offset: i64) -> Option<usize> {
        self.defined.get(&u64::try_from(offset).ok()?).copied()
    }

    /// Returns the map that a data section became, with its index.
    pub(super) fn of_data(&self, section: usize) -> Option<(usize, &Map)> {
        let index = *self.data.get(&section)?;
        Some((index, self.maps.get(index)?))
    }

    fn push(&mut self, map: Map) -> Result<usize, BpfError> {
        let index = self.maps.len();
        check_count("maps", index.saturating_add(1), MAX_MAPS)?;
        self.maps.push(map);
        Ok(index)
    }

    fn read_definitions(&mut self, elf: &Elf<'_>, btf: Option<&Btf>) -> Result<(), BpfError> {
        if let Some((_, section)) = elf.section("maps") {
            let problem = "holds maps of a kind that libbpf 1.0 gave up; define them in .maps";
            return Err(section.error(problem));
        }
        let Some((index, section)) = elf.section(".maps") else {
            return Ok(());
        };
        let Some(btf) = btf else {
            return Err(no_btf("section .maps"));
        };
        self.section = Some(index);
        let place = SymbolPlace::Section(index);
        let here = elf.symbols.iter();
        let here = here.filter(|symbol| symbol.place == place && !symbol.is_section);
        let offsets = here.map(|symbol| (symbol.raw_name, symbol.value));
        let offsets = offsets.collect::<HashMap<_, _>>();
        let datasec = btf.iter().find_map(|(_, ty)| match &ty.kind {
            Kind::DataSec { vars } if btf.name(ty.name) == b".maps" => Some(vars),
            _ => None,
        });
        let vars = datasec.map_or(&[][..], |vars| btf.vars(vars));
        check_count("maps", vars.len(), MAX_MAPS)?;
        let mut found = Vec::new();
        for var in vars {
            let name = btf.get(var.ty).name;
            // Compilers leave offsets of global variables to the linker.
            let offset = offsets.get(btf.name(name));
            let offset = offset.copied().unwrap_or(var.offset.into());
            found.push((offset, definition::read(btf, var.ty, offset, section.size)?));
        }
        found.sort_by_key(|(offset, _)| *offset);
        for (offset, map) in found {
            let index = self.push(map)?;
            self.defined.insert(offset, index);
        }
        Ok(())
    }

    fn read_data(&mut self, elf: &Elf<'_>) -> Result<(), BpfError> {
        for (at, section) in elf.sections.iter().enumerate() {
            let Some(read_only) = data_section(section) else {
                continue;
            };
            if section.size > MAX_VALUE_BYTES {
                let part = "bytes of a data section";
                return Err(BpfError::too_many(part, section.size, MAX_VALUE_BYTES));
            }
            if section.size == 0 {
                continue;
            }
            let initial = section.kind != SHT_NOBITS;
            let initial = initial.then(|| Bytes::copy_from_slice(section.data));
            let value_size = small(size(section.size));
            let map = Map::of_data(section.name.to_string(), value_size, initial, read_only);
            let index = self.push(map)?;
            self.data.insert(at, index);
        }
        Ok(())
    }
}

/// Returns whether `section` is data, and if so whether it is read-only.
pub(super) fn data_section(section: &Section<'_>) -> Option<bool> {
    let is = |prefix: &str| {
        let rest = section.name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if !matches!(section.kind, SHT_PROGBITS | SHT_NOBITS) || !section.allocated {
        return None;
    }
    if is(".rodata") {
        return Some(true);
    }
    (is(".data") || is(".bss")).then_some(false)
}
