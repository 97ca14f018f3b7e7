//! Reading ropes piecemeal, and paying for it.

use std::io;
use std::ops::Range;

use ukexec_bpf::{Rope, RopeError};

use crate::UnfoldError;
use crate::costs::{self, pay, wide};

/// Reads a span of a rope, a chunk at a time.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    rope: &'a Rope,
    rest: Range<u64>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were consumed.
    used: usize,
}

impl<'a> Chunks<'a> {
    /// A span that passes the rope's end is refused when it is read.
    pub(crate) fn new(rope: &'a Rope, span: Range<u64>) -> Self {
        Self {
            rope,
            rest: span,
            chunk: Vec::new(),
            used: 0,
        }
    }

    /// Reads the next bytes and returns them; none at the end.
    pub(crate) fn advance(&mut self, insns: &mut u64) -> Result<&[u8], ReadError> {
        self.chunk.clear();
        self.used = 0;
        let end = self.rest.end.min(self.rest.start.saturating_add(CHUNK));
        let next = self.rope.slice(self.rest.start..end)?;
        pay(insns, costs::reading(&next))?;
        self.chunk = next.to_vec()?;
        self.rest.start = end;
        Ok(&self.chunk)
    }

    /// Returns the bytes that were read and not consumed, or else the next ones.
    fn fill(&mut self, insns: &mut u64) -> Result<&[u8], ReadError> {
        if self.used >= self.chunk.len() {
            self.advance(insns)?;
        }
        // Consumed is less than the chunk, or nothing of it.
        Ok(self.chunk.get(self.used..).unwrap_or_default())
    }

    /// Reads the next byte; `None` at the end.
    pub(crate) fn byte(&mut self, insns: &mut u64) -> Result<Option<u8>, ReadError> {
        let byte = self.fill(insns)?.first().copied();
        self.used = self.used.saturating_add(1);
        Ok(byte)
    }
}

/// A compressed payload as a decompressor reads it. It keeps its own error,
/// which the decompressor would hide.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    chunks: Chunks<'a>,
    insns: &'a mut u64,
    pub(crate) consumed: u64,
    pub(crate) error: Option<ReadError>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(rope: &'a Rope, insns: &'a mut u64) -> Self {
        Self {
            chunks: Chunks::new(rope, 0..rope.len()),
            insns,
            consumed: 0,
            error: None,
        }
    }
}

impl io::BufRead for Payload<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.chunks.fill(self.insns).map_err(|error| {
            self.error.get_or_insert(error);
            io::ErrorKind::Other.into()
        })
    }

    fn consume(&mut self, amount: usize) {
        self.chunks.used = self.chunks.used.saturating_add(amount);
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
#[derive(Debug)]
pub(crate) enum ReadError {
    Rope(RopeError),
    /// There are no instructions left to pay for them.
    Budget,
}

impl From<RopeError> for ReadError {
    fn from(error: RopeError) -> Self {
        Self::Rope(error)
    }
}

impl From<ReadError> for UnfoldError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Rope(error) => Self::unread(error),
            ReadError::Budget => Self::limit(
                "the instruction budget is used up by comparing the new kernel or initrd with the \
                 old; --max-insns raises it",
            ),
        }
    }
}

/// Bytes that are read at once.
const CHUNK: u64 = 128 << 10;

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
                Err(error) => panic!("{error:?}"),
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
        assert!(matches!((payload.consumed, payload.error), (len, None) if len == 2 * CHUNK));
        let mut payload = Payload::new(&rope, &mut insns);
        payload.read_to_end(&mut bytes).unwrap_err();
        let outcome = (payload.consumed, payload.error);
        assert!(
            matches!(outcome, (0, Some(ReadError::Budget))),
            "{outcome:?}"
        );
    }
}
