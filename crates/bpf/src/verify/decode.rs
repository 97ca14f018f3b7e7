//! From an encoded instruction to a [`Step`], or why there is none.
//!
//! Spec: RFC 9669, sections 4 and 5. Every field that the RFC reserves must be
//! zero.

use super::reject::Reject;
use crate::Insn;
use crate::code::{Op, Step};
use crate::insn::{CALL, LDDW, POISON, call, lddw};

/// What an instruction needs beside itself to be right.
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
pub(super) fn decode(insn: Insn, next: Option<Insn>) -> Result<Decoded, Reject> {
    // The source of a call or lddw says which kind it is.
    let source = (!matches!(insn.code, CALL | LDDW)).then_some(insn.src);
    let registers = [Some(insn.dst), source].into_iter().flatten();
    if let Some(number) = registers.max().filter(|&number| number > 10) {
        return Err(Reject::Register { number });
    }
    if insn.code == LDDW {
        return load_imm(insn, next);
    }
    let (step, needs) = match insn.code & 0x07 {
        LD => return Err(packet_or_unknown(insn.code)),
        LDX => (load(insn)?, Needs::Nothing),
        ST => (store_imm(insn)?, Needs::Nothing),
        STX => (store(insn)?, Needs::Nothing),
        ALU | ALU64 => (arithmetic(insn)?, Needs::Nothing),
        _ => jump(insn)?,
    };
    Ok(Decoded {
        step,
        needs,
        slots: 1,
    })
}

fn packet_or_unknown(code: u8) -> Reject {
    // Modes ABS and IND, sizes W, H and B.
    let known = matches!(code & 0xe0, 0x20 | 0x40) && code & 0x18 != 0x18;
    if known {
        Reject::Packet { code }
    } else {
        Reject::Opcode { code }
    }
}

fn load_imm(insn: Insn, next: Option<Insn>) -> Result<Decoded, Reject> {
    zero(insn, "offset", insn.off.into())?;
    writable(insn.dst)?;
    let next = next.ok_or(Reject::Cut)?;
    for (field, found) in [
        ("opcode of the second slot", i64::from(next.code)),
        (
            "registers of the second slot",
            i64::from(next.src) << 4 | i64::from(next.dst),
        ),
        ("offset of the second slot", i64::from(next.off)),
    ] {
        zero(insn, field, found)?;
    }
    let (op, imm, needs) = match insn.src {
        lddw::IMM => {
            let imm = u64::from(next.imm as u32) << 32 | u64::from(insn.imm as u32);
            return Ok(wide(insn, Op::LoadImm, imm, Needs::Nothing));
        }
        lddw::KFUNC => (Op::LoadImm, insn.imm as u64, Needs::Kfunc(insn.imm)),
        lddw::FUNC => (Op::LoadImm, insn.imm as u64, Needs::Function(insn.imm)),
        lddw::MAP => (Op::LoadMap, insn.imm as u64, Needs::Map(insn.imm)),
        lddw::MAP_VALUE => {
            let imm = u64::from(next.imm as u32) << 32 | u64::from(insn.imm as u32);
            let needs = Needs::MapValue(insn.imm, next.imm as u32);
            return Ok(wide(insn, Op::LoadMapValue, imm, needs));
        }
        found => {
            let expected = "a pseudo source of a linked program (0, 3, 4, 5 or 6)";
            return Err(field(insn, "source", expected, found.into()));
        }
    };
    zero(insn, "immediate of the second slot", next.imm.into())?;
    Ok(wide(insn, op, imm, needs))
}

fn wide(insn: Insn, op: Op, imm: u64, needs: Needs) -> Decoded {
    Decoded {
        step: Step {
            op,
            dst: insn.dst,
            src: 0,
            off: 0,
            imm,
        },
        needs,
        slots: 2,
    }
}

fn load(insn: Insn) -> Result<Step, Reject> {
    let op = match insn.code & 0xf8 {
        0x70 => Op::Load8,
        0x68 => Op::Load16,
        0x60 => Op::Load32,
        0x78 => Op::Load64,
        0x90 => Op::LoadS8,
        0x88 => Op::LoadS16,
        0x80 => Op::LoadS32,
        _ => return Err(Reject::Opcode { code: insn.code }),
    };
    zero(insn, "immediate", insn.imm.into())?;
    writable(insn.dst)?;
    Ok(step(insn, op))
}

fn store_imm(insn: Insn) -> Result<Step, Reject> {
    let op = match insn.code & 0xf8 {
        0x70 => Op::StoreK8,
        0x68 => Op::StoreK16,
        0x60 => Op::StoreK32,
        0x78 => Op::StoreK64,
        _ => return Err(Reject::Opcode { code: insn.code }),
    };
    zero(insn, "source", insn.src.into())?;
    Ok(step(insn, op))
}

fn store(insn: Insn) -> Result<Step, Reject> {
    let op = match insn.code & 0xf8 {
        0x70 => Op::StoreX8,
        0x68 => Op::StoreX16,
        0x60 => Op::StoreX32,
        0x78 => Op::StoreX64,
        0xc0 => Op::Atomic32,
        0xd8 => Op::Atomic64,
        _ => return Err(Reject::Opcode { code: insn.code }),
    };
    if !matches!(op, Op::Atomic32 | Op::Atomic64) {
        zero(insn, "immediate", insn.imm.into())?;
        return Ok(step(insn, op));
    }
    match insn.imm {
        0x00 | 0x40 | 0x50 | 0xa0 | 0xf1 => {}
        // These write what was there before to the source register.
        0x01 | 0x41 | 0x51 | 0xa1 | 0xe1 => writable(insn.src)?,
        found => {
            let expected = "an atomic operation of RFC 9669";
            return Err(field(insn, "immediate", expected, found.into()));
        }
    }
    Ok(step(insn, op))
}

fn arithmetic(insn: Insn) -> Result<Step, Reject> {
    let register = insn.code & X != 0;
    let half = insn.code & 0x07 == ALU;
    let forms = match (insn.code >> 4, insn.off) {
        (0xd, _) => return byte_swap(insn),
        (0x8, _) => return negate(insn),
        (0xb, 8 | 16 | 32) if register => return move_signed(insn),
        (0x0, _) => [Op::AddK, Op::AddX, Op::AddK32, Op::AddX32],
        (0x1, _) => [Op::SubK, Op::SubX, Op::SubK32, Op::SubX32],
        (0x2, _) => [Op::MulK, Op::MulX, Op::MulK32, Op::MulX32],
        (0x3, 1) => [Op::SdivK, Op::SdivX, Op::SdivK32, Op::SdivX32],
        (0x3, _) => [Op::DivK, Op::DivX, Op::DivK32, Op::DivX32],
        (0x4, _) => [Op::OrK, Op::OrX, Op::OrK32, Op::OrX32],
        (0x5, _) => [Op::AndK, Op::AndX, Op::AndK32, Op::AndX32],
        (0x6, _) => [Op::LshK, Op::LshX, Op::LshK32, Op::LshX32],
        (0x7, _) => [Op::RshK, Op::RshX, Op::RshK32, Op::RshX32],
        (0x9, 1) => [Op::SmodK, Op::SmodX, Op::SmodK32, Op::SmodX32],
        (0x9, _) => [Op::ModK, Op::ModX, Op::ModK32, Op::ModX32],
        (0xa, _) => [Op::XorK, Op::XorX, Op::XorK32, Op::XorX32],
        (0xb, _) => [Op::MovK, Op::MovX, Op::MovK32, Op::MovX32],
        (0xc, _) => [Op::ArshK, Op::ArshX, Op::ArshK32, Op::ArshX32],
        _ => return Err(Reject::Opcode { code: insn.code }),
    };
    if matches!(insn.code >> 4, 0x3 | 0x9) {
        if !matches!(insn.off, 0 | 1) {
            return Err(field(insn, "offset", "0 or 1", insn.off.into()));
        }
    } else {
        zero(insn, "offset", insn.off.into())?;
    }
    unused_operand(insn)?;
    writable(insn.dst)?;
    Ok(Step {
        off: 0,
        ..step(insn, form(forms, register, half))
    })
}

fn negate(insn: Insn) -> Result<Step, Reject> {
    if insn.code & X != 0 {
        return Err(Reject::Opcode { code: insn.code });
    }
    zero(insn, "source", insn.src.into())?;
    zero(insn, "offset", insn.off.into())?;
    zero(insn, "immediate", insn.imm.into())?;
    writable(insn.dst)?;
    Ok(step(
        insn,
        if insn.code & 0x07 == ALU {
            Op::Neg32
        } else {
            Op::Neg
        },
    ))
}

fn move_signed(insn: Insn) -> Result<Step, Reject> {
    let op = match (insn.code & 0x07 == ALU, insn.off) {
        (true, 8) => Op::Movs8On32,
        (true, 16) => Op::Movs16On32,
        (false, 8) => Op::Movs8,
        (false, 16) => Op::Movs16,
        (false, _) => Op::Movs32,
        (true, found) => return Err(field(insn, "offset", "0, 8 or 16", found.into())),
    };
    unused_operand(insn)?;
    writable(insn.dst)?;
    Ok(Step {
        off: 0,
        ..step(insn, op)
    })
}

fn byte_swap(insn: Insn) -> Result<Step, Reject> {
    let ops = match insn.code {
        0xd4 => [Op::Le16, Op::Le32, Op::Le64],
        0xdc => [Op::Be16, Op::Be32, Op::Be64],
        0xd7 => [Op::Swap16, Op::Swap32, Op::Swap64],
        code => return Err(Reject::Opcode { code }),
    };
    zero(insn, "source", insn.src.into())?;
    zero(insn, "offset", insn.off.into())?;
    writable(insn.dst)?;
    let [half, word, double] = ops;
    match insn.imm {
        16 => Ok(step(insn, half)),
        32 => Ok(step(insn, word)),
        64 => Ok(step(insn, double)),
        found => Err(field(insn, "immediate", "16, 32 or 64", found.into())),
    }
}

fn jump(insn: Insn) -> Result<(Step, Needs), Reject> {
    let register = insn.code & X != 0;
    let half = insn.code & 0x07 == JMP32;
    let forms = match insn.code >> 4 {
        0x0 | 0x8 | 0x9 => return control(insn),
        0x1 => [Op::JeqK, Op::JeqX, Op::JeqK32, Op::JeqX32],
        0x2 => [Op::JgtK, Op::JgtX, Op::JgtK32, Op::JgtX32],
        0x3 => [Op::JgeK, Op::JgeX, Op::JgeK32, Op::JgeX32],
        0x4 => [Op::JsetK, Op::JsetX, Op::JsetK32, Op::JsetX32],
        0x5 => [Op::JneK, Op::JneX, Op::JneK32, Op::JneX32],
        0x6 => [Op::JsgtK, Op::JsgtX, Op::JsgtK32, Op::JsgtX32],
        0x7 => [Op::JsgeK, Op::JsgeX, Op::JsgeK32, Op::JsgeX32],
        0xa => [Op::JltK, Op::JltX, Op::JltK32, Op::JltX32],
        0xb => [Op::JleK, Op::JleX, Op::JleK32, Op::JleX32],
        0xc => [Op::JsltK, Op::JsltX, Op::JsltK32, Op::JsltX32],
        0xd => [Op::JsleK, Op::JsleX, Op::JsleK32, Op::JsleX32],
        _ => return Err(Reject::Opcode { code: insn.code }),
    };
    unused_operand(insn)?;
    Ok((step(insn, form(forms, register, half)), Needs::Nothing))
}

/// Unconditional jumps, calls and exits.
fn control(insn: Insn) -> Result<(Step, Needs), Reject> {
    let jump = |distance| Step {
        off: distance,
        ..step(insn, Op::Ja)
    };
    let (step, needs) = match insn.code {
        0x05 => (jump(insn.off.into()), Needs::Nothing),
        0x06 => (jump(insn.imm), Needs::Nothing),
        CALL => return direct_call(insn),
        0x8d => return Ok((indirect_call(insn)?, Needs::Nothing)),
        0x95 => (step(insn, Op::Exit), Needs::Nothing),
        code => return Err(Reject::Opcode { code }),
    };
    zero(insn, "destination", insn.dst.into())?;
    zero(insn, "source", insn.src.into())?;
    if insn.code != 0x05 {
        zero(insn, "offset", insn.off.into())?;
    }
    if insn.code != 0x06 {
        zero(insn, "immediate", insn.imm.into())?;
    }
    Ok((step, needs))
}

fn direct_call(insn: Insn) -> Result<(Step, Needs), Reject> {
    zero(insn, "destination", insn.dst.into())?;
    zero(insn, "offset", insn.off.into())?;
    match insn.src {
        call::HELPER if insn.imm == POISON => Ok((step(insn, Op::Poison), Needs::Nothing)),
        call::HELPER => Ok((step(insn, Op::CallHelper), Needs::Helper(insn.imm))),
        call::LOCAL => {
            let step = Step {
                off: insn.imm,
                ..step(insn, Op::CallLocal)
            };
            Ok((step, Needs::Function(insn.imm)))
        }
        call::KFUNC => Ok((step(insn, Op::CallKfunc), Needs::Kfunc(insn.imm))),
        found => {
            let expected = "0 (helper), 1 (function) or 2 (kfunc)";
            Err(field(insn, "source", expected, found.into()))
        }
    }
}

/// `callx`: clang up to 18 names the register in the immediate, later ones in
/// the destination.
fn indirect_call(insn: Insn) -> Result<Step, Reject> {
    zero(insn, "source", insn.src.into())?;
    zero(insn, "offset", insn.off.into())?;
    if insn.imm == 0 {
        return Ok(step(insn, Op::CallX));
    }
    zero(insn, "destination", insn.dst.into())?;
    match u8::try_from(insn.imm) {
        Ok(register @ 1..=10) => Ok(Step {
            dst: register,
            ..step(insn, Op::CallX)
        }),
        _ => Err(field(
            insn,
            "immediate",
            "the number of a register",
            insn.imm.into(),
        )),
    }
}

/// Returns the form of an operation: `[K, X, K32, X32]`.
fn form([k, x, k32, x32]: [Op; 4], register: bool, half: bool) -> Op {
    match (register, half) {
        (false, false) => k,
        (true, false) => x,
        (false, true) => k32,
        (true, true) => x32,
    }
}

fn step(insn: Insn, op: Op) -> Step {
    let Insn {
        dst, src, off, imm, ..
    } = insn;
    Step {
        op,
        dst,
        src,
        off: off.into(),
        imm: i64::from(imm) as u64,
    }
}

/// Says that the operand which the opcode does not take is zero.
fn unused_operand(insn: Insn) -> Result<(), Reject> {
    if insn.code & X == 0 {
        zero(insn, "source", insn.src.into())
    } else {
        zero(insn, "immediate", insn.imm.into())
    }
}

fn zero(insn: Insn, name: &'static str, found: i64) -> Result<(), Reject> {
    if found == 0 {
        Ok(())
    } else {
        Err(field(insn, name, "0", found))
    }
}

fn field(insn: Insn, field: &'static str, expected: &'static str, found: i64) -> Reject {
    Reject::Field {
        code: insn.code,
        field,
        expected,
        found,
    }
}

fn writable(register: u8) -> Result<(), Reject> {
    if register == 10 {
        Err(Reject::FramePointer)
    } else {
        Ok(())
    }
}

/// Instruction classes.
const LD: u8 = 0;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU: u8 = 4;
const JMP32: u8 = 6;
const ALU64: u8 = 7;
/// The source operand is a register.
const X: u8 = 0x08;
