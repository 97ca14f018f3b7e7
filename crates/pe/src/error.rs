//! Why an image is refused.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::ops::Range;

/// Why an image is no PE32+ image, or cannot be edited.
#[derive(Debug)]
pub struct PeError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    text: String,
    /// Where the field is that is wrong.
    at: Option<u64>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// Causes that callers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Pe32,
    Signed,
    Other,
}

impl PeError {
    /// Returns the file offset of the field that is wrong, if it is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.at
    }

    /// Returns whether the bytes could not be read at all.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.kind == Kind::Read
    }

    /// Returns whether it is a 32-bit image.
    #[must_use]
    pub fn is_pe32(&self) -> bool {
        self.0.kind == Kind::Pe32
    }

    /// Returns whether editing would break the image's signature.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.0.kind == Kind::Signed
    }

    fn of_kind(kind: Kind, at: impl Into<Option<u64>>, text: String) -> Self {
        Self(Box::new(Inner {
            kind,
            text,
            at: at.into(),
            cause: None,
        }))
    }

    pub(crate) fn new(text: String) -> Self {
        Self::of_kind(Kind::Other, None, text)
    }

    pub(crate) fn read(at: u64, len: u64, cause: impl Error + Send + Sync + 'static) -> Self {
        let text = format!("reading {len} bytes at {at:#x} failed");
        let mut error = Self::of_kind(Kind::Read, at, text);
        error.0.cause = Some(Box::new(cause));
        error
    }

    pub(crate) fn pe32(field: &str, at: u64) -> Self {
        let text = format!(
            "{field} at {at:#x}: expected 0x20b (PE32+), found 0x10b: this is a 32-bit \
             PE32 image, and only 64-bit ones are supported"
        );
        Self::of_kind(Kind::Pe32, at, text)
    }

    pub(crate) fn signed(certificates: &Range<u64>) -> Self {
        let Range { start, end } = certificates;
        let text =
            format!("editing breaks its signature (certificate table at {start:#x} to {end:#x})");
        Self::of_kind(Kind::Signed, None, text)
    }

    /// The file is too short to hold the field of `len` bytes.
    pub(crate) fn truncated(field: &str, at: u64, len: u64, file_len: u64) -> Self {
        let text = format!(
            "{field} at {at:#x}: expected {len} bytes there, found the end of the file \
             at {file_len:#x}; is the file cut off?"
        );
        Self::of_kind(Kind::Other, at, text)
    }

    /// A field has a value that no PE32+ image has.
    pub(crate) fn mismatch(field: &str, at: u64, expected: &str, found: impl Into<u64>) -> Self {
        Self::of_kind(Kind::Other, at, mismatch(field, at, expected, found.into()))
    }

    /// The digest of a signature cannot be defined for this image.
    pub(crate) fn authenticode(field: &str, at: u64, expected: &str, found: u64) -> Self {
        let mismatch = mismatch(field, at, expected, found);
        Self::new(format!("Authenticode digest: {mismatch}"))
    }

    /// A field asks for `target`, which passes the end of the file.
    pub(crate) fn past_end(field: &str, at: u64, target: &Range<u64>, file_len: u64) -> Self {
        let end = target.end;
        let text = format!(
            "{field} at {at:#x}: expected an end by {file_len:#x}, found {end:#x}; is the \
             file cut off?"
        );
        Self::of_kind(Kind::Other, at, text)
    }

    /// The edit would have to move file data, and the format forbids that.
    pub(crate) fn fixed_layout(format: &str, purpose: &str, from: u64) -> Self {
        Self::new(format!(
            "file data from file offset {from:#x} on would have to move to {purpose}, but the \
             layout of {format} is fixed"
        ))
    }

    /// There is no room for one more entry at `at`, where `owner` lies.
    pub(crate) fn table_full(at: u64, owner: &str) -> Self {
        Self::new(format!(
            "the section table has no room: its next entry would be at {at:#x}, where \
             {owner} lies and cannot move"
        ))
    }

    /// A field has too few bits for what the edit needs.
    pub(crate) fn too_large(field: &str, value: u64) -> Self {
        Self::new(format!(
            "{field} would become {value:#x}, more than the field can hold"
        ))
    }
}

fn mismatch(field: &str, at: u64, expected: &str, found: u64) -> String {
    format!("{field} at {at:#x}: expected {expected}, found {found:#x}")
}

impl fmt::Display for PeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Error for PeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&**self.0.cause.as_ref()?)
    }
}
