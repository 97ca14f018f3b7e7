//! Opening an image, and bringing it into reach: as it lies on disk, or as a
//! snapshot that nobody can change.

use std::cmp::Reverse;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ukexec_bpf::{Piece, Rope};
use ukexec_kexec::{InputKind, Moved, Snapshot, input_kind, read_stream};
use ukexec_pe::PeImage;
use ukexec_unfold::PeBytes;

use crate::progress::Progress;
use crate::sources::{Backing, Sources};

/// What is longer is not looked at: the parser ABI and `kexec_file_load(2)` know
/// lengths as C ints.
const LEN_MAX: u64 = i32::MAX as u64;

/// So many sections become parts of their own; UKIs have 96 at most.
const CUTS_MAX: usize = 128;

/// An image or an initrd that was opened.
#[derive(Debug)]
pub(crate) struct Image {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// All of its bytes.
    pub(crate) rope: Rope,
    /// How many bytes were moved to have it.
    pub(crate) moved: Moved,
    /// The file itself, where it is one.
    pub(crate) file: Option<File>,
}

impl Image {
    /// Opens `path` and leaves its bytes where they are.
    pub(crate) fn on_disk(path: &Path, sources: &Sources) -> anyhow::Result<Self> {
        let failed = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(failed)?;
        match input_kind(&file).with_context(failed)? {
            InputKind::File { len } => {
                let rope = sources.add(Backing::File(file, len));
                Ok(Self {
                    path: path.to_owned(),
                    rope,
                    moved: Moved::default(),
                    file: None,
                })
            }
            _ => Self::stream(path, &file, sources),
        }
    }

    /// Opens `path` and takes it over into sealed memory in one pass, cut at
    /// its sections where it is a PE.
    pub(crate) fn snapshot(path: &Path, sources: &Sources) -> anyhow::Result<Self> {
        let failed = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(failed)?;
        let InputKind::File { len } = input_kind(&file).with_context(failed)? else {
            return Self::stream(path, &file, sources);
        };
        if len > LEN_MAX {
            bail!(
                "{} has {len} bytes; an image or initrd has {LEN_MAX} at most",
                path.display()
            );
        }
        // What the headers say is only where to cut: what is parsed later is
        // the snapshot, so that a change in between does no harm.
        let cuts = cuts(file.try_clone().with_context(failed)?, len);
        let progress = Progress::bytes("taking over", path, len);
        let snapshot = Snapshot::take(&file, &cuts, None, &mut |done| progress.set(done))
            .with_context(failed)?;
        let moved = snapshot.moved();
        let (parts, layout) = snapshot.into_parts();
        let parts: Vec<Rope> = parts
            .into_iter()
            .map(|part| sources.add(Backing::Sealed(part)))
            .collect();
        let mut rope = Rope::new();
        for span in layout {
            let end = span.offset + (span.range.end - span.range.start);
            let part = parts
                .get(span.part)
                .context("a snapshot names a part it does not have")?;
            rope.append(&part.slice(span.offset..end)?);
        }
        Ok(Self {
            path: path.to_owned(),
            rope,
            moved,
            file: Some(file),
        })
    }

    fn stream(path: &Path, file: &File, sources: &Sources) -> anyhow::Result<Self> {
        let progress = Progress::spinner("reading", path);
        let sealed = read_stream(file, LEN_MAX, &mut |done| progress.set(done))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let moved = Moved {
            in_kernel: 0,
            through_user: sealed.len(),
        };
        let rope = sources.add(Backing::Sealed(sealed));
        Ok(Self {
            path: path.to_owned(),
            rope,
            moved,
            file: None,
        })
    }

    /// Returns the file's name, as layer paths begin with it.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// Returns where to cut a file so that every section is a part of its own;
/// nowhere if it is no PE, which the unfolding will tell.
fn cuts(file: File, len: u64) -> Vec<Range<u64>> {
    let rope = Sources::default().add(Backing::File(file, len));
    let cuts = PeImage::parse(&PeBytes(&rope)).map(|pe| pe.cuts());
    largest(cuts.unwrap_or_default())
}

/// Returns the largest of `cuts`, in their order. Each takes a descriptor, and
/// what is not cut out is only assembled later.
fn largest(mut cuts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    cuts.sort_by_key(|cut| Reverse(cut.end - cut.start));
    cuts.truncate(CUTS_MAX);
    cuts.sort_by_key(|cut| cut.start);
    cuts
}

/// Joins initrds in order, each filled with zeros to a multiple of 4 bytes
/// where another follows: the kernel looks for the next archive there.
pub(crate) fn join_initrds(initrds: &[Image]) -> Option<Rope> {
    let mut joined = Rope::new();
    for initrd in initrds {
        joined.push(Piece::Zeros(
            joined.len().next_multiple_of(4) - joined.len(),
        ));
        joined.append(&initrd.rope);
    }
    (!joined.is_empty()).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_largest_sections_become_parts() {
        let cuts: Vec<Range<u64>> = (0..1000)
            .map(|n| n * 1000..n * 1000 + n % 500 + 1)
            .collect();
        let kept = largest(cuts);
        assert_eq!(kept.len(), CUTS_MAX);
        assert!(kept.iter().all(|cut| cut.end - cut.start > 400));
        assert!(kept.is_sorted_by_key(|cut| cut.start));
    }
}
