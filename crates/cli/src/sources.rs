//! Where ropes come from and go to: the table that turns a piece's number back
//! into a descriptor.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use ukexec_bpf::{Piece, Rope, Source, SourceId};
use ukexec_kexec::{KexecError, MemfdWriter, Moved, Part, SealedFile, assemble};
use ukexec_unfold::{Output, Store};

/// All sources of one unfolding, by [`SourceId`]; also the [`Store`] that
/// decompression writes into.
///
/// Only ropes keep a source: what no rope refers to any more is freed at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    backings: Rc<RefCell<Vec<Weak<Backing>>>>,
}

/// What backs a source.
#[derive(Debug)]
pub(crate) enum Backing {
    /// Sealed memory: a part of a snapshot, or a stream that was read.
    Sealed(SealedFile),
    /// What a decompression wrote, sealed.
    Decompressed(SealedFile),
    /// A file as it lies on disk, and its length when it was opened.
    File(File, u64),
}

impl Source for Backing {
    fn len(&self) -> u64 {
        match self {
            Self::Sealed(sealed) | Self::Decompressed(sealed) => sealed.len(),
            Self::File(_, len) => *len,
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Sealed(sealed) | Self::Decompressed(sealed) => sealed.read_at(offset, buf),
            Self::File(file, _) => file.read_exact_at(buf, offset),
        }
    }
}

impl AsFd for Backing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Sealed(sealed) | Self::Decompressed(sealed) => sealed.as_fd(),
            Self::File(file, _) => file.as_fd(),
        }
    }
}

impl Sources {
    /// Takes `backing` in and returns all of its bytes.
    pub(crate) fn add(&self, backing: Backing) -> Rope {
        let (id, source) = self.register(backing);
        Rope::from_source(id, source)
    }

    fn register(&self, backing: Backing) -> (SourceId, Arc<Backing>) {
        let backing = Arc::new(backing);
        let mut list = self.backings.borrow_mut();
        let id = SourceId(u32::try_from(list.len()).unwrap_or(u32::MAX));
        list.push(Arc::downgrade(&backing));
        (id, backing)
    }

    /// Returns what backs source `id`, which some rope refers to.
    fn backing(&self, id: SourceId) -> Arc<Backing> {
        let list = self.backings.borrow();
        let backing = list.get(id.0 as usize).and_then(Weak::upgrade);
        backing.expect("every source is registered here, and its rope keeps it")
    }

    /// Returns whether `rope` came out of a decompression.
    pub(crate) fn is_decompressed(&self, rope: &Rope) -> bool {
        let is_output = |id| matches!(*self.backing(id), Backing::Decompressed(_));
        rope.pieces()
            .iter()
            .any(|piece| matches!(piece, Piece::Source { id, .. } if is_output(*id)))
    }

    /// Calls `job` with what `rope` is made of.
    pub(crate) fn with_parts<T>(&self, rope: &Rope, job: impl FnOnce(&[Part<'_>]) -> T) -> T {
        let backings: Vec<Option<Arc<Backing>>> = rope
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Source { id, .. } => Some(self.backing(*id)),
                Piece::Memory(_) | Piece::Zeros(_) => None,
            })
            .collect();
        let parts: Vec<Part<'_>> = rope
            .pieces()
            .iter()
            .zip(&backings)
            .filter_map(|(piece, backing)| {
                Some(match piece {
                    Piece::Source { range, .. } => Part::File {
                        fd: backing.as_ref()?.as_fd(),
                        range: range.clone(),
                    },
                    Piece::Memory(bytes) => Part::Bytes(bytes),
                    Piece::Zeros(len) => Part::Zeros(*len),
                })
            })
            .collect();
        job(&parts)
    }

    /// Returns `rope` as one descriptor: as it lies if it is one sealed file,
    /// else assembled.
    pub(crate) fn descriptor(&self, rope: &Rope) -> Result<Descriptor, KexecError> {
        if let Some(backing) = self.whole(rope) {
            return Ok(Descriptor::AsItLies(backing));
        }
        let (sealed, moved) = self.with_parts(rope, assemble)?;
        Ok(Descriptor::Assembled(sealed, moved))
    }

    /// Returns the sealed file that `rope` is, whole, if it is just one.
    fn whole(&self, rope: &Rope) -> Option<Arc<Backing>> {
        let [Piece::Source { id, range, .. }] = rope.pieces() else {
            return None;
        };
        let backing = self.backing(*id);
        let sealed = !matches!(*backing, Backing::File(..));
        (sealed && *range == (0..backing.len())).then_some(backing)
    }
}

/// A part as the kernel takes it.
#[derive(Debug)]
pub(crate) enum Descriptor {
    /// A piece of the snapshot, or what a decompression wrote: nothing moved.
    AsItLies(Arc<Backing>),
    /// Put together from pieces.
    Assembled(SealedFile, Moved),
}

impl Descriptor {
    /// Returns how many bytes were moved to make it.
    pub(crate) fn moved(&self) -> Moved {
        match self {
            Self::AsItLies(_) => Moved::default(),
            Self::Assembled(_, moved) => *moved,
        }
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::AsItLies(backing) => backing.len(),
            Self::Assembled(sealed, _) => sealed.len(),
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::AsItLies(backing) => backing.as_fd(),
            Self::Assembled(sealed, _) => sealed.as_fd(),
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsItLies(_) => "as it lies",
            Self::Assembled(..) => "assembled",
        })
    }
}

impl Store for Sources {
    fn create(&mut self) -> io::Result<Box<dyn Output>> {
        let writer = MemfdWriter::new("ukexec-output").map_err(io::Error::other)?;
        Ok(Box::new(MemfdOutput {
            writer,
            sources: self.clone(),
        }))
    }
}

/// A decompression's output in memory that gets sealed.
struct MemfdOutput {
    writer: MemfdWriter,
    sources: Sources,
}

impl io::Write for MemfdOutput {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.writer.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Output for MemfdOutput {
    fn finish(self: Box<Self>) -> io::Result<(SourceId, Arc<dyn Source>)> {
        let sealed = self.writer.finish().map_err(io::Error::other)?;
        let (id, source) = self.sources.register(Backing::Decompressed(sealed));
        Ok((id, source))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn sealed(sources: &Sources, bytes: &[u8]) -> Rope {
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(bytes).unwrap();
        sources.add(Backing::Sealed(writer.finish().unwrap()))
    }

    #[test]
    fn a_whole_sealed_file_is_handed_over_as_it_lies() {
        let sources = Sources::default();
        let rope = sealed(&sources, b"kernel");
        let descriptor = sources.descriptor(&rope).unwrap();
        assert_eq!(descriptor.to_string(), "as it lies");
        assert_eq!((descriptor.moved().total(), descriptor.len()), (0, 6));
    }

    #[test]
    fn other_ropes_are_assembled_in_the_kernel() {
        let sources = Sources::default();
        let mut rope = sealed(&sources, b"microcode");
        rope.push(Piece::Zeros(3));
        rope.append(&sealed(&sources, b"initrd"));
        let Descriptor::Assembled(file, moved) = sources.descriptor(&rope).unwrap() else {
            panic!("this rope is not one file")
        };
        assert_eq!(file.to_vec().unwrap(), b"microcode\0\0\0initrd");
        assert_eq!((moved.in_kernel, moved.through_user), (15, 0));
    }

    #[test]
    fn a_source_that_no_rope_keeps_is_freed() {
        let sources = Sources::default();
        let kept = sealed(&sources, b"kept");
        drop(sealed(&sources, b"dropped"));
        let alive =
            |list: &Vec<Weak<Backing>>| list.iter().filter(|b| b.strong_count() > 0).count();
        assert_eq!(alive(&sources.backings.borrow()), 1);
        assert_eq!(sources.descriptor(&kept).unwrap().len(), 4);
    }

    #[test]
    fn an_output_becomes_a_source() {
        let mut sources = Sources::default();
        let mut output = sources.create().unwrap();
        output.write_all(b"image").unwrap();
        let (id, source) = output.finish().unwrap();
        let rope = Rope::from_source(id, source);
        assert_eq!(rope.to_vec().unwrap(), b"image");
        assert!(sources.is_decompressed(&rope));
        assert!(!sources.is_decompressed(&sealed(&sources, b"image")));
        assert_eq!(sources.descriptor(&rope).unwrap().to_string(), "as it lies");
    }
}
