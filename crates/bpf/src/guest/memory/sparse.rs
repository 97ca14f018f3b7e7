//! The bytes of a ring-buffer record: zeros, references and private pages.
//!
//! Bytes that were never written are zeros and need no memory. A large copy from a
//! rope is kept as a reference. A write makes the page around it private.
//! Where a page is private it counts, whatever lies under it; then references;
//! then zeros.

use std::collections::BTreeMap;
use std::ops::Range;

use super::account::Account;
use super::page_cache::{PAGE, PageCache};

use crate::bounds::{at_most, rest};
use crate::costs;
use crate::{BpfError, Rope};

#[derive(Debug)]
pub(super) struct Sparse {
    len: u32,
    /// Private pages by number, as far as any was touched.
    pages: Vec<Option<Box<[u8]>>>,
    /// References by offset; they do not overlap.
    references: BTreeMap<u32, Rope>,
    /// Pages of what is not private.
    cache: PageCache,
    /// The bytes charged by [`Account::take`], for [`Sparse::cost`].
    taken: u64,
}

/// Bytes that lie next to each other and are of one kind.
#[derive(Debug)]
pub(super) enum Segment {
    Reference(Rope),
    Bytes(Vec<u8>),
    Zeros(u64),
}

impl Segment {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Reference(rope) => rope.len(),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }
}

impl Sparse {
    /// Returns `len` zeros, whose cost is yet to be taken.
    pub(super) fn new(len: u32) -> Self {
        Self {
            len,
            pages: Vec::new(),
            references: BTreeMap::new(),
            cache: PageCache::default(),
            taken: costs::RECORD_ROOM,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Returns how many bytes of the account this record holds.
    pub(super) fn cost(&self) -> u64 {
        self.taken
    }

    /// Returns the `N` bytes at `offset` if they lie in one page at hand.
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        match self.pages.get((offset / PAGE) as usize) {
            Some(Some(page)) => page.get((offset % PAGE) as usize..)?.first_chunk().copied(),
            _ => self.cache.peek(offset),
        }
    }

    /// Returns the `N` bytes at `offset` for writing if they lie in one page
    /// that is private.
    #[inline(always)]
    pub(super) fn poke<const N: usize>(&mut self, offset: u32) -> Option<&mut [u8; N]> {
        let page = self.pages.get_mut((offset / PAGE) as usize)?.as_mut()?;
        page.get_mut((offset % PAGE) as usize..)?.first_chunk_mut()
    }

    /// Fills `buf` from `offset` (checked by the caller).
    pub(super) fn read(
        &mut self,
        offset: u32,
        buf: &mut [u8],
        account: &mut Account,
    ) -> Result<(), BpfError> {
        let mut rest = buf;
        for (page, span) in pages(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(span.len());
            if let Some(bytes) = self.page(page, account)?.get(span) {
                now.copy_from_slice(bytes);
            }
            rest = later;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset` (checked by the caller).
    pub(super) fn write(
        &mut self,
        offset: u32,
        bytes: &[u8],
        account: &mut Account,
    ) -> Result<(), BpfError> {
        let mut rest = bytes;
        for (page, span) in pages(offset, rest.len()) {
            let (now, later) = rest.split_at(span.len());
            if let Some(bytes) = self.own(page, account)?.get_mut(span) {
                bytes.copy_from_slice(now);
            }
            rest = later;
        }
        Ok(())
    }

    /// Makes `len` bytes at `offset` (checked by the caller) zeros.
    pub(super) fn zero(
        &mut self,
        offset: u32,
        len: u32,
        account: &mut Account,
    ) -> Result<(), BpfError> {
        self.cover(offset, len, account, |_, bytes| {
            bytes.fill(0);
            Ok(())
        })
    }

    /// Makes the bytes at `offset` a reference to `rope`; they fit (checked by
    /// the caller).
    pub(super) fn refer(
        &mut self,
        offset: u32,
        rope: Rope,
        account: &mut Account,
    ) -> Result<(), BpfError> {
        account.worked(costs::fetched(rope.pieces().len() as u64, 0));
        self.cover(offset, rope.len() as u32, account, |at, bytes| {
            Ok(rope.read_at(u64::from(at - offset), bytes)?)
        })?;
        let previous = self.references.range_mut(..offset).next_back();
        if let Some((start, before)) = previous
            && u64::from(*start) + before.len() == u64::from(offset)
        {
            let pieces = before.pieces().len();
            before.append(&rope);
            let more = costs::pieces_room(before.pieces().len() - pieces);
            account.take(more)?;
            self.taken += more;
            return Ok(());
        }
        self.insert(offset, rope, account)
    }

    /// Returns the bytes from `offset` on that are of one kind, at most `len`.
    pub(super) fn segment(
        &self,
        offset: u32,
        len: u64,
        account: &mut Account,
    ) -> Result<Segment, BpfError> {
        let page = (offset / PAGE) as usize;
        if let Some(Some(bytes)) = self.pages.get(page) {
            let bytes = rest(bytes, (offset % PAGE) as usize);
            return Ok(Segment::Bytes(at_most(bytes, len as usize).to_vec()));
        }
        let start = u64::from(offset);
        let reference = self.reference_at(offset);
        let kind_end = match reference {
            Some((at, rope)) => u64::from(at) + rope.len(),
            None => self
                .references
                .range(offset..)
                .next()
                .map_or(u64::MAX, |(&at, _)| at.into()),
        };
        let end = kind_end.min(start + len);
        // A private page ends the segment early.
        let last = end.div_ceil(PAGE.into()) as usize;
        let mut between = self.pages.iter().take(last).skip(page);
        account.worked(costs::scanned(between.len()) + costs::stepped(1));
        let own = between.position(Option::is_some);
        let end = own.map_or(end, |distance| {
            end.min((page + distance) as u64 * u64::from(PAGE))
        });
        match reference {
            None => Ok(Segment::Zeros(end - start)),
            Some((at, rope)) => {
                let part = rope.slice(start - u64::from(at)..end - u64::from(at))?;
                account.worked(costs::stepped(part.pieces().len()));
                Ok(Segment::Reference(part))
            }
        }
    }

    /// Prepares `len` bytes at `offset` to be covered by something that is not
    /// private: whole private pages and references there are dropped, `fill`
    /// gets the offset and bytes of what lies in pages that stay private.
    fn cover(
        &mut self,
        offset: u32,
        len: u32,
        account: &mut Account,
        mut fill: impl FnMut(u32, &mut [u8]) -> Result<(), BpfError>,
    ) -> Result<(), BpfError> {
        self.punch(offset, len, account)?;
        self.cache.clear();
        let touched = self.pages.len();
        account.worked(costs::scanned(touched.min(len as usize / PAGE as usize)));
        for (page, span) in
            pages(offset, len as usize).take_while(|(page, _)| (*page as usize) < touched)
        {
            let Some(slot) = self.pages.get_mut(page as usize) else {
                break;
            };
            let Some(bytes) = slot else { continue };
            if span.len() == bytes.len() {
                account.give(bytes.len() as u64);
                self.taken -= bytes.len() as u64;
                *slot = None;
            } else {
                let at = page * PAGE + span.start as u32;
                if let Some(bytes) = bytes.get_mut(span) {
                    fill(at, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Cuts `len` bytes at `offset` out of all references.
    fn punch(&mut self, offset: u32, len: u32, account: &mut Account) -> Result<(), BpfError> {
        let end = u64::from(offset) + u64::from(len);
        let first = self.reference_at(offset).map_or(offset, |(at, _)| at);
        let hit = self.references.range(first..).map(|(&at, _)| at);
        let hit: Vec<u32> = hit.take_while(|&at| u64::from(at) < end).collect();
        for at in hit {
            let Some(rope) = self.references.remove(&at) else {
                continue;
            };
            let cost = costs::rope_room(&rope);
            account.give(cost);
            self.taken -= cost;
            let (from, to) = (u64::from(at), u64::from(at) + rope.len());
            if from < u64::from(offset) {
                self.insert(at, rope.slice(0..u64::from(offset) - from)?, account)?;
            }
            if to > end {
                self.insert(end as u32, rope.slice(end - from..to - from)?, account)?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, at: u32, rope: Rope, account: &mut Account) -> Result<(), BpfError> {
        if rope.is_empty() {
            return Ok(());
        }
        let cost = costs::rope_room(&rope);
        account.worked(costs::stepped(rope.pieces().len()));
        account.take(cost)?;
        self.taken += cost;
        self.references.insert(at, rope);
        Ok(())
    }

    fn reference_at(&self, offset: u32) -> Option<(u32, &Rope)> {
        let (&at, rope) = self.references.range(..=offset).next_back()?;
        (u64::from(at) + rope.len() > offset.into()).then_some((at, rope))
    }

    fn page(&mut self, page: u32, account: &mut Account) -> Result<&[u8], BpfError> {
        if let Some(Some(bytes)) = self.pages.get(page as usize) {
            return Ok(bytes);
        }
        let len = self.page_len(page);
        let Self {
            references,
            cache,
            taken,
            ..
        } = self;
        cache.page(page, |bytes| {
            if bytes.capacity() == 0 {
                account.take(PAGE.into())?;
                *taken += u64::from(PAGE);
            }
            bytes.resize(len, 0);
            gather(references, page * PAGE, bytes, account)
        })
    }

    /// Returns the bytes of a page for writing; the page becomes private.
    fn own(&mut self, page: u32, account: &mut Account) -> Result<&mut [u8], BpfError> {
        let index = page as usize;
        if index >= self.pages.len() {
            let more = ((index + 1 - self.pages.len()) * size_of::<Option<Box<[u8]>>>()) as u64;
            account.take(more)?;
            self.taken += more;
            account.worked(costs::moved(more));
            self.pages.resize_with(index + 1, || None);
        }
        let len = self.page_len(page);
        let Some(slot) = self.pages.get_mut(index) else {
            return Ok(&mut []);
        };
        match slot {
            Some(bytes) => Ok(bytes),
            None => {
                account.take(len as u64)?;
                self.taken += len as u64;
                let mut bytes = vec![0; len].into_boxed_slice();
                gather(&self.references, page * PAGE, &mut bytes, account)?;
                Ok(slot.insert(bytes))
            }
        }
    }

    fn page_len(&self, page: u32) -> usize {
        self.len.saturating_sub(page * PAGE).min(PAGE) as usize
    }
}

/// Returns each page that `len` bytes at `offset` touch, with the span in it.
fn pages(offset: u32, len: usize) -> impl Iterator<Item = (u32, Range<usize>)> {
    let end = u64::from(offset) + len as u64;
    let page_size = u64::from(PAGE);
    let first = u64::from(offset) / page_size;
    (first..end.div_ceil(page_size)).map(move |page| {
        let start = u64::from(offset).max(page * page_size) - page * page_size;
        let stop = end.min((page + 1) * page_size) - page * page_size;
        (page as u32, start as usize..stop as usize)
    })
}

/// Fills `buf` from what the references have at `offset`, zeros elsewhere.
/// `buf` holds zeros or the bytes of another page.
fn gather(
    references: &BTreeMap<u32, Rope>,
    offset: u32,
    buf: &mut [u8],
    account: &mut Account,
) -> Result<(), BpfError> {
    buf.fill(0);
    account.worked(costs::moved(buf.len() as u64));
    let (from, to) = (u64::from(offset), u64::from(offset) + buf.len() as u64);
    let first = references
        .range(..=offset)
        .next_back()
        .map_or(offset, |(&at, _)| at);
    for (&at, rope) in references
        .range(first..)
        .take_while(|(at, _)| u64::from(**at) < to)
    {
        let at = u64::from(at);
        let (start, end) = (from.max(at), to.min(at + rope.len()));
        if start < end
            && let Some(part) = buf.get_mut((start - from) as usize..(end - from) as usize)
        {
            account.worked(costs::fetched(rope.pieces_in(start - at..end - at), 0));
            rope.read_at(start - at, part)?;
        }
    }
    Ok(())
}
