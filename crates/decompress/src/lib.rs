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
//! more than 1 MiB of input and 9 bytes for every 8 of output is refused, since
//! every format has ways to go on without saying anything. Bytes behind the
//! stream are read, and nothing else is done with them.

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
use std::io::{BufRead, Write};

use crate::error::Fault;
use crate::input::{CHUNK, Input};
use crate::job::{Extent, Job};
use crate::output::Output;

pub use crate::compression::Compression;
pub use crate::error::DecompressError;
pub use crate::job::StreamWarning;

/// Decompresses the stream at the start of `input` into `output`.
///
/// The input is read to its end, so that the outcome has the number of bytes
/// that follow the stream. On an error, `output` may hold a part of the data,
/// never more than [`Limits::output`].
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
/// assert!(error.to_string().contains("more bytes than the limit of 4"));
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
    run(input, output, limits, Extent::Payload)
}

/// As [`decompress`], of an archive in an initrd, which others may follow.
///
/// It ends behind the first frame of Zstandard, as `lib/decompress_unzstd.c` does, and does
/// not read the bytes that follow the stream. It refuses parts of gzip, xz, lzo and lz4 that
/// kernels read otherwise, or not at all. One such part it takes: a randomised block of bzip2,
/// which no encoder has written since 1999.
///
/// ```
/// use ukexec_decompress::{Limits, decompress_archive};
///
/// // Two frames with one byte each.
/// let frame = b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00A";
/// let initrd = [&frame[..], frame].concat();
/// let mut output = Vec::new();
/// let done = decompress_archive(&mut initrd.as_slice(), &mut output, &Limits::default())?;
/// assert_eq!((output.as_slice(), done.consumed), (&b"A"[..], 10));
/// assert!(done.warnings.is_empty());
/// # Ok::<(), ukexec_decompress::DecompressError>(())
/// ```
///
/// # Errors
///
/// Those of [`decompress`].
pub fn decompress_archive(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    limits: &Limits,
) -> Result<Decompressed, DecompressError> {
    run(input, output, limits, Extent::Archive)
}

fn run(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    limits: &Limits,
    extent: Extent,
) -> Result<Decompressed, DecompressError> {
    let written = &Cell::new(0);
    let mut job = Job {
        input: Input::new(input, limits.memory, written),
        output: Output {
            writer: output,
            written,
            limit: limits.output,
        },
        chunk: vec![0; CHUNK],
        extent,
    };
    let compression = job
        .input
        .peek(Compression::longest_magic())
        .and_then(Compression::expect)
        .map_err(|fault| job.input.error("unknown", fault))?;
    decode(&mut job, compression).map_err(|fault| job.input.error(compression.format().name, fault))
}

fn decode(job: &mut Job<'_>, compression: Compression) -> Result<Decompressed, Fault> {
    let warning = (compression.format().decode)(job)?;
    let consumed = job.input.position();
    let count = match job.extent {
        Extent::Payload => job.input.drain()?,
        Extent::Archive => 0,
    };
    let trailing = (count > 0).then_some(StreamWarning::TrailingBytes { count });
    Ok(Decompressed {
        compression,
        consumed,
        written: job.output.written(),
        warnings: warning.into_iter().chain(trailing).collect(),
    })
}

/// The bounds of a decompression.
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

/// The outcome of a decompression.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decompressed {
    /// The compression that the stream has.
    pub compression: Compression,
    /// The length of the stream in the input.
    pub consumed: u64,
    /// The bytes of output.
    pub written: u64,
    /// Faults that leave the data whole.
    pub warnings: Vec<StreamWarning>,
}
