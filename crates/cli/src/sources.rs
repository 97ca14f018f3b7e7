//! Where ropes come from and go to: the table that turns a piece's number back
//! into a descriptor.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::sync::Arc;

use ukexec_bpf::{Piece, Rope, Source, SourceId};
use ukexec_kexec::{KexecError, MemfdWriter, Moved, Part, SealedFile, assemble};
use ukexec_unfold::{Output, Store};

/// All sources of one unfolding, by [`SourceId`]; also the [`Store`] that
/// decompression writes into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    held: Rc<RefCell<Vec<Arc<Held>>>>,
}

/// What backs a source.
#[derive(Debug)]
pub(crate) enum Held {
    /// Sealed memory: a part of a snapshot, or what a decompression wrote.
    Sealed(SealedFile),
    /// A file as it lies on disk, and its length when it was opened.
    File(File, u64),
}

impl Source for Held {
    fn len(&self) -> u64 {
        match self {
            Self::Sealed(sealed) => sealed.len(),
            Self::File(_, len) => *len,
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Sealed(sealed) => sealed.read_at(offset, buf),
            Self::File(file, _) => file.read_exact_at(buf, offset),
        }
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Sealed(sealed) => sealed.as_fd(),
            Self::File(file, _) => file.as_fd(),
        }
    }
}

impl Sources {
    /// Takes `held` in and returns all of its bytes.
    pub(crate) fn add(&self, held: Held) -> Rope {
        let (id, source) = self.register(held);
        Rope::from_source(id, source)
    }

    fn register(&self, held: Held) -> (SourceId, Arc<Held>) {
        let held = Arc::new(held);
        let mut list = self.held.borrow_mut();
        let id = SourceId(u32::try_from(list.len()).unwrap_or(u32::MAX));
        list.push(Arc::clone(&held));
        (id, held)
    }

    /// Calls `job` with what `rope` is made of.
    pub(crate) fn with_parts<T>(&self, rope: &Rope, job: impl FnOnce(&[Part<'_>]) -> T) -> T {
        let held = self.held.borrow();
        let parts: Vec<Part<'_>> = rope
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Source { id, range, .. } => {
                    let held = held
                        .get(id.0 as usize)
                        .expect("every source is registered here");
                    Part::File {
                        fd: held.as_fd(),
                        range: range.clone(),
                    }
                }
                Piece::Memory(bytes) => Part::Bytes(bytes),
                Piece::Zeros(len) => Part::Zeros(*len),
            })
            .collect();
        job(&parts)
    }

    /// Returns `rope` as one descriptor: as it lies if it is one sealed file,
    /// else assembled.
    pub(crate) fn descriptor(&self, rope: &Rope) -> Result<Descriptor, KexecError> {
        if let Some(held) = self.whole(rope) {
            return Ok(Descriptor::AsItLies(held));
        }
        let (sealed, moved) = self.with_parts(rope, assemble)?;
        Ok(Descriptor::Assembled(sealed, moved))
    }

    /// Returns the sealed file that `rope` is, whole, if it is just one.
    fn whole(&self, rope: &Rope) -> Option<Arc<Held>> {
        let [Piece::Source { id, range, .. }] = rope.pieces() else {
            return None;
        };
        let held = Arc::clone(self.held.borrow().get(id.0 as usize)?);
        let sealed = matches!(*held, Held::Sealed(_));
        (sealed && *range == (0..held.len())).then_some(held)
    }
}

/// A part as the kernel takes it.
#[derive(Debug)]
pub(crate) enum Descriptor {
    /// A piece of the snapshot, or what a decompression wrote: nothing moved.
    AsItLies(Arc<Held>),
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
            Self::AsItLies(held) => held.len(),
            Self::Assembled(sealed, _) => sealed.len(),
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::AsItLies(held) => held.as_fd(),
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
        let (id, source) = self.sources.register(Held::Sealed(sealed));
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
        sources.add(Held::Sealed(writer.finish().unwrap()))
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
    fn an_output_becomes_a_source() {
        let mut sources = Sources::default();
        let mut output = sources.create().unwrap();
        output.write_all(b"image").unwrap();
        let (id, source) = output.finish().unwrap();
        let rope = Rope::from_source(id, source);
        assert_eq!(rope.to_vec().unwrap(), b"image");
        assert_eq!(sources.descriptor(&rope).unwrap().to_string(), "as it lies");
    }
}
