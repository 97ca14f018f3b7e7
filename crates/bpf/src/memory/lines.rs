//! A small window on bytes that are slow to reach.
#![cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        reason = "lines are indexed by a page's number modulo how many there are"
    )
)]

/// Bytes of a line, and of a page of a record.
pub(super) const PAGE: u32 = 4096;

const LINES: usize = 4;
/// The tag of an empty line; pages end at `u32::MAX / PAGE`.
const EMPTY: u32 = u32::MAX;

/// Four pages at hand, each in the one place its number gives it: enough for
/// a program that walks a table and looks at what the entries point to.
#[derive(Debug)]
pub(super) struct Lines {
    lines: [Line; LINES],
}

#[derive(Debug)]
struct Line {
    /// Which page, or [`EMPTY`].
    page: u32,
    bytes: Vec<u8>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            lines: [(); LINES].map(|()| Line {
                page: EMPTY,
                bytes: Vec::new(),
            }),
        }
    }
}

impl Lines {
    /// Returns the `N` bytes at `offset`, if they are at hand.
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.page(offset / PAGE)?
            .get((offset % PAGE) as usize..)?
            .first_chunk()
            .copied()
    }

    /// Returns the bytes of page `page`, if they are at hand.
    #[inline(always)]
    pub(super) fn page(&self, page: u32) -> Option<&[u8]> {
        let line = &self.lines[page as usize % LINES];
        (line.page == page).then_some(line.bytes.as_slice())
    }

    /// Makes room for `len` bytes of page `page`, which `fill` writes. Returns
    /// them, or what `fill` says went wrong.
    pub(super) fn load<E>(
        &mut self,
        page: u32,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<&[u8], E> {
        let line = &mut self.lines[page as usize % LINES];
        line.page = EMPTY;
        line.bytes.resize(len, 0);
        fill(&mut line.bytes)?;
        line.page = page;
        Ok(&line.bytes)
    }

    /// Returns whether loading page `page` takes memory it did not take before.
    pub(super) fn is_new(&self, page: u32) -> bool {
        self.lines[page as usize % LINES].bytes.capacity() == 0
    }

    /// Forgets everything; what a record's window showed has changed.
    pub(super) fn clear(&mut self) {
        for line in &mut self.lines {
            line.page = EMPTY;
        }
    }
}
