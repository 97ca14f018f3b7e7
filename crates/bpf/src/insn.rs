//! One BPF instruction as it lies in an object file (RFC 9669, section 3).

/// A 64-bit instruction slot; a wide instruction (`lddw`) takes two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insn {
    /// The opcode byte.
    pub code: u8,
    /// Destination register, 0 to 15 as encoded.
    pub dst: u8,
    /// Source register or pseudo source, 0 to 15 as encoded.
    pub src: u8,
    /// Signed offset.
    pub off: i16,
    /// Signed immediate.
    pub imm: i32,
}

/// `lddw`: load a 64-bit immediate, in two slots.
pub const LDDW: u8 = 0x18;
/// `call imm`.
pub const CALL: u8 = 0x85;
/// The `imm` of a [`CALL`] (source 0) that stands where a CO-RE relocation
/// failed, as libbpf writes it: a trap when it is reached, no error before.
/// Where the relocation was of an [`LDDW`], both of its slots are such calls.
/// Why is in [`crate::Program::poisoned`].
pub const POISON: i32 = 195_896_080;

/// Pseudo sources of [`LDDW`] in a linked program (Linux `uapi/linux/bpf.h`).
pub mod lddw {
    /// A plain 64-bit immediate.
    pub const IMM: u8 = 0;
    /// `BPF_PSEUDO_BTF_ID`: here `imm` is an index into [`crate::Parser::kfuncs`].
    /// The register becomes non-zero where the kfunc exists, else 0.
    pub const KFUNC: u8 = 3;
    /// `BPF_PSEUDO_FUNC`: `imm` is the distance in slots, from the slot behind
    /// the first one, to a function of the same program (for callbacks).
    pub const FUNC: u8 = 4;
    /// `BPF_PSEUDO_MAP_IDX`: `imm` is an index into [`crate::Parser::maps`].
    pub const MAP: u8 = 5;
    /// `BPF_PSEUDO_MAP_IDX_VALUE`: like [`MAP`], the register becomes the
    /// address of the map's first value plus the second slot's `imm`.
    pub const MAP_VALUE: u8 = 6;
}

/// Pseudo sources of [`CALL`] in a linked program.
pub mod call {
    /// A helper, `imm` its number in Linux.
    pub const HELPER: u8 = 0;
    /// A function of the same program: `imm` is the distance in slots from the
    /// next instruction.
    pub const LOCAL: u8 = 1;
    /// A kfunc: `imm` is an index into [`crate::Parser::kfuncs`].
    pub const KFUNC: u8 = 2;
}

impl Insn {
    /// Returns the slot that 8 bytes of a little-endian object encode.
    #[must_use]
    pub const fn from_le_bytes(bytes: [u8; 8]) -> Self {
        let [code, regs, off0, off1, imm @ ..] = bytes;
        Self {
            code,
            dst: regs & 0x0f,
            src: regs >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes(imm),
        }
    }

    /// Returns the 8 bytes of a little-endian object that encode this slot.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        let regs = (self.src << 4) | (self.dst & 0x0f);
        [
            self.code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3],
        ]
    }
}
