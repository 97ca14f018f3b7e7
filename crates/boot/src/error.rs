//! The crate's error type.

use alloc::boxed::Box;
use core::error::Error;

use ukexec_pe::PeError;

use crate::format::KernelFormat;
use crate::look_alike::LookAlike;

/// Why an image is no kernel.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// It is something else.
    #[error("not a kernel but {look_alike}; {advice}", look_alike = .0, advice = .0.advice())]
    NotAKernel(LookAlike),
    /// It begins like a kernel or a PE file, and is none.
    #[error("not a kernel, and no well-formed PE file either: {0}")]
    Pe(#[source] PeError),
    /// It begins like a kernel and ends inside the header.
    #[error(
        "{format}: the header needs {needed:#x} bytes, the file has {found:#x}; it was cut off: \
         copy it again"
    )]
    TooShort {
        /// What it begins like.
        format: KernelFormat,
        /// Bytes of the header.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// It is an ELF file that no kernel is.
    #[error("not a kernel: {field} of the ELF header: expected {expected}, found {found:#x}")]
    Elf {
        /// The field, as the specification names it.
        field: &'static str,
        /// What a kernel has there.
        expected: &'static str,
        /// What is there.
        found: u64,
    },
    /// It could not be read.
    #[error("reading the image at {at:#x}: {cause}")]
    Read {
        /// Offset in the image.
        at: u64,
        /// Why it failed.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
}

impl BootError {
    /// Returns the byte of the image that is wrong, where it is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Pe(error) => error.offset(),
            Self::Read { at, .. } => Some(*at),
            _ => None,
        }
    }
}
