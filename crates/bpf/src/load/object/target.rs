//! What a relocation's symbol stands for: a function, a map, data, or what the
//! host defines.

use super::elf::{Symbol, SymbolPlace};
use super::externs::Extern;
use super::functions::SLOT;
use super::relocate::Relocating;
use crate::LoadError;
use crate::bounds::{small, wide};
use crate::insn::{call, lddw};
use crate::load::error::RelocationProblem;

/// What a relocation's instruction becomes.
pub(super) enum Target {
    /// The `lddw` or call gets this source and these immediates.
    Value { src: u8, imm: u32, second: u32 },
    /// It names a function; its source says how.
    Function { src: u8, function: usize },
}

impl Relocating<'_, '_> {
    /// Returns the function that a call leads to: its symbol's, or for a
    /// section's symbol the one that the immediate tells.
    pub(super) fn call_target(
        &self,
        section: usize,
        symbol: &Symbol<'_>,
        addend: i32,
    ) -> Result<Target, RelocationProblem> {
        let base = (symbol.value / SLOT).cast_signed();
        let slot = base.saturating_add(i64::from(addend)).saturating_add(1);
        self.function_at(section, slot, call::LOCAL)
    }

    /// Returns what the address of a symbol is.
    pub(super) fn address_target(
        &self,
        section: usize,
        symbol: &Symbol<'_>,
        addend: i32,
    ) -> Result<Target, RelocationProblem> {
        let parts = self.linker.parts;
        // No section reaches so far: it is outside of all, as the value is.
        let base = i64::try_from(symbol.value).unwrap_or(i64::MAX);
        let offset = base.saturating_add(i64::from(addend));
        if parts.maps.is_definitions(section) {
            let map = parts
                .maps
                .defined_at(offset)
                .ok_or(RelocationProblem::NoMap { offset })?;
            return Ok(Target::Value {
                src: lddw::MAP,
                imm: small(map),
                second: 0,
            });
        }
        if let Some((map, data)) = parts.maps.of_data(section) {
            let inside = u32::try_from(offset)
                .ok()
                .filter(|offset| *offset < data.value_size);
            let second = inside.ok_or_else(|| RelocationProblem::OutsideData {
                symbol: self.symbol_text(symbol),
                section: data.name.clone(),
                offset,
                size: data.value_size,
            })?;
            return Ok(Target::Value {
                src: lddw::MAP_VALUE,
                imm: small(map),
                second,
            });
        }
        if parts
            .elf
            .sections
            .get(section)
            .is_some_and(|section| section.executable)
        {
            let whole = offset.checked_rem(8) == Some(0);
            let slot = if whole { offset / 8 } else { -1 };
            return self.function_at(section, slot, lddw::FUNC);
        }
        let section = parts.elf.section_name(section);
        Err(RelocationProblem::Section {
            symbol: self.symbol_text(symbol),
            section,
        })
    }

    /// Returns the function that begins at a slot.
    pub(super) fn function_at(
        &self,
        section: usize,
        slot: i64,
        src: u8,
    ) -> Result<Target, RelocationProblem> {
        let parts = self.linker.parts;
        match parts.functions.starting_at(section, slot) {
            Some(function) => Ok(Target::Function { src, function }),
            None => Err(RelocationProblem::NoFunction {
                section: parts.elf.section_name(section),
                target: slot,
            }),
        }
    }

    /// Returns what the host has for a declared symbol.
    pub(super) fn bind_extern(
        &mut self,
        index: u32,
        symbol: &Symbol<'_>,
        is_call: bool,
        slot: usize,
    ) -> Result<Target, LoadError> {
        let parts = self.linker.parts;
        let name = symbol.name();
        if parts.types.btf.is_none() {
            return Err(LoadError::MissingBtf {
                needed_by: format!("extern {name}"),
            });
        }
        let problem = match parts.externs.get(&name) {
            Some(Extern::Kfunc { args }) => {
                let kfunc =
                    self.linker
                        .bind_kfunc(index, symbol, args)
                        .map_err(|(kfunc, problem)| {
                            let mut place =
                                parts.lines.place(parts.elf, &self.function, wide(slot));
                            place.program = Some(self.program.to_owned());
                            LoadError::Kfunc {
                                place,
                                kfunc,
                                problem,
                            }
                        })?;
                let src = if is_call { call::KFUNC } else { lddw::KFUNC };
                return Ok(Target::Value {
                    src,
                    imm: kfunc,
                    second: 0,
                });
            }
            Some(Extern::Variable) if symbol.is_weak && !is_call => {
                return Ok(Target::Value {
                    src: lddw::IMM,
                    imm: 0,
                    second: 0,
                });
            }
            Some(Extern::Variable) => RelocationProblem::Variable {
                symbol: self.symbol_text(symbol),
            },
            Some(Extern::Kconfig) => RelocationProblem::Kconfig {
                symbol: self.symbol_text(symbol),
            },
            None => RelocationProblem::Undefined {
                symbol: self.symbol_text(symbol),
            },
        };
        Err(self.refuse(wide(slot), problem))
    }

    /// Returns what messages call a symbol.
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
