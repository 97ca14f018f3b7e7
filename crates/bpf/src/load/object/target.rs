//! The meaning of a relocation's symbol: a function, a map, data, or something
//! that the host defines.

use super::elf::{Symbol, SymbolPlace, no_btf};
use super::externs::Extern;
use super::functions::SLOT;
use super::relocate::Relocating;
use crate::bounds::small;
use crate::insn::{call, lddw};
use crate::{BpfError, did_you_mean};

/// Sections that symbols of use to code lie in.
const SECTIONS: [&str; 5] = [".maps", ".rodata", ".data", ".bss", ".text"];

/// The operand that a relocation gives its instruction.
pub(super) enum Target {
    /// The `lddw` or call gets this source and these immediates.
    Value { src: u8, imm: u32, second: u32 },
    /// It names a function; its source says how.
    Function { src: u8, function: usize },
}

impl Target {
    fn value(src: u8, imm: u32, second: u32) -> Self {
        Self::Value { src, imm, second }
    }
}

impl Relocating<'_, '_> {
    /// Returns the function that the call at `slot` leads to: its symbol's, or
    /// for a section's symbol the one that the immediate names.
    pub(super) fn call_target(
        &self,
        slot: usize,
        section: usize,
        symbol: &Symbol<'_>,
        addend: i32,
    ) -> Result<Target, BpfError> {
        let base = (symbol.value / SLOT).cast_signed();
        let target = base.saturating_add(i64::from(addend)).saturating_add(1);
        self.function_at(slot, section, target, call::LOCAL)
    }

    /// Returns the address of a symbol that the `lddw` at `slot` loads.
    pub(super) fn address_target(
        &self,
        slot: usize,
        section: usize,
        symbol: &Symbol<'_>,
        addend: i32,
    ) -> Result<Target, BpfError> {
        let parts = self.linker.parts;
        // No section reaches so far: it is outside of all, as the value is.
        let base = i64::try_from(symbol.value).unwrap_or(i64::MAX);
        let offset = base.saturating_add(i64::from(addend));
        if parts.maps.section == Some(section) {
            let Some(map) = parts.maps.defined_at(offset) else {
                let place = format!("byte {offset:#x} of section .maps, where no map begins");
                return Err(self.refuse(slot, format!("the relocation leads to {place}")));
            };
            return Ok(Target::value(lddw::MAP, small(map), 0));
        }
        if let Some((map, data)) = parts.maps.of_data(section) {
            let inside = u32::try_from(offset).ok();
            let inside = inside.filter(|offset| *offset < data.value_size);
            let Some(second) = inside else {
                let symbol = self.symbol_text(symbol);
                let (section, size) = (&data.name, data.value_size);
                let place = format!("byte {offset:#x} of section {section}, which has {size:#x}");
                return Err(self.refuse(slot, format!("{symbol} leads to {place}")));
            };
            return Ok(Target::value(lddw::MAP_VALUE, small(map), second));
        }
        let code = parts.elf.sections.get(section);
        if code.is_some_and(|section| section.executable) {
            let whole = offset.checked_rem(8) == Some(0);
            let target = if whole { offset / 8 } else { -1 };
            return self.function_at(slot, section, target, lddw::FUNC);
        }
        Err(self.misplaced(slot, symbol, &parts.elf.section_name(section)))
    }

    /// Returns the function that begins at slot `target`, for the instruction
    /// at `slot`.
    pub(super) fn function_at(
        &self,
        slot: usize,
        section: usize,
        target: i64,
        src: u8,
    ) -> Result<Target, BpfError> {
        let parts = self.linker.parts;
        if let Some(function) = parts.functions.starting_at(section, target) {
            return Ok(Target::Function { src, function });
        }
        let section = parts.elf.section_name(section);
        let place = format!("insn {target} of section {section}, where no function begins");
        Err(self.refuse(slot, format!("the call or address leads to {place}")))
    }

    /// Returns what the host has for a declared symbol.
    pub(super) fn bind_extern(
        &mut self,
        index: u32,
        symbol: &Symbol<'_>,
        is_call: bool,
        slot: usize,
    ) -> Result<Target, BpfError> {
        let parts = self.linker.parts;
        let name = symbol.name();
        if parts.types.btf.is_none() {
            return Err(no_btf(&format!("extern {name}")));
        }
        let problem = match parts.externs.get(name.as_bytes()) {
            Some(&Extern::Kfunc { args }) => {
                let bound = self.linker.bind_kfunc(index, symbol, args);
                let kfunc = bound.map_err(|error| {
                    let mut place = parts.lines.place(parts.elf, &self.function, slot);
                    place.program = Some(self.program.to_owned());
                    error.at(place)
                })?;
                let src = if is_call { call::KFUNC } else { lddw::KFUNC };
                return Ok(Target::value(src, kfunc, 0));
            }
            Some(Extern::Variable) if symbol.is_weak && !is_call => {
                return Ok(Target::value(lddw::IMM, 0, 0));
            }
            Some(Extern::Variable) => {
                "is a kernel variable, which parsers cannot see; declare it __weak to test for it"
            }
            Some(Extern::Kconfig) => {
                "is a __kconfig variable, and the kernel's configuration is not offered to parsers"
            }
            None => "is neither defined nor declared as a kfunc (extern ... __ksym)",
        };
        let kfuncs = parts.interface.kfuncs.iter().map(|kfunc| kfunc.name);
        let meant = did_you_mean(&name, kfuncs).filter(|meant| *meant != name);
        let meant = meant.map(|meant| format!("; did you mean {meant}?"));
        let problem = format!("{problem}{}", meant.unwrap_or_default());
        let symbol = self.symbol_text(symbol);
        Err(self.refuse(slot, format!("{symbol} {problem}")))
    }

    /// Returns the error of a symbol in a section of no use to code.
    pub(super) fn misplaced(&self, slot: usize, symbol: &Symbol<'_>, section: &str) -> BpfError {
        let symbol = self.symbol_text(symbol);
        let meant = did_you_mean(section, SECTIONS);
        let meant = meant.map(|meant| format!("; did you mean {meant}?"));
        let meant = meant.unwrap_or_default();
        let place = format!("section {section}, which is neither code, maps nor data{meant}");
        self.refuse(slot, format!("{symbol} lies in {place}"))
    }

    /// Returns the words for a symbol in messages.
    pub(super) fn symbol_text(&self, symbol: &Symbol<'_>) -> String {
        match symbol.place {
            SymbolPlace::Section(section) if symbol.is_section => {
                format!("section {}", self.linker.parts.elf.section_name(section))
            }
            _ if symbol.raw_name.is_empty() => "a symbol without a name".to_owned(),
            _ => symbol.name().into_owned(),
        }
    }
}
