//! The room that is left in a memory, from which each segment gets its place.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::LayoutError;
use crate::layout::{Content, Layout, PlacedSegment};
use crate::memory::MemoryMap;
use crate::ranges::Ranges;

/// The room that is left, and what lies in the rest.
pub(crate) struct Room {
    free: Ranges,
    page_size: u64,
    /// Whether the highest place is given instead of the lowest.
    from_end: bool,
    /// The way out if there is not enough.
    advice: &'static str,
    segments: Vec<PlacedSegment>,
}

/// The demands of a segment on its place.
pub(crate) struct Spot {
    /// Bytes of memory; those of the content if they are more.
    pub(crate) len: u64,
    pub(crate) align: u64,
    /// Bytes left out behind the multiple of `align`.
    pub(crate) offset: u64,
    pub(crate) window: Range<u64>,
    pub(crate) why: &'static str,
}

impl Spot {
    pub(crate) const ANY: Self = Self {
        len: 0,
        align: 1,
        offset: 0,
        window: 0..u64::MAX,
        why: "anywhere",
    };
}

impl Room {
    /// Returns the room for a crash kernel, or that in `window` for a normal one.
    pub(crate) fn new(
        memory: &MemoryMap,
        is_crash: bool,
        window: &Range<u64>,
        page_size: u64,
    ) -> Result<Self, LayoutError> {
        if is_crash && memory.crash.is_empty() {
            return Err(LayoutError::new(
                "no memory is reserved for a crash kernel: boot with crashkernel=SIZE",
            ));
        }
        let (free, _) = memory.free_for(is_crash);
        let (free, advice) = match is_crash {
            true => (free.clone(), "reserve more with crashkernel="),
            false if *window == (0..u64::MAX) => (free.clone(), "give a smaller kernel or initrd"),
            false => (
                free.within(window),
                "give a smaller kernel or initrd, or a wider range of addresses",
            ),
        };
        Ok(Self {
            free,
            page_size,
            from_end: false,
            advice,
            segments: Vec::new(),
        })
    }

    pub(crate) fn filled_from_end(self) -> Self {
        let from_end = true;
        Self { from_end, ..self }
    }

    /// Gives a segment the lowest place that fits, or the highest, and returns it.
    pub(crate) fn put(&mut self, content: Content, spot: &Spot) -> Result<Range<u64>, LayoutError> {
        let align = spot.align.max(self.page_size);
        let len = content.byte_len().max(spot.len);
        let free = self.free.within(&spot.window);
        let place = || {
            let len = len.checked_next_multiple_of(self.page_size)?;
            let all = len.checked_add(spot.offset)?;
            let base = match self.from_end {
                true => free.last_fit(all, align)?,
                false => free.first_fit(all, align)?,
            };
            Some(base.checked_add(spot.offset)?..base.checked_add(all)?)
        };
        let Some(memory) = place() else {
            let longest = free.longest();
            return Err(LayoutError::new(format!(
                "no room for the {content}: it needs {len:#x} bytes at a multiple of {align:#x}, \
                 and the longest free range has {longest:#x}; {}",
                self.advice
            )));
        };
        self.free = self.free.without(&Ranges::from_iter([memory.clone()]));
        self.segments.push(PlacedSegment {
            content,
            memory: memory.clone(),
            why: spot.why,
        });
        Ok(memory)
    }

    /// Returns where the initrd is, to its last byte: a kernel looks no further for archives.
    pub(crate) fn put_initrd(
        &mut self,
        len: Option<u64>,
        window: Range<u64>,
        why: &'static str,
    ) -> Result<Option<Range<u64>>, LayoutError> {
        let Some(len) = len.filter(|&len| len > 0) else {
            return Ok(None);
        };
        let spot = Spot {
            window,
            why,
            ..Spot::ANY
        };
        let at = self.put(Content::Initrd(len), &spot)?.start;
        Ok(Some(at..at.saturating_add(len)))
    }

    /// Returns where code that enters the kernel is.
    pub(crate) fn put_trampoline(
        &mut self,
        code: &[u8],
        why: &'static str,
    ) -> Result<u64, LayoutError> {
        let spot = Spot { why, ..Spot::ANY };
        Ok(self.put(Content::Trampoline(code.to_vec()), &spot)?.start)
    }

    /// Replaces the bytes of the last segment by as many others.
    pub(crate) fn replace_last(&mut self, content: Content) {
        if let Some(last) = self.segments.last_mut() {
            last.content = content;
        }
    }

    pub(crate) fn into_layout(self, entry: u64) -> Layout {
        Layout {
            segments: self.segments,
            entry,
            warnings: Vec::new(),
        }
    }
}
