//! A small cache of bytes that are slow to reach.
#![cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        reason = "slots are indexed by a page's number modulo how many there are"
    )
)]

/// Bytes of a page, also of a record's.
pub(super) const PAGE: u32 = 4096;

const SLOTS: usize = 4;
/// The tag of an empty slot; pages end at `u32::MAX / PAGE`.
const EMPTY: u32 = u32::MAX;

/// Four pages at hand, each in the one place its number gives it: enough for
/// a program that walks a table and looks at what the entries point to.
#[derive(Debug)]
pub(super) struct PageCache {
    slots: [CachedPage; SLOTS],
}

#[derive(Debug)]
struct CachedPage {
    /// Which page, or [`EMPTY`].
    page: u32,
    bytes: Vec<u8>,
}

impl Default for PageCache {
    fn default() -> Self {
        Self {
            slots: [(); SLOTS].map(|()| CachedPage {
                page: EMPTY,
                bytes: Vec::new(),
            }),
        }
    }
}

impl PageCache {
    /// Returns the `N` bytes at `offset`, if they are at hand.
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let slot = &self.slots[(offset / PAGE) as usize % SLOTS];
        if slot.page != offset / PAGE {
            return None;
        }
        let rest = slot.bytes.get((offset % PAGE) as usize..)?;
        rest.first_chunk().copied()
    }

    /// Returns the bytes of page `page`, or what `load` says went wrong. If they
    /// are not at hand, `load` makes room for them and fills it; what it gets
    /// has no capacity if that takes memory which it did not take before.
    pub(super) fn page<E>(
        &mut self,
        page: u32,
        load: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<&[u8], E> {
        let slot = &mut self.slots[page as usize % SLOTS];
        if slot.page != page {
            slot.page = EMPTY;
            load(&mut slot.bytes)?;
            slot.page = page;
        }
        Ok(&slot.bytes)
    }

    /// Forgets everything; the record that is behind has changed.
    pub(super) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.page = EMPTY;
        }
    }
}
