//! Why an image is refused.

use alloc::boxed::Box;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::ops::Range;

use crate::{Rva, SectionName};

/// A position in the file, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOffset(pub u64);

impl fmt::Display for FileOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file offset {:#x}", self.0)
    }
}

/// Why an image is no PE32+ image, or cannot be edited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The bytes could not be read at all.
    #[error("reading {len} bytes at {at} failed")]
    Read {
        /// Where.
        at: FileOffset,
        /// How many bytes.
        len: u64,
        /// Why.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The file is too short to hold the field.
    #[error(
        "{field} at {at}: expected {len} bytes there, found the end of the file at {end:#x}; \
         is the file cut off?"
    )]
    Truncated {
        /// The field, in the specification's words.
        field: &'static str,
        /// Where it would be.
        at: FileOffset,
        /// How many bytes it has.
        len: u64,
        /// Length of the file.
        end: u64,
    },
    /// A UEFI terse executable, a stripped-down relative of a PE image.
    #[error(
        "e_magic at file offset 0x0: expected \"MZ\", found \"VZ\": this is a UEFI terse \
         executable (TE), as firmware volumes hold them, not a PE image"
    )]
    TerseExecutable,
    /// The file does not start like a PE image.
    #[error(
        "e_magic at file offset 0x0: expected \"MZ\", found \"{}\": this is not a PE image",
        found.escape_ascii()
    )]
    NotPe {
        /// The first two bytes.
        found: [u8; 2],
    },
    /// A 32-bit image.
    #[error(
        "Magic at {at}: expected 0x20b (PE32+), found 0x10b: this is a 32-bit PE32 image, \
         and only 64-bit ones are supported"
    )]
    Pe32 {
        /// Where its optional header says so.
        at: FileOffset,
    },
    /// A field has a value that no PE32+ image has.
    #[error("{field} at {at}: expected {expected}, found {found:#x}")]
    Mismatch {
        /// The field, in the specification's words.
        field: &'static str,
        /// Where it is.
        at: FileOffset,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },
    /// A field points past the end of the file.
    #[error(
        "{field} at {at}: expected bytes inside the file, found {:#x} to {:#x} of a file that \
         ends at {end:#x}; is the file cut off?",
        target.start, target.end
    )]
    PastEnd {
        /// The field, in the specification's words.
        field: &'static str,
        /// Where it is.
        at: FileOffset,
        /// Which bytes it asks for.
        target: Range<u64>,
        /// Length of the file.
        end: u64,
    },
    /// The content of a section passes the end of the file.
    #[error(
        "PointerToRawData of section {index} ({section}) at {at}: expected content inside the \
         file, found {:#x} to {:#x} of a file that ends at {end:#x}; is the file cut off?",
        content.start, content.end
    )]
    SectionPastEnd {
        /// Its name.
        section: SectionName,
        /// Its position in the section table.
        index: usize,
        /// Where the pointer is.
        at: FileOffset,
        /// Which bytes are its content.
        content: Range<u64>,
        /// Length of the file.
        end: u64,
    },

    /// The digest of a signature cannot be defined for this image.
    #[error("Authenticode digest: {field} at {at}: expected {expected}, found {found:#x}")]
    Authenticode {
        /// The field, in the specification's words.
        field: &'static str,
        /// Where it is.
        at: FileOffset,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: u64,
    },

    /// Not a name that a section can have.
    #[error("section name {name:?}: {reason}")]
    SectionName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such section.
    #[error("the image has no section {name}")]
    NoSection {
        /// The name that was looked for.
        name: SectionName,
    },
    /// Editing would break the image's signature.
    #[error(
        "the image is signed (certificate table at file offset {:#x} to {:#x}) and editing \
         breaks the signature: have it dropped, and sign the result again",
        certificates.start, certificates.end
    )]
    Signed {
        /// Where its signatures are.
        certificates: Range<u64>,
    },
    /// The section cannot go, because something else in the image needs it.
    #[error("section {section} cannot be changed: it holds the image's {holds} (at {at:#x})")]
    InUse {
        /// The section.
        section: SectionName,
        /// What is in it.
        holds: &'static str,
        /// Where, relative to the image in memory or in the file.
        at: u64,
    },
    /// The edit would have to move file data, and this format forbids that.
    #[error(
        "file data from {from} on would have to move to {purpose}, but the layout of {format} \
         is fixed"
    )]
    FixedLayout {
        /// The format, with its article.
        format: &'static str,
        /// What it is needed for.
        purpose: &'static str,
        /// The first byte that would move.
        from: FileOffset,
    },
    /// No room for one more entry, because other bytes lie there.
    #[error(
        "the section table has no room: its next entry would be at {at}, where {owner} lies and \
         cannot move"
    )]
    TableFull {
        /// Where the entry would be.
        at: FileOffset,
        /// What lies there.
        owner: &'static str,
    },
    /// The headers would grow into the first section, in memory.
    #[error(
        "the section table has no room: SizeOfHeaders would become {size:#x} and pass the first \
         section's address {rva}"
    )]
    HeadersTooLarge {
        /// What `SizeOfHeaders` would be.
        size: u64,
        /// Where the first section lies in memory.
        rva: Rva,
    },
    /// A field has too few bits for what the edit needs.
    #[error("{field} would become {value:#x}, more than the field can hold")]
    TooLarge {
        /// The field, in the specification's words.
        field: &'static str,
        /// What it would have to be.
        value: u64,
    },
}

impl PeError {
    /// Returns where the field is that is wrong, if it is one.
    #[must_use]
    pub fn offset(&self) -> Option<FileOffset> {
        match self {
            Self::Read { at, .. }
            | Self::Truncated { at, .. }
            | Self::Pe32 { at, .. }
            | Self::Mismatch { at, .. }
            | Self::PastEnd { at, .. }
            | Self::SectionPastEnd { at, .. } => Some(*at),
            _ => None,
        }
    }
}
