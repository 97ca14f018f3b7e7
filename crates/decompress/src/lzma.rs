//! LZMA-alone: the 13-byte header and one range-coded stream.
//!
//! Linux `lib/decompress_unlzma.c` stops at the size in the header or at the
//! end mark. The format has no checksum. Its dictionary size may say 4 GiB; no
//! more is needed than the output is long, and no more is asked for.

use std::io::{self, Read};

use lzma_rust2::{LzmaReader, lzma_get_memory_usage_by_props};

use crate::error::Fault;
use crate::input::{CHUNK, Input, wide};
use crate::job::{Ending, Format, Job};
use crate::push::counted;

pub(crate) const FORMAT: Format = Format {
    name: "lzma",
    magic: &[0x5d, 0x00],
    decode,
};

/// The largest dictionary that the decoder takes.
const DICTIONARY_MAX: u32 = 0xffff_fff0;

/// The properties byte is `(pb * 5 + lp) * 9 + lc`, with lc < 9, lp and pb < 5.
const PROPERTIES_END: u8 = 9 * 5 * 5;

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    let header: [u8; 13] = job.input.take()?;
    let [properties, d0, d1, d2, d3, size @ ..] = header;
    if properties >= PROPERTIES_END {
        return Err(Fault::field("properties", "less than 0xe1", properties));
    }
    // All ones: unknown, an end mark ends the stream.
    let size = u64::from_le_bytes(size);
    // One chunk may be decoded before the output refuses it.
    let most_output = size.min(job.output.limit.saturating_add(wide(CHUNK)));
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]).min(DICTIONARY_MAX);
    let dictionary = u32::try_from(most_output).map_or(dictionary, |most| dictionary.min(most));
    let needed_kib =
        lzma_get_memory_usage_by_props(dictionary, properties).map_err(Fault::corrupt)?;
    job.input.check_memory(u64::from(needed_kib) << 10)?;

    match job.input.peek(1)? {
        [] | [0, ..] => decode_data(job, properties, dictionary, size),
        [first, ..] => Err(Fault::field("first byte of the range coder", "0", *first)),
    }
}

fn decode_data(
    job: &mut Job<'_>,
    properties: u8,
    dictionary: u32,
    size: u64,
) -> Result<Ending, Fault> {
    let mut failed = None;
    let source = Source {
        input: &mut job.input,
        failed: &mut failed,
    };
    let mut reader = match LzmaReader::new_with_props(source, size, properties, dictionary, None) {
        Ok(reader) => reader,
        Err(error) => return Err(failed.unwrap_or_else(|| refused(&error))),
    };
    // The end of the range coder is the only thing there is to compare.
    reader.set_relaxed_end_condition(false);

    let end = loop {
        match reader.read(&mut job.chunk) {
            Ok(0) => break Ok(None),
            Ok(count) => match counted(&job.chunk, Some(wide(count))) {
                Ok(data) => job.output.write(data)?,
                Err(fault) => break Err(fault),
            },
            Err(error) => break Err(refused(&error)),
        }
    };
    let (_, unused) = reader.into_parts();
    job.input.unread(wide(unused.len()));
    end.map_err(|fault| failed.unwrap_or(fault))
}

fn refused(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Truncated,
        _ => Fault::corrupt(error),
    }
}

/// The input as a reader. It keeps its own error, of which the decoder would
/// pass on only the kind.
struct Source<'a, 'b> {
    input: &'a mut Input<'b>,
    failed: &'a mut Option<Fault>,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = match self.input.fill() {
            Ok(mut next) => next.read(buf)?,
            Err(fault) => {
                *self.failed = Some(fault);
                return Err(io::Error::other("reading failed"));
            }
        };
        self.input.consume(count);
        Ok(count)
    }
}
