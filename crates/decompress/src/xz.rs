//! xz: one stream of any number of blocks, LZMA2 behind at most one BCJ or
//! delta filter. ".xz File Format" 1.2.
//!
//! Linux `lib/decompress_unxz.c` stops behind the first stream's footer: xz
//! embedded knows no concatenation in the kernel. Filter chains longer than
//! two are refused there, and so they are here.
//!
//! The decoder does not say how far in the format it is. So the elements are
//! measured here, and it is fed one at a time: then an input that ends inside
//! the index can be told from one that ends between two blocks.

use std::io;

use lzma_rust2::{Action, Status, XzStream};

use crate::error::{Corruption, DecompressError, Fault};
use crate::input::CHUNK;
use crate::job::{Ending, Job};
use crate::push::{Fed, Push, Step, feed, feed_all};

const STREAM_HEADER_LEN: u64 = 12;

/// LZMA2 and one before it.
const FILTERS_MAX: u8 = 2;

pub(crate) fn decode(job: &mut Job<'_>) -> Result<Ending, DecompressError> {
    // No limit to the decoder: what no dictionary needs, or more.
    let limit_kib = u32::try_from(job.input.memory_limit() >> 10).unwrap_or(u32::MAX);
    let mut unxz = Unxz {
        raw: XzStream::new_mem_limit(false, limit_kib),
    };
    let mut chunk = vec![0; CHUNK];

    let check_id = job.input.peek(8)?.get(7).copied();
    feed_all(job, &mut unxz, &mut chunk, STREAM_HEADER_LEN)?;
    let check_id = check_id.ok_or_else(|| job.input.truncated())?;
    // Size 0 in place of a block header's size starts the index.
    while let Some(size) = block_header_len(job)? {
        feed_all(job, &mut unxz, &mut chunk, size)?;
        let compressed = lzma2(job, &mut unxz, &mut chunk)?;
        let padding = compressed.wrapping_neg() & 3;
        feed_all(
            job,
            &mut unxz,
            &mut chunk,
            padding.saturating_add(check_len(check_id)),
        )?;
    }
    match feed(job, &mut unxz, &mut chunk, u64::MAX)? {
        Fed::Ended => Ok(Ending::Complete),
        Fed::Given | Fed::InputOver => Ok(Ending::TrailerCut {
            part: "index and footer",
            data_checked: check_len(check_id) != 0,
        }),
    }
}

/// Returns the length of the next block header, `None` for the index.
fn block_header_len(job: &mut Job<'_>) -> Result<Option<u64>, DecompressError> {
    let (size, filters) = match job.input.peek(2)? {
        [] => return Err(job.input.truncated()),
        [0, ..] => return Ok(None),
        [size] => (*size, 1),
        [size, flags, ..] => (*size, (flags & 3).saturating_add(1)),
    };
    if filters > FILTERS_MAX {
        return Err(job
            .input
            .unsupported(format!("a chain of {filters} filters")));
    }
    Ok(Some(u64::from(size).saturating_add(1).saturating_mul(4)))
}

/// Feeds the LZMA2 chunks of one block and returns their length.
fn lzma2(job: &mut Job<'_>, unxz: &mut Unxz, chunk: &mut [u8]) -> Result<u64, DecompressError> {
    let start = job.input.position();
    loop {
        let head = job.input.peek(5)?;
        let end = head.first() == Some(&0);
        let Some(len) = chunk_len(head) else {
            return Err(job.input.truncated());
        };
        feed_all(job, unxz, chunk, len)?;
        if end {
            return Ok(job.input.position().saturating_sub(start));
        }
    }
}

/// Returns the length of an LZMA2 chunk with its header, `None` if `head` ends
/// before it tells. A control byte that is not defined is left to the decoder.
fn chunk_len(head: &[u8]) -> Option<u64> {
    let size = |at: usize| {
        let high = u64::from(*head.get(at)?);
        let low = u64::from(*head.get(at.checked_add(1)?)?);
        Some(((high << 8) | low).saturating_add(1))
    };
    match head.first()? {
        0x00 | 0x03..=0x7f => Some(1),
        0x01 | 0x02 => Some(size(1)?.saturating_add(3)),
        0x80..=0xbf => Some(size(3)?.saturating_add(5)),
        0xc0..=0xff => Some(size(3)?.saturating_add(6)),
    }
}

/// ".xz File Format", 2.1.1.2 "Stream Flags": the lengths by check ID, of
/// which the decoder takes 0, 1, 4 and 10.
fn check_len(id: u8) -> u64 {
    match id & 0xf {
        0 => 0,
        1..=3 => 4,
        4..=6 => 8,
        7..=9 => 16,
        10..=12 => 32,
        _ => 64,
    }
}

struct Unxz {
    raw: XzStream,
}

impl Push for Unxz {
    fn push<'i, 'o>(&mut self, input: &'i [u8], output: &'o mut [u8]) -> Step<'i, 'o> {
        let before = (self.raw.total_in(), self.raw.total_out());
        let ended = match self.raw.process(input, output, Action::Run) {
            Ok(result) => Ok(result.status == Status::StreamEnd),
            Err(error) => Err(self.fault(error)),
        };
        let after = (self.raw.total_in(), self.raw.total_out());
        Step::between(input, output, before, after, ended)
    }
}

impl Unxz {
    fn fault(&self, error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::OutOfMemory if let Some(kib) = self.raw.memory_usage() => {
                Fault::Memory(u64::from(kib) << 10)
            }
            io::ErrorKind::Unsupported => Fault::Unsupported(error.to_string()),
            _ => Fault::Corrupt(Corruption::decoder(error)),
        }
    }
}
