//! Zstandard: frames and skippable frames up to the first other byte, RFC 8878.
//!
//! Linux is of two minds. `lib/decompress_unzstd.c` stops behind the first
//! frame. The stub of EFI zboot images since 6.13 (`zboot-decompress-zstd.c`)
//! decodes every frame of the payload. The second reads all that the first
//! does, so here it is the second; unlike there, other bytes may follow.
//!
//! The blocks are measured here and fed one at a time: then an input that ends
//! inside the checksum can be told from one that ends inside the data.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::compression::{SKIPPABLE_MAGIC, ZSTD_MAGIC};
use crate::error::{Corruption, DecompressError, Fault};
use crate::input::{CHUNK, wide};
use crate::job::{Ending, Job};
use crate::push::{Fed, Push, Step, feed, feed_all};

/// RFC 8878, 3.1.1.1.1: a frame header is at most 14 bytes behind the magic.
const HEADER_LEN_MAX: usize = 18;

/// The largest window that the format's decoder takes on 64 bits.
const WINDOW_LOG_MAX: u32 = 31;

pub(crate) fn decode(job: &mut Job<'_>) -> Result<Ending, DecompressError> {
    let mut unzstd =
        Unzstd::new(job.input.memory_limit()).map_err(|fault| job.input.fault(fault))?;
    let mut chunk = vec![0; CHUNK];
    if job.input.peek(4)?.len() < 4 {
        return Err(job.input.truncated());
    }
    let mut has_frame = false;
    loop {
        match job.input.peek(4)? {
            [first, rest @ ..] if first & 0xf0 == 0x50 && *rest == SKIPPABLE_MAGIC => {
                let [_, _, _, _, len @ ..]: [u8; 8] = job.input.take()?;
                job.input.skip(u32::from_le_bytes(len).into(), |_| {})?;
            }
            magic if *magic == ZSTD_MAGIC => match frame(job, &mut unzstd, &mut chunk)? {
                Ending::Complete => has_frame = true,
                cut @ Ending::TrailerCut { .. } => return Ok(cut),
            },
            _ if has_frame => return Ok(Ending::Complete),
            [] => return Err(job.input.truncated()),
            // LZ4 has skippable frames too.
            _ => {
                let feature = "another format behind skippable frames, such as LZ4 frames";
                return Err(job.input.unsupported(feature.to_owned()));
            }
        }
    }
}

fn frame(
    job: &mut Job<'_>,
    unzstd: &mut Unzstd,
    chunk: &mut [u8],
) -> Result<Ending, DecompressError> {
    let Some(header) = FrameHeader::read(job.input.peek(HEADER_LEN_MAX)?) else {
        return Err(job.input.truncated());
    };
    if header.dictionary != 0 {
        return Err(job
            .input
            .unsupported(format!("dictionary {:#x}", header.dictionary)));
    }
    job.input.check_memory(header.window)?;
    let start = job.output.written();
    let mut fed = feed_all(job, unzstd, chunk, header.len)?;
    loop {
        let Some(block) = Block::read(job.input.peek(3)?) else {
            return Err(job.input.truncated());
        };
        let last = block.last;
        if fed == Fed::Ended {
            return Err(job.input.corrupt(Corruption::Stalled));
        }
        fed = feed_all(job, unzstd, chunk, block.len)?;
        if last {
            break;
        }
    }
    if header.checksum {
        fed = feed(job, unzstd, chunk, 4)?;
    }
    // The decoder does not compare it where the last block is empty.
    let written = job.output.written().saturating_sub(start);
    if header.content.is_some_and(|content| content != written) {
        return Err(job.input.corrupt(Corruption::Field {
            field: "length of the frame's data",
            expected: "what the frame's header says",
            found: written,
        }));
    }
    match fed {
        Fed::Ended => Ok(Ending::Complete),
        Fed::InputOver => Ok(Ending::TrailerCut {
            part: "XXH64 checksum",
            data_checked: false,
        }),
        Fed::Given => Err(job.input.corrupt(Corruption::Stalled)),
    }
}

/// RFC 8878, 3.1.1.1 "Frame_Header".
struct FrameHeader {
    /// With the magic.
    len: u64,
    window: u64,
    /// The length of the data, if it is told.
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
}

impl Unzstd {
    fn new(memory_limit: u64) -> Result<Self, Fault> {
        let failed = |error| Fault::Corrupt(Corruption::decoder(error));
        let mut raw = Decoder::new().map_err(failed)?;
        // The header is compared with the exact limit; this is a second wall.
        let log = memory_limit
            .checked_next_power_of_two()
            .map_or(WINDOW_LOG_MAX, u64::ilog2);
        raw.set_parameter(DParameter::WindowLogMax(log.clamp(10, WINDOW_LOG_MAX)))
            .map_err(failed)?;
        Ok(Self { raw })
    }
}

impl Push for Unzstd {
    fn push<'i, 'o>(&mut self, input: &'i [u8], output: &'o mut [u8]) -> Step<'i, 'o> {
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(&mut *output);
        let ended = match self.raw.run(&mut from, &mut to) {
            Ok(hint) => Ok(hint == 0),
            Err(error) => Err(Fault::Corrupt(Corruption::decoder(error))),
        };
        let after = (wide(from.pos()), wide(to.pos()));
        Step::between(input, output, (0, 0), after, ended)
    }
}
