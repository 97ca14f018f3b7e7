//! Zstandard: frames and skippable frames up to the first other byte, RFC 8878.
//!
//! Linux is of two minds. `lib/decompress_unzstd.c` stops behind the first
//! frame. The stub of EFI zboot images since 6.13 (`zboot-decompress-zstd.c`)
//! decodes every frame of the payload. The second reads all that the first
//! does, so here it is the second; unlike there, other bytes may follow.
//!
//! The blocks are measured here and fed one at a time: then an input that ends
//! inside the checksum differs from one that ends inside the data.

use std::io;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::error::Fault;
use crate::input::wide;
use crate::job::{Ending, Extent, Format, Job, StreamWarning};
use crate::push::{Fed, Push, feed, feed_all};

pub(crate) const FORMAT: Format = Format {
    name: "zstd",
    magic: &MAGIC,
    decode,
};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The last three bytes of a skippable frame's magic; the first is 0x50-0x5f.
pub(crate) const SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];

/// RFC 8878, 3.1.1.1.1: a frame header is at most 14 bytes behind the magic.
const HEADER_LEN_MAX: usize = 18;

/// The largest window that the format's decoder takes on 64 bits.
const WINDOW_LOG_MAX: u32 = 31;

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    let mut unzstd = Unzstd::new(job.input.memory_limit()).map_err(Fault::corrupt)?;
    if job.input.peek(4)?.len() < 4 {
        return Err(Fault::Truncated);
    }
    let mut has_frame = false;
    loop {
        match job.input.peek(4)? {
            [first, rest @ ..] if first & 0xf0 == 0x50 && *rest == SKIPPABLE_MAGIC => {
                let [_, _, _, _, len @ ..]: [u8; 8] = job.input.take()?;
                job.input.skip(u32::from_le_bytes(len).into(), |_| {})?;
            }
            magic if *magic == MAGIC => {
                let cut = frame(job, &mut unzstd)?;
                if cut.is_some() || job.extent == Extent::Archive {
                    return Ok(cut);
                }
                has_frame = true;
            }
            _ if has_frame => return Ok(None),
            [] => return Err(Fault::Truncated),
            // LZ4 has skippable frames too.
            _ => {
                let feature = "another format behind skippable frames, such as LZ4 frames";
                return Err(Fault::Unsupported(feature.to_owned()));
            }
        }
    }
}

fn frame(job: &mut Job<'_>, unzstd: &mut Unzstd) -> Result<Ending, Fault> {
    let header = FrameHeader::read(job.input.peek(HEADER_LEN_MAX)?).ok_or(Fault::Truncated)?;
    if header.dictionary != 0 {
        let feature = format!("dictionary {:#x}", header.dictionary);
        return Err(Fault::Unsupported(feature));
    }
    job.input.check_memory(header.window)?;
    let start = job.output.written();
    let mut fed = feed_all(job, unzstd, header.len)?;
    loop {
        let block = Block::read(job.input.peek(3)?).ok_or(Fault::Truncated)?;
        if fed == Fed::Ended {
            return Err(Fault::stalled());
        }
        fed = feed_all(job, unzstd, block.len)?;
        if block.last {
            break;
        }
    }
    if header.checksum {
        fed = feed(job, unzstd, 4)?;
    }
    // The decoder does not compare it where the last block is empty.
    let written = job.output.written().saturating_sub(start);
    if header.content.is_some_and(|content| content != written) {
        let expected = "what the frame's header says";
        return Err(Fault::field(
            "length of the frame's data",
            expected,
            written,
        ));
    }
    match fed {
        Fed::Ended => Ok(None),
        Fed::InputOver => Ok(Some(StreamWarning::TrailerCut {
            part: "XXH64 checksum",
            data_checked: false,
        })),
        Fed::Given => Err(Fault::stalled()),
    }
}

/// RFC 8878, 3.1.1.1 "Frame_Header".
struct FrameHeader {
    /// With the magic.
    len: u64,
    window: u64,
    /// The length of the data, if the header names it.
    content: Option<u64>,
    dictionary: u64,
    checksum: bool,
}

impl FrameHeader {
    /// Returns `None` where `bytes` end inside the header.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields { bytes, len: 4 };
        let descriptor = fields.number(1)?;
        let single_segment = descriptor & 0x20 != 0;
        let window = if single_segment {
            None
        } else {
            Some(window_size(fields.number(1)?))
        };
        let dictionary_len = match descriptor & 3 {
            0 => 0,
            1 => 1,
            2 => 2,
            _ => 4,
        };
        let dictionary = fields.number(dictionary_len)?;
        let content_len = match (descriptor >> 6, single_segment) {
            (0, false) => 0,
            (0, true) => 1,
            (1, _) => 2,
            (2, _) => 4,
            _ => 8,
        };
        let content = fields.number(content_len)?;
        // Two bytes count from 256.
        let content = if content_len == 2 {
            content.saturating_add(256)
        } else {
            content
        };
        Some(Self {
            len: wide(fields.len),
            window: window.unwrap_or(content),
            content: (content_len != 0).then_some(content),
            dictionary,
            checksum: descriptor & 4 != 0,
        })
    }
}

/// RFC 8878, 3.1.1.1.2 "Window_Descriptor".
fn window_size(descriptor: u64) -> u64 {
    let base = 1_u64 << ((descriptor >> 3) & 0x1f).saturating_add(10);
    base.saturating_add((base >> 3).saturating_mul(descriptor & 7))
}

/// Little-endian numbers, one behind the other.
struct Fields<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl Fields<'_> {
    fn number(&mut self, len: usize) -> Option<u64> {
        let end = self.len.checked_add(len)?;
        let bytes = self.bytes.get(self.len..end)?;
        self.len = end;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| (number << 8) | u64::from(*byte)),
        )
    }
}

/// RFC 8878, 3.1.1.2 "Blocks".
struct Block {
    /// With the header.
    len: u64,
    last: bool,
}

impl Block {
    const RLE: u64 = 1;

    fn read(bytes: &[u8]) -> Option<Self> {
        let header = Fields { bytes, len: 0 }.number(3)?;
        let kind = (header >> 1) & 3;
        let content = if kind == Self::RLE { 1 } else { header >> 3 };
        Some(Self {
            len: content.saturating_add(3),
            last: header & 1 != 0,
        })
    }
}

struct Unzstd {
    raw: Decoder<'static>,
    /// Bytes taken and given so far.
    totals: (u64, u64),
}

impl Unzstd {
    fn new(memory_limit: u64) -> io::Result<Self> {
        let mut raw = Decoder::new()?;
        // The header is compared with the exact limit; this is a second wall.
        let log = memory_limit
            .checked_next_power_of_two()
            .map_or(WINDOW_LOG_MAX, u64::ilog2);
        raw.set_parameter(DParameter::WindowLogMax(log.clamp(10, WINDOW_LOG_MAX)))?;
        Ok(Self {
            raw,
            totals: (0, 0),
        })
    }
}

impl Push for Unzstd {
    fn push(&mut self, input: &[u8], output: &mut [u8]) -> Result<bool, Fault> {
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        let hint = self.raw.run(&mut from, &mut to);
        let (taken, given) = self.totals;
        self.totals = (
            taken.saturating_add(wide(from.pos())),
            given.saturating_add(wide(to.pos())),
        );
        Ok(hint.map_err(Fault::corrupt)? == 0)
    }

    fn totals(&self) -> (u64, u64) {
        self.totals
    }
}
