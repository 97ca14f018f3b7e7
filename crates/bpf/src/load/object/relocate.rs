//! Relocations of code: what an instruction's symbol stands for.

use std::collections::HashMap;
use std::sync::Arc;

use super::elf::{Elf, Relocation, SymbolPlace};
use super::functions::{Function, SLOT};
use super::link::Linker;
use super::maps::data_section;
use super::target::Target;
use crate::bounds::{rest, rest_mut, size, wide};
use crate::btf::ext::Record;
use crate::insn::{CALL, LDDW, call, lddw};
use crate::load::error::RelocationProblem;
use crate::{CoreReloError, Insn, LoadError};

/// `R_BPF_64_64`: the immediate of an `lddw`.
const R_BPF_64_64: u32 = 1;
/// `R_BPF_64_32`: the target of a call.
const R_BPF_64_32: u32 = 10;

/// The relocations of each code section, ordered by where they apply.
#[derive(Debug)]
pub(super) struct Relocations {
    by_section: HashMap<usize, Vec<Relocation>>,
}

impl Relocations {
    /// Reads the relocations of code. Those of type information are for other
    /// linkers: what they would change is looked up by name.
    pub(super) fn read(elf: &Elf<'_>) -> Result<Self, LoadError> {
        let mut by_section = HashMap::<usize, Vec<Relocation>>::new();
        for (target, table) in elf.relocations() {
            let Some(section) = elf.sections.get(target) else {
                continue;
            };
            let is_data = data_section(section).is_some() || section.name == ".maps";
            if is_data && !table.data.is_empty() {
                let problem = "has pointers in its initial values, and only code can be \
                               relocated; set them at run time";
                return Err(LoadError::Section {
                    section: section.name.to_string(),
                    problem,
                });
            }
            if section.executable {
                by_section
                    .entry(target)
                    .or_default()
                    .extend(table.entries()?);
            }
        }
        for relocations in by_section.values_mut() {
            relocations.sort_by_key(|relocation| relocation.offset);
        }
        Ok(Self { by_section })
    }

    /// Returns the relocations of a function.
    fn of(&self, function: &Function<'_>) -> &[Relocation] {
        let all = self.by_section.get(&function.section);
        all.map_or(&[], |all| {
            function.among(all, |relocation| relocation.offset)
        })
    }
}

/// A function with its relocations applied, but for where other functions lie.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) code: Vec<Insn>,
    /// Calls and addresses of functions, in no order.
    pub(super) references: Vec<Reference>,
    /// Slots of CO-RE relocations, ascending, and what they are about.
    pub(super) relocated: Vec<(usize, Arc<str>)>,
    /// Poisoned slots, ascending, and why.
    pub(super) poisoned: Vec<(usize, Arc<str>)>,
}

/// An instruction that names a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    pub(super) slot: usize,
    /// An index into the object's functions.
    pub(super) function: usize,
}

/// One function while it is being relocated.
pub(super) struct Relocating<'l, 'p> {
    pub(super) linker: &'l mut Linker<'p>,
    pub(super) function: Function<'p>,
    pub(super) program: &'l str,
    body: Body,
}

impl<'p> Linker<'p> {
    /// Relocates a function that `program` reaches.
    pub(super) fn relocate(
        &mut self,
        function: Function<'p>,
        program: &str,
    ) -> Result<Body, LoadError> {
        let slots = function.code.iter().copied();
        let code = slots.map(Insn::from_le_bytes).collect();
        let body = Body {
            code,
            ..Body::default()
        };
        let mut relocating = Relocating {
            linker: self,
            function,
            program,
            body,
        };
        relocating.apply_core()?;
        let slots = relocating.apply_relocations()?;
        relocating.check_others(&slots)?;
        Ok(relocating.body)
    }
}

impl Relocating<'_, '_> {
    /// Applies the CO-RE records.
    fn apply_core(&mut self) -> Result<(), LoadError> {
        let Linker {
            parts,
            relos,
            relocator,
            problems,
            ..
        } = &mut *self.linker;
        let (Some(relos), Some(relocator)) = (relos.as_ref(), relocator.as_mut()) else {
            return Ok(());
        };
        for relo in relos.about(&self.function) {
            let slot = slot_in(&self.function, u64::from(relo.insn_off));
            let done = match slot {
                Some(slot) => relocator.apply(&mut self.body.code, slot, relo),
                None => Err(CoreReloError::Misplaced {
                    insn_off: relo.insn_off(),
                }),
            };
            let reason = match done {
                Ok(reason) => reason,
                Err(source) => {
                    let slot = u64::from(relo.insn_off) / SLOT;
                    let slot = slot.saturating_sub(self.function.start);
                    let place = parts.lines.place(parts.elf, &self.function, slot);
                    problems.note(LoadError::CoreRelo { place, source })?;
                    None
                }
            };
            if let (Some(field), Some(slot)) = (relocator.field(relo), slot) {
                self.body.relocated.pop_if(|(last, _)| *last == slot);
                self.body.relocated.push((slot, field));
            }
            if let (Some(reason), Some(slot)) = (reason, slot) {
                self.body.poisoned.pop_if(|(last, _)| *last == slot);
                self.body.poisoned.push((slot, reason));
            }
        }
        Ok(())
    }

    /// Applies the ELF relocations and returns their slots, ascending.
    fn apply_relocations(&mut self) -> Result<Vec<usize>, LoadError> {
        let mut slots = Vec::new();
        let parts = self.linker.parts;
        for relocation in parts.relocations.of(&self.function) {
            let Some(slot) = slot_in(&self.function, relocation.offset) else {
                let slot = relocation.offset / SLOT;
                let problem = RelocationProblem::Misplaced {
                    offset: relocation.offset,
                };
                return Err(self.refuse(slot.saturating_sub(self.function.start), problem));
            };
            if slots.last() == Some(&slot) {
                return Err(self.refuse(wide(slot), RelocationProblem::Twice));
            }
            let applied = self.apply_relocation(slot, relocation);
            applied.or_else(|problem| self.linker.problems.note(problem))?;
            slots.push(slot);
        }
        Ok(slots)
    }

    fn apply_relocation(&mut self, slot: usize, relocation: &Relocation) -> Result<(), LoadError> {
        let symbols = &self.linker.parts.elf.symbols;
        let Relocation {
            symbol: index,
            kind,
            ..
        } = *relocation;
        let refuse = |own: &Self, problem| own.refuse(wide(slot), problem);
        let Some(symbol) = symbols.get(size(index)) else {
            let count = symbols.len();
            return Err(refuse(
                self,
                RelocationProblem::NoSuchSymbol { index, count },
            ));
        };
        let rest = rest(&self.body.code, slot);
        let (expected, addend) = match (kind, rest) {
            (R_BPF_64_64, [insn, _, ..]) if insn.code == LDDW && insn.src == lddw::IMM => {
                ("", insn.imm)
            }
            (R_BPF_64_32, [insn, ..]) if insn.code == CALL && insn.src == call::LOCAL => {
                ("", insn.imm)
            }
            (R_BPF_64_64, _) => ("an lddw", 0),
            (R_BPF_64_32, _) => ("a call of a function", 0),
            (kind, _) => return Err(refuse(self, RelocationProblem::Type { kind })),
        };
        if !expected.is_empty() {
            let code = rest.first().map_or(0, |insn| insn.code);
            let symbol = self.symbol_text(symbol);
            return Err(refuse(
                self,
                RelocationProblem::Instruction {
                    symbol,
                    expected,
                    code,
                },
            ));
        }
        let is_call = kind == R_BPF_64_32;
        let target = match symbol.place {
            SymbolPlace::Undefined => self.bind_extern(index, symbol, is_call, slot)?,
            SymbolPlace::Section(section) if is_call => self
                .call_target(section, symbol, addend)
                .map_err(|problem| refuse(self, problem))?,
            SymbolPlace::Section(section) => self
                .address_target(section, symbol, addend)
                .map_err(|problem| refuse(self, problem))?,
            SymbolPlace::Elsewhere => {
                let section = "*ABS* or *COMMON*".to_owned();
                let symbol = self.symbol_text(symbol);
                return Err(refuse(self, RelocationProblem::Section { symbol, section }));
            }
        };
        self.write(slot, is_call, target);
        Ok(())
    }

    fn write(&mut self, slot: usize, is_call: bool, target: Target) {
        let rest = rest_mut(&mut self.body.code, slot);
        let Some((insn, behind)) = rest.split_first_mut() else {
            return;
        };
        match target {
            Target::Value { src, imm, second } => {
                (insn.src, insn.imm) = (src, imm.cast_signed());
                if let Some(behind) = behind.first_mut().filter(|_| !is_call) {
                    behind.imm = second.cast_signed();
                }
            }
            Target::Function { src, function } => {
                insn.src = src;
                self.body.references.push(Reference { slot, function });
            }
        }
    }

    /// Finds calls within the section, which need no relocation, and refuses
    /// what only a relocation may write.
    fn check_others(&mut self, relocated: &[usize]) -> Result<(), LoadError> {
        let mut relocated = relocated.iter().peekable();
        let mut next = 0;
        while let Some(&insn) = self.body.code.get(next) {
            let slot = next;
            next = slot.saturating_add(if insn.code == LDDW { 2 } else { 1 });
            while relocated.next_if(|at| **at < slot).is_some() {}
            if relocated.peek() == Some(&&slot) {
                continue;
            }
            let (code, src) = (insn.code, insn.src);
            match (code, src) {
                (CALL, call::LOCAL) => {
                    let next = self.function.start.saturating_add(wide(slot)).cast_signed();
                    let target = next.saturating_add(insn.imm.into()).saturating_add(1);
                    let target = self.function_at(self.function.section, target, call::LOCAL);
                    match target {
                        Ok(target) => self.write(slot, true, target),
                        Err(problem) => {
                            let problem = self.refuse(wide(slot), problem);
                            self.linker.problems.note(problem)?;
                        }
                    }
                }
                (CALL, call::KFUNC) | (LDDW, 1..) => {
                    let problem = RelocationProblem::PseudoSource { code, src };
                    let problem = self.refuse(wide(slot), problem);
                    self.linker.problems.note(problem)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn refuse(&self, slot: u64, problem: RelocationProblem) -> LoadError {
        let parts = self.linker.parts;
        LoadError::Relocation {
            place: parts.lines.place(parts.elf, &self.function, slot),
            problem,
        }
    }
}

/// Returns which slot of `function` begins at byte `offset` of its section.
fn slot_in(function: &Function<'_>, offset: u64) -> Option<usize> {
    let slot = (offset / SLOT).checked_sub(function.start)?;
    let whole = offset.is_multiple_of(SLOT);
    let slot = size(slot);
    (whole && slot < function.code.len()).then_some(slot)
}
