//! The report of an initrd that was unpacked.

use serde::Serialize;
use ukexec_unfold::{ExpandedInitrd, InitrdSegment};

use super::page::Page;
use super::size::Size;

/// The advice where an unpacked initrd is too long.
pub(crate) const NO_EXPANSION: &str =
    "without --expand-initrd, and expand-initrd in ukexec.conf, the initrd stays packed";

/// The note on an initrd that takes longer to move and hash than it took to unpack.
const SLOWER: &str = "this initrd is not worth unpacking before the boot: moving and hashing the longer one takes as long \
                      (docs/downtime.md); leave --expand-initrd out";

/// The time that a kernel needs to unpack a byte, in tenths of the time that moving and hashing a
/// byte takes on x86_64. docs/downtime.md has the measurement; compressions that it leaves out count
/// as the measured one that is most like them.
const WORTH: [(&str, u64); 7] = [
    ("gzip", 7),
    ("zstd", 3),
    ("lz4", 3),
    ("lzo", 3),
    ("xz", 44),
    ("lzma", 44),
    ("bzip2", 44),
];

/// An initrd before and after it was unpacked.
#[derive(Debug, Serialize)]
pub(crate) struct ExpandedReport {
    /// Its length with all that a load adds.
    packed_size: u64,
    /// Its length when it is unpacked.
    size: u64,
    segments: Vec<InitrdSegment>,
    /// Why the last segment stays as it is, if that is not plain cpio.
    left: Option<String>,
}

impl ExpandedReport {
    /// Reports `expanded`, which was an initrd of `packed_size`.
    pub(crate) fn new(expanded: &ExpandedInitrd, packed_size: u64) -> Self {
        Self {
            packed_size,
            size: expanded.initrd.len(),
            segments: expanded.segments.clone(),
            left: expanded.left.clone(),
        }
    }

    /// Returns things worth a look, for a kernel that `is_hashed` between its load and its boot.
    pub(crate) fn warnings(&self, is_hashed: bool) -> impl Iterator<Item = String> {
        let left = self.left.iter();
        let left = left
            .map(|left| format!("a part of the initrd is not unpacked before the boot: {left}"));
        left.chain((is_hashed && !self.is_faster()).then(|| SLOWER.to_owned()))
    }

    /// Returns whether the next kernel saves more time by unpacking less than it takes to move
    /// and hash more bytes.
    fn is_faster(&self) -> bool {
        let saved = self.segments.iter().map(|segment| {
            let mut worth = WORTH.iter();
            let worth = worth.find(|(format, _)| *format == segment.format);
            let tenths = worth.map_or(0, |(_, tenths)| *tenths);
            segment
                .unpacked
                .map_or(0, |unpacked| unpacked / 10 * tenths)
        });
        let more = self.size.saturating_sub(self.packed_size);
        more <= saved.sum()
    }

    pub(super) fn rows(&self, page: &mut Page) {
        let segments = self.segments.iter().map(|segment| {
            let (format, size) = (segment.format, Size(segment.size));
            match segment.unpacked {
                Some(unpacked) => format!("{format} {size} to {}", Size(unpacked)),
                None => format!("{format} {size}"),
            }
        });
        let segments = segments.collect::<Vec<_>>().join(" + ");
        let (packed, size) = (Size(self.packed_size), Size(self.size));
        page.row("unpacked", format!("{packed} to {size}: {segments}"));
    }
}

#[cfg(test)]
mod tests {
    use ukexec_bpf::Rope;
    use ukexec_unfold::{MemoryStore, expand_initrd};

    use super::*;

    #[test]
    fn what_is_not_worth_unpacking_is_said() {
        let none = Rope::from(vec![0; 512]);
        let expanded =
            expand_initrd(&none, 1 << 20, u64::MAX, &mut MemoryStore::default()).unwrap();
        let mut report = ExpandedReport::new(&expanded, 512);
        assert_eq!(report.warnings(true).count(), 0);
        report.size = 200 << 20;
        report.packed_size = 50 << 20;
        assert_eq!(report.warnings(true).collect::<Vec<_>>(), [SLOWER]);
        assert_eq!(report.warnings(false).count(), 0);
    }
}
