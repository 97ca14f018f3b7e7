//! The strings of a set of types.

use std::sync::Arc;

use crate::bounds::{at_most, before_nul, rest, size, small};

/// The longest name that is read; what is longer counts as cut there
/// (`KSYM_NAME_LEN` of Linux is 512).
const MAX_NAME: usize = 512;

/// Strings with a NUL behind each, by their offsets. Copies share the bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings(Arc<Vec<u8>>);

impl Strings {
    /// Returns the string at `offset` up to its NUL, at most [`MAX_NAME`] bytes
    /// of it.
    pub(crate) fn get(&self, offset: u32) -> &[u8] {
        before_nul(at_most(rest(&self.0, size(offset)), MAX_NAME))
    }

    /// Returns how many bytes they have, with their NULs.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a string, and returns its offset.
    pub(crate) fn push(&mut self, text: &str) -> u32 {
        let offset = small(self.0.len());
        Arc::make_mut(&mut self.0).extend(text.bytes().chain([0]));
        offset
    }
}

impl From<&[u8]> for Strings {
    fn from(bytes: &[u8]) -> Self {
        Self(Arc::new(bytes.to_vec()))
    }
}
