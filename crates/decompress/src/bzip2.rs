//! bzip2: one stream.
//!
//! Linux `lib/decompress_bunzip2.c` stops at the first end-of-stream mark. The
//! memory is fixed by the format: about 3.6 MB at level 9.

use ::bzip2::{Decompress, Error, Status};

use crate::error::{Corruption, DecompressError, Fault};
use crate::input::CHUNK;
use crate::job::{Ending, Job};
use crate::push::{Fed, Push, Step, feed};

/// What the decoder takes at level 9: 900 kB of block, four bytes each.
const MEMORY: u64 = 3_600_000;

/// Starts the end-of-stream trailer: the square root of pi in BCD, 48 bits, at
/// any bit. The stream's CRC, 32 bits, follows.
const END_MAGIC: u128 = 0x1772_4538_5090;
const END_MAGIC_MASK: u128 = (1 << 48) - 1;

pub(crate) fn decode(job: &mut Job<'_>) -> Result<Ending, DecompressError> {
    job.input.check_memory(MEMORY)?;
    let mut bunzip = Bunzip {
        raw: Decompress::new(false),
        tail: 0,
    };
    match feed(job, &mut bunzip, &mut vec![0; CHUNK], u64::MAX)? {
        Fed::Ended => Ok(Ending::Complete),
        Fed::Given | Fed::InputOver if bunzip.in_trailer() => {
            // Each block has a CRC of its own, and those were all compared.
            Ok(Ending::TrailerCut {
                part: "CRC of the stream",
                data_checked: true,
            })
        }
        Fed::Given | Fed::InputOver => Err(job.input.truncated()),
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
    fn push<'i, 'o>(&mut self, input: &'i [u8], output: &'o mut [u8]) -> Step<'i, 'o> {
        let before = (self.raw.total_in(), self.raw.total_out());
        let ended = match self.raw.decompress(input, output) {
            Ok(Status::StreamEnd) => Ok(true),
            Ok(Status::MemNeeded) => Err(Fault::Memory(MEMORY)),
            Ok(_) => Ok(false),
            Err(Error::Data) => Err(Fault::Corrupt(Corruption::decoder(
                "a block or a CRC is wrong",
            ))),
            Err(error) => Err(Fault::Corrupt(Corruption::decoder(error))),
        };
        let after = (self.raw.total_in(), self.raw.total_out());
        let step = Step::between(input, output, before, after, ended);
        let not_last = step.consumed.len().saturating_sub(16);
        for byte in step.consumed.iter().skip(not_last) {
            self.tail = (self.tail << 8) | u128::from(*byte);
        }
        step
    }
}
