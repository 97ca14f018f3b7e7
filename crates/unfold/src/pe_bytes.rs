//! Ropes as what the PE view reads from.

use std::io;

use ukexec_bpf::{Rope, RopeError};
use ukexec_pe::ReadAt;

/// Lets [`ukexec_pe`] read a rope.
#[derive(Clone, Copy, Debug)]
pub struct PeBytes<'a>(pub &'a Rope);

impl ReadAt for PeBytes<'_> {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf).map_err(|error| match error {
            RopeError::OutOfRange { .. } => io::ErrorKind::UnexpectedEof.into(),
            RopeError::Read { cause, .. } => cause,
            other => io::Error::other(other),
        })
    }
}
