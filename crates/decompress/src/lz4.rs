//! LZ4 in its legacy format: a magic, then blocks of a size and LZ4 data, each
//! 8 MiB of output but the last.
//!
//! Linux `lib/decompress_unlz4.c` takes blocks until the input ends, skips any
//! further magic, stops at fewer than four bytes and at a size of 0. The format
//! has no end mark and no checksum, so an input that is cut between two blocks
//! cannot be told from a shorter one. The kernel's build appends the size of
//! the output, four bytes, which look like a block's size and are not.

use crate::compression::LZ4_MAGIC;
use crate::error::{Corruption, DecompressError};
use crate::input::wide;
use crate::job::{Ending, Job};

/// What a block decodes to at most.
const BLOCK: usize = 8 << 20;

/// The largest LZ4 data of so much output: `LZ4_COMPRESSBOUND`.
const COMPRESSED_MAX: u32 = (8 << 20) + (8 << 20) / 255 + 16;

pub(crate) fn decode(job: &mut Job<'_>) -> Result<Ending, DecompressError> {
    job.input
        .check_memory(wide(BLOCK).saturating_add(COMPRESSED_MAX.into()))?;
    let _magic: [u8; 4] = job.input.take()?;
    let mut block = vec![0; BLOCK];
    let mut scratch = Vec::new();
    let mut last_was_short = false;
    while let Some(size) = next_size(job, last_was_short)? {
        let at_block = job.input.position();
        let decoded = job.input.block(size, &mut scratch, |data| {
            lz4_flex::block::decompress_into(data, &mut block)
        })?;
        let len =
            decoded.map_err(|error| job.input.corrupt_at(at_block, Corruption::decoder(error)))?;
        job.output.write(block.get(..len).unwrap_or_default())?;
        last_was_short = len < BLOCK;
    }
    Ok(Ending::Complete)
}

/// Returns the size of the next block, or `None` where the stream has ended.
fn next_size(job: &mut Job<'_>, last_was_short: bool) -> Result<Option<usize>, DecompressError> {
    loop {
        let next = job.input.peek(5)?;
        let word = next.first_chunk().copied();
        let at_end = next.len() == 4;
        let Some(word) = word else {
            return Ok(None);
        };
        if word == LZ4_MAGIC {
            job.input.consume(word.len());
            continue;
        }
        let size = u32::from_le_bytes(word);
        let output_size = low_word(job.output.written());
        if size == 0 || (size == output_size && (at_end || last_was_short)) {
            return Ok(None);
        }
        if size > COMPRESSED_MAX {
            // Behind the last block, this is whatever follows the stream.
            if last_was_short {
                return Ok(None);
            }
            return Err(job.input.corrupt(Corruption::Field {
                field: "block size",
                expected: "at most 0x808090",
                found: size.into(),
            }));
        }
        job.input.consume(word.len());
        return Ok(usize::try_from(size).ok());
    }
}

fn low_word(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}
