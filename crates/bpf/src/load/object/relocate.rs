//! Relocations of code: the meaning of an instruction's symbol.

use std::sync::Arc;

use super::elf::{Relocation, SymbolPlace};
use super::functions::{Function, SLOT};
use super::link::Linker;
use super::target::Target;
use crate::bounds::{rest, rest_mut, size, wide};
use crate::insn::{CALL, LDDW, call, lddw};
use crate::{BpfError, Insn};

/// `R_BPF_64_64`: the immediate of an `lddw`.
const R_BPF_64_64: u32 = 1;
/// `R_BPF_64_32`: the target of a call.
const R_BPF_64_32: u32 = 10;

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
    ) -> Result<Body, BpfError> {
        let slots = function.code.iter().copied();
        let mut relocating = Relocating {
            linker: self,
            function,
            program,
            body: Body {
                code: slots.map(Insn::from_le_bytes).collect(),
                ..Body::default()
            },
        };
        relocating.apply_core()?;
        let slots = relocating.apply_relocations()?;
        relocating.check_others(&slots)?;
        Ok(relocating.body)
    }
}

impl Relocating<'_, '_> {
    /// Applies the CO-RE records.
    fn apply_core(&mut self) -> Result<(), BpfError> {
        let Linker {
            parts,
            relos,
            relocator,
            problems,
            ..
        } = &mut *self.linker;
        let Some(relocator) = relocator else {
            return Ok(());
        };
        for relo in relos.about(&self.function) {
            let slot = slot_in(&self.function, u64::from(relo.insn_off));
            let done = relocator.apply(&mut self.body.code, slot, relo);
            let reason = done.or_else(|error| {
                let slot = u64::from(relo.insn_off) / SLOT;
                let slot = size(slot.saturating_sub(self.function.start));
                let place = parts.lines.place(parts.elf, &self.function, slot);
                problems.note(error.at(place)).and(Ok(None))
            })?;
            let Some(slot) = slot else { continue };
            if let Some(field) = relocator.field(relo) {
                self.body.relocated.pop_if(|(last, _)| *last == slot);
                self.body.relocated.push((slot, field));
            }
            if let Some(reason) = reason {
                self.body.poisoned.pop_if(|(last, _)| *last == slot);
                self.body.poisoned.push((slot, reason));
            }
        }
        Ok(())
    }

    /// Applies the ELF relocations and returns their slots, ascending.
    fn apply_relocations(&mut self) -> Result<Vec<usize>, BpfError> {
        let mut slots = Vec::new();
        let parts = self.linker.parts;
        for relocation in parts.relocations.about(&self.function) {
            let Some(slot) = slot_in(&self.function, relocation.offset) else {
                let offset = relocation.offset;
                let slot = size((offset / SLOT).saturating_sub(self.function.start));
                let place = format!("byte {offset:#x}, where no instruction begins");
                return Err(self.refuse(slot, format!("a relocation is about {place}")));
            };
            if slots.last() == Some(&slot) {
                let problem = "two relocations are about this instruction";
                return Err(self.refuse(slot, problem));
            }
            let applied = self.apply_relocation(slot, relocation);
            applied.or_else(|problem| self.linker.problems.note(problem))?;
            slots.push(slot);
        }
        Ok(slots)
    }

    fn apply_relocation(&mut self, slot: usize, relocation: &Relocation) -> Result<(), BpfError> {
        let symbols = &self.linker.parts.elf.symbols;
        let (index, kind) = (relocation.symbol, relocation.kind);
        let Some(symbol) = symbols.get(size(index)) else {
            let count = symbols.len();
            let problem = format!("the relocation names symbol {index}, and there are {count}");
            return Err(self.refuse(slot, problem));
        };
        let (is_call, expected) = match kind {
            R_BPF_64_64 => (false, "an lddw"),
            R_BPF_64_32 => (true, "a call of a function"),
            kind => {
                let problem = format!("relocation type {kind} has no place in code");
                return Err(self.refuse(slot, problem));
            }
        };
        let rest = rest(&self.body.code, slot);
        let first = rest.first().copied().unwrap_or_default();
        let fits = if is_call {
            first.code == CALL && first.src == call::LOCAL
        } else {
            first.code == LDDW && first.src == lddw::IMM && rest.len() > 1
        };
        if !fits {
            let found = format!("needs {expected}, found opcode {:#04x}", first.code);
            let symbol = self.symbol_text(symbol);
            return Err(self.refuse(slot, format!("the relocation against {symbol} {found}")));
        }
        let target = match symbol.place {
            SymbolPlace::Undefined => self.bind_extern(index, symbol, is_call, slot)?,
            SymbolPlace::Section(section) if is_call => {
                self.call_target(slot, section, symbol, first.imm)?
            }
            SymbolPlace::Section(section) => {
                self.address_target(slot, section, symbol, first.imm)?
            }
            SymbolPlace::Elsewhere => {
                return Err(self.misplaced(slot, symbol, "*ABS* or *COMMON*"));
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
    fn check_others(&mut self, relocated: &[usize]) -> Result<(), BpfError> {
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
                    let section = self.function.section;
                    match self.function_at(slot, section, target, call::LOCAL) {
                        Ok(target) => self.write(slot, true, target),
                        Err(problem) => self.linker.problems.note(problem)?,
                    }
                }
                (CALL, call::KFUNC) | (LDDW, 1..) => {
                    let found = format!("has pseudo source {src} without a relocation");
                    let text = format!("the instruction (opcode {code:#04x}) {found}");
                    self.linker.problems.note(self.refuse(slot, text))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn refuse(&self, slot: usize, problem: impl Into<String>) -> BpfError {
        let parts = self.linker.parts;
        BpfError::new(problem).at(parts.lines.place(parts.elf, &self.function, slot))
    }
}

fn slot_in(function: &Function<'_>, offset: u64) -> Option<usize> {
    let slot = (offset / SLOT).checked_sub(function.start)?;
    let whole = offset.is_multiple_of(SLOT);
    let slot = size(slot);
    (whole && slot < function.code.len()).then_some(slot)
}
