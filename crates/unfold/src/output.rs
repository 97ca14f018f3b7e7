//! An output that counts, and remembers what went wrong in it.

use std::io;

use crate::Output;
use crate::costs::wide;

/// Passes on to an [`Output`]. A decompressor may hide why a write failed;
/// here it stays known, since a full disk is not the image's fault.
pub(crate) struct CountedOutput {
    pub(crate) inner: Box<dyn Output>,
    pub(crate) written: u64,
    /// The first error of a write.
    pub(crate) error: Option<io::Error>,
}

impl CountedOutput {
    pub(crate) fn new(inner: Box<dyn Output>) -> Self {
        Self {
            inner,
            written: 0,
            error: None,
        }
    }

    fn remember(&mut self, error: io::Error) -> io::Error {
        let shown = io::Error::from(error.kind());
        if error.kind() != io::ErrorKind::Interrupted {
            self.error.get_or_insert(error);
        }
        shown
    }
}

impl io::Write for CountedOutput {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.inner.write(buf) {
            Ok(len) => {
                self.written = self.written.saturating_add(wide(len));
                Ok(len)
            }
            Err(error) => Err(self.remember(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().map_err(|error| self.remember(error))
    }
}
