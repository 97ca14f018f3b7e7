//! gzip: one member, RFC 1952 around RFC 1951.
//!
//! Linux `lib/decompress_inflate.c` stops behind the first member and says how
//! far it came; a second member is left to the caller. So it is here. Of the
//! header's optional fields it skips only the name, and takes the others for
//! data: archives that have such a field are refused.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::error::Fault;
use crate::job::{Ending, Format, Job, StreamWarning};
use crate::push::{Fed, Push, feed};

pub(crate) const FORMAT: Format = Format {
    name: "gzip",
    magic: &[0x1f, 0x8b],
    decode,
};

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

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    header(job)?;
    let mut inflate = Inflate {
        raw: Decompress::new(false),
        crc: Crc::new(),
    };
    match feed(job, &mut inflate, u64::MAX)? {
        Fed::Ended => trailer(job, &inflate.crc),
        Fed::Given | Fed::InputOver => Err(Fault::Truncated),
    }
}

fn header(job: &mut Job<'_>) -> Result<(), Fault> {
    let mut crc = Crc::new();
    let fixed: [u8; 10] = job.input.take()?;
    crc.update(&fixed);
    let [_, _, method, flags, ..] = fixed;
    if method != DEFLATE {
        return Err(Fault::Unsupported(format!("compression method {method}")));
    }
    if flags & flag::RESERVED != 0 {
        return Err(Fault::field("FLG", "reserved bits 0", flags));
    }
    job.refuse_in_archive(
        flags & (flag::FHCRC | flag::FEXTRA | flag::FCOMMENT) != 0,
        "kernels read no more of gzip's header than a name",
    )?;
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
        check("CRC-16 of the header", &[low, high], &stored)?;
    }
    Ok(())
}

/// Skips a text and the NUL that ends it.
fn skip_text(job: &mut Job<'_>, crc: &mut Crc) -> Result<(), Fault> {
    loop {
        let byte: [u8; 1] = job.input.take()?;
        crc.update(&byte);
        if byte == [0] {
            return Ok(());
        }
    }
}

/// CRC32 and ISIZE, RFC 1952, 2.3. The rest of a cut trailer must be right.
fn trailer(job: &mut Job<'_>, crc: &Crc) -> Result<Ending, Fault> {
    for (what, computed) in [
        ("CRC-32 of the data", crc.sum()),
        ("length modulo 2^32 (ISIZE)", crc.amount()),
    ] {
        let stored = job.input.peek(4)?.to_vec();
        check(what, &computed.to_le_bytes(), &stored)?;
        job.input.consume(stored.len());
        if stored.len() < 4 {
            return Ok(Some(StreamWarning::TrailerCut {
                part: "CRC-32 and length",
                data_checked: false,
            }));
        }
    }
    Ok(None)
}

/// Compares as many bytes as are stored.
fn check(what: &str, computed: &[u8], stored: &[u8]) -> Result<(), Fault> {
    if computed.starts_with(stored) {
        return Ok(());
    }
    let number = |bytes: &[u8]| {
        let present = bytes.iter().take(stored.len());
        present
            .rev()
            .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    };
    Err(Fault::checksum(what, number(stored), number(computed)))
}

struct Inflate {
    raw: Decompress,
    crc: Crc,
}

impl Push for Inflate {
    fn push(&mut self, input: &[u8], output: &mut [u8]) -> Result<bool, Fault> {
        let status = self.raw.decompress(input, output, FlushDecompress::None);
        Ok(status.map_err(Fault::corrupt)? == Status::StreamEnd)
    }

    fn totals(&self) -> (u64, u64) {
        (self.raw.total_in(), self.raw.total_out())
    }

    fn see(&mut self, _taken: &[u8], given: &[u8]) {
        self.crc.update(given);
    }
}
