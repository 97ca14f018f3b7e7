//! Telling a [`Tracer`](crate::guest::trace::Tracer) what the interpreter's loop does.
//!
//! All of it is called only by the form of the loop that is traced.

use super::calls::Callee;
use crate::code::Step;
use crate::guest::machine::Machine;
use crate::guest::memory::{Access, Memory};
use crate::guest::trace::{self, Touched};
use crate::ops::Kind;

/// The instruction that is at work, to be reported when it is over.
#[derive(Debug, Default)]
pub(super) struct Pending(Option<Begun>);

#[derive(Clone, Copy, Debug)]
struct Begun {
    slot: u32,
    depth: usize,
    regs: [u64; 16],
    /// The memory that it reads or writes: where, and how many bytes.
    access: Option<(Access, u64, u8)>,
}

impl Pending {
    /// Notes that `step` begins at `slot`.
    pub(super) fn begin(&mut self, slot: u32, depth: usize, step: &Step, regs: &[u64; 16]) {
        self.0 = Some(Begun {
            slot,
            depth,
            regs: *regs,
            access: access(step, regs),
        });
    }
}

impl<'a> Machine<'a> {
    /// Reports the instruction that is over, if one is.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_step(&mut self, pending: &mut Pending, regs: &[u64; 16]) {
        let (Some(begun), Some(tracer)) = (pending.0.take(), self.host.tracer()) else {
            return;
        };
        let changed = (0..).zip(begun.regs.iter().zip(regs));
        let changed: Vec<(u8, u64)> = changed
            .filter(|(_, (before, now))| before != now)
            .map(|(number, (_, now))| (number, *now))
            .collect();
        let touched = begun.access.map(|(access, addr, len)| Touched {
            access,
            addr,
            len,
            value: value(self.memory, addr, len),
        });
        tracer.step(&trace::Step {
            program: self.number,
            slot: begun.slot,
            depth: begun.depth,
            changed: &changed,
            touched,
            memory: self.memory,
        });
    }

    /// Reports that `callee` is about to be called by step `step`.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_call(&mut self, callee: Callee, args: [u64; 5], step: usize) {
        let slot = self.code.slot(step);
        if let (Some(callee), Some(tracer)) = (self.named(callee), self.host.tracer()) {
            tracer.call(&trace::Call {
                program: self.number,
                slot,
                callee,
                args,
                memory: self.memory,
            });
        }
    }

    /// Reports that `callee` has returned `r0`.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_return(&mut self, callee: Callee, r0: u64) {
        if let (Some(callee), Some(tracer)) = (self.named(callee), self.host.tracer()) {
            tracer.returned(&trace::Returned {
                callee,
                r0,
                memory: self.memory,
            });
        }
    }

    /// Reports that `callee`, which the step at work called, has answered `r0`
    /// since it failed. Those that compare may answer -1 as well.
    #[cold]
    #[inline(never)]
    pub(super) fn tell_failure(&mut self, callee: trace::Callee<'_>, args: [u64; 5], r0: u64) {
        if !callee.name().ends_with("cmp") {
            let call = trace::Call {
                program: self.number,
                slot: self.memory.site().slot,
                callee,
                args,
                memory: self.memory,
            };
            self.host.failed(&call, r0);
        }
    }

    fn named(&self, callee: Callee) -> Option<trace::Callee<'a>> {
        match callee {
            Callee::Helper(index) => {
                let helper = self.helpers.get(index as usize)?;
                let (name, prototype) = (helper.name, helper.prototype);
                Some(trace::Callee::Helper { name, prototype })
            }
            Callee::Kfunc(index) => self.kfuncs.get(index as usize).map(trace::Callee::Kfunc),
            Callee::Function(_) => None,
        }
    }
}

/// Returns what `step` reads or writes.
fn access(step: &Step, regs: &[u64; 16]) -> Option<(Access, u64, u8)> {
    let operation = step.op.operation()?;
    let (access, base) = match operation.kind {
        Kind::Load => (Access::Read, step.src),
        Kind::StoreK | Kind::StoreX | Kind::Atomic => (Access::Write, step.dst),
        _ => return None,
    };
    let base = regs[usize::from(base & 15)];
    let addr = base.wrapping_add(i64::from(step.off) as u64);
    Some((access, addr, operation.access_len()))
}

/// Returns the `len` bytes at `addr`, if they are at hand.
fn value(memory: &Memory, addr: u64, len: u8) -> Option<u64> {
    Some(match len {
        1 => memory.peek::<1>(addr).map(u8::from_le_bytes)?.into(),
        2 => memory.peek::<2>(addr).map(u16::from_le_bytes)?.into(),
        4 => memory.peek::<4>(addr).map(u32::from_le_bytes)?.into(),
        _ => memory.peek::<8>(addr).map(u64::from_le_bytes)?,
    })
}
