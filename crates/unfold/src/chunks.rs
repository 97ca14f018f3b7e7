//! Reading ropes piecemeal, and paying for it.
//!
//! Whatever reads bytes on behalf of a parser draws from the instructions that
//! are left, so that no parser can make it read without end.

use std::io;
use std::ops::Range;

use ukexec_bpf::{Rope, RopeError};

/// Reads a span of a rope, a chunk at a time.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    rope: &'a Rope,
    rest: Range<u64>,
    chunk: Vec<u8>,
}

impl<'a> Chunks<'a> {
    /// A span that passes the rope's end is refused when it is read.
    pub(crate) fn new(rope: &'a Rope, span: Range<u64>) -> Self {
        Self {
            rope,
            rest: span,
            chunk: Vec::new(),
        }
    }

    /// Reads the next bytes and returns them; none at the end.
    pub(crate) fn advance(&mut self, insns: &mut u64) -> Result<&[u8], ReadError> {
        self.chunk.clear();
        let end = self.rest.end.min(self.rest.start.saturating_add(CHUNK));
        let next = self.rope.slice(self.rest.start..end)?;
        pay(insns, cost(&next))?;
        self.chunk = next.to_vec()?;
        self.rest.start = end;
        Ok(&self.chunk)
    }

    /// Returns what was last read.
    fn chunk(&self) -> &[u8] {
        &self.chunk
    }
}

/// A compressed payload as a decompressor reads it. It keeps its own error,
/// which the decompressor would hide.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    chunks: Chunks<'a>,
    insns: &'a mut u64,
    /// Bytes of the chunk that were consumed.
    used: usize,
    consumed: u64,
    error: Option<ReadError>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(rope: &'a Rope, insns: &'a mut u64) -> Self {
        Self {
            chunks: Chunks::new(rope, 0..rope.len()),
            insns,
            used: 0,
            consumed: 0,
            error: None,
        }
    }

    /// Returns how many bytes were consumed, and why reading failed.
    pub(crate) fn into_outcome(self) -> (u64, Option<ReadError>) {
        (self.consumed, self.error)
    }
}

impl io::BufRead for Payload<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.chunks.chunk().len() {
            self.used = 0;
            if let Err(error) = self.chunks.advance(self.insns) {
                let shown = io::Error::other(error.to_string());
                self.error.get_or_insert(error);
                return Err(shown);
            }
        }
        // What is used is less than the chunk, or nothing of it.
        Ok(self.chunks.chunk().get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.used.saturating_add(amount);
        self.consumed = self.consumed.saturating_add(wide(amount));
    }
}

impl io::Read for Payload<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        use io::BufRead as _;
        let count = io::Read::read(&mut self.fill_buf()?, buf)?;
        self.consume(count);
        Ok(count)
    }
}

/// Why bytes were not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// They cannot be had.
    #[error(transparent)]
    Rope(#[from] RopeError),
    /// There are no instructions left to pay for them.
    #[error("the instruction budget is used up")]
    Budget,
}

/// Draws `cost` from `insns`, of which nothing is left if that is too much.
pub(crate) fn pay(insns: &mut u64, cost: u64) -> Result<(), ReadError> {
    let left = insns.checked_sub(cost);
    *insns = left.unwrap_or(0);
    match left {
        Some(_) => Ok(()),
        None => Err(ReadError::Budget),
    }
}

/// Returns what reading all of `rope` costs in instructions.
pub(crate) fn cost(rope: &Rope) -> u64 {
    let bytes = rope.len() / READ_PER_INSN;
    wide(rope.pieces().len())
        .saturating_mul(PIECE_INSNS)
        .saturating_add(bytes)
}

/// Returns `len` as the type of all lengths of ropes, budgets and reports.
pub(crate) fn wide(len: usize) -> u64 {
    // No machine that Rust compiles for has a wider `usize`.
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Bytes that are read at once.
const CHUNK: u64 = 128 << 10;
/// Bytes for which one instruction is charged: more than are read in the time
/// of one, or the budgets of instructions and output would not fit together.
const READ_PER_INSN: u64 = 256;
/// What it costs to read a piece however short it is: a system call.
const PIECE_INSNS: u64 = 16;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use ukexec_bpf::Piece;

    use super::*;

    /// Reads all of a rope of `len` bytes with `insns`; expects what is left of
    /// them, and whether it came to its end.
    fn check(len: u64, mut insns: u64, left: u64, whole: bool) {
        let rope = Rope::from(Piece::Zeros(len));
        let mut chunks = Chunks::new(&rope, 0..len);
        let ended = loop {
            match chunks.advance(&mut insns) {
                Ok([]) => break true,
                Ok(_) => {}
                Err(ReadError::Budget) => break false,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((insns, ended), (left, whole));
    }

    #[test]
    fn reading_is_paid_for_before_it_is_done() {
        check(0, 0, 0, true);
        check(1, 16, 0, true);
        check(1, 15, 0, false);
        check(3 * CHUNK, 1_600, 1_600 - 3 * (16 + 512), true);
        check(3 * CHUNK, 1_000, 0, false);
    }

    #[test]
    fn a_payload_keeps_why_it_was_not_read() {
        let rope = Rope::from(Piece::Zeros(2 * CHUNK));
        let mut insns = 2 * (16 + 512);
        let mut payload = Payload::new(&rope, &mut insns);
        let mut bytes = Vec::new();
        assert_eq!(payload.read_to_end(&mut bytes).unwrap() as u64, 2 * CHUNK);
        assert!(matches!(payload.into_outcome(), (len, None) if len == 2 * CHUNK));
        let mut payload = Payload::new(&rope, &mut insns);
        payload.read_to_end(&mut bytes).unwrap_err();
        let outcome = payload.into_outcome();
        assert!(
            matches!(outcome, (0, Some(ReadError::Budget))),
            "{outcome:?}"
        );
    }
}
