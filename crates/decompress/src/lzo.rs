//! lzop files: LZO1X blocks behind a header with checksums.
//!
//! Linux `lib/decompress_unlzo.c` stops at the first end mark, a block length
//! of 0; a second member is left. It compares no checksum; here all are. It
//! takes blocks of at most 256 KiB, which is what lzop writes; here they may
//! be as large as lzop itself takes. It reads one checksum of each block, no
//! matter how many the flags say, and knows neither the extra field nor the
//! header of old versions. Archives that have such parts are refused.

use std::fmt::Display;

use flate2::Crc;

use crate::error::Fault;
use crate::input::{size, wide};
use crate::job::{Ending, Format, Job, StreamWarning};

pub(crate) const FORMAT: Format = Format {
    name: "lzo",
    magic: &[0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a],
    decode,
};

/// lzop's own block length, and the most it takes.
const BLOCK: u32 = 256 << 10;
const BLOCK_MAX: u32 = 64 << 20;

/// The flags of the [`CHECKS`].
const ALL_CHECKS: u32 = flag::ADLER32_D | flag::ADLER32_C | flag::CRC32_D | flag::CRC32_C;

/// Header flags, named as in lzop's `conf.h`.
mod flag {
    pub(super) const ADLER32_D: u32 = 1;
    pub(super) const ADLER32_C: u32 = 1 << 1;
    pub(super) const H_EXTRA_FIELD: u32 = 1 << 6;
    pub(super) const CRC32_D: u32 = 1 << 8;
    pub(super) const CRC32_C: u32 = 1 << 9;
    pub(super) const H_FILTER: u32 = 1 << 11;
    pub(super) const H_CRC32: u32 = 1 << 12;
}

/// The version that brought `version needed`, the level and `mtime_high`.
const VERSION_0940: u16 = 0x0940;

/// The oldest version whose files lzop reads.
const VERSION_MIN: u16 = 0x0900;

/// The newest version that a file may need: lzop 1.04 itself says 0x1040.
const VERSION_NEEDED_MAX: u16 = 0x1040;

fn decode(job: &mut Job<'_>) -> Result<Ending, Fault> {
    let flags = Header::new(job).read()?;
    let mut blocks = Blocks {
        flags,
        largest: 0,
        last: 0,
        data: Vec::new(),
        scratch: Vec::new(),
    };
    let checks = flags & ALL_CHECKS;
    job.refuse_in_archive(
        checks != flag::ADLER32_D && checks != flag::CRC32_D,
        "kernels take lzop files with one checksum of each block's data",
    )?;
    loop {
        match job.input.peek(4)? {
            [0, 0, 0, 0] => {
                job.input.consume(4);
                return Ok(None);
            }
            rest if rest.len() < 4 => {
                if rest.iter().any(|byte| *byte != 0) || !blocks.last_was_short() {
                    return Err(Fault::Truncated);
                }
                let rest = rest.len();
                job.input.consume(rest);
                let checks = flag::ADLER32_D | flag::CRC32_D;
                return Ok(Some(StreamWarning::TrailerCut {
                    part: "end mark",
                    data_checked: flags & checks != 0,
                }));
            }
            _ => blocks.decode(job)?,
        }
    }
}

/// The header: everything up to its checksum is summed as it is read.
struct Header<'a, 'b> {
    job: &'a mut Job<'b>,
    adler: Adler32,
    crc: Crc,
}

impl<'a, 'b> Header<'a, 'b> {
    fn new(job: &'a mut Job<'b>) -> Self {
        Self {
            job,
            adler: Adler32::new(),
            crc: Crc::new(),
        }
    }

    /// Returns the flags.
    fn read(mut self) -> Result<u32, Fault> {
        let _magic: [u8; 9] = self.job.input.take()?;
        let is_0940 = self.version()? >= VERSION_0940;
        self.job.refuse_in_archive(
            !is_0940,
            "kernels do not know lzop files of such an old version",
        )?;
        let [method]: [u8; 1] = self.take()?;
        // LZO1X-1, LZO1X-1(15), LZO1X-999: one decoder for all.
        if !(1..=3).contains(&method) {
            return Err(Fault::Unsupported(format!("lzop method {method}")));
        }
        if is_0940 {
            let _level: [u8; 1] = self.take()?;
        }
        let flags = u32::from_be_bytes(self.take()?);
        if flags & flag::H_FILTER != 0 {
            let filter = u32::from_be_bytes(self.take()?);
            if filter != 0 {
                return Err(Fault::Unsupported(format!("lzop filter {filter}")));
            }
        }
        let _mode_and_mtime_low: [u8; 8] = self.take()?;
        if is_0940 {
            let _mtime_high: [u8; 4] = self.take()?;
        }
        let [name_len]: [u8; 1] = self.take()?;
        self.skip(name_len.into())?;
        self.checksum(flags, "checksum of the header")?;
        if flags & flag::H_EXTRA_FIELD != 0 {
            self.job
                .refuse_in_archive(true, "kernels do not know the extra field of lzop files")?;
            (self.adler, self.crc) = (Adler32::new(), Crc::new());
            let len = u32::from_be_bytes(self.take()?);
            self.skip(len.into())?;
            self.checksum(flags, "checksum of the extra field")?;
        }
        Ok(flags)
    }

    /// Returns the version that wrote the file, if its file can be read.
    fn version(&mut self) -> Result<u16, Fault> {
        let [v0, v1, _library0, _library1] = self.take()?;
        let version = u16::from_be_bytes([v0, v1]);
        let needed = if version >= VERSION_0940 {
            self.take()?
        } else {
            [v0, v1]
        };
        let needed = u16::from_be_bytes(needed);
        if (VERSION_MIN..=VERSION_NEEDED_MAX).contains(&needed) {
            return Ok(version);
        }
        Err(Fault::Unsupported(format!("lzop version {needed:#x}")))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.job.input.take()?;
        self.adler.update(&bytes);
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> Result<(), Fault> {
        let (adler, crc) = (&mut self.adler, &mut self.crc);
        self.job.input.skip(count, |bytes| {
            adler.update(bytes);
            crc.update(bytes);
        })
    }

    fn checksum(&mut self, flags: u32, what: &str) -> Result<(), Fault> {
        let computed = if flags & flag::H_CRC32 != 0 {
            self.crc.sum()
        } else {
            self.adler.sum()
        };
        let stored = u32::from_be_bytes(self.job.input.take()?);
        compare(what, stored, computed)
    }
}

/// The blocks of one file.
struct Blocks {
    flags: u32,
    /// The longest block so far, and the last one.
    largest: u32,
    last: u32,
    data: Vec<u8>,
    scratch: Vec<u8>,
}

/// The checksums that blocks may have, in the order they are stored in: flag, name,
/// the bytes it is of.
const CHECKS: [(u32, &str, &str, Sum); 4] = [
    (flag::ADLER32_D, "Adler-32", DATA, adler32),
    (flag::CRC32_D, "CRC-32", DATA, crc32),
    (flag::ADLER32_C, "Adler-32", COMPRESSED, adler32),
    (flag::CRC32_C, "CRC-32", COMPRESSED, crc32),
];

type Sum = fn(&[u8]) -> u32;

const DATA: &str = "a block's data";
const COMPRESSED: &str = "a compressed block";

impl Blocks {
    /// lzop fills every block but the last. So a short one ends the data, as
    /// far as that is known without the end mark.
    fn last_was_short(&self) -> bool {
        self.last != 0 && self.last < self.largest.max(BLOCK)
    }

    fn decode(&mut self, job: &mut Job<'_>) -> Result<(), Fault> {
        let at_block = job.input.position();
        let [d0, d1, d2, d3, c0, c1, c2, c3]: [u8; 8] = job.input.take()?;
        let data_len = u32::from_be_bytes([d0, d1, d2, d3]);
        let compressed_len = u32::from_be_bytes([c0, c1, c2, c3]);
        let stored = compressed_len == data_len;
        check_lengths(data_len, compressed_len).map_err(|fault| fault.since(at_block))?;
        job.refuse_in_archive(
            data_len > BLOCK,
            "kernels take no block of an lzop file longer than 256 KiB",
        )?;
        job.input.check_memory(u64::from(data_len) << 1)?;
        let mut sums = Vec::new();
        for (flag, name, of, sum) in CHECKS {
            // A block that is stored has no compressed bytes.
            if self.flags & flag != 0 && (of == DATA || !stored) {
                sums.push((name, of, sum, u32::from_be_bytes(job.input.take()?)));
            }
        }
        let check = |these, bytes: &[u8]| {
            let mut sums = sums.iter().filter(|(_, of, ..)| *of == these);
            sums.try_for_each(|(name, of, sum, stored)| {
                compare(format_args!("{name} of {of}"), *stored, sum(bytes))
            })
        };

        let Self { data, scratch, .. } = self;
        let output = &mut job.output;
        let written = job.input.block(compressed_len, scratch, |compressed| {
            check(COMPRESSED, compressed)?;
            let decoded = if stored {
                compressed
            } else {
                unpack(compressed, data, size(data_len))?
            };
            check(DATA, decoded)?;
            output.write(decoded)
        })?;
        self.last = data_len;
        self.largest = self.largest.max(data_len);
        written.map_err(|fault| fault.since(at_block))
    }
}

fn check_lengths(data_len: u32, compressed_len: u32) -> Result<(), Fault> {
    if data_len > BLOCK_MAX {
        return Err(Fault::field(DATA_LEN, "at most 0x4000000", data_len));
    }
    if compressed_len == 0 || compressed_len > data_len {
        return Err(Fault::field(
            "length of a compressed block",
            "at least 1 and at most the length of its data",
            compressed_len,
        ));
    }
    Ok(())
}

/// Decodes a block that must make `len` bytes.
fn unpack<'a>(compressed: &[u8], data: &'a mut Vec<u8>, len: usize) -> Result<&'a [u8], Fault> {
    data.resize(len, 0);
    let found = lzo::decompress_into(compressed, data).map_err(Fault::corrupt)?;
    if found == len {
        return Ok(data);
    }
    let expected = "what the block's header says";
    Err(Fault::field(DATA_LEN, expected, wide(found)))
}

const DATA_LEN: &str = "length of a block's data";

fn compare(what: impl Display, stored: u32, computed: u32) -> Result<(), Fault> {
    if stored == computed {
        return Ok(());
    }
    Err(Fault::checksum(what, stored, computed))
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn adler32(bytes: &[u8]) -> u32 {
    let mut adler = Adler32::new();
    adler.update(bytes);
    adler.sum()
}

/// Adler-32, RFC 1950, 2.2 and 9.
struct Adler32 {
    a: u32,
    b: u32,
}

impl Adler32 {
    const BASE: u32 = 65521;

    /// The most bytes whose sums stay below 2^32 without a modulo between.
    const RUN: usize = 5552;

    fn new() -> Self {
        Self { a: 1, b: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        for run in bytes.chunks(Self::RUN) {
            for byte in run {
                self.a = self.a.wrapping_add(u32::from(*byte));
                self.b = self.b.wrapping_add(self.a);
            }
            self.a %= Self::BASE;
            self.b %= Self::BASE;
        }
    }

    fn sum(&self) -> u32 {
        (self.b << 16) | self.a
    }
}
