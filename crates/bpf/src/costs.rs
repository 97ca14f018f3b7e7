//! The limits of a run, and the price of everything that it is charged for.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "lengths of what is in memory, and of spans below 4 GiB, times small prices"
    )
)]

use serde::{Deserialize, Serialize};

use crate::Rope;
use crate::bounds::wide;

/// The rest of a budget; every run draws from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Instructions that may still run.
    pub insns: u64,
    /// Bytes of private memory that may still be allocated (stacks, maps,
    /// records, buffers; not bytes that are referred to in place). Freed
    /// bytes come back.
    pub memory: u64,
    /// Log lines that may still be printed; later ones are dropped, and one
    /// last line says so.
    pub log_lines: u32,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            insns: 20_000_000,
            memory: 256 << 20,
            log_lines: 1_000,
        }
    }
}

/// Draws `cost` from `insns`. Returns whether there were so many; if not, none
/// is left, and a program ends at its next instruction.
#[inline]
pub fn pay(insns: &mut u64, cost: u64) -> bool {
    let is_paid = *insns >= cost;
    *insns = insns.saturating_sub(cost);
    is_paid
}

// Work, in instructions of [`Meter::insns`].

/// A callback beside its own instructions: it takes as long as some.
pub(crate) const CALLBACK: u64 = 4;
/// A new entry of a hash.
pub(crate) const INSERT: u64 = 64;
/// Any look at an entry of a map.
pub(crate) const LOOKUP: u64 = 8;
/// Formatting a text beside its bytes, which takes longer than moving them,
/// printed or not.
pub(crate) const FORMAT: u64 = 16;
/// The price of moving `bytes`, and a little for the move.
pub(crate) fn moved(bytes: u64) -> u64 {
    1 + bytes / MOVED_PER_INSN
}

/// The price of fetching `bytes` from `pieces` of a rope.
pub(crate) fn fetched(pieces: u64, bytes: u64) -> u64 {
    FETCHED_PIECE * pieces.max(1) + bytes / MOVED_PER_INSN
}

/// The price of looking at `entries` of a list one by one.
pub(crate) fn scanned(entries: usize) -> u64 {
    wide(entries) / SCANNED_PER_INSN
}

/// The price of looking at `things` that take longer than moving their bytes:
/// bytes of texts and of types; instructions and records that are loaded.
pub(crate) fn looked(things: impl Into<u64>) -> u64 {
    LOOK * things.into()
}

/// The price of `steps`, such as putting pieces into a list.
pub(crate) fn stepped(steps: usize) -> u64 {
    wide(steps) * STEP
}

/// Bytes moved in the time of an instruction, rather too few.
const MOVED_PER_INSN: u64 = 64;
/// A piece that is fetched, however short it is: it may take a system call.
const FETCHED_PIECE: u64 = 24;
/// Entries of a list looked at in the time of an instruction.
const SCANNED_PER_INSN: u64 = 8;
const STEP: u64 = 8;
const LOOK: u64 = 1;

// Room beside the bytes themselves, in bytes of [`Meter::memory`].

/// A region, for ever: its number is not reused.
pub(crate) const REGION_ROOM: u64 = 128;
/// A counted reference beside its regions, and one of a record to a rope.
pub(crate) const REFERENCE_ROOM: u64 = 128;
/// A record before anything is in it.
pub(crate) const RECORD_ROOM: u64 = 256;
/// An entry of a hash beside its key and its value's region.
pub(crate) const ENTRY_ROOM: u64 = 128;
/// A value in a queue.
pub(crate) const PUSH_ROOM: u64 = 64;

/// Returns the room of `rope` in a record: that of the reference, and of each
/// piece.
pub(crate) fn rope_room(rope: &Rope) -> u64 {
    REFERENCE_ROOM + pieces_room(rope.pieces().len())
}

/// Returns the room of so many pieces of a rope.
pub(crate) fn pieces_room(pieces: usize) -> u64 {
    PIECE_ROOM * wide(pieces)
}

const PIECE_ROOM: u64 = 64;

/// The prices of helpers in words, for authors of parsers.
pub(crate) mod price {
    use super::{CALLBACK, FETCHED_PIECE, FORMAT, INSERT, LOOKUP, MOVED_PER_INSN, moved, stepped};

    /// Bytes of the examples.
    const EXAMPLE: u64 = 4096;

    pub(crate) fn call() -> String {
        String::new()
    }

    pub(crate) fn copy() -> String {
        let (copy, reference) = (2 * moved(EXAMPLE), reference());
        format!(
            "1 instruction for each {MOVED_PER_INSN} bytes read, and as much for writing them: \
             copying 4 KiB of memory costs {copy}; what a record refers to costs about {reference}, \
             however much it is"
        )
    }

    pub(crate) fn lookup() -> String {
        format!("{LOOKUP} instructions for the look, and 1 for each {MOVED_PER_INSN} bytes of key")
    }

    pub(crate) fn insert() -> String {
        let copy = 2 * moved(EXAMPLE);
        format!(
            "{LOOKUP} instructions for the look, {INSERT} for a new entry of a hash, and the copy \
             of the value: 4 KiB cost {copy}"
        )
    }

    pub(crate) fn look() -> String {
        "1 instruction for each byte of text, and a little for reading it: 4 KiB cost about 4,200"
            .to_owned()
    }

    pub(crate) fn text() -> String {
        format!(
            "{FORMAT} instructions, and 1 for each {MOVED_PER_INSN} bytes of each text: a line of \
             1 KiB costs about 40"
        )
    }

    pub(crate) fn rounds() -> String {
        let rounds = 1000 * CALLBACK;
        format!(
            "{CALLBACK} instructions for each round, beside those of the callback: 1,000 rounds \
             cost {rounds} and what they run"
        )
    }

    pub(crate) fn elements() -> String {
        let each = LOOKUP + CALLBACK;
        let all = 1000 * each;
        format!(
            "{each} instructions for each element, beside those of the callback: 1,000 elements \
             cost {all} and what they run"
        )
    }

    /// Returns the price of putting one piece of an image into a record.
    fn reference() -> u64 {
        stepped(1) + FETCHED_PIECE + stepped(1)
    }
}
