//! Why a CO-RE record is refused.

/// Why a CO-RE record is refused. Paths are told as in C:
/// `struct kexec_context.image_sz`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreReloError {
    /// A kind this crate does not know.
    #[error("the CO-RE relocation is of kind {kind}, and kinds up to 12 are known")]
    Kind {
        /// The kind.
        kind: u32,
    },
    /// The record's type is not there.
    #[error("the CO-RE relocation names type [{id}], and there are {count}")]
    NoSuchType {
        /// The type.
        id: u32,
        /// How many there are.
        count: usize,
    },
    /// The record is about no instruction.
    #[error("the CO-RE relocation is about byte {insn_off}, where no instruction begins")]
    Misplaced {
        /// The byte, from the section's start.
        insn_off: u32,
    },
    /// The access string leads nowhere.
    #[error("the CO-RE relocation's path `{access}` into {ty} {problem}")]
    Access {
        /// The type.
        ty: String,
        /// The access string.
        access: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A type without a name cannot be looked for.
    #[error("{ty} has no name to find it by in the host's types")]
    Anonymous {
        /// The type.
        ty: String,
    },
    /// An array's element was asked for what only fields have.
    #[error("{spec}: an array element can be asked for its offset and size only")]
    ArrayElement {
        /// The path.
        spec: String,
    },
    /// A type without a size was asked for it.
    #[error("{spec}: type {ty} has no size")]
    NoSize {
        /// The path.
        spec: String,
        /// The type.
        ty: String,
    },
    /// An enum has no such value.
    #[error("{spec} is no value of the enum")]
    NoValue {
        /// The path.
        spec: String,
    },
    /// A bitfield that no load covers.
    #[error("{spec}: the bitfield cannot be covered by a load of 8 bytes")]
    Bitfield {
        /// The path.
        spec: String,
    },
    /// Two types of the host give different answers.
    #[error("{spec} is ambiguous: the host has {first} and {second}")]
    Ambiguous {
        /// The path in the program's types.
        spec: String,
        /// The first answer.
        first: String,
        /// The second.
        second: String,
    },
    /// The instruction cannot be patched.
    #[error("{spec}: {problem}")]
    Instruction {
        /// The path.
        spec: String,
        /// What is wrong with the instruction.
        problem: PatchError,
    },
}

/// Why an instruction cannot be patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// It lies outside the code.
    #[error("the instruction lies outside the code")]
    Outside,
    /// It has no constant.
    #[error("an instruction with opcode {code:#04x} has no constant to relocate")]
    NoConstant {
        /// The opcode.
        code: u8,
    },
    /// Its constant is not what the program's own types say.
    #[error("the instruction's constant is {found}, but the program's own types say {expected}")]
    Unexpected {
        /// What the program's types say.
        expected: i64,
        /// What the instruction has.
        found: i64,
    },
    /// Its access has another size than the field.
    #[error("the instruction accesses {found} bytes of a field of {expected}")]
    Size {
        /// The field's size.
        expected: u64,
        /// The access' size.
        found: u64,
    },
    /// No instruction accesses so many bytes.
    #[error("the host's field has {size} bytes, which no instruction accesses")]
    NoSuchSize {
        /// The size.
        size: u64,
    },
    /// The host's value has no room in the instruction.
    #[error("the host's value {value} does not fit into the instruction")]
    NoRoom {
        /// The value.
        value: i64,
    },
}

impl PatchError {
    pub(super) fn told(self, spec: String) -> CoreReloError {
        CoreReloError::Instruction {
            spec,
            problem: self,
        }
    }
}
