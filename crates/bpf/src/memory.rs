//! Guest memory: all that a program can address.
//!
//! A guest address is `region << 32 | offset`; it is never a host address.
//! Region 0 does not exist, so NULL points nowhere. A region is a rope shown
//! read-only, private bytes, or a ring-buffer record.

mod access;

use std::borrow::Cow;

pub use self::access::{Access, AccessError};
use crate::Rope;
use crate::vm::Fault;

/// All that a program can address.
#[derive(Debug, Default)]
pub struct Memory {}

/// The bytes of a span at the moment it was taken.
#[derive(Clone, Debug)]
pub struct Span {
    /// References where the guest memory held references or is a rope, zeros
    /// where a record was never written, copies where it was private.
    pub rope: Rope,
    /// How many bytes are copies in new memory. [`Memory::span`] takes no more
    /// than [`crate::Meter::memory`] has left; who keeps the rope charges them.
    pub copied: u64,
}

impl Memory {
    /// Adds a read-only region that shows `rope`, and returns its address.
    ///
    /// # Errors
    ///
    /// [`AccessError::AddressSpace`] if the rope is 4 GiB or longer.
    pub fn add_rope(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        rope: Rope,
    ) -> Result<u64, AccessError> {
        unimplemented!()
    }

    /// Adds a region of private memory, and returns its address. The bytes are
    /// charged to [`crate::Meter::memory`].
    ///
    /// # Errors
    ///
    /// [`AccessError::OutOfMemory`] if the budget does not have them (found
    /// out at once during a run, else when the next one starts),
    /// [`AccessError::AddressSpace`] if they are 4 GiB or more.
    pub fn add_bytes(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        bytes: Vec<u8>,
        writable: bool,
    ) -> Result<u64, AccessError> {
        unimplemented!()
    }

    /// Fills `buf` from the bytes at `addr`.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if not all of them can be read.
    pub fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), AccessError> {
        unimplemented!()
    }

    /// Returns the text at `addr` up to its NUL, which is not part of it.
    ///
    /// # Errors
    ///
    /// [`AccessError::Unterminated`] if there is no NUL in the first `max`
    /// bytes, any other [`AccessError`] if memory ends before.
    pub fn read_cstr(&mut self, addr: u64, max: usize) -> Result<Vec<u8>, AccessError> {
        unimplemented!()
    }

    /// Writes `bytes` at `addr`.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if not all of them can be written.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), AccessError> {
        unimplemented!()
    }

    /// Returns the `len` bytes at `addr` by value: later writes of the program
    /// do not change them.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if not all of them can be read.
    pub fn span(&mut self, addr: u64, len: u64) -> Result<Span, AccessError> {
        unimplemented!()
    }

    /// Makes the region at `object` a counted reference: the program must give
    /// it back before the run ends. `kind` names it in messages, with its
    /// article (`a mem_range_result`). The regions in `also` live as long.
    /// The instruction that runs now is remembered.
    pub fn acquire(&mut self, kind: &'static str, object: u64, also: &[u64]) {
        unimplemented!()
    }

    /// Takes the reference `kind` at `object` back and frees its regions.
    ///
    /// # Errors
    ///
    /// [`Fault::NotHeld`] if no such reference is held at that address: never
    /// acquired, released before, or of another kind.
    pub fn release(&mut self, kind: &'static str, object: u64) -> Result<(), Fault> {
        unimplemented!()
    }

    /// Returns `addr` as a person reads it: `image+0x1f3`.
    #[must_use]
    pub fn describe(&self, addr: u64) -> String {
        unimplemented!()
    }
}
