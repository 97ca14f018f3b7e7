//! The Linux kernel's compressions, found by magic, with an output cap.
//!
//! [`decompress`] reads one stream as the kernel's own `lib/decompress_*.c`
//! does, and writes what comes out as it comes: nothing but the format's window
//! is kept. It knows gzip, bzip2, LZMA-alone, xz, LZO (lzop files), LZ4 in its
//! legacy format, and Zstandard.
//!
//! # Where a stream ends
//!
//! Payloads of kernel images carry other bytes behind the stream, four for the
//! output's size often. They are counted, and tolerated.
//!
//! | compression | ends at | as does Linux |
//! |---|---|---|
//! | gzip | the first member's trailer | `decompress_inflate.c` |
//! | bzip2 | the first end-of-stream mark | `decompress_bunzip2.c` |
//! | lzma | the size in the header, or the end mark | `decompress_unlzma.c` |
//! | xz | the first stream's footer | `decompress_unxz.c` |
//! | lzo | the first end mark | `decompress_unlzo.c` |
//! | lz4 | the end of the input, a block size of 0, or the output's size | `decompress_unlz4.c` |
//! | zstd | the first byte that starts no frame | `zboot-decompress-zstd.c` |
//!
//! A stream that lacks its trailer alone is good, with a
//! [warning](StreamWarning::TrailerCut): parsers are in use that cut four bytes off.
//! A stream that lacks data is an error. LZMA-alone has no trailer. LZ4 has no
//! end either: cut between two blocks, it looks like a shorter stream.
//!
//! # What is checked
//!
//! Every checksum there is, unlike in the kernel: gzip's and bzip2's CRC-32,
//! the checks of xz (CRC-32, CRC-64, SHA-256, or none), the Adler-32 and CRC-32
//! of lzop, the XXH64 of zstd. LZMA-alone and LZ4 have none. Where a format
//! leaves its own lengths and flags uncovered (lzop's block lengths, zstd's
//! checksum flag), a change can end a stream early; then bytes are left over,
//! and [counted](StreamWarning::TrailingBytes).
//!
//! No input panics. Memory is bounded by [`Limits::memory`] and some small
//! buffers. Time is bounded by the length of the output: a stream that takes
//! more than 1 MiB of input and 9 bytes for every 8 of output is
//! [refused](DecompressError::TooLittleOutput), since every format has ways to
//! go on without saying anything. What follows the stream is read and no more.

#![forbid(unsafe_code)]
// Where sums and differences saturate here, none reaches an end: lengths come
// out of fields of 32 bits or fewer, positions count bytes that were read.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod bzip2;
mod compression;
mod error;
mod gzip;
mod input;
mod job;
mod lz4;
mod lzma;
mod lzo;
mod output;
mod push;
mod xz;
mod zstd;

use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, Write};

use crate::input::Input;
use crate::job::{Ending, Job};
use crate::output::Output;

pub use crate::compression::Compression;
pub use crate::error::{Corruption, DecompressError};

/// Decompresses the stream at the start of `input` into `output`.
///
/// The input is read to its end, so that the outcome can tell how many bytes
/// follow the stream. On an error, `output` may hold a part of the data, never
/// more than [`Limits::output`].
///
/// ```
/// use ukexec_decompress::{Compression, Limits, StreamWarning, decompress};
///
/// // `printf hello | lz4 -l`, and the output's size as the kernel appends it.
/// let payload = b"\x02\x21\x4c\x18\x06\x00\x00\x00\x50hello\x05\x00\x00\x00";
/// let mut output = Vec::new();
/// let done = decompress(&mut payload.as_slice(), &mut output, &Limits::default())?;
/// assert_eq!(output, b"hello");
/// assert_eq!(done.compression, Compression::Lz4);
/// assert_eq!(done.warnings, [StreamWarning::TrailingBytes { count: 4 }]);
///
/// let limits = Limits { output: 4, ..Limits::default() };
/// let error = decompress(&mut payload.as_slice(), &mut Vec::new(), &limits).unwrap_err();
/// assert!(error.to_string().contains("more than the limit of 4 bytes"));
/// # Ok::<(), ukexec_decompress::DecompressError>(())
/// ```
///
/// # Errors
///
/// [`DecompressError`] says which: an unknown magic, a cut or corrupt stream, a
/// part of the format that is not supported, input that makes hardly any
/// output, a limit, a failed read or write.
pub fn decompress(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    limits: &Limits,
) -> Result<Decompressed, DecompressError> {
    let written = Cell::new(0);
    let mut input = Input::new(input, limits.memory, &written);
    let compression = input.detect()?;
    let mut job = Job {
        input,
        output: Output::new(output, compression, limits.output, &written),
    };
    let ending = match compression {
        Compression::Gzip => gzip::decode(&mut job),
        Compression::Bzip2 => bzip2::decode(&mut job),
        Compression::Lzma => lzma::decode(&mut job),
        Compression::Xz => xz::decode(&mut job),
        Compression::Lzo => lzo::decode(&mut job),
        Compression::Lz4 => lz4::decode(&mut job),
        Compression::Zstd => zstd::decode(&mut job),
    }?;
    let consumed = job.input.position();
    let mut warnings = Vec::new();
    if let Ending::TrailerCut { part, data_checked } = ending {
        warnings.push(StreamWarning::TrailerCut { part, data_checked });
    }
    let count = job.input.drain()?;
    if count > 0 {
        warnings.push(StreamWarning::TrailingBytes { count });
    }
    Ok(Decompressed {
        compression,
        consumed,
        written: job.output.written(),
        warnings,
    })
}

/// What a decompression may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of output. The default is 1 GiB.
    pub output: u64,
    /// The most bytes of memory for the window, the dictionary or the block
    /// that the stream's format asks for. Checked before they are allocated.
    /// The default is 256 MiB; real kernels ask for up to 128 MiB (zstd).
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: 1 << 30,
            memory: 256 << 20,
        }
    }
}

/// What a decompression did.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decompressed {
    /// What the stream was.
    pub compression: Compression,
    /// The length of the stream in the input.
    pub consumed: u64,
    /// The bytes of output.
    pub written: u64,
    /// What was not as it should be, though the data are whole.
    pub warnings: Vec<StreamWarning>,
}

/// Something about a good stream that its user should know.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamWarning {
    /// Bytes follow the stream; they were ignored.
    TrailingBytes {
        /// How many.
        count: u64,
    },
    /// The data are whole, but the input ends inside what follows them.
    TrailerCut {
        /// What is missing, wholly or in part.
        part: &'static str,
        /// Whether checksums elsewhere in the stream covered the data.
        data_checked: bool,
    },
}

impl fmt::Display for StreamWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrailingBytes { count: 1 } => f.write_str("1 byte behind the stream was ignored"),
            Self::TrailingBytes { count } => {
                write!(f, "{count} bytes behind the stream were ignored")
            }
            Self::TrailerCut {
                part,
                data_checked: true,
            } => {
                write!(
                    f,
                    "the stream's trailer ({part}) is cut off; its data passed their checks"
                )
            }
            Self::TrailerCut {
                part,
                data_checked: false,
            } => {
                write!(
                    f,
                    "the stream's trailer ({part}) is cut off; its data were not checked"
                )
            }
        }
    }
}
