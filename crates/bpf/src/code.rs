//! Code as the interpreter runs it: decoded once, jumps resolved.

/// A program's code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    pub(crate) steps: Vec<Step>,
    /// The slot of each step, and behind the last one the number of slots.
    pub(crate) slots: Vec<u32>,
}

impl Code {
    /// Returns the slot of step `index`.
    pub(crate) fn slot(&self, index: usize) -> u32 {
        self.slots
            .get(index)
            .or(self.slots.last())
            .copied()
            .unwrap_or(0)
    }

    /// Returns the step that begins at `slot`.
    pub(crate) fn index(&self, slot: u32) -> Option<usize> {
        let index = self.slots.binary_search(&slot).ok()?;
        (index < self.steps.len()).then_some(index)
    }
}

/// One instruction, decoded.
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

/// What a [`Step`] does. `K` takes the immediate, `X` the source register;
/// `32` is the form on half registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub(crate) enum Op {
    AddK, SubK, MulK, DivK, SdivK, OrK, AndK, LshK, RshK, ModK, SmodK, XorK, MovK, ArshK,
    AddX, SubX, MulX, DivX, SdivX, OrX, AndX, LshX, RshX, ModX, SmodX, XorX, MovX, ArshX,
    AddK32, SubK32, MulK32, DivK32, SdivK32, OrK32, AndK32, LshK32, RshK32, ModK32, SmodK32,
    XorK32, MovK32, ArshK32,
    AddX32, SubX32, MulX32, DivX32, SdivX32, OrX32, AndX32, LshX32, RshX32, ModX32, SmodX32,
    XorX32, MovX32, ArshX32,
    Neg, Neg32, Movs8, Movs16, Movs32, Movs8On32, Movs16On32,
    Le16, Le32, Le64, Be16, Be32, Be64, Swap16, Swap32, Swap64,
    Ja,
    JeqK, JgtK, JgeK, JltK, JleK, JsetK, JneK, JsgtK, JsgeK, JsltK, JsleK,
    JeqX, JgtX, JgeX, JltX, JleX, JsetX, JneX, JsgtX, JsgeX, JsltX, JsleX,
    JeqK32, JgtK32, JgeK32, JltK32, JleK32, JsetK32, JneK32, JsgtK32, JsgeK32, JsltK32, JsleK32,
    JeqX32, JgtX32, JgeX32, JltX32, JleX32, JsetX32, JneX32, JsgtX32, JsgeX32, JsltX32, JsleX32,
    Load8, Load16, Load32, Load64, LoadS8, LoadS16, LoadS32,
    StoreK8, StoreK16, StoreK32, StoreK64, StoreX8, StoreX16, StoreX32, StoreX64,
    /// Atomic; `imm` is the instruction's.
    Atomic32, Atomic64,
    /// The 64-bit immediate, or the address of a kfunc or function.
    LoadImm,
    /// The handle of map `imm`.
    LoadMap,
    /// The address of the value of map `imm & u32::MAX`, plus `imm >> 32`.
    LoadMapValue,
    /// Helper at index `imm` of the table.
    CallHelper,
    CallLocal,
    /// Kfunc `imm` of the parser.
    CallKfunc,
    /// Whatever the address or number in `dst` names.
    CallX,
    /// What a failed CO-RE relocation left.
    Poison,
    Exit,
}

impl Op {
    /// Returns whether control never reaches the instruction behind.
    pub(crate) fn ends_block(self) -> bool {
        matches!(self, Self::Ja | Self::Exit)
    }

    /// Returns whether `off` is a distance to jump.
    pub(crate) fn jumps(self) -> bool {
        (Self::Ja as u8..=Self::JsleX32 as u8).contains(&(self as u8))
    }
}
