//! Every price of an unfolding, in instructions of [`Meter`](ukexec_bpf::Meter).
//!
//! The host works on behalf of parsers. A parser that makes it work without end
//! must meet the end of its budget like one that loops.

use ukexec_bpf::Rope;

use crate::chunks::ReadError;

/// Draws `cost` from `insns` before the work is done; if that is too much,
/// nothing is left and the work must not be done.
pub(crate) fn pay(insns: &mut u64, cost: u64) -> Result<(), ReadError> {
    let is_paid = ukexec_bpf::pay(insns, cost);
    is_paid.then_some(()).ok_or(ReadError::Budget)
}

/// Draws `cost` for work whose extent is bounded otherwise; if that is too much,
/// the program ends at its next instruction.
pub(crate) fn charge(insns: &mut u64, cost: u64) {
    ukexec_bpf::pay(insns, cost);
}

/// A call of a kfunc, whatever it does.
pub(crate) const CALL: u64 = 100;

/// Setting up a decompression, with its buffers and its output. It bounds how
/// many there can be, too.
pub(crate) const SET_UP: u64 = 10_000;

/// Looking at one piece of a rope without reading it.
pub(crate) const PIECE: u64 = 1;

/// The price of reading all of `rope`.
pub(crate) fn reading(rope: &Rope) -> u64 {
    pieces(rope)
        .saturating_mul(READ_PIECE)
        .saturating_add(rope.len() / READ_PER_INSN)
}

/// The price of looking at each piece of `rope`.
pub(crate) fn pieces(rope: &Rope) -> u64 {
    wide(rope.pieces().len()).saturating_mul(PIECE)
}

/// The price of copying so many bytes.
pub(crate) fn copying(bytes: u64) -> u64 {
    bytes / COPIED_PER_INSN
}

/// The price of a decompression that has `written` so many bytes, and `consumed`
/// so many for them. Input that made no output costs more: the smallest blocks
/// of a format take the longest. A decompression that finds much more of it
/// fails.
pub(crate) fn unpacking(consumed: u64, written: u64) -> u64 {
    let most = written.saturating_add(written / UNPRODUCTIVE_SHARE);
    let unproductive = consumed.saturating_sub(most).min(UNPRODUCTIVE_MAX);
    unproductive
        .saturating_mul(UNPRODUCTIVE)
        .saturating_add(written / UNPACKED_PER_INSN)
}

/// Finding the name of a section, at most. A name is not worth failing for, so
/// that this is an allowance beside the budget.
pub(crate) const NAMING_MAX: u64 = 1 << 20;

/// Returns `len` as the type of all lengths of ropes, budgets and reports.
pub(crate) fn wide(len: usize) -> u64 {
    // No machine that Rust compiles for has a wider `usize`.
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Reading a piece, however short it is: a system call.
const READ_PIECE: u64 = 16;
/// Bytes for which one instruction is charged: more than are read in the time
/// of one, or the budgets of instructions and output would not fit together.
const READ_PER_INSN: u64 = 256;
/// Bytes copied in the time of an instruction, rather too few.
const COPIED_PER_INSN: u64 = 64;
/// Bytes written by decompression for which one instruction is charged: more
/// than it could do in that time, or the budgets of instructions and output
/// would not fit together. The latter bounds the time.
const UNPACKED_PER_INSN: u64 = 256;
/// One byte in so many of a sound payload may be lost on what cannot be
/// compressed.
const UNPRODUCTIVE_SHARE: u64 = 8;
/// Bytes of input that can have made no output, about.
const UNPRODUCTIVE_MAX: u64 = 1 << 20;
/// The price of such a byte: 24 bytes of xz can take 1.5 us.
const UNPRODUCTIVE: u64 = 4;

/// The prices of kfuncs in words, for authors of parsers.
pub(crate) mod price {
    use super::{CALL, COPIED_PER_INSN, PIECE, READ_PER_INSN, SET_UP, UNPACKED_PER_INSN};
    use super::{copying, unpacking};

    const EXAMPLE: u64 = 4096;

    pub(crate) fn hand_over() -> String {
        let copied = copying(EXAMPLE);
        format!(
            "{CALL} instructions, {PIECE} for each piece of the image, and 1 for each \
             {COPIED_PER_INSN} bytes that are no reference: 4 KiB of memory cost {copied}"
        )
    }

    pub(crate) fn decompress() -> String {
        let set_up = CALL.saturating_add(SET_UP);
        let written = unpacking(EXAMPLE, EXAMPLE);
        format!(
            "{set_up} instructions, 1 for each {READ_PER_INSN} bytes read and for each \
             {UNPACKED_PER_INSN} written: 4 KiB written cost {written}"
        )
    }

    pub(crate) fn call() -> String {
        format!("{CALL} instructions")
    }
}
