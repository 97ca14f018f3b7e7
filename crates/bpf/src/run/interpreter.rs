//! The loop over decoded instructions.

use std::iter;

use super::alu::{
    COMPARE, FETCH, atomic32, atomic64, div32, div64, mod32, mod64, sdiv32, sdiv64, smod32, smod64,
};
use super::calls::{Callee, no_function};
use super::watch::Pending;
use crate::BpfError;
use crate::guest::machine::{FRAMES, Machine, STACK};
use crate::ops::Op;

/// The state that a local call leaves for its return.
#[derive(Clone, Copy, Default)]
struct Frame {
    next: usize,
    saved: [u64; 5],
}

impl Machine<'_> {
    /// Runs from step `entry` until that function exits, and returns r0. A
    /// fault's place goes to `stopped`.
    pub(super) fn interpret(&mut self, entry: usize, args: [u64; 5]) -> Result<u64, BpfError> {
        if self.host.tracer().is_some() {
            self.interpret_as::<true>(entry, args)
        } else {
            self.interpret_as::<false>(entry, args)
        }
    }

    /// [`Machine::interpret`] in two forms, so that the one without a tracer
    /// has nothing of the other.
    fn interpret_as<const TRACED: bool>(
        &mut self,
        entry: usize,
        args: [u64; 5],
    ) -> Result<u64, BpfError> {
        let code = self.code;
        let base = self.depth;
        let mut frames = [Frame::default(); FRAMES];
        // Sixteen, so that a number of four bits needs no check.
        let mut regs = [0_u64; 16];
        regs[1..6].copy_from_slice(&args);
        regs[10] = self.enter()?;
        let mut left = self.meter.insns;
        let mut pc = entry;
        let mut pending = Pending::default();

        /// Ends the run at the instruction that is at work.
        macro_rules! stop {
            ($fault:expr) => {{
                self.meter.insns = left;
                if TRACED {
                    self.tell_step(&mut pending, &regs);
                }
                return Err(self.stop(pc.wrapping_sub(1), base, &frames, $fault));
            }};
        }
        macro_rules! attempt {
            ($result:expr) => {
                match $result {
                    Ok(value) => value,
                    Err(error) => stop!(error),
                }
            };
        }

        loop {
            let Some(step) = code.steps.get(pc) else {
                stop!(no_function(pc as u64))
            };
            pc += 1;
            if left == 0 {
                stop!(BpfError::budget());
            }
            left -= 1;
            if TRACED {
                self.tell_step(&mut pending, &regs);
                if self.host.tracer().is_some_and(|tracer| tracer.is_done()) {
                    stop!(BpfError::new("nobody watches the run any more"));
                }
                pending.begin(code.slot(pc - 1), self.depth, step, &regs);
            }

            macro_rules! dst {
                () => {
                    regs[usize::from(step.dst & 15)]
                };
            }
            macro_rules! src {
                () => {
                    regs[usize::from(step.src & 15)]
                };
            }
            /// `dst = f(dst, operand)`.
            macro_rules! alu {
                ($function:expr, $operand:expr) => {{
                    let value: u64 = $function(dst!(), $operand);
                    dst!() = value;
                }};
            }
            macro_rules! alu32 {
                ($function:expr, $operand:expr) => {{
                    let value: u32 = $function(dst!() as u32, $operand as u32);
                    dst!() = u64::from(value);
                }};
            }
            macro_rules! jump {
                ($function:expr, $one:expr, $other:expr) => {
                    if $function(&($one), &($other)) {
                        pc = step.off as usize;
                    }
                };
            }
            macro_rules! address {
                ($base:expr) => {
                    $base.wrapping_add(i64::from(step.off) as u64)
                };
            }
            macro_rules! load {
                ($addr:expr) => {{
                    let addr = $addr;
                    match self.memory.peek(addr) {
                        Some(bytes) => bytes,
                        None => {
                            let bytes = attempt!(self.memory.load(addr));
                            left = left.saturating_sub(self.memory.account.take_work());
                            bytes
                        }
                    }
                }};
            }
            macro_rules! store {
                ($addr:expr, $value:expr) => {{
                    let addr = $addr;
                    let bytes = $value.to_le_bytes();
                    match self.memory.poke(addr) {
                        Some(place) => *place = bytes,
                        None => {
                            attempt!(self.memory.write(addr, &bytes));
                            left = left.saturating_sub(self.memory.account.take_work());
                        }
                    }
                }};
            }
            macro_rules! enter {
                ($target:expr) => {{
                    let target = $target;
                    if let Some(frame) = frames.get_mut(self.depth - base) {
                        frame.next = pc;
                        frame.saved = [regs[6], regs[7], regs[8], regs[9], regs[10]];
                    }
                    regs[10] = attempt!(self.enter());
                    pc = target;
                }};
            }
            macro_rules! call {
                ($method:ident, $callee:path, $index:expr) => {{
                    self.meter.insns = left;
                    let args = [regs[1], regs[2], regs[3], regs[4], regs[5]];
                    let index = $index;
                    if TRACED {
                        self.tell_step(&mut pending, &regs);
                        self.tell_call($callee(index), args, pc - 1);
                    }
                    match self.$method(index, args, pc - 1) {
                        Ok(r0) => regs[0] = r0,
                        // The callee has paid and, if it was a callback, knows
                        // the place better.
                        Err(fault) => return Err(self.stop(pc - 1, base, &frames, fault)),
                    }
                    left = self.meter.insns;
                    if TRACED {
                        self.tell_return($callee(index), regs[0]);
                    }
                }};
            }

            match step.op {
                Op::AddK => alu!(u64::wrapping_add, step.imm),
                Op::AddX => alu!(u64::wrapping_add, src!()),
                Op::AddK32 => alu32!(u32::wrapping_add, step.imm),
                Op::AddX32 => alu32!(u32::wrapping_add, src!()),
                Op::SubK => alu!(u64::wrapping_sub, step.imm),
                Op::SubX => alu!(u64::wrapping_sub, src!()),
                Op::SubK32 => alu32!(u32::wrapping_sub, step.imm),
                Op::SubX32 => alu32!(u32::wrapping_sub, src!()),
                Op::MulK => alu!(u64::wrapping_mul, step.imm),
                Op::MulX => alu!(u64::wrapping_mul, src!()),
                Op::MulK32 => alu32!(u32::wrapping_mul, step.imm),
                Op::MulX32 => alu32!(u32::wrapping_mul, src!()),
                Op::DivK => alu!(div64, step.imm),
                Op::DivX => alu!(div64, src!()),
                Op::DivK32 => alu32!(div32, step.imm),
                Op::DivX32 => alu32!(div32, src!()),
                Op::SdivK => alu!(sdiv64, step.imm),
                Op::SdivX => alu!(sdiv64, src!()),
                Op::SdivK32 => alu32!(sdiv32, step.imm),
                Op::SdivX32 => alu32!(sdiv32, src!()),
                Op::ModK => alu!(mod64, step.imm),
                Op::ModX => alu!(mod64, src!()),
                Op::ModK32 => alu32!(mod32, step.imm),
                Op::ModX32 => alu32!(mod32, src!()),
                Op::SmodK => alu!(smod64, step.imm),
                Op::SmodX => alu!(smod64, src!()),
                Op::SmodK32 => alu32!(smod32, step.imm),
                Op::SmodX32 => alu32!(smod32, src!()),
                Op::OrK => dst!() |= step.imm,
                Op::OrX => dst!() |= src!(),
                Op::OrK32 => alu32!(|one, other| one | other, step.imm),
                Op::OrX32 => alu32!(|one, other| one | other, src!()),
                Op::AndK => dst!() &= step.imm,
                Op::AndX => dst!() &= src!(),
                Op::AndK32 => alu32!(|one, other| one & other, step.imm),
                Op::AndX32 => alu32!(|one, other| one & other, src!()),
                Op::XorK => dst!() ^= step.imm,
                Op::XorX => dst!() ^= src!(),
                Op::XorK32 => alu32!(|one, other| one ^ other, step.imm),
                Op::XorX32 => alu32!(|one, other| one ^ other, src!()),
                Op::LshK => dst!() = dst!().wrapping_shl(step.imm as u32),
                Op::LshX => dst!() = dst!().wrapping_shl(src!() as u32),
                Op::LshK32 => alu32!(u32::wrapping_shl, step.imm),
                Op::LshX32 => alu32!(u32::wrapping_shl, src!()),
                Op::RshK => dst!() = dst!().wrapping_shr(step.imm as u32),
                Op::RshX => dst!() = dst!().wrapping_shr(src!() as u32),
                Op::RshK32 => alu32!(u32::wrapping_shr, step.imm),
                Op::RshX32 => alu32!(u32::wrapping_shr, src!()),
                Op::ArshK => dst!() = (dst!() as i64).wrapping_shr(step.imm as u32) as u64,
                Op::ArshX => dst!() = (dst!() as i64).wrapping_shr(src!() as u32) as u64,
                Op::ArshK32 => alu32!(|one, by| (one as i32).wrapping_shr(by) as u32, step.imm),
                Op::ArshX32 => alu32!(|one, by| (one as i32).wrapping_shr(by) as u32, src!()),
                Op::MovK | Op::LoadImm => dst!() = step.imm,
                Op::MovX => dst!() = src!(),
                Op::MovK32 => dst!() = u64::from(step.imm as u32),
                Op::MovX32 => dst!() = u64::from(src!() as u32),
                Op::Movs8 => dst!() = src!() as i8 as u64,
                Op::Movs16 => dst!() = src!() as i16 as u64,
                Op::Movs32 => dst!() = src!() as i32 as u64,
                Op::Movs8On32 => dst!() = u64::from(src!() as i8 as u32),
                Op::Movs16On32 => dst!() = u64::from(src!() as i16 as u32),
                Op::Neg => dst!() = dst!().wrapping_neg(),
                Op::Neg32 => dst!() = u64::from((dst!() as u32).wrapping_neg()),
                // Guest memory is little-endian, whatever the host is.
                Op::Le16 => dst!() = u64::from(dst!() as u16),
                Op::Le32 => dst!() = u64::from(dst!() as u32),
                Op::Le64 => {}
                Op::Be16 | Op::Swap16 => dst!() = u64::from((dst!() as u16).swap_bytes()),
                Op::Be32 | Op::Swap32 => dst!() = u64::from((dst!() as u32).swap_bytes()),
                Op::Be64 | Op::Swap64 => dst!() = dst!().swap_bytes(),

                Op::Ja | Op::JaFar => pc = step.off as usize,
                Op::JeqK => jump!(u64::eq, dst!(), step.imm),
                Op::JeqX => jump!(u64::eq, dst!(), src!()),
                Op::JeqK32 => jump!(u32::eq, dst!() as u32, step.imm as u32),
                Op::JeqX32 => jump!(u32::eq, dst!() as u32, src!() as u32),
                Op::JneK => jump!(u64::ne, dst!(), step.imm),
                Op::JneX => jump!(u64::ne, dst!(), src!()),
                Op::JneK32 => jump!(u32::ne, dst!() as u32, step.imm as u32),
                Op::JneX32 => jump!(u32::ne, dst!() as u32, src!() as u32),
                Op::JgtK => jump!(u64::gt, dst!(), step.imm),
                Op::JgtX => jump!(u64::gt, dst!(), src!()),
                Op::JgtK32 => jump!(u32::gt, dst!() as u32, step.imm as u32),
                Op::JgtX32 => jump!(u32::gt, dst!() as u32, src!() as u32),
                Op::JgeK => jump!(u64::ge, dst!(), step.imm),
                Op::JgeX => jump!(u64::ge, dst!(), src!()),
                Op::JgeK32 => jump!(u32::ge, dst!() as u32, step.imm as u32),
                Op::JgeX32 => jump!(u32::ge, dst!() as u32, src!() as u32),
                Op::JltK => jump!(u64::lt, dst!(), step.imm),
                Op::JltX => jump!(u64::lt, dst!(), src!()),
                Op::JltK32 => jump!(u32::lt, dst!() as u32, step.imm as u32),
                Op::JltX32 => jump!(u32::lt, dst!() as u32, src!() as u32),
                Op::JleK => jump!(u64::le, dst!(), step.imm),
                Op::JleX => jump!(u64::le, dst!(), src!()),
                Op::JleK32 => jump!(u32::le, dst!() as u32, step.imm as u32),
                Op::JleX32 => jump!(u32::le, dst!() as u32, src!() as u32),
                Op::JsgtK => jump!(i64::gt, dst!() as i64, step.imm as i64),
                Op::JsgtX => jump!(i64::gt, dst!() as i64, src!() as i64),
                Op::JsgtK32 => jump!(i32::gt, dst!() as i32, step.imm as i32),
                Op::JsgtX32 => jump!(i32::gt, dst!() as i32, src!() as i32),
                Op::JsgeK => jump!(i64::ge, dst!() as i64, step.imm as i64),
                Op::JsgeX => jump!(i64::ge, dst!() as i64, src!() as i64),
                Op::JsgeK32 => jump!(i32::ge, dst!() as i32, step.imm as i32),
                Op::JsgeX32 => jump!(i32::ge, dst!() as i32, src!() as i32),
                Op::JsltK => jump!(i64::lt, dst!() as i64, step.imm as i64),
                Op::JsltX => jump!(i64::lt, dst!() as i64, src!() as i64),
                Op::JsltK32 => jump!(i32::lt, dst!() as i32, step.imm as i32),
                Op::JsltX32 => jump!(i32::lt, dst!() as i32, src!() as i32),
                Op::JsleK => jump!(i64::le, dst!() as i64, step.imm as i64),
                Op::JsleX => jump!(i64::le, dst!() as i64, src!() as i64),
                Op::JsleK32 => jump!(i32::le, dst!() as i32, step.imm as i32),
                Op::JsleX32 => jump!(i32::le, dst!() as i32, src!() as i32),
                Op::JsetK => jump!(u64::ne, dst!() & step.imm, 0),
                Op::JsetX => jump!(u64::ne, dst!() & src!(), 0),
                Op::JsetK32 => jump!(u32::ne, (dst!() & step.imm) as u32, 0),
                Op::JsetX32 => jump!(u32::ne, (dst!() & src!()) as u32, 0),

                Op::Load8 => dst!() = u8::from_le_bytes(load!(address!(src!()))).into(),
                Op::Load16 => dst!() = u16::from_le_bytes(load!(address!(src!()))).into(),
                Op::Load32 => dst!() = u32::from_le_bytes(load!(address!(src!()))).into(),
                Op::Load64 => dst!() = u64::from_le_bytes(load!(address!(src!()))),
                Op::LoadS8 => dst!() = i8::from_le_bytes(load!(address!(src!()))) as u64,
                Op::LoadS16 => dst!() = i16::from_le_bytes(load!(address!(src!()))) as u64,
                Op::LoadS32 => dst!() = i32::from_le_bytes(load!(address!(src!()))) as u64,
                Op::StoreK8 => store!(address!(dst!()), (step.imm as u8)),
                Op::StoreK16 => store!(address!(dst!()), (step.imm as u16)),
                Op::StoreK32 => store!(address!(dst!()), (step.imm as u32)),
                Op::StoreK64 => store!(address!(dst!()), step.imm),
                Op::StoreX8 => store!(address!(dst!()), (src!() as u8)),
                Op::StoreX16 => store!(address!(dst!()), (src!() as u16)),
                Op::StoreX32 => store!(address!(dst!()), (src!() as u32)),
                Op::StoreX64 => store!(address!(dst!()), src!()),
                Op::Atomic32 => {
                    let addr = address!(dst!());
                    let old = u32::from_le_bytes(load!(addr));
                    let new = atomic32(step.imm, old, src!() as u32, regs[0] as u32);
                    store!(addr, new);
                    match step.imm {
                        COMPARE => regs[0] = old.into(),
                        operation if operation & FETCH != 0 => src!() = old.into(),
                        _ => {}
                    }
                }
                Op::Atomic64 => {
                    let addr = address!(dst!());
                    let old = u64::from_le_bytes(load!(addr));
                    let new = atomic64(step.imm, old, src!(), regs[0]);
                    store!(addr, new);
                    match step.imm {
                        COMPARE => regs[0] = old,
                        operation if operation & FETCH != 0 => src!() = old,
                        _ => {}
                    }
                }

                Op::LoadMap => dst!() = self.maps.by_index(step.imm).map_or(0, |map| map.handle),
                Op::LoadMapValue => dst!() = self.maps.value(step.imm as u32, step.imm >> 32),
                Op::CallHelper => call!(call_helper, Callee::Helper, step.imm),
                Op::CallKfunc => call!(call_kfunc, Callee::Kfunc, step.imm),
                Op::CallLocal => enter!(step.off as usize),
                Op::CallX => match attempt!(self.callee(dst!())) {
                    Callee::Function(target) => enter!(target),
                    Callee::Helper(index) => call!(call_helper, Callee::Helper, index),
                    Callee::Kfunc(index) => call!(call_kfunc, Callee::Kfunc, index),
                },
                Op::Poison => stop!(self.poisoned(pc - 1)),
                Op::Exit => {
                    self.leave();
                    if self.depth == base {
                        self.meter.insns = left;
                        if TRACED {
                            self.tell_step(&mut pending, &regs);
                        }
                        return Ok(regs[0]);
                    }
                    if let Some(frame) = frames.get(self.depth - base) {
                        regs[6..11].copy_from_slice(&frame.saved);
                        pc = frame.next;
                    }
                }
            }
        }
    }

    /// Opens the stack frame of a function, and returns its r10.
    fn enter(&mut self) -> Result<u64, BpfError> {
        let frame = *self.frames.get(self.depth).ok_or_else(too_deep)?;
        self.depth += 1;
        self.memory.open_frame(frame);
        Ok(frame + STACK as u64)
    }

    /// Closes the stack frame of the function that returns.
    fn leave(&mut self) {
        self.depth -= 1;
        if let Some(frame) = self.frames.get(self.depth) {
            self.memory.close_frame(*frame);
        }
    }

    /// Notes the place of a fault, or of the callback's call that ended in it, and
    /// the calls that are open there.
    #[cold]
    #[inline(never)]
    fn stop(&mut self, step: usize, base: usize, frames: &[Frame], fault: BpfError) -> BpfError {
        let open = frames.get(1..self.depth.saturating_sub(base));
        let calls = open.unwrap_or_default().iter().rev();
        let steps = iter::once(step).chain(calls.map(|frame| frame.next.wrapping_sub(1)));
        self.stopped.extend(steps.map(|step| self.code.slot(step)));
        fault
    }
}

#[cold]
fn too_deep() -> BpfError {
    BpfError::new(format!("calls are nested more than {FRAMES} frames deep"))
}
