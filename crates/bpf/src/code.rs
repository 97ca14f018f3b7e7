//! Code as the interpreter runs it: decoded once, jumps resolved.

use crate::ops::Op;

#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    pub(crate) steps: Vec<Step>,
    /// The slot of each step, and behind the last one the number of slots.
    pub(crate) slots: Vec<u32>,
}

impl Code {
    pub(crate) fn with_room(slots: usize) -> Self {
        Self {
            steps: Vec::with_capacity(slots),
            slots: Vec::with_capacity(slots.saturating_add(1)),
        }
    }

    pub(crate) fn slot(&self, index: usize) -> u32 {
        self.slots
            .get(index)
            .or(self.slots.last())
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn index(&self, slot: u32) -> Option<usize> {
        let index = self.slots.binary_search(&slot).ok()?;
        (index < self.steps.len()).then_some(index)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    /// The offset of a memory access; the step that a jump or local call goes
    /// to (while decoding: the distance in slots from the next instruction).
    pub(crate) off: i32,
    /// The immediate, sign-extended; what else the operation needs.
    pub(crate) imm: u64,
}
