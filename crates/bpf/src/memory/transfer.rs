//! Moving bytes within guest memory, and out of it by value.

use bytes::Bytes;

use super::sparse::Segment;
use super::{Access, AccessError, Memory};
use crate::{Piece, Rope};

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
    /// Makes `len` bytes at `addr` zeros.
    pub(crate) fn zero(&mut self, addr: u64, len: u64) -> Result<(), AccessError> {
        self.check(Access::Write, addr, len)?;
        let zeros = Segment::Zeros(len);
        self.at(addr, |region, offset, account| {
            region.put(offset, &zeros, 0, account)
        })
    }

    /// Copies `len` bytes from `from` to `to`, which may overlap. A record
    /// takes what comes from a rope as a reference where that is worth it.
    pub(crate) fn copy(&mut self, to: u64, from: u64, len: u64) -> Result<(), AccessError> {
        self.check(Access::Write, to, len)?;
        self.check(Access::Read, from, len)?;
        if let Some(few) = [0; FEW].get_mut(..len as usize) {
            self.read(from, few)?;
            return self.write(to, few);
        }
        if to >> 32 == from >> 32 && to.abs_diff(from) < len {
            return self.copy_overlapping(to, from, len);
        }
        let mut done = 0;
        while done < len {
            let segment = self.at(from + done, |region, offset, account| {
                region.segment(offset, len - done, account)
            })?;
            self.at(to + done, |region, offset, account| {
                region.put(offset, &segment, WORTHWHILE, account)
            })?;
            done += segment.len().max(1);
        }
        Ok(())
    }

    /// [`Memory::copy`] inside one region: everything is taken before anything
    /// is put.
    fn copy_overlapping(&mut self, to: u64, from: u64, len: u64) -> Result<(), AccessError> {
        let mut segments = Vec::new();
        let (mut taken, mut copied) = (0, 0);
        while taken < len {
            let segment = self.at(from + taken, |region, offset, account| {
                region.segment(offset, len - taken, account)
            })?;
            taken += segment.len().max(1);
            copied += if matches!(segment, Segment::Bytes(_)) {
                segment.len()
            } else {
                0
            };
            self.ask(copied)?;
            segments.push(segment);
        }
        let mut put = 0;
        for segment in segments {
            self.at(to + put, |region, offset, account| {
                region.put(offset, &segment, WORTHWHILE, account)
            })?;
            put += segment.len();
        }
        Ok(())
    }

    /// Returns the `len` bytes at `addr` by value: later writes of the program
    /// do not change them.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if not all of them can be read.
    pub fn span(&mut self, addr: u64, len: u64) -> Result<Span, AccessError> {
        self.check(Access::Read, addr, len)?;
        let mut span = Span {
            rope: Rope::new(),
            copied: 0,
        };
        let mut private = Vec::new();
        let mut done = 0;
        while done < len {
            let segment = self.at(addr + done, |region, offset, account| {
                region.segment(offset, len - done, account)
            })?;
            done += segment.len().max(1);
            if let Segment::Bytes(bytes) = &segment {
                span.copied += bytes.len() as u64;
                self.account.moved(bytes.len() as u64);
                self.ask(span.copied)?;
                private.extend_from_slice(bytes);
                continue;
            }
            span.rope
                .push(Piece::Memory(Bytes::from(std::mem::take(&mut private))));
            match segment {
                Segment::Reference(rope) => span.rope.append(&rope),
                Segment::Zeros(len) => span.rope.push(Piece::Zeros(len)),
                Segment::Bytes(_) => {}
            }
        }
        span.rope.push(Piece::Memory(Bytes::from(private)));
        Ok(span)
    }
}

/// Copies up to this size go through a buffer on the stack.
const FEW: usize = 255;
/// A copy into a record of at least so many bytes is kept as a reference.
const WORTHWHILE: u64 = 256;
