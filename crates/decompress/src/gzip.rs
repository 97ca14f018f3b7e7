//! gzip: one member, RFC 1952 around RFC 1951.
//!
//! Linux `lib/decompress_inflate.c` stops behind the first member and says how
//! far it came; a second member is left to the caller. So it is here.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::error::{Corruption, DecompressError, Fault};
use crate::input::CHUNK;
use crate::job::{Ending, Job};
use crate::push::{Fed, Push, Step, feed};

/// RFC 1952, 2.3.1 "FLG".
mod flag {
    pub(super) const FHCRC: u8 = 1 << 1;
    pub(super) const FEXTRA: u8 = 1 << 2;
    pub(super) const FNAME: u8 = 1 << 3;
    pub(super) const FCOMMENT: u8 = 1 << 4;
    pub(super) const RESERVED: u8 = 0xe0;
}

/// CM 8, the only one that was ever assigned.
const DEFLATE: u8 = 8;

pub(crate) fn decode(job: &mut Job<'_>) -> Result<Ending, DecompressError> {
    header(job)?;
    let mut inflate = Inflate {
        raw: Decompress::new(false),
        crc: Crc::new(),
    };
    match feed(job, &mut inflate, &mut vec![0; CHUNK], u64::MAX)? {
        Fed::Ended => trailer(job, &inflate.crc),
        Fed::Given | Fed::InputOver => Err(job.input.truncated()),
    }
}

fn header(job: &mut Job<'_>) -> Result<(), DecompressError> {
    let mut crc = Crc::new();
    let fixed: [u8; 10] = job.input.take()?;
    crc.update(&fixed);
    let [_, _, method, flags, ..] = fixed;
    if method != DEFLATE {
        return Err(job
            .input
            .unsupported(format!("compression method {method}")));
    }
    if flags & flag::RESERVED != 0 {
        return Err(job.input.corrupt(Corruption::Field {
            field: "FLG",
            expected: "reserved bits 0",
            found: flags.into(),
        }));
    }
    if flags & flag::FEXTRA != 0 {
        let len: [u8; 2] = job.input.take()?;
        crc.update(&len);
        job.input
            .skip(u16::from_le_bytes(len).into(), |bytes| crc.update(bytes))?;
    }
    for text in [flag::FNAME, flag::FCOMMENT] {
        if flags & text != 0 {
            skip_text(job, &mut crc)?;
        }
    }
    if flags & flag::FHCRC != 0 {
        let [low, high, ..] = crc.sum().to_le_bytes();
        let stored: [u8; 2] = job.input.take()?;
        check(job, "CRC-16 of the header", &[low, high], &stored)?;
    }
    Ok(())
}

/// Skips a text and the NUL that ends it.
fn skip_text(job: &mut Job<'_>, crc: &mut Crc) -> Result<(), DecompressError> {
    loop {
        let byte: [u8; 1] = job.input.take()?;
        crc.update(&byte);
        if byte == [0] {
            return Ok(());
        }
    }
}

/// CRC32 and ISIZE, RFC 1952, 2.3. What is left of a cut trailer must be right.
fn trailer(job: &mut Job<'_>, crc: &Crc) -> Result<Ending, DecompressError> {
    for (what, computed) in [
        ("CRC-32 of the data", crc.sum()),
        ("length modulo 2^32 (ISIZE)", crc.amount()),
    ] {
        let stored = job.input.peek(4)?.to_vec();
        check(job, what, &computed.to_le_bytes(), &stored)?;
        job.input.consume(stored.len());
        if stored.len() < 4 {
            return Ok(Ending::TrailerCut {
                part: "CRC-32 and length",
                data_checked: false,
            });
        }
    }
    Ok(Ending::Complete)
}

/// Compares as many bytes as are stored.
fn check(
    job: &Job<'_>,
    what: &'static str,
    computed: &[u8],
    stored: &[u8],
) -> Result<(), DecompressError> {
    if computed.starts_with(stored) {
        return Ok(());
    }
    let number = |bytes: &[u8]| {
        let present = bytes.iter().take(stored.len());
        present
            .rev()
            .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    };
    Err(job.input.corrupt(Corruption::Checksum {
        what,
        stored: number(stored),
        computed: number(computed),
    }))
}

struct Inflate {
    raw: Decompress,
    crc: Crc,
}

impl Push for Inflate {
    fn push<'i, 'o>(&mut self, input: &'i [u8], output: &'o mut [u8]) -> Step<'i, 'o> {
        let before = (self.raw.total_in(), self.raw.total_out());
        let ended = match self.raw.decompress(input, output, FlushDecompress::None) {
            Ok(status) => Ok(status == Status::StreamEnd),
            Err(error) => Err(Fault::Corrupt(Corruption::decoder(error))),
        };
        let after = (self.raw.total_in(), self.raw.total_out());
        let step = Step::between(input, output, before, after, ended);
        self.crc.update(step.produced);
        step
    }
}
