//! The crate's error type.

use alloc::boxed::Box;
use alloc::string::String;
use core::error::Error;
use core::fmt;

/// Why there is no layout, or why one must not be loaded.
#[derive(Debug)]
pub struct LayoutError {
    text: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl LayoutError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            cause: None,
        }
    }

    pub(crate) fn caused(
        text: impl Into<String>,
        cause: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            text: text.into(),
            cause: Some(Box::new(cause)),
        }
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for LayoutError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&**self.cause.as_ref()?)
    }
}
