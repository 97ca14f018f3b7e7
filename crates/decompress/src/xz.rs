//! xz: one stream of any number of blocks, LZMA2 behind at most one BCJ or
//! delta filter. ".xz File Format" 1.2.
//!
//! Linux `lib/decompress_unxz.c` stops behind the first stream's footer: xz
//! embedded knows no concatenation in the kernel. Filter chains longer than
//! two are refused there, and so they are here. Archives with another check
//! than CRC-32, with a delta filter, or with an offset of a BCJ filter are
//! refused, as kernels do.
//!
//! The decoder does not say how far in the format it is. So the elements are
//! measured here, and it is fed one at a time: then an input that ends inside
//! the index differs from one that ends between two blocks.

use std::io;
use std::ops::RangeInclusive;

use lzma_rust2::{Action, Status, XzStream};

use crate::error::Fault;
use crate::job::{Ending, Format, Job, StreamWarning};
use crate::push::{Fed, Push, feed, feed_all};

pub(crate) const FORMAT: Format = Format {
    name: "xz",
    magic: b"\xfd7zXZ\0",
    decode,
};

const STREAM_HEADER_LEN: u64 = 12;

/// The largest check ID that kernels take; 0 is no check.
const CRC32: u8 = 1;

/// The bytes of a block header up to its first filter: two, two sizes of 9 at most, and the
/// filter's ID and length.
const BLOCK_HEAD: usize = 2 + 2 * 9 + 2;

/// The filter IDs from x86 to RISC-V; 3 is delta.
const BCJ: RangeInclusive<u8> = 0x04..=0x0b;

/// LZMA2 and one before it.
const FILTERS_MAX: u8 = 2;

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    // No limit to the decoder: what no dictionary needs, or more.
    let limit_kib = u32::try_from(job.input.memory_limit() >> 10).unwrap_or(u32::MAX);
    let mut unxz = Unxz {
        raw: XzStream::new_mem_limit(false, limit_kib),
    };
    let check_id = job.input.peek(8)?.get(7).copied();
    job.refuse_in_archive(
        check_id.is_some_and(|id| id > CRC32),
        "kernels take xz with a CRC-32 alone (`xz --check=crc32`)",
    )?;
    feed_all(job, &mut unxz, STREAM_HEADER_LEN)?;
    let check_id = check_id.ok_or(Fault::Truncated)?;
    // Size 0 in place of a block header's size starts the index.
    while let Some(size) = block_header_len(job)? {
        feed_all(job, &mut unxz, size)?;
        let compressed = lzma2(job, &mut unxz)?;
        let padding = compressed.wrapping_neg() & 3;
        feed_all(job, &mut unxz, padding.saturating_add(check_len(check_id)))?;
    }
    match feed(job, &mut unxz, u64::MAX)? {
        Fed::Ended => Ok(None),
        Fed::Given | Fed::InputOver => Ok(Some(StreamWarning::TrailerCut {
            part: "index and footer",
            data_checked: check_len(check_id) != 0,
        })),
    }
}

/// Returns the length of the next block header, `None` for the index.
fn block_header_len(job: &mut Job<'_>) -> Result<Option<u64>, Fault> {
    let head = job.input.peek(BLOCK_HEAD)?;
    let (size, flags) = match head {
        [] => return Err(Fault::Truncated),
        [0, ..] => return Ok(None),
        [size] => (*size, 0),
        [size, flags, ..] => (*size, *flags),
    };
    let filters = (flags & 3).saturating_add(1);
    if filters > FILTERS_MAX {
        return Err(Fault::Unsupported(format!("a chain of {filters} filters")));
    }
    let is_refused = filters == FILTERS_MAX && !is_plain_bcj(head, flags);
    job.refuse_in_archive(
        is_refused,
        "kernels take no filter of xz but a BCJ filter without an offset",
    )?;
    Ok(Some(u64::from(size).saturating_add(1).saturating_mul(4)))
}

/// Returns whether the first filter of the block header `head` is a BCJ filter without a start
/// offset, ".xz File Format", 3.1.5 and 5.3.2.
fn is_plain_bcj(head: &[u8], flags: u8) -> bool {
    let mut rest = head.get(2..).unwrap_or_default().iter();
    // The two sizes that a header may have, numbers of 7 bits a byte.
    for flag in [0x40, 0x80] {
        if flags & flag != 0 {
            rest.by_ref().find(|byte| **byte < 0x80);
        }
    }
    let (id, size_of_properties) = (rest.next(), rest.next());
    id.is_some_and(|id| BCJ.contains(id)) && size_of_properties == Some(&0)
}

/// Feeds the LZMA2 chunks of one block and returns their length.
fn lzma2(job: &mut Job<'_>, unxz: &mut Unxz) -> Result<u64, Fault> {
    let start = job.input.position();
    loop {
        let head = job.input.peek(5)?;
        let end = head.first() == Some(&0);
        let len = chunk_len(head).ok_or(Fault::Truncated)?;
        feed_all(job, unxz, len)?;
        if end {
            return Ok(job.input.position().saturating_sub(start));
        }
    }
}

/// Returns the length of an LZMA2 chunk with its header, `None` if `head` ends
/// before it says so. A control byte that is not defined is left to the decoder.
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
    fn push(&mut self, input: &[u8], output: &mut [u8]) -> Result<bool, Fault> {
        match self.raw.process(input, output, Action::Run) {
            Ok(result) => Ok(result.status == Status::StreamEnd),
            Err(error) => Err(match (error.kind(), self.raw.memory_usage()) {
                (io::ErrorKind::OutOfMemory, Some(kib)) => Fault::Memory(u64::from(kib) << 10),
                (io::ErrorKind::Unsupported, _) => Fault::Unsupported(error.to_string()),
                _ => Fault::corrupt(error),
            }),
        }
    }

    fn totals(&self) -> (u64, u64) {
        (self.raw.total_in(), self.raw.total_out())
    }
}
