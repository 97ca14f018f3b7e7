//! LZ4 in its legacy format: a magic, then blocks of a size and LZ4 data, each
//! 8 MiB of output but the last.
//!
//! Linux `lib/decompress_unlz4.c` takes blocks until the input ends, skips any
//! further magic, stops at fewer than four bytes and at a size of 0. The format
//! has no end mark and no checksum, so an input that is cut between two blocks
//! looks like a shorter one. The kernel's build appends the size of
//! the output, four bytes, which look like a block's size and are not. In an
//! archive there is no such size: every word but 0 and the magic is a block's.

use crate::error::Fault;
use crate::input::wide;
use crate::job::{Ending, Extent, Format, Job};
use crate::push::counted;

pub(crate) const FORMAT: Format = Format {
    name: "lz4",
    magic: &MAGIC,
    decode,
};

const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// The most that a block decodes to.
const BLOCK: usize = 8 << 20;

/// The largest LZ4 data of so much output: `LZ4_COMPRESSBOUND`.
const COMPRESSED_MAX: u32 = (8 << 20) + (8 << 20) / 255 + 16;

/// The memory of both.
const MEMORY: u64 = 2 * (8 << 20) + (8 << 20) / 255 + 16;

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    job.input.check_memory(MEMORY)?;
    let _magic: [u8; 4] = job.input.take()?;
    let mut block = vec![0; BLOCK];
    let mut scratch = Vec::new();
    let mut last_was_short = false;
    while let Some(size) = next_size(job, last_was_short)? {
        let at_block = job.input.position();
        let decoded = job.input.block(size, &mut scratch, |data| {
            lz4_flex::block::decompress_into(data, &mut block)
        })?;
        let len = decoded.map_err(|error| Fault::corrupt(error).since(at_block))?;
        let data = counted(&block, Some(wide(len))).map_err(|fault| fault.since(at_block))?;
        job.output.write(data)?;
        last_was_short = len < BLOCK;
    }
    Ok(None)
}

/// Returns the size of the next block, or `None` where the stream has ended.
fn next_size(job: &mut Job<'_>, last_was_short: bool) -> Result<Option<u32>, Fault> {
    loop {
        let next = job.input.peek(5)?;
        let at_end = next.len() == 4;
        let may_be_no_size = job.extent == Extent::Payload;
        let Some(&word) = next.first_chunk() else {
            return Ok(None);
        };
        if word == MAGIC {
            job.input.consume(word.len());
            continue;
        }
        let size = u32::from_le_bytes(word);
        let is_output_size =
            may_be_no_size && job.output.written().to_le_bytes().starts_with(&word);
        if size == 0 || (is_output_size && (at_end || last_was_short)) {
            return Ok(None);
        }
        if size > COMPRESSED_MAX {
            // Behind the last block, this is whatever follows the stream.
            if may_be_no_size && last_was_short {
                return Ok(None);
            }
            return Err(Fault::field("block size", "at most 0x808090", size));
        }
        job.input.consume(word.len());
        return Ok(Some(size));
    }
}
