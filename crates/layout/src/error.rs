//! The crate's error type.

use alloc::string::String;
use core::error::Error;
use core::fmt;

/// Why there is no layout, or why one must not be loaded.
#[derive(Debug)]
pub struct LayoutError(String);

impl LayoutError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for LayoutError {}
