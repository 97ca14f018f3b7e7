//! Writing a value into an instruction.

use super::value::Resolution;
use crate::bounds::rest_mut;
use crate::insn::{CALL, LDDW, POISON};
use crate::{BpfError, Insn};

/// The fate of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patched {
    /// It has the host's value.
    Done,
    /// It is poisoned: the host has nothing of the kind.
    Missing,
    /// It is poisoned: the host's field has another size.
    Resized,
}

/// Instruction classes (RFC 9669, section 3.1).
mod class {
    pub(super) const MASK: u8 = 0x07;
    pub(super) const LDX: u8 = 0x01;
    pub(super) const ST: u8 = 0x02;
    pub(super) const STX: u8 = 0x03;
    pub(super) const ALU: u8 = 0x04;
    pub(super) const ALU64: u8 = 0x07;
}

const SOURCE_REGISTER: u8 = 0x08;
/// The bits of a load or store that say its size.
const SIZE_MASK: u8 = 0x18;

pub(super) fn patch(
    code: &mut [Insn],
    slot: usize,
    resolution: &Resolution,
) -> Result<Patched, BpfError> {
    let rest = rest_mut(code, slot);
    let wide = matches!(rest, [insn, second, ..] if insn.code == LDDW && second.code == 0);
    let Some(new) = resolution.new else {
        poison(rest, wide)?;
        return Ok(Patched::Missing);
    };
    let Resolution { old, .. } = resolution;
    let check = |found: i64| {
        let expected = old.value.cast_signed();
        // Compilers before 15 left an enum's sign out of the types.
        let same = found == expected || low(found) == low(expected) && i32::try_from(found).is_ok();
        if old.certain && !same {
            return Err(BpfError::new(format!(
                "the instruction's constant is {found}, but the program's own types say {expected}"
            )));
        }
        Ok(())
    };
    let Some((insn, behind)) = rest.split_first_mut() else {
        return Err(outside());
    };
    match insn.code & class::MASK {
        class::ALU | class::ALU64 if insn.code & SOURCE_REGISTER == 0 => {
            check(i64::from(insn.imm))?;
            insn.imm = immediate(new.value)?;
        }
        class::LDX | class::ST | class::STX => {
            check(i64::from(insn.off))?;
            let off = i16::try_from(new.value).ok();
            let off = off.ok_or_else(|| no_room(new.value))?;
            if !resolution.resizable {
                poison(rest, false)?;
                return Ok(Patched::Resized);
            }
            insn.off = off;
            if old.field_size != new.field_size {
                resize(insn, old.field_size, new.field_size)?;
            }
        }
        _ if wide && insn.src == 0 => {
            let Some(second) = behind.first_mut() else {
                return Err(outside());
            };
            let found = i64::from(second.imm) << 32 | i64::from(insn.imm.cast_unsigned());
            check(found)?;
            insn.imm = low(new.value.cast_signed());
            second.imm = low((new.value >> 32).cast_signed());
        }
        _ => {
            return Err(BpfError::new(format!(
                "an instruction with opcode {:#04x} has no constant to relocate",
                insn.code
            )));
        }
    }
    Ok(Patched::Done)
}

fn poison(code: &mut [Insn], wide: bool) -> Result<(), BpfError> {
    let slots = if wide { 2 } else { 1 };
    for insn in code.get_mut(..slots).ok_or_else(outside)? {
        *insn = Insn {
            code: CALL,
            imm: POISON,
            ..Insn::default()
        };
    }
    Ok(())
}

fn resize(insn: &mut Insn, old: u64, new: u64) -> Result<(), BpfError> {
    let found = match insn.code & SIZE_MASK {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    };
    if found != old {
        return Err(BpfError::new(format!(
            "the instruction accesses {found} bytes of a field of {old}"
        )));
    }
    let size = match new {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        8 => 0x18,
        size => {
            return Err(BpfError::new(format!(
                "the host's field has {size} bytes, which no instruction accesses"
            )));
        }
    };
    insn.code = insn.code & !SIZE_MASK | size;
    Ok(())
}

fn immediate(value: u64) -> Result<i32, BpfError> {
    let signed = i32::try_from(value.cast_signed()).ok();
    let unsigned = || u32::try_from(value).ok().map(u32::cast_signed);
    signed.or_else(unsigned).ok_or_else(|| no_room(value))
}

fn no_room(value: u64) -> BpfError {
    let value = value.cast_signed();
    BpfError::new(format!(
        "the host's value {value} does not fit into the instruction"
    ))
}

fn outside() -> BpfError {
    BpfError::new("the instruction lies outside the code")
}

fn low(value: i64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
