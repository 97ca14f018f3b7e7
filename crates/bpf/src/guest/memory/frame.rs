//! The stack frame of a function.

/// Bytes that are zeros whenever a function starts, and that nobody reaches
/// when none is active. Functions use little of them, from the end down, so
/// only what was written is made zeros again.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Box<[u8]>,
    /// No byte before this one was written since the function started.
    written: usize,
    active: bool,
}

impl Frame {
    pub(super) fn new(len: usize) -> Self {
        Self {
            bytes: vec![0; len].into(),
            written: len,
            active: false,
        }
    }

    /// Returns how many bytes it holds, reachable or not.
    pub(super) fn capacity(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A function starts.
    pub(super) fn open(&mut self) {
        self.active = true;
    }

    /// The function returns; pointers into the frame are dangling now.
    pub(super) fn close(&mut self) {
        self.active = false;
        if let Some(written) = self.bytes.get_mut(self.written..) {
            written.fill(0);
        }
        self.written = self.bytes.len();
    }

    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Returns what can be read.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        if self.active { &self.bytes } else { &[] }
    }

    /// Returns what can be written, of which the caller leaves the bytes
    /// before `start` alone.
    #[inline(always)]
    pub(super) fn bytes_from(&mut self, start: usize) -> Option<&mut [u8]> {
        if !self.active {
            return None;
        }
        self.written = self.written.min(start);
        self.bytes.get_mut(start..)
    }
}
