//! Why the rules of systemd-stub do not fit an image.

use std::error::Error;
use std::io;

/// Why nothing can be said of an image, or of a section.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StubError(Box<dyn Error + Send + Sync>);

impl StubError {
    pub(crate) fn new(text: String) -> Self {
        Self(text.into())
    }
}

impl From<io::Error> for StubError {
    fn from(error: io::Error) -> Self {
        Self(error.into())
    }
}
