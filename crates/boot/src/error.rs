//! The crate's error type.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::error::Error;
use core::fmt;

use ukexec_pe::PeError;

use crate::format::KernelFormat;
use crate::look_alike::LookAlike;

/// Why an image is no kernel.
#[derive(Debug)]
pub struct BootError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    look_alike: Option<LookAlike>,
    /// The byte of the image that is wrong.
    at: Option<u64>,
    cause: Option<Box<dyn Error + Send + Sync>>,
    is_read: bool,
}

impl BootError {
    /// Returns the byte of the image that is wrong, where it is one.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.at
    }

    /// Returns what the image is instead, where it is something that has a name.
    #[must_use]
    pub fn look_alike(&self) -> Option<&LookAlike> {
        self.0.look_alike.as_ref()
    }

    /// Returns why it is no kernel, without what to do: about an image that somebody
    /// else chose.
    #[must_use]
    pub fn reason(&self) -> String {
        match &self.0.look_alike {
            Some(look_alike) if self.0.cause.is_none() => format!("not a kernel but {look_alike}"),
            _ => self.0.text.clone(),
        }
    }

    /// Returns whether the image could not be read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.is_read
    }

    fn new(text: String) -> Self {
        Self(Box::new(Inner {
            text,
            look_alike: None,
            at: None,
            cause: None,
            is_read: false,
        }))
    }

    fn caused(mut self, at: Option<u64>, cause: impl Error + Send + Sync + 'static) -> Self {
        self.0.at = at;
        self.0.cause = Some(Box::new(cause));
        self
    }

    pub(crate) fn read(at: u64, cause: impl Error + Send + Sync + 'static) -> Self {
        let text = format!("reading the image at {at:#x}");
        let mut error = Self::new(text).caused(Some(at), cause);
        error.0.is_read = true;
        error
    }

    /// The image begins like a kernel of `format` and ends inside the header.
    pub(crate) fn too_short(format: KernelFormat, needed: u64, found: u64) -> Self {
        Self::new(format!(
            "{format}: the header needs {needed:#x} bytes, the file has {found:#x}; it was cut \
             off: copy it again"
        ))
    }

    /// The image is what `look_alike` says, with a fault in its headers.
    pub(crate) fn damaged(look_alike: LookAlike, cause: PeError) -> Self {
        let mut error = Self::new(format!("{look_alike}")).caused(cause.offset(), cause);
        error.0.look_alike = Some(look_alike);
        error
    }

    /// A field of the ELF header has a value that no kernel has.
    pub(crate) fn elf(field: &str, expected: &str, found: impl Into<u64>) -> Self {
        let found = found.into();
        Self::new(format!(
            "not a kernel: {field} of the ELF header: expected {expected}, found {found:#x}"
        ))
    }
}

/// The image is something else.
impl From<LookAlike> for BootError {
    fn from(look_alike: LookAlike) -> Self {
        let LookAlike { name, advice, .. } = &look_alike;
        let mut error = Self::new(format!("not a kernel but {name}; {advice}"));
        error.0.look_alike = Some(look_alike);
        error
    }
}

/// The image begins like a kernel or a PE file, and is none.
impl From<PeError> for BootError {
    fn from(cause: PeError) -> Self {
        let text = "no sound PE";
        Self::new(text.into()).caused(cause.offset(), cause)
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Error for BootError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&**self.0.cause.as_ref()?)
    }
}
