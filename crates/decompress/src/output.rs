//! The decompressed output: a writer behind the cap.

use std::cell::Cell;
use std::io::Write;

use crate::error::Fault;
use crate::input::wide;

/// The output. Never writes past its limit.
pub(crate) struct Output<'a> {
    pub(crate) writer: &'a mut dyn Write,
    /// Counts from 0.
    pub(crate) written: &'a Cell<u64>,
    pub(crate) limit: u64,
}

impl Output<'_> {
    /// Writes all of `bytes`, or nothing where that would pass the limit.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (at, limit) = (self.written(), self.limit);
        let end = at
            .checked_add(wide(bytes.len()))
            .filter(|end| *end <= limit);
        let end = end.ok_or(Fault::Output(limit))?;
        self.writer.write_all(bytes).map_err(|error| {
            let text = format!("could not write the decompressed output at offset {at:#x}");
            Fault::Io(text, error)
        })?;
        self.written.set(end);
        Ok(())
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }
}
