//! From the pseudo instructions of `BPF_PROG_LOAD` (descriptors and ids of
//! types) to those of a linked program (indices into the parser's lists).

use std::collections::HashMap;

use super::attr::u32_at;
use super::call_error::CallError;
use super::kernel::{Descriptor, Kernel};
use crate::bounds::{small, wide};
use crate::btf::{Btf, Kind, essential_name};
use crate::guest::memory::Memory;
use crate::insn::{CALL, LDDW, call, lddw};
use crate::load::limits::MAX_KFUNCS;
use crate::load::offered::{self, Kfuncs};
use crate::{BpfError, Insn, Kfunc};

/// Pseudo sources of [`LDDW`] that a linked program does not have (Linux
/// `uapi/linux/bpf.h`).
mod pseudo {
    /// `BPF_PSEUDO_MAP_FD`.
    pub(super) const MAP_FD: u8 = 1;
    /// `BPF_PSEUDO_MAP_VALUE`.
    pub(super) const MAP_FD_VALUE: u8 = 2;
}

/// The most types of a name that are looked at for how a program declares a
/// kfunc; they differ in their flavours.
const MAX_DECLARATIONS: usize = 64;

pub(super) struct Rewriting<'k> {
    kernel: &'k Kernel<'k>,
    /// The program's own types.
    btf: Option<&'k Btf>,
    fd_array: u64,
    program: &'k str,
    /// The kfuncs of all programs, with those of this one.
    kfuncs: Kfuncs,
    /// Their places by opcode and id: a program may name one a million times.
    bound: HashMap<(u8, u32), i32>,
}

impl<'k> Rewriting<'k> {
    pub(super) fn new(
        kernel: &'k Kernel<'k>,
        btf: Option<&'k Btf>,
        fd_array: u64,
        program: &'k str,
    ) -> Self {
        Self {
            kernel,
            btf,
            fd_array,
            program,
            kfuncs: kernel.kfuncs.clone(),
            bound: HashMap::new(),
        }
    }

    /// Returns the linked code, the slots that it calls or takes the address
    /// of, and the kfuncs of all programs.
    pub(super) fn rewrite(
        mut self,
        memory: &mut Memory,
        mut code: Vec<Insn>,
    ) -> Result<(Vec<Insn>, Vec<i64>, Kfuncs), CallError> {
        let mut targets = Vec::new();
        let mut slot = 0_usize;
        while let Some([insn, behind @ ..]) = code.get_mut(slot..) {
            let next = slot.saturating_add(1);
            match (insn.code, insn.src) {
                (LDDW, lddw::MAP | lddw::MAP_VALUE) => {
                    let fd = self.fd_at(memory, slot, insn.imm)?;
                    insn.imm = self.map(slot, fd)?;
                }
                (LDDW, pseudo::MAP_FD | pseudo::MAP_FD_VALUE) => {
                    let value = insn.src == pseudo::MAP_FD_VALUE;
                    insn.imm = self.map(slot, insn.imm.cast_unsigned())?;
                    insn.src = if value { lddw::MAP_VALUE } else { lddw::MAP };
                }
                (LDDW, lddw::KFUNC) => {
                    insn.imm = self.kfunc(slot, *insn)?;
                    if let Some(second) = behind.first_mut() {
                        second.imm = 0;
                    }
                }
                (CALL, call::KFUNC) => {
                    insn.imm = self.kfunc(slot, *insn)?;
                    insn.off = 0;
                }
                (CALL, call::LOCAL) | (LDDW, lddw::FUNC) => {
                    let next = i64::from(small(next));
                    targets.push(next.saturating_add(insn.imm.into()));
                }
                _ => {}
            }
            slot = next.saturating_add(usize::from(insn.code == LDDW));
        }
        Ok((code, targets, self.kfuncs))
    }

    fn fd_at(&self, memory: &mut Memory, slot: usize, index: i32) -> Result<u32, CallError> {
        let Ok(place) = u64::try_from(index) else {
            return Err(self.refuse(slot, "immediate", "an index into fd_array", index));
        };
        let addr = self.fd_array.wrapping_add(place.saturating_mul(4));
        u32_at("BPF_PROG_LOAD", "fd_array", memory, addr)
    }

    fn map(&self, slot: usize, fd: u32) -> Result<i32, CallError> {
        match self.kernel.descriptor(fd) {
            Some(Descriptor::Map(index)) => Ok(small(index).cast_signed()),
            _ => Err(self.refuse(slot, "descriptor", "that of a map", fd)),
        }
    }

    fn kfunc(&mut self, slot: usize, insn: Insn) -> Result<i32, CallError> {
        if insn.off != 0 {
            let expected = "0: kfuncs are in no module";
            return Err(self.refuse(slot, "offset", expected, insn.off));
        }
        let id = insn.imm.cast_unsigned();
        let key = (insn.code, id);
        if let Some(index) = self.bound.get(&key) {
            return Ok(*index);
        }
        let kfunc = if insn.code == CALL && id == 0 {
            let (name, host) = (missing_name(&self.kernel.missing, self.btf), None);
            Kfunc { name, host }
        } else {
            self.offered(slot, id)?
        };
        let index = self.kfuncs.index(&kfunc);
        let limit = wide(MAX_KFUNCS);
        let index = index
            .ok_or_else(|| CallError::too_many("kfuncs", limit.saturating_add(1), limit))?
            .cast_signed();
        self.bound.insert(key, index);
        Ok(index)
    }

    fn offered(&self, slot: usize, id: u32) -> Result<Kfunc, CallError> {
        let found = self.kernel.name_of(id);
        let found = found.and_then(|found| Some((found, found.kfunc?)));
        let Some((found, host)) = found else {
            let expected = "the id of a kfunc";
            return Err(self.refuse(slot, "immediate", expected, id.cast_signed()));
        };
        let name = essential_name(found.name.as_bytes());
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(declared) = self.btf.and_then(|btf| declared_args(btf, &found.name)) {
            offered::check_args(self.kernel.interface, &name, host, declared)?;
        }
        let host = Some(host);
        Ok(Kfunc { name, host })
    }

    fn refuse(&self, slot: usize, field: &str, expected: &str, found: impl Into<i64>) -> CallError {
        let (program, found) = (self.program, found.into());
        let text = format!("{field} is {found}, expected {expected}");
        BpfError::new(format!("program {program}, insn {slot}: {text}")).into()
    }
}

/// Returns the name of a weak kfunc that the host lacks. A call of it has
/// lost its name; there is rarely more than one.
fn missing_name(missing: &[String], btf: Option<&Btf>) -> String {
    let is_function = |name: &&String| btf.is_some_and(|btf| declared_args(btf, name).is_some());
    let names = missing.iter().filter(is_function).map(String::as_str);
    let mut names = names.collect::<Vec<_>>();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return "(unknown)".to_owned();
    }
    names.join(" or ")
}

/// Returns how many arguments the program's types say that a function takes.
fn declared_args(btf: &Btf, name: &str) -> Option<usize> {
    let named = btf.candidates(essential_name(name.as_bytes())).iter();
    let named = named.take(MAX_DECLARATIONS);
    let mut functions = named.filter_map(|&id| match btf.get(id).kind {
        Kind::Func { proto, .. } if btf.name(btf.get(id).name) == name.as_bytes() => Some(proto),
        _ => None,
    });
    let (_, params) = btf.prototype(functions.next()?)?;
    Some(params.len())
}
