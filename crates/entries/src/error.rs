//! Why there is no such boot entry.

/// Why there is no such boot entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EntriesError(String);

impl EntriesError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
