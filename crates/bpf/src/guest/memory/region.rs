//! One region of guest memory.

use std::sync::Arc;

use super::account::Account;
use super::frame::Frame;
use super::page_cache::{PAGE, PageCache};
use super::sparse::{Segment, Sparse};
use crate::bounds;
use crate::costs;
use crate::denied::{Gone, Shape, Shown};
use crate::{BpfError, Piece, Rope, RopeError};

/// Copies of private bytes are made in steps of this size.
const STEP: u64 = 64 << 10;
/// Reads of ropes up to this size go through the cache.
const SHORT: usize = 256;

#[derive(Debug)]
pub(super) struct Region {
    pub(super) name: Arc<str>,
    pub(super) body: Body,
    /// Bytes from one value of an array to the next; 0 of everything else.
    pub(super) apart: u32,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Private memory.
    Bytes { bytes: Vec<u8>, writable: bool },
    /// A rope, read-only.
    Rope(Box<CachedRope>),
    /// A ring-buffer record.
    Record(Box<Sparse>),
    /// Something to point to, not to look into: a map.
    Handle,
    /// A stack frame.
    Frame(Frame),
    /// It was given back.
    Gone(Gone),
}

/// A rope with a cache of its pages.
#[derive(Debug)]
pub(super) struct CachedRope {
    pub(super) rope: Rope,
    pub(super) cache: PageCache,
    /// Whether none of its bytes are private memory. A reference to that would keep all of it,
    /// and be charged for nothing: bytes of a rope with some are copied.
    is_lent: bool,
    /// The bytes charged by [`Account::take`].
    taken: u64,
}

impl Region {
    /// Returns it as messages show it.
    pub(super) fn shown(&self) -> Shown {
        let shape = match &self.body {
            Body::Frame(frame) => Shape::Frame(frame.capacity()),
            _ if self.apart != 0 => Shape::Array(self.apart),
            _ => Shape::Plain,
        };
        let name = Arc::clone(&self.name);
        Shown { name, shape }
    }

    pub(super) fn len(&self) -> u64 {
        match &self.body {
            Body::Bytes { bytes, .. } => bytes.len() as u64,
            Body::Rope(cached) => cached.rope.len(),
            Body::Record(record) => record.len().into(),
            Body::Frame(frame) => frame.bytes().len() as u64,
            Body::Handle | Body::Gone(_) => 0,
        }
    }

    /// Returns how many bytes of the account come back with this region.
    pub(super) fn cost(&self) -> u64 {
        match &self.body {
            Body::Rope(cached) => cached.taken,
            Body::Record(record) => record.cost(),
            Body::Frame(frame) => frame.capacity(),
            Body::Bytes { .. } | Body::Handle | Body::Gone(_) => self.len(),
        }
    }

    /// Fills `buf` from `offset` (checked).
    pub(super) fn read(
        &mut self,
        offset: u32,
        buf: &mut [u8],
        account: &mut Account,
    ) -> Result<(), BpfError> {
        let bytes: &[u8] = match &mut self.body {
            Body::Bytes { bytes, .. } => bytes,
            Body::Frame(frame) => frame.bytes(),
            Body::Rope(cached) => return cached.read(offset, buf, account),
            Body::Record(record) => {
                account.worked(costs::moved(buf.len() as u64));
                return record.read(offset, buf, account);
            }
            Body::Handle | Body::Gone(_) => return Ok(()),
        };
        account.worked(costs::moved(buf.len() as u64));
        let rest = bytes.get(offset as usize..);
        if let Some(part) = rest.and_then(|rest| rest.get(..buf.len())) {
            buf.copy_from_slice(part);
        }
        Ok(())
    }

    /// Writes `bytes` at `offset` (checked).
    pub(super) fn write(
        &mut self,
        offset: u32,
        bytes: &[u8],
        account: &mut Account,
    ) -> Result<(), BpfError> {
        account.worked(costs::moved(bytes.len() as u64));
        if let Body::Record(record) = &mut self.body {
            record.write(offset, bytes, account)?;
        } else if let Some(part) = self.body.part_mut(offset, bytes.len()) {
            part.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Returns the bytes from `offset` on that are of one kind, at most `len`
    /// (checked).
    pub(super) fn segment(
        &mut self,
        offset: u32,
        len: u64,
        account: &mut Account,
    ) -> Result<Segment, BpfError> {
        match &mut self.body {
            Body::Bytes { .. } | Body::Frame(_) => {
                let mut bytes = vec![0; len.min(STEP) as usize];
                self.read(offset, &mut bytes, account)?;
                Ok(Segment::Bytes(bytes))
            }
            Body::Rope(cached) => {
                let start = u64::from(offset);
                let len = if cached.is_lent { len } else { len.min(STEP) };
                let part = cached.rope.slice(start..start + len)?;
                account.worked(costs::stepped(part.pieces().len()));
                if cached.is_lent {
                    return Ok(Segment::Reference(part));
                }
                match part.pieces().first() {
                    Some(Piece::Memory(bytes)) => Ok(Segment::Bytes(bytes.to_vec())),
                    Some(piece) => Ok(Segment::Reference(part.slice(0..piece.len())?)),
                    None => Ok(Segment::Zeros(len)),
                }
            }
            Body::Record(record) => record.segment(offset, len, account),
            Body::Handle | Body::Gone(_) => Ok(Segment::Zeros(len)),
        }
    }

    /// Puts `segment` at `offset` (checked). A record takes references as they
    /// are if they have at least `worthwhile` bytes.
    pub(super) fn put(
        &mut self,
        offset: u32,
        segment: &Segment,
        worthwhile: u64,
        account: &mut Account,
    ) -> Result<(), BpfError> {
        match (&mut self.body, segment) {
            (Body::Record(record), Segment::Reference(rope)) if rope.len() >= worthwhile => {
                record.refer(offset, rope.clone(), account)
            }
            (Body::Record(record), Segment::Zeros(len)) => {
                record.zero(offset, *len as u32, account)
            }
            (body @ (Body::Bytes { .. } | Body::Frame(_)), Segment::Zeros(len)) => {
                account.worked(costs::moved(*len));
                if let Some(part) = body.part_mut(offset, *len as usize) {
                    part.fill(0);
                }
                Ok(())
            }
            (body @ (Body::Bytes { .. } | Body::Frame(_)), Segment::Reference(rope)) => {
                account.worked(costs::fetched(rope.pieces().len() as u64, rope.len()));
                match body.part_mut(offset, rope.len() as usize) {
                    Some(part) => Ok(rope.read_at(0, part)?),
                    None => Ok(()),
                }
            }
            (Body::Record(_), Segment::Reference(rope)) => {
                account.worked(costs::fetched(rope.pieces().len() as u64, rope.len()));
                let bytes = rope.to_vec()?;
                self.write(offset, &bytes, account)
            }
            (_, Segment::Bytes(bytes)) => self.write(offset, bytes, account),
            (Body::Rope(_) | Body::Handle | Body::Gone(_), _) => Ok(()),
        }
    }
}

impl Body {
    /// Returns `len` bytes from `offset` for writing, of bodies that are
    /// nothing but bytes.
    fn part_mut(&mut self, offset: u32, len: usize) -> Option<&mut [u8]> {
        let start = offset as usize;
        let rest = match self {
            Self::Bytes { bytes, .. } => bytes.get_mut(start..)?,
            Self::Frame(frame) => frame.bytes_from(start)?,
            Self::Rope(_) | Self::Record(_) | Self::Handle | Self::Gone(_) => return None,
        };
        rest.get_mut(..len)
    }
}

impl CachedRope {
    pub(super) fn new(rope: Rope) -> Self {
        let is_private = |piece: &Piece| matches!(piece, Piece::Memory(_));
        Self {
            is_lent: !rope.pieces().iter().any(is_private),
            rope,
            cache: PageCache::default(),
            taken: 0,
        }
    }

    /// Fills `buf` from `offset`: few bytes through the cache, many past it.
    fn read(&mut self, offset: u32, buf: &mut [u8], account: &mut Account) -> Result<(), BpfError> {
        if buf.len() > SHORT {
            let (start, len) = (u64::from(offset), buf.len() as u64);
            account.worked(costs::fetched(self.rope.pieces_in(start..start + len), len));
            return Ok(self.rope.read_at(start, buf)?);
        }
        account.worked(costs::moved(buf.len() as u64));
        let mut offset = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let bytes = self.page(offset / PAGE, account)?;
            let bytes = bounds::rest(bytes, (offset % PAGE) as usize);
            let (now, later) = rest.split_at_mut(rest.len().min(bytes.len()));
            let Some(bytes) = bytes.get(..now.len()).filter(|bytes| !bytes.is_empty()) else {
                let (start, len) = (u64::from(offset), self.rope.len());
                let end = start.saturating_add(later.len() as u64);
                return Err(RopeError::OutOfRange { start, end, len }.into());
            };
            now.copy_from_slice(bytes);
            offset += now.len() as u32;
            rest = later;
        }
        Ok(())
    }

    fn page(&mut self, page: u32, account: &mut Account) -> Result<&[u8], BpfError> {
        let Self {
            rope, cache, taken, ..
        } = self;
        cache.page(page, |bytes| {
            if bytes.capacity() == 0 {
                account.take(PAGE.into())?;
                *taken += u64::from(PAGE);
            }
            let start = u64::from(page) * u64::from(PAGE);
            let len = rope.len().saturating_sub(start).min(PAGE.into());
            account.worked(costs::fetched(rope.pieces_in(start..start + len), len));
            bytes.resize(len as usize, 0);
            Ok(rope.read_at(start, bytes)?)
        })
    }
}
