//! Moving bytes within guest memory, and out of it by value.

use bytes::Bytes;

use super::account::Account;
use super::page_cache::PAGE;
use super::sparse::Segment;
use super::{Access, Memory};
use crate::costs;
use crate::{BpfError, Piece, Rope};

/// Bytes of guest memory as they were when they were taken.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    /// References where the guest memory held references or is a rope, zeros
    /// where a record was never written, copies where it was private.
    pub rope: Rope,
    /// How many bytes are copies in new memory. [`Memory::excerpt`] takes no more
    /// than [`crate::Meter::memory`] has left; who keeps the rope charges them.
    pub copied: u64,
}

impl Memory {
    /// Makes `len` bytes at `addr` zeros.
    pub(crate) fn zero(&mut self, addr: u64, len: u64) -> Result<(), BpfError> {
        self.check(Access::Write, addr, len)?;
        let zeros = Segment::Zeros(len);
        self.at(addr, |region, offset, account| {
            region.put(offset, &zeros, 0, account)
        })
    }

    /// Copies `len` bytes from `from` to `to`, which may overlap. A record
    /// takes what comes from a rope as a reference where that is worth it.
    pub(crate) fn copy(&mut self, to: u64, from: u64, len: u64) -> Result<(), BpfError> {
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
    fn copy_overlapping(&mut self, to: u64, from: u64, len: u64) -> Result<(), BpfError> {
        let mut segments = Vec::new();
        let (mut taken, mut copied) = (0, 0);
        while taken < len {
            let segment = self.at(from + taken, |region, offset, account| {
                region.segment(offset, len - taken, account)
            })?;
            taken += segment.len().max(1);
            if let Segment::Bytes(bytes) = &segment {
                copied += bytes.len() as u64;
            }
            self.account.ask(copied)?;
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
    /// Short pieces next to each other are copied together, so that of two
    /// neighbours one has at least a page: what a program made of crumbs is no
    /// burden to whoever takes it.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if not all of them can be read.
    pub fn excerpt(&mut self, addr: u64, len: u64) -> Result<Excerpt, BpfError> {
        self.check(Access::Read, addr, len)?;
        let mut joiner = Joiner::default();
        let mut done = 0;
        while done < len {
            let taken = self.at(addr + done, |region, offset, account| {
                let segment = region.segment(offset, len - done, account)?;
                let len = segment.len();
                joiner.add(segment, account)?;
                Ok(len)
            })?;
            done += taken.max(1);
        }
        joiner.flush();
        Ok(joiner.excerpt)
    }
}

/// Puts an [`Excerpt`] together.
#[derive(Debug, Default)]
struct Joiner {
    excerpt: Excerpt,
    /// The last piece if it is short. It stays a reference if no short one
    /// follows.
    lone: Rope,
    /// The last bytes if they are copies; then there is no lone piece.
    copies: Vec<u8>,
}

impl Joiner {
    fn add(&mut self, segment: Segment, account: &mut Account) -> Result<(), BpfError> {
        match segment {
            Segment::Zeros(len) => self.add_piece(Piece::Zeros(len), account),
            Segment::Reference(rope) => rope
                .pieces()
                .iter()
                .try_for_each(|piece| self.add_piece(piece.clone(), account)),
            Segment::Bytes(bytes) => {
                account.worked(costs::moved(bytes.len() as u64));
                self.copy_lone(account)?;
                self.copy(&bytes, account)
            }
        }
    }

    fn add_piece(&mut self, piece: Piece, account: &mut Account) -> Result<(), BpfError> {
        if piece.len() >= SHORT {
            self.flush();
            self.excerpt.rope.push(piece);
            return Ok(());
        }
        self.lone.push(piece);
        if self.lone.pieces().len() > 1 || !self.copies.is_empty() {
            return self.copy_lone(account);
        }
        if self.lone.len() >= SHORT {
            self.flush();
        }
        Ok(())
    }

    /// Makes the lone piece (and what was just put behind it) copies.
    fn copy_lone(&mut self, account: &mut Account) -> Result<(), BpfError> {
        let lone = std::mem::take(&mut self.lone);
        if lone.is_empty() {
            return Ok(());
        }
        account.worked(costs::fetched(lone.pieces().len() as u64, lone.len()));
        self.copy(&lone.to_vec()?, account)
    }

    fn copy(&mut self, bytes: &[u8], account: &Account) -> Result<(), BpfError> {
        self.excerpt.copied += bytes.len() as u64;
        account.ask(self.excerpt.copied)?;
        self.copies.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the run of short pieces or copies.
    fn flush(&mut self) {
        let copies = Bytes::from(std::mem::take(&mut self.copies));
        self.excerpt.rope.push(Piece::Memory(copies));
        self.excerpt.rope.append(&std::mem::take(&mut self.lone));
    }
}

/// Copies up to this size go through a buffer on the stack.
const FEW: usize = 255;
/// A copy into a record of at least so many bytes is kept as a reference.
const WORTHWHILE: u64 = 256;
/// Pieces of fewer bytes are short.
const SHORT: u64 = PAGE as u64;
