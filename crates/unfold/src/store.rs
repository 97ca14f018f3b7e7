//! Where decompressed bytes go: the caller's memory, not this crate's.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ukexec_bpf::{Source, SourceId};

/// Makes outputs for decompressed payloads.
pub trait Store {
    /// Returns a new, empty output.
    ///
    /// # Errors
    ///
    /// The medium's error.
    fn create(&mut self) -> io::Result<Box<dyn Output>>;
}

/// A growing buffer. One that is dropped unfinished leaves nothing behind.
pub trait Output: io::Write {
    /// Ends the writing and returns the bytes as a source. Its id must be one
    /// that no other source of the unfolding has, or ropes mix them up.
    ///
    /// # Errors
    ///
    /// The medium's error.
    fn finish(self: Box<Self>) -> io::Result<(SourceId, Arc<dyn Source>)>;
}

/// A [`Store`] in this process's memory, for tests and small images.
#[derive(Debug)]
pub struct MemoryStore {
    next: SourceId,
}

impl MemoryStore {
    /// Returns a store whose sources are numbered from `first` on.
    #[must_use]
    pub fn new(first: SourceId) -> Self {
        Self { next: first }
    }
}

impl Default for MemoryStore {
    /// Numbers from 2^31 on, so that a caller is free to use what is below.
    fn default() -> Self {
        Self::new(SourceId(1 << 31))
    }
}

impl Store for MemoryStore {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        let id = self.next;
        let next =
            id.0.checked_add(1)
                .ok_or_else(|| io::Error::other("no source id is left"))?;
        self.next = SourceId(next);
        Ok(Box::new(MemoryOutput {
            id,
            bytes: Vec::new(),
        }))
    }
}

struct MemoryOutput {
    id: SourceId,
    bytes: Vec<u8>,
}

impl io::Write for MemoryOutput {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.bytes
            .try_reserve(buf.len())
            .map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for MemoryOutput {
    fn finish(self: Box<Self>) -> io::Result<(SourceId, Arc<dyn Source>)> {
        Ok((self.id, Arc::new(Bytes::from(self.bytes))))
    }
}
