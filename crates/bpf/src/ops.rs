//! The operations of BPF, one row each: the opcode, other fields that select it, and its text.
//! Decoding, running and listing code all go by this table.
//!
//! Spec: RFC 9669, sections 4 and 5.

use crate::Insn;
use crate::insn::POISON;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Destination,
    Source,
    Offset,
    Immediate,
}

impl Field {
    const ALL: [Self; 4] = [
        Self::Destination,
        Self::Source,
        Self::Offset,
        Self::Immediate,
    ];

    /// Returns its bits in an instruction's [`word`].
    const fn bits(self) -> u64 {
        match self {
            Self::Destination => 0xf << 8,
            Self::Source => 0xf << 12,
            Self::Offset => 0xffff << 16,
            Self::Immediate => 0xffff_ffff << 32,
        }
    }

    /// Returns the word for it in messages, and its value in `insn`.
    fn of(self, insn: Insn) -> (&'static str, i64) {
        match self {
            Self::Destination => ("destination", insn.dst.into()),
            Self::Source => ("source", insn.src.into()),
            Self::Offset => ("offset", insn.off.into()),
            Self::Immediate => ("immediate", insn.imm.into()),
        }
    }
}

/// Operations that take the same fields and are listed in the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Arithmetic with two operands; the text is its sign.
    Binary,
    Negate,
    /// A change of the byte order; the text is its name.
    Swap,
    /// A jump on a condition; the text is the relation.
    Jump,
    /// A jump by the offset.
    Goto,
    /// A jump by the immediate.
    GotoFar,
    Call,
    /// A call of what a register names.
    CallX,
    Exit,
    /// An access to memory; the text is the type of what is read or written.
    Load,
    StoreK,
    StoreX,
    Atomic,
    /// `lddw`, in two slots.
    Wide,
}

#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) code: u8,
    /// The bits of a [`word`] that select it, of the opcode and of fields that
    /// distinguish it from operations of this opcode further down, and their values.
    select: u64,
    selected: u64,
    pub(crate) op: Op,
    pub(crate) kind: Kind,
    /// The bits of a [`word`] that must be zero.
    reserved: u64,
    pub(crate) text: &'static str,
}

/// Returns an instruction as one number, in the order of its bytes in a file. A number
/// of a register that no file can hold counts as 15, which is none either.
#[inline]
fn word(insn: Insn) -> u64 {
    u64::from(insn.code)
        | u64::from(insn.dst.min(15)) << 8
        | u64::from(insn.src.min(15)) << 12
        | u64::from(insn.off as u16) << 16
        | u64::from(insn.imm as u32) << 32
}

impl Operation {
    /// Returns the operation of `insn`; other fields of it may have values that
    /// are reserved.
    #[inline]
    pub(crate) fn of(insn: Insn) -> Option<&'static Self> {
        let (rows, word) = (FIRST.get(usize::from(insn.code))?, word(insn));
        rows.iter().find(|row| word & row.select == row.selected)
    }

    /// Returns the first field of `insn` that must be zero and is not, and its value.
    #[inline]
    pub(crate) fn misused(&self, insn: Insn) -> Option<(&'static str, i64)> {
        let set = word(insn) & self.reserved;
        if set == 0 {
            return None;
        }
        let field = Field::ALL.iter().find(|field| field.bits() & set != 0)?;
        Some(field.of(insn))
    }

    /// Returns whether other fields than the opcode select it.
    pub(crate) fn is_selected(&self) -> bool {
        self.select != 0xff
    }

    /// Returns whether it works on half registers.
    pub(crate) fn is_half(&self) -> bool {
        matches!(self.code & 0x07, 0x04 | 0x06)
    }

    /// Returns whether the second operand is the source register, not the
    /// immediate.
    pub(crate) fn takes_register(&self) -> bool {
        match self.kind {
            Kind::Binary | Kind::Jump => self.code & 0x08 != 0,
            kind => kind == Kind::StoreX,
        }
    }

    /// Returns how many bytes of memory it reads or writes, if it does.
    pub(crate) fn access_len(&self) -> u8 {
        match self.code & 0x18 {
            0x10 => 1,
            0x08 => 2,
            0x00 => 4,
            _ => 8,
        }
    }
}

impl Op {
    /// Returns the row of the table that it is.
    pub(crate) fn operation(self) -> Option<&'static Operation> {
        OPERATIONS.get(usize::from(self as u8))
    }

    /// Returns whether the offset is a distance to jump.
    pub(crate) fn jumps(self) -> bool {
        self.operation().is_some_and(|operation| {
            matches!(operation.kind, Kind::Jump | Kind::Goto | Kind::GotoFar)
        })
    }
}

/// The rows from the first one of each opcode on; none for one that has none.
static FIRST: [&[Operation]; 256] = {
    let mut first: [&[Operation]; 256] = [&[]; 256];
    let mut row = OPERATIONS.len();
    while row > 0 {
        row -= 1;
        first[OPERATIONS[row].code as usize] = OPERATIONS.split_at(row).1;
    }
    first
};

/// Makes [`Op`] and the table, in the same order.
macro_rules! operations {
    (
        one { $($kind:ident $code:literal $([$($field:ident $value:expr),+])? $op:ident $text:literal;)* }
        four { $($kind4:ident $code4:literal $([$field4:ident $value4:literal])?
            $k:ident $x:ident $k32:ident $x32:ident $text4:literal;)* }
    ) => {
        /// The action of an operation. `K` uses the immediate, `X` the source
        /// register; `32` is the form on half registers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Op { $($op,)* $($k, $x, $k32, $x32,)* }

        static OPERATIONS: &[Operation] = &[
            $(row(Kind::$kind, $code, &[$($((Field::$field, $value)),+)?], Op::$op, $text),)*
            $(form(Kind::$kind4, $code4, 0, &[$((Field::$field4, $value4))?], Op::$k, $text4),
            form(Kind::$kind4, $code4, 1, &[$((Field::$field4, $value4))?], Op::$x, $text4),
            form(Kind::$kind4, $code4, 2, &[$((Field::$field4, $value4))?], Op::$k32, $text4),
            form(Kind::$kind4, $code4, 3, &[$((Field::$field4, $value4))?], Op::$x32, $text4),)*
        ];
    };
}

/// Returns the row of one of four forms: immediate, register, and these on half
/// registers.
const fn form(
    kind: Kind,
    operation: u8,
    form: u8,
    when: &[(Field, i64)],
    op: Op,
    text: &'static str,
) -> Operation {
    let class = match (kind, form) {
        (Kind::Jump, 0 | 1) => 0x05,
        (Kind::Jump, _) => 0x06,
        (_, 0 | 1) => 0x07,
        (_, _) => 0x04,
    };
    let code = operation | class | (form & 1) << 3;
    row(kind, code, when, op, text)
}

const fn row(
    kind: Kind,
    code: u8,
    mut when: &[(Field, i64)],
    op: Op,
    text: &'static str,
) -> Operation {
    let (mut select, mut selected) = (0xff, code as u64);
    while let [(field, value), rest @ ..] = when {
        let bits = field.bits();
        select |= bits;
        selected |= (*value as u64) << bits.trailing_zeros() & bits;
        when = rest;
    }
    Operation {
        code,
        select,
        selected,
        op,
        kind,
        reserved: reserved(kind, code),
        text,
    }
}

/// Returns [`Operation::reserved`].
const fn reserved(kind: Kind, code: u8) -> u64 {
    use Field::{Destination, Immediate, Offset, Source};
    match kind {
        // The operand that the opcode does not take.
        Kind::Binary | Kind::Jump if code & 0x08 == 0 => Source.bits(),
        Kind::StoreK => Source.bits(),
        Kind::Load | Kind::StoreX | Kind::Binary | Kind::Jump => Immediate.bits(),
        Kind::Negate => Source.bits() | Offset.bits() | Immediate.bits(),
        Kind::Swap | Kind::CallX => Source.bits() | Offset.bits(),
        Kind::Goto => Destination.bits() | Source.bits() | Immediate.bits(),
        Kind::GotoFar => Destination.bits() | Source.bits() | Offset.bits(),
        Kind::Call => Destination.bits() | Offset.bits(),
        Kind::Exit => Destination.bits() | Source.bits() | Offset.bits() | Immediate.bits(),
        Kind::Wide => Offset.bits(),
        Kind::Atomic => 0,
    }
}

operations! {
    one {
        Wide 0x18 [Source 5] LoadMap "";
        Wide 0x18 [Source 6] LoadMapValue "";
        Wide 0x18 LoadImm "";
        Load 0x71 Load8 "u8";
        Load 0x69 Load16 "u16";
        Load 0x61 Load32 "u32";
        Load 0x79 Load64 "u64";
        Load 0x91 LoadS8 "s8";
        Load 0x89 LoadS16 "s16";
        Load 0x81 LoadS32 "s32";
        StoreK 0x72 StoreK8 "u8";
        StoreK 0x6a StoreK16 "u16";
        StoreK 0x62 StoreK32 "u32";
        StoreK 0x7a StoreK64 "u64";
        StoreX 0x73 StoreX8 "u8";
        StoreX 0x6b StoreX16 "u16";
        StoreX 0x63 StoreX32 "u32";
        StoreX 0x7b StoreX64 "u64";
        Atomic 0xc3 Atomic32 "u32";
        Atomic 0xdb Atomic64 "u64";
        Negate 0x84 Neg32 "";
        Negate 0x87 Neg "";
        Swap 0xd4 [Immediate 16] Le16 "le";
        Swap 0xd4 [Immediate 32] Le32 "le";
        Swap 0xd4 Le64 "le";
        Swap 0xdc [Immediate 16] Be16 "be";
        Swap 0xdc [Immediate 32] Be32 "be";
        Swap 0xdc Be64 "be";
        Swap 0xd7 [Immediate 16] Swap16 "bswap";
        Swap 0xd7 [Immediate 32] Swap32 "bswap";
        Swap 0xd7 Swap64 "bswap";
        Goto 0x05 Ja "";
        GotoFar 0x06 JaFar "";
        Call 0x85 [Source 0, Immediate POISON as i64] Poison "";
        Call 0x85 [Source 1] CallLocal "";
        Call 0x85 [Source 2] CallKfunc "";
        Call 0x85 CallHelper "";
        CallX 0x8d CallX "";
        Exit 0x95 Exit "";
        Binary 0xbc [Offset 8] Movs8On32 "=";
        Binary 0xbc [Offset 16] Movs16On32 "=";
        Binary 0xbf [Offset 8] Movs8 "=";
        Binary 0xbf [Offset 16] Movs16 "=";
        Binary 0xbf [Offset 32] Movs32 "=";
    }
    four {
        Binary 0xb0 MovK MovX MovK32 MovX32 "=";
        Binary 0x00 AddK AddX AddK32 AddX32 "+=";
        Binary 0x10 SubK SubX SubK32 SubX32 "-=";
        Binary 0x20 MulK MulX MulK32 MulX32 "*=";
        Binary 0x30 [Offset 1] SdivK SdivX SdivK32 SdivX32 "s/=";
        Binary 0x30 DivK DivX DivK32 DivX32 "/=";
        Binary 0x40 OrK OrX OrK32 OrX32 "|=";
        Binary 0x50 AndK AndX AndK32 AndX32 "&=";
        Binary 0x60 LshK LshX LshK32 LshX32 "<<=";
        Binary 0x70 RshK RshX RshK32 RshX32 ">>=";
        Binary 0x90 [Offset 1] SmodK SmodX SmodK32 SmodX32 "s%=";
        Binary 0x90 ModK ModX ModK32 ModX32 "%=";
        Binary 0xa0 XorK XorX XorK32 XorX32 "^=";
        Binary 0xc0 ArshK ArshX ArshK32 ArshX32 "s>>=";
        Jump 0x10 JeqK JeqX JeqK32 JeqX32 "==";
        Jump 0x20 JgtK JgtX JgtK32 JgtX32 ">";
        Jump 0x30 JgeK JgeX JgeK32 JgeX32 ">=";
        Jump 0x40 JsetK JsetX JsetK32 JsetX32 "&";
        Jump 0x50 JneK JneX JneK32 JneX32 "!=";
        Jump 0x60 JsgtK JsgtX JsgtK32 JsgtX32 "s>";
        Jump 0x70 JsgeK JsgeX JsgeK32 JsgeX32 "s>=";
        Jump 0xa0 JltK JltX JltK32 JltX32 "<";
        Jump 0xb0 JleK JleX JleK32 JleX32 "<=";
        Jump 0xc0 JsltK JsltX JsltK32 JsltX32 "s<";
        Jump 0xd0 JsleK JsleX JsleK32 JsleX32 "s<=";
    }
}
