//! Why a stream is refused: for the caller, and as decoders say it.

use std::fmt::Display;
use std::io;

/// Why a stream could not be decompressed.
///
/// Its text says where, as an offset in the compressed input. A reader or a
/// writer that failed is its source.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DecompressError(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Inner {
    text: String,
    is_limit: bool,
    source: Option<io::Error>,
}

impl DecompressError {
    pub(crate) fn new(text: String, source: Option<io::Error>) -> Self {
        Self(Box::new(Inner {
            text,
            is_limit: false,
            source,
        }))
    }

    /// Returns an error because of one of the [`Limits`](crate::Limits).
    pub(crate) fn limit(text: String) -> Self {
        Self(Box::new(Inner {
            text,
            is_limit: true,
            source: None,
        }))
    }

    /// Returns whether one of the [`Limits`](crate::Limits) is to blame.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.0.is_limit
    }
}

/// Why a decoder stopped. [`Input::error`](crate::input::Input::error) knows
/// where, and of which compression.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The input ends before the stream's data do.
    Truncated,
    /// The stream breaks its format's rules: at this offset, or where the input is.
    Corrupt(Option<u64>, String),
    /// The stream uses a part of its format that is not taken here.
    Unsupported(String),
    /// So many bytes of memory would be needed.
    Memory(u64),
    /// There would be more output than so many bytes.
    Output(u64),
    /// Another fault; the text goes on behind "the gzip stream".
    Stream(String),
    /// The input starts no stream.
    Input(String),
    /// Reading or writing failed.
    Io(String, io::Error),
}

impl Fault {
    /// A checksum differs.
    pub(crate) fn checksum(
        what: impl Display,
        stored: impl Into<u64>,
        computed: impl Into<u64>,
    ) -> Self {
        let (stored, computed) = (stored.into(), computed.into());
        Self::corrupt(format!(
            "the {what} is {computed:#x}, the stream says {stored:#x}"
        ))
    }

    /// A field has a value that its format rules out.
    pub(crate) fn field(field: &str, expected: &str, found: impl Into<u64>) -> Self {
        let found = found.into();
        Self::corrupt(format!("{field}: expected {expected}, found {found:#x}"))
    }

    /// The decoder takes no more input and gives no more output.
    pub(crate) fn stalled() -> Self {
        Self::corrupt("the decoder makes no progress")
    }

    pub(crate) fn corrupt(cause: impl Display) -> Self {
        Self::Corrupt(None, cause.to_string())
    }

    /// Says of corrupt bytes that they started at `at`.
    pub(crate) fn since(self, at: u64) -> Self {
        match self {
            Self::Corrupt(None, cause) => Self::Corrupt(Some(at), cause),
            other => other,
        }
    }
}
