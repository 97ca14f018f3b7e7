//! What can go wrong, with where it did.

use std::error::Error;
use std::fmt;
use std::io;

use crate::compression::Compression;

/// Why a stream could not be decompressed.
///
/// Offsets count bytes of compressed input from its start.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The input starts with no magic of [`Compression::detect`].
    #[error(
        "no compression of the Linux kernel starts with {}: expected gzip, bzip2, lzma, xz, lzo, \
         lz4 (legacy) or zstd{}",
        Bytes(found),
        hint(found)
    )]
    UnknownMagic {
        /// The first bytes of the input, at most nine.
        found: Vec<u8>,
    },
    /// The input ends before the stream's data do.
    #[error(
        "the {compression} stream is cut short: the input ends at offset {at:#x} and the data go \
         on; check the payload's size in the image's header"
    )]
    Truncated {
        /// The compression.
        compression: Compression,
        /// The length of the input.
        at: u64,
    },
    /// The stream breaks its format's rules, or a checksum differs.
    #[error("the {compression} stream is corrupt at input offset {at:#x}: {cause}")]
    Corrupt {
        /// The compression.
        compression: Compression,
        /// How far the decoder had come, to the part it was looking at.
        at: u64,
        /// What is wrong there.
        cause: Corruption,
    },
    /// The stream uses a part of its format that is not taken here.
    #[error(
        "the {compression} stream uses what is not supported, at input offset {at:#x}: {feature}"
    )]
    Unsupported {
        /// The compression.
        compression: Compression,
        /// How far the decoder had come.
        at: u64,
        /// What the stream uses.
        feature: String,
    },
    /// The input makes so little output that it is no payload.
    #[error(
        "the {compression} stream says too little: its first {at} bytes make {written} bytes of \
         output; expected no more than 9 bytes for every 8 of output, and 1 MiB; compress the \
         payload anew"
    )]
    TooLittleOutput {
        /// The compression.
        compression: Compression,
        /// How far the decoder had come.
        at: u64,
        /// Bytes of output up to there.
        written: u64,
    },
    /// The output would pass [`Limits::output`](crate::Limits::output).
    #[error(
        "the {compression} stream decompresses to more than the limit of {limit} bytes; if the \
         image is to be trusted, raise the limit"
    )]
    OutputLimit {
        /// The compression.
        compression: Compression,
        /// The limit in bytes.
        limit: u64,
    },
    /// The decoder would need more than [`Limits::memory`](crate::Limits::memory).
    #[error(
        "the {compression} stream needs {needed} bytes of memory to decompress, the limit is \
         {limit}; compress it with a smaller window, or raise the limit"
    )]
    MemoryLimit {
        /// The compression.
        compression: Compression,
        /// What the stream asks for, in bytes.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Reading the input failed.
    #[error("could not read the compressed input at offset {at:#x}")]
    Read {
        /// The first byte that is missing.
        at: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// Writing the output failed.
    #[error("could not write the decompressed output at offset {at:#x}")]
    Write {
        /// The offset in the output.
        at: u64,
        /// What the writer said.
        source: io::Error,
    },
}

impl DecompressError {
    /// Returns the offset in the compressed input, where the error has one.
    #[must_use]
    pub fn input_offset(&self) -> Option<u64> {
        match self {
            Self::Truncated { at, .. }
            | Self::Corrupt { at, .. }
            | Self::Unsupported { at, .. }
            | Self::TooLittleOutput { at, .. }
            | Self::Read { at, .. } => Some(*at),
            Self::UnknownMagic { .. } => Some(0),
            Self::OutputLimit { .. } | Self::MemoryLimit { .. } | Self::Write { .. } => None,
        }
    }
}

/// What is wrong with a corrupt stream.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Corruption {
    /// A checksum differs.
    #[error("the {what} is {computed:#x}, the stream says {stored:#x}")]
    Checksum {
        /// Which checksum, of what.
        what: &'static str,
        /// The value in the stream.
        stored: u64,
        /// The value computed from the bytes.
        computed: u64,
    },
    /// A field has a value that its format rules out.
    #[error("{field}: expected {expected}, found {found:#x}")]
    Field {
        /// The format's name of the field.
        field: &'static str,
        /// What the format allows.
        expected: &'static str,
        /// The value found.
        found: u64,
    },
    /// The decoder refuses the compressed data.
    #[error("{0}")]
    Decoder(#[source] Box<dyn Error + Send + Sync>),
    /// The decoder takes no more input and gives no more output.
    #[error("the decoder makes no progress")]
    Stalled,
    /// The decoder says that it read or wrote bytes beyond what it was given.
    #[error("the decoder counts more bytes than there are")]
    Miscounted,
}

impl Corruption {
    pub(crate) fn decoder(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Decoder(error.into())
    }
}

/// Why a decoder stopped; the input knows where.
pub(crate) enum Fault {
    Corrupt(Corruption),
    Unsupported(String),
    /// So many bytes of memory would be needed.
    Memory(u64),
}

/// Bytes as a person reads them: `1f 8b 08`.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("an empty input");
        }
        for (index, byte) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

fn hint(found: &[u8]) -> &'static str {
    if found.starts_with(&[0x04, 0x22, 0x4d, 0x18]) {
        "; this is an LZ4 frame, the kernel takes only the legacy format (lz4 -l)"
    } else {
        ""
    }
}
