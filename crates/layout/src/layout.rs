//! A layout, and the rules that the machine's memory sets for one.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::error::LayoutError;
use crate::memory::MemoryMap;
use crate::ranges::len;

/// Most segments that `kexec_load` takes (`KEXEC_SEGMENT_MAX`).
pub const MAX_SEGMENTS: usize = 16;

/// The arguments of `kexec_load`: segments, none of which overlaps another, and where to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The segments.
    pub segments: Vec<PlacedSegment>,
    /// The address that the machine jumps to.
    pub entry: u64,
    /// Things to know before the kernel starts.
    pub warnings: Vec<&'static str>,
}

/// Bytes, and the memory that they are copied to. Zeros follow them to the end of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedSegment {
    /// The bytes.
    pub content: Content,
    /// Where they go, in whole pages.
    pub memory: Range<u64>,
    /// Why there.
    pub why: &'static str,
}

/// The bytes of a segment: a part that the caller has, or what was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// These bytes of the kernel's file.
    Kernel(Range<u64>),
    /// So many bytes from the initrd's start.
    Initrd(u64),
    /// A device tree.
    DeviceTree(Vec<u8>),
    /// Where a crash kernel finds the memory of the one that crashed.
    ElfCoreHeader(Vec<u8>),
    /// The boot parameters of an x86_64 kernel, and what they refer to.
    BootParams(Vec<u8>),
    /// Code that enters the kernel.
    Trampoline(Vec<u8>),
}

impl Content {
    /// Returns how many bytes there are.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        match self {
            Self::Kernel(range) => len(range),
            Self::Initrd(len) => *len,
            Self::DeviceTree(bytes)
            | Self::ElfCoreHeader(bytes)
            | Self::BootParams(bytes)
            | Self::Trampoline(bytes) => wide(bytes.len()),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kernel(_) => "kernel",
            Self::Initrd(_) => "initrd",
            Self::DeviceTree(_) => "device tree",
            Self::ElfCoreHeader(_) => "elfcorehdr",
            Self::BootParams(_) => "boot_params",
            Self::Trampoline(_) => "trampoline",
        })
    }
}

impl Layout {
    /// Returns how many bytes of memory all segments have.
    #[must_use]
    pub fn memory_len(&self) -> u64 {
        let lengths = self.segments.iter().map(|it| len(&it.memory));
        lengths.fold(0, u64::saturating_add)
    }

    /// Compares the layout with a machine's memory.
    ///
    /// # Errors
    ///
    /// `kexec_load` would refuse it, or a segment lies where no free memory is; the error names
    /// the segment.
    pub fn check(
        &self,
        memory: &MemoryMap,
        page_size: u64,
        is_crash: bool,
    ) -> Result<(), LayoutError> {
        let count = self.segments.len();
        if count > MAX_SEGMENTS {
            return Err(LayoutError::new(format!(
                "{count} segments, and kexec_load takes {MAX_SEGMENTS}"
            )));
        }
        let (free, place) = memory.free_for(is_crash);
        for (index, segment) in self.segments.iter().enumerate() {
            let PlacedSegment {
                content, memory, ..
            } = segment;
            let bad = |fault: &str| {
                let Range { start, end } = memory;
                Err(LayoutError::new(format!(
                    "{content} at {start:#x}..{end:#x}: {fault}"
                )))
            };
            let is_whole = |at: u64| at.is_multiple_of(page_size);
            if !is_whole(memory.start) || !is_whole(memory.end) {
                return bad(&format!("not in whole pages of {page_size:#x} bytes"));
            }
            if content.byte_len() > len(memory) {
                return bad(&format!("has {:#x} bytes", content.byte_len()));
            }
            if !free.holds(memory) {
                return bad(&format!("not in {place}"));
            }
            let mut before = self.segments.iter().take(index);
            let overlaps =
                |it: &&PlacedSegment| it.memory.start < memory.end && memory.start < it.memory.end;
            if let Some(other) = before.find(overlaps) {
                return bad(&format!("overlaps the {}", other.content));
            }
        }
        self.check_sum(memory)?;
        let entry = self.entry;
        if !self.segments.iter().any(|it| it.memory.contains(&entry)) {
            return Err(LayoutError::new(format!(
                "the entry {entry:#x} is in no segment"
            )));
        }
        Ok(())
    }

    /// The kernel first copies all elsewhere, and allows that half of the memory.
    fn check_sum(&self, memory: &MemoryMap) -> Result<(), LayoutError> {
        let (sum, half) = (self.memory_len(), memory.ram_len() / 2);
        if sum > half {
            return Err(LayoutError::new(format!(
                "the segments need {sum:#x} bytes, and kexec_load takes half of the memory \
                 ({half:#x})"
            )));
        }
        Ok(())
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            let PlacedSegment {
                content,
                memory: Range { start, end },
                why,
            } = segment;
            let len = content.byte_len();
            writeln!(
                f,
                "{content:11} {start:#012x}..{end:#012x} {len:#9x} bytes, {why}"
            )?;
        }
        write!(f, "entry       {:#012x}", self.entry)
    }
}

/// Returns `len` as the type of addresses.
pub(crate) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX) // no machine has a wider `usize`
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::{self, ARM64};

    /// Edits a layout of two segments: a kernel of two pages, and a trampoline of one.
    fn check(edit: impl FnOnce(&mut Layout), is_crash: bool, expected: Expect) {
        let segment = |content, memory| PlacedSegment {
            content,
            memory,
            why: "",
        };
        let mut layout = Layout {
            segments: vec![
                segment(Content::Kernel(0..0x1800), 0x4020_0000..0x4020_2000),
                segment(Content::Trampoline(vec![0; 48]), 0x4020_2000..0x4020_3000),
            ],
            entry: 0x4020_2000,
            warnings: Vec::new(),
        };
        edit(&mut layout);
        let result = layout.check(&testing::memory(ARM64), 4096, is_crash);
        expected.assert_eq(&result.map_or_else(|it| it.to_string(), |()| "good".into()));
    }

    #[test]
    fn rules_of_a_layout() {
        check(|_| (), false, expect!["good"]);
        check(
            |it| it.segments[0].memory.start += 1,
            false,
            expect!["kernel at 0x40200001..0x40202000: not in whole pages of 0x1000 bytes"],
        );
        check(
            |it| it.segments[1].memory.end += 0x800,
            false,
            expect!["trampoline at 0x40202000..0x40203800: not in whole pages of 0x1000 bytes"],
        );
        check(
            |it| it.segments[0].content = Content::Kernel(0..0x2001),
            false,
            expect!["kernel at 0x40200000..0x40202000: has 0x2001 bytes"],
        );
        check(
            |it| it.segments[0].memory.end += 0x1000,
            false,
            expect!["trampoline at 0x40202000..0x40203000: overlaps the kernel"],
        );
        check(
            |it| it.segments[1].memory = 0x4800_0000..0x4800_1000,
            false,
            expect!["trampoline at 0x48000000..0x48001000: not in free memory"],
        );
        check(
            |it| it.segments[1].memory = 0xc000_0000..0xc000_1000,
            false,
            expect!["trampoline at 0xc0000000..0xc0001000: not in free memory"],
        );
        check(
            |it| it.segments[1].memory = 0xa000_0000..0xa000_1000,
            false,
            expect!["trampoline at 0xa0000000..0xa0001000: not in free memory"],
        );
        check(
            |it| it.segments[0].memory = 0x4900_0000..0x8900_1000,
            false,
            expect![
                "the segments need 0x40002000 bytes, and kexec_load takes half of the memory (0x40000000)"
            ],
        );
        check(
            |it| it.entry = 0,
            false,
            expect!["the entry 0x0 is in no segment"],
        );
        check(
            |it| it.segments = vec![it.segments[0].clone(); 17],
            false,
            expect!["17 segments, and kexec_load takes 16"],
        );
    }

    #[test]
    fn a_crash_kernel_stays_in_its_region() {
        check(
            |_| (),
            true,
            expect!["kernel at 0x40200000..0x40202000: not in the crash region"],
        );
        check(
            |it| {
                for segment in &mut it.segments {
                    segment.memory.start += 0x6000_0000;
                    segment.memory.end += 0x6000_0000;
                }
                it.entry += 0x6000_0000;
            },
            true,
            expect!["good"],
        );
    }
}
