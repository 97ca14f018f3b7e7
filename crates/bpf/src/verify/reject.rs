//! The reasons why code is refused.

/// What is wrong with an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// No instruction has this opcode.
    #[error("opcode {code:#04x} is no instruction of RFC 9669")]
    Opcode {
        /// The opcode.
        code: u8,
    },
    /// Packet access of classic BPF.
    #[error(
        "opcode {code:#04x} is legacy packet access (ld_abs, ld_ind), and parsers have no packet; \
         read from the image instead"
    )]
    Packet {
        /// The opcode.
        code: u8,
    },
    /// A field has a value that RFC 9669 reserves.
    #[error("opcode {code:#04x}: the {field} must be {expected}, found {found:#x}")]
    Field {
        /// The opcode.
        code: u8,
        /// Which field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: i64,
    },
    /// There are registers r0 to r10.
    #[error("register r{number} does not exist; r10 is the last")]
    Register {
        /// The register.
        number: u8,
    },
    /// r10 is read-only.
    #[error("r10, the frame pointer, is read-only")]
    FramePointer,
    /// An instruction of two slots at the end.
    #[error("the second slot of this lddw is missing")]
    Cut,
    /// A jump or call to somewhere outside the function.
    #[error("jump to insn {target}, outside of this function (insns {start} to {last})")]
    JumpOut {
        /// Where to.
        target: i64,
        /// The function's first slot.
        start: u32,
        /// The function's last slot.
        last: u32,
    },
    /// A jump to the second slot of an `lddw`.
    #[error("jump to insn {target}, the second half of an lddw")]
    JumpIntoWide {
        /// Where to.
        target: u32,
    },
    /// The last instruction lets control go on.
    #[error("control falls off the end of the function here; its last insn must be exit or a jump")]
    FallsOff,
    /// A call or function address that names no function's start.
    #[error("insn {target} is not the start of a function of this program")]
    NoFunction {
        /// Where to.
        target: i64,
    },
    /// A function that calls itself, perhaps through others.
    #[error("recursion: {chain}")]
    Recursion {
        /// The functions, from the one that is called again.
        chain: String,
    },
    /// More frames than there may be.
    #[error("calls nest {frames} frames deep, at most {limit} are allowed: {chain}")]
    TooDeep {
        /// Frames the chain needs.
        frames: usize,
        /// Frames there may be.
        limit: usize,
        /// The functions on the way.
        chain: String,
    },
    /// A helper that is not offered.
    #[error(
        "helper {number}{} is not offered by this loader: {}",
        name_of(*.number), crate::guest::helpers::why_not(*.number)
    )]
    Helper {
        /// Its number.
        number: i32,
    },
    /// A kfunc index that the parser does not have.
    #[error("kfunc {index} does not exist; the parser names {count}")]
    Kfunc {
        /// The index.
        index: i32,
        /// How many there are.
        count: usize,
    },
    /// A map index that the parser does not have.
    #[error("map {index} does not exist; the parser has {count}")]
    Map {
        /// The index.
        index: i32,
        /// How many there are.
        count: usize,
    },
    /// The address of a value of a map that has no one place for it.
    #[error("map {map} has no value that can be addressed; only arrays have")]
    NoValue {
        /// The map's name.
        map: String,
    },
    /// An offset behind a map's value.
    #[error("offset {offset:#x} lies outside the {size:#x} bytes of map {map}")]
    ValueOffset {
        /// The map's name.
        map: String,
        /// The offset.
        offset: u32,
        /// The map's bytes.
        size: u64,
    },
    /// The table of functions does not fit the code.
    #[error("the program's table of functions does not fit its {insns} insns")]
    Functions {
        /// Slots of code.
        insns: usize,
    },
}

/// Returns the name of helper `number` in brackets, if Linux has one.
fn name_of(number: i32) -> String {
    crate::helper_names::linux_name(number)
        .map_or_else(String::new, |name| format!(" (bpf_{name})"))
}
