//! bzip2: one stream.
//!
//! Linux `lib/decompress_bunzip2.c` stops at the first end-of-stream mark. The
//! memory is fixed by the format: about 3.6 MB at level 9.

use ::bzip2::{Decompress, Error, Status};

use crate::error::Fault;
use crate::job::{Ending, Format, Job, StreamWarning};
use crate::push::{Fed, Push, feed};

pub(crate) const FORMAT: Format = Format {
    name: "bzip2",
    magic: b"BZh",
    decode,
};

/// The decoder's memory at level 9: 900 kB of block, four bytes each.
const MEMORY: u64 = 3_600_000;

/// Starts the end-of-stream trailer: the square root of pi in BCD, 48 bits, at
/// any bit. The stream's CRC, 32 bits, follows.
const END_MAGIC: u128 = 0x1772_4538_5090;
const END_MAGIC_MASK: u128 = (1 << 48) - 1;

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    job.input.check_memory(MEMORY)?;
    let mut bunzip = Bunzip {
        raw: Decompress::new(false),
        tail: 0,
    };
    match feed(job, &mut bunzip, u64::MAX)? {
        Fed::Ended => Ok(None),
        Fed::Given | Fed::InputOver if bunzip.in_trailer() => {
            // Each block has a CRC of its own, and those were all compared.
            Ok(Some(StreamWarning::TrailerCut {
                part: "CRC of the stream",
                data_checked: true,
            }))
        }
        Fed::Given | Fed::InputOver => Err(Fault::Truncated),
    }
}

struct Bunzip {
    raw: Decompress,
    /// The last 16 bytes consumed.
    tail: u128,
}

impl Bunzip {
    /// Returns whether the bytes consumed so far end behind the mark and
    /// inside the CRC. The decoder has given out every block before it reads
    /// the mark, so then nothing of the data is missing.
    fn in_trailer(&self) -> bool {
        (0..32).any(|crc_bits| (self.tail >> crc_bits) & END_MAGIC_MASK == END_MAGIC)
    }
}

impl Push for Bunzip {
    fn push(&mut self, input: &[u8], output: &mut [u8]) -> Result<bool, Fault> {
        match self.raw.decompress(input, output) {
            Ok(Status::MemNeeded) => Err(Fault::Memory(MEMORY)),
            Ok(status) => Ok(status == Status::StreamEnd),
            Err(Error::Data) => Err(Fault::corrupt("a block or a CRC is wrong")),
            Err(error) => Err(Fault::corrupt(error)),
        }
    }

    fn totals(&self) -> (u64, u64) {
        (self.raw.total_in(), self.raw.total_out())
    }

    fn see(&mut self, taken: &[u8], _given: &[u8]) {
        for byte in taken.iter().skip(taken.len().saturating_sub(16)) {
            self.tail = (self.tail << 8) | u128::from(*byte);
        }
    }
}
