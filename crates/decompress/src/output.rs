//! The decompressed output: a writer behind the cap.

use std::cell::Cell;
use std::io::Write;

use crate::compression::Compression;
use crate::error::DecompressError;
use crate::input::wide;

/// The output. Never writes past its limit.
pub(crate) struct Output<'a> {
    writer: &'a mut dyn Write,
    compression: Compression,
    written: &'a Cell<u64>,
    limit: u64,
}

impl<'a> Output<'a> {
    /// `written` is 0 and counts from here on.
    pub(crate) fn new(
        writer: &'a mut dyn Write,
        compression: Compression,
        limit: u64,
        written: &'a Cell<u64>,
    ) -> Self {
        Self {
            writer,
            compression,
            written,
            limit,
        }
    }

    /// Writes all of `bytes`, or nothing where that would pass the limit.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DecompressError> {
        let end = self.written().checked_add(wide(bytes.len()));
        let end = end
            .filter(|end| *end <= self.limit)
            .ok_or(DecompressError::OutputLimit {
                compression: self.compression,
                limit: self.limit,
            })?;
        self.writer
            .write_all(bytes)
            .map_err(|source| DecompressError::Write {
                at: self.written.get(),
                source,
            })?;
        self.written.set(end);
        Ok(())
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}
