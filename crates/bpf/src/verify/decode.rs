//! From an encoded instruction to a [`Step`], or why there is none.
//!
//! Spec: RFC 9669, sections 4 and 5. Every field that the RFC reserves must be
//! zero.

use crate::code::Step;
use crate::insn::{CALL, LDDW, lddw};
use crate::ops::{Kind, Op, Operation};
use crate::{BpfError, Insn};

/// The needs of an instruction beside itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// Helper number `.0` of Linux.
    Helper(i32),
    /// Kfunc number `imm`.
    Kfunc(i32),
    /// Map number `imm`.
    Map(i32),
    /// Map number `.0` with a value that has a byte at `.1`.
    MapValue(i32, u32),
    /// A function that starts at this distance from the next slot.
    Function(i32),
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoded {
    pub(super) step: Step,
    pub(super) needs: Needs,
    /// How many slots it takes.
    pub(super) slots: u32,
}

/// Decodes `insn`; `next` is the slot behind it.
#[inline]
pub(super) fn decode(insn: Insn, next: Option<Insn>) -> Result<Decoded, BpfError> {
    // The source of a call or lddw says which kind it is.
    let number = match insn.code {
        CALL | LDDW => insn.dst,
        _ => insn.dst.max(insn.src),
    };
    if number > 10 {
        return Err(BpfError::new(format!(
            "register r{number} does not exist; r10 is the last"
        )));
    }
    let operation = Operation::of(insn).ok_or_else(|| packet_or_unknown(insn.code))?;
    check_offset(insn, operation)?;
    if let Some((name, found)) = operation.misused(insn) {
        return Err(field(insn, name, "0", found));
    }
    let writes = matches!(operation.kind, Kind::Binary | Kind::Negate | Kind::Swap);
    if writes || matches!(operation.kind, Kind::Load | Kind::Wide) {
        writable(insn.dst)?;
    }
    let mut step = Step {
        op: operation.op,
        dst: insn.dst,
        src: insn.src,
        off: insn.off.into(),
        imm: i64::from(insn.imm) as u64,
    };
    let needs = match step.op {
        Op::LoadImm | Op::LoadMap | Op::LoadMapValue => return load_imm(step, insn, next),
        Op::JaFar | Op::CallLocal => {
            step.off = insn.imm;
            let calls = step.op == Op::CallLocal;
            calls.then_some(Needs::Function(insn.imm))
        }
        Op::CallKfunc => Some(Needs::Kfunc(insn.imm)),
        Op::CallHelper if insn.src != 0 => {
            let expected = "0 (helper), 1 (function) or 2 (kfunc)";
            return Err(field(insn, "source", expected, insn.src.into()));
        }
        Op::CallHelper => Some(Needs::Helper(insn.imm)),
        Op::CallX => {
            step.dst = called_register(insn)?;
            None
        }
        Op::Atomic32 | Op::Atomic64 => {
            check_atomic(insn)?;
            None
        }
        _ if operation.kind == Kind::Swap && !matches!(insn.imm, 16 | 32 | 64) => {
            let expected = "16, 32 or 64";
            return Err(field(insn, "immediate", expected, insn.imm.into()));
        }
        _ => None,
    };
    Ok(Decoded {
        step,
        needs: needs.unwrap_or(Needs::Nothing),
        slots: 1,
    })
}

fn packet_or_unknown(code: u8) -> BpfError {
    // Modes ABS and IND, sizes W, H and B.
    let known = matches!(code & 0xe7, 0x20 | 0x40) && code & 0x18 != 0x18;
    BpfError::new(if known {
        format!(
            "opcode {code:#04x} is legacy packet access (ld_abs, ld_ind), and parsers have no \
             packet; read from the image instead"
        )
    } else {
        format!("opcode {code:#04x} is no instruction of RFC 9669")
    })
}

/// Checks the offset of arithmetic, which may select another operation.
#[inline]
fn check_offset(insn: Insn, operation: &Operation) -> Result<(), BpfError> {
    if operation.kind != Kind::Binary || operation.is_selected() || insn.off == 0 {
        return Ok(());
    }
    let expected = match (operation.op, insn.off) {
        (Op::MovX32, 32) => "0, 8 or 16",
        _ if matches!(insn.code & 0xf0, 0x30 | 0x90) => "0 or 1",
        _ => "0",
    };
    Err(field(insn, "offset", expected, insn.off.into()))
}

#[inline]
fn load_imm(mut step: Step, insn: Insn, next: Option<Insn>) -> Result<Decoded, BpfError> {
    let next = next.ok_or_else(|| BpfError::new("the second slot of this lddw is missing"))?;
    zero(insn, "opcode of the second slot", next.code.into())?;
    let registers = i64::from(next.src) << 4 | i64::from(next.dst);
    zero(insn, "registers of the second slot", registers)?;
    zero(insn, "offset of the second slot", next.off.into())?;
    let both = u64::from(next.imm as u32) << 32 | u64::from(insn.imm as u32);
    let (imm, needs) = match insn.src {
        lddw::IMM => (both, Needs::Nothing),
        lddw::MAP_VALUE => (both, Needs::MapValue(insn.imm, next.imm as u32)),
        lddw::KFUNC => (step.imm, Needs::Kfunc(insn.imm)),
        lddw::FUNC => (step.imm, Needs::Function(insn.imm)),
        lddw::MAP => (step.imm, Needs::Map(insn.imm)),
        found => {
            let expected = "a pseudo source of a linked program (0, 3, 4, 5 or 6)";
            return Err(field(insn, "source", expected, found.into()));
        }
    };
    if !matches!(insn.src, lddw::IMM | lddw::MAP_VALUE) {
        zero(insn, "immediate of the second slot", next.imm.into())?;
    }
    (step.src, step.imm) = (0, imm);
    Ok(Decoded {
        step,
        needs,
        slots: 2,
    })
}

fn check_atomic(insn: Insn) -> Result<(), BpfError> {
    match insn.imm {
        0x00 | 0x40 | 0x50 | 0xa0 | 0xf1 => Ok(()),
        // These write what was there before to the source register.
        0x01 | 0x41 | 0x51 | 0xa1 | 0xe1 => writable(insn.src),
        found => {
            let expected = "an atomic operation of RFC 9669";
            Err(field(insn, "immediate", expected, found.into()))
        }
    }
}

/// Returns the register of a `callx`: clang up to 18 names it in the immediate,
/// later ones in the destination.
fn called_register(insn: Insn) -> Result<u8, BpfError> {
    if insn.imm == 0 {
        return Ok(insn.dst);
    }
    zero(insn, "destination", insn.dst.into())?;
    let register = u8::try_from(insn.imm).ok();
    register.filter(|&register| register <= 10).ok_or_else(|| {
        let expected = "the number of a register";
        field(insn, "immediate", expected, insn.imm.into())
    })
}

fn zero(insn: Insn, name: &'static str, found: i64) -> Result<(), BpfError> {
    if found == 0 {
        Ok(())
    } else {
        Err(field(insn, name, "0", found))
    }
}

fn field(insn: Insn, field: &'static str, expected: &'static str, found: i64) -> BpfError {
    let code = insn.code;
    BpfError::new(format!(
        "opcode {code:#04x}: the {field} must be {expected}, found {found:#x}"
    ))
}

#[inline]
fn writable(register: u8) -> Result<(), BpfError> {
    if register == 10 {
        Err(BpfError::new("r10, the frame pointer, is read-only"))
    } else {
        Ok(())
    }
}
