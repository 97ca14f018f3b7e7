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

/// A [`Store`] in this process's memory, for tests and small images. It numbers
/// its sources from 2^31 on, so that a caller is free to use what is below.
#[derive(Debug, Default)]
pub struct MemoryStore {
    made: u32,
}

impl Store for MemoryStore {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        let id = (1_u32 << 31).checked_add(self.made);
        let id = id.ok_or_else(|| io::Error::other("no source id is left"))?;
        self.made = self.made.saturating_add(1);
        Ok(Box::new(MemoryOutput {
            id: SourceId(id),
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
