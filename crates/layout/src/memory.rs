//! The memory of a machine: `/proc/iomem`, as root reads it.
//!
//! Spec: Linux `kernel/resource.c` (`r_show`), and `kernel/kexec_core.c`
//! (`sanity_check_segment_list`), which compares a crash kernel with the last `Crash kernel`.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::LayoutError;
use crate::ranges::Ranges;

/// Where a machine has memory, and what of it a kernel may be placed in.
///
/// Ranges are half-open: `/proc/iomem` names the last byte, they name the one behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// `System RAM`.
    pub(crate) ram: Ranges,
    /// The part of it that a normal kernel may be placed in.
    pub(crate) free: Ranges,
    /// The ranges reserved for crash kernels; they are placed in the last.
    pub(crate) crash: Vec<Range<u64>>,
    /// The part of the last that a crash kernel may be placed in.
    pub(crate) crash_free: Ranges,
}

impl MemoryMap {
    /// Reads `/proc/iomem`.
    ///
    /// A range nested in `System RAM` is not free, unless it belongs to the running kernel
    /// (`Kernel code` and the like): the new kernel is copied over that one when it starts.
    ///
    /// # Errors
    ///
    /// A line has another form, all addresses are zero, or there is no `System RAM`.
    pub fn from_iomem(text: &str) -> Result<Self, LayoutError> {
        let mut nesting: Vec<(usize, Use)> = Vec::new();
        let (mut ram, mut taken, mut crash, mut crash_taken) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, line) in (1_usize..).zip(text.lines()) {
            let bad = || {
                LayoutError::new(format!(
                    "/proc/iomem, line {number}: expected START-END : NAME"
                ))
            };
            let Resource { depth, range, name } = Resource::parse(line).ok_or_else(bad)?;
            nesting.retain(|(above, _)| *above < depth);
            let is_in = |kind| nesting.iter().any(|(_, above)| *above == kind);
            let kind = Use::of(name);
            match kind {
                Use::Ram => ram.push(range.clone()),
                Use::Crash => crash.push(range.clone()),
                Use::Other if is_in(Use::Crash) => crash_taken.push(range.clone()),
                Use::Kernel | Use::Other => {}
            }
            if matches!(kind, Use::Crash | Use::Other) && is_in(Use::Ram) {
                taken.push(range);
            }
            nesting.push((depth, kind));
        }
        if !ram.is_empty() && ram.iter().all(|range| range.end <= 1) {
            return Err(LayoutError::new(
                "/proc/iomem shows zeros for all addresses: only root with CAP_SYS_ADMIN sees them",
            ));
        }
        let ram = Ranges::from_iter(ram);
        if ram.as_slice().is_empty() {
            return Err(LayoutError::new("/proc/iomem has no System RAM"));
        }
        let for_crash = crash.last().map(|last| ram.within(last));
        let for_crash = for_crash.unwrap_or_default();
        Ok(Self {
            free: ram.without(&taken.into_iter().collect()),
            crash_free: for_crash.without(&crash_taken.into_iter().collect()),
            crash,
            ram,
        })
    }

    /// Returns the bytes of memory that there are.
    #[must_use]
    pub fn ram_len(&self) -> u64 {
        self.ram.total()
    }

    /// Returns the range that crash kernels are placed in, if one is reserved.
    #[must_use]
    pub fn crash_region(&self) -> Option<Range<u64>> {
        self.crash.last().cloned()
    }

    /// Returns where a crash kernel or a normal one may be placed, and the name of that.
    pub(crate) fn free_for(&self, is_crash: bool) -> (&Ranges, &'static str) {
        match is_crash {
            true => (&self.crash_free, "the crash region"),
            false => (&self.free, "free memory"),
        }
    }

    /// Returns the ranges of memory outside the crash regions: a dump consists of them.
    pub(crate) fn dumped(&self) -> Ranges {
        self.ram.without(&self.crash.iter().cloned().collect())
    }
}

/// A line of `/proc/iomem`.
struct Resource<'a> {
    /// Spaces in front of it.
    depth: usize,
    range: Range<u64>,
    name: &'a str,
}

impl<'a> Resource<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let inner = line.trim_start_matches(' ');
        let (addresses, name) = inner.split_once(" : ")?;
        let (start, last) = addresses.split_once('-')?;
        let address = |digits| u64::from_str_radix(digits, 16).ok();
        Some(Self {
            depth: line.len().checked_sub(inner.len())?,
            range: address(start)?..address(last)?.saturating_add(1),
            name,
        })
    }
}

/// The meaning of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Ram,
    Crash,
    /// The running kernel, which is gone when the next one starts.
    Kernel,
    Other,
}

impl Use {
    fn of(name: &str) -> Self {
        match name {
            "System RAM" => Self::Ram,
            "Crash kernel" => Self::Crash,
            "Kernel code" | "Kernel data" | "Kernel bss" | "Kernel rodata" | "Kernel image" => {
                Self::Kernel
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::{ARM64, RISCV64};

    fn check(text: &str, expected: Expect) {
        let shown = |name: &str, ranges: &[Range<u64>]| {
            let ranges: Vec<_> = ranges.iter().map(|it| format!(" {it:x?}")).collect();
            format!("{name}{}\n", ranges.concat())
        };
        expected.assert_eq(&match MemoryMap::from_iomem(text) {
            Ok(map) => [
                shown("ram", map.ram.as_slice()),
                shown("free", map.free.as_slice()),
                shown("crash", &map.crash),
                shown("for a crash", map.crash_free.as_slice()),
            ]
            .concat(),
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn the_running_kernel_is_no_obstacle() {
        check(
            ARM64,
            expect![[r#"
                ram 40000000..c0000000
                free 40000000..41f30000 42240000..48000000 480f9000..48200000 48300000..99600000 bfa00000..bfaae000 bfbd7000..bfbd9000
                crash 99a00000..b9a00000
                for a crash 99a00000..b9a00000
            "#]],
        );
        check(
            RISCV64,
            expect![[r#"
                ram 80000000..100000000
                free 80080000..80200000 80202000..8206b3f8 82200000..88200000 882fe000..bfe00000 bfe02000..dba00000 fdc00000..fdcc8000 fdde9000..fddeb000
                crash dbc00000..fbc00000
                for a crash dbc00000..fbc00000
            "#]],
        );
    }

    #[test]
    fn regions_for_crash_kernels() {
        check(
            "40000000-bfffffff : System RAM\n  50000000-57ffffff : Crash kernel\n  \
             a0000000-afffffff : Crash kernel\n    a8000000-a8000fff : reserved\n",
            expect![[r#"
                ram 40000000..c0000000
                free 40000000..50000000 58000000..a0000000 b0000000..c0000000
                crash 50000000..58000000 a0000000..b0000000
                for a crash a0000000..a8000000 a8001000..b0000000
            "#]],
        );
    }

    #[test]
    fn memory_may_lie_deeper_and_reserved_may_lie_elsewhere() {
        check(
            "00000000-0000ffff : Reserved\n40000000-7fffffff : bridge\n  \
             40000000-5fffffff : System RAM\n    48000000-4fffffff : driver\n      \
             48000000-48ffffff : Kernel code\n60000000-6fffffff : Reserved\n",
            expect![[r#"
                ram 40000000..60000000
                free 40000000..48000000 50000000..60000000
                crash
                for a crash
            "#]],
        );
    }

    #[test]
    fn refuses_what_says_nothing() {
        check(
            "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n",
            expect![
                "/proc/iomem shows zeros for all addresses: only root with CAP_SYS_ADMIN sees them"
            ],
        );
        check(
            "0-fff : Reserved\n",
            expect!["/proc/iomem has no System RAM"],
        );
        check("", expect!["/proc/iomem has no System RAM"]);
        check(
            "0-fff : System RAM\n\n",
            expect!["/proc/iomem, line 2: expected START-END : NAME"],
        );
        check(
            "0-ffffffffffffffff0 : System RAM\n",
            expect!["/proc/iomem, line 1: expected START-END : NAME"],
        );
    }
}
