//! Taking a file over into sealed memory, in one pass.
//!
//! What happens to the file afterwards does no harm: only the sealed pieces are
//! looked at from then on. Bytes go from the page cache into the memory files
//! inside the kernel, in file order, each of them once.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Advice, FileType};

use crate::error::KexecError;
use crate::sealed::{Memfd, MemfdWriter, SealedFile};
use crate::transfer::{Moved, TransferError, send};

/// How an input can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// At any offset: a regular file or a block device of this many bytes.
    File {
        /// Length in bytes.
        len: u64,
    },
    /// From start to end only: a pipe, a socket, a terminal. It goes through
    /// [`read_stream`] before anything can be looked up in it.
    Stream,
}

/// Returns how `file` can be read.
///
/// # Errors
///
/// [`KexecError::NotAnInput`] for a directory, [`KexecError::Memory`] if the
/// descriptor cannot be asked.
pub fn input_kind(file: impl AsFd) -> Result<InputKind, KexecError> {
    let fd = file.as_fd();
    let stat = rustix::fs::fstat(fd).map_err(|errno| KexecError::Memory {
        action: "looking at the file",
        cause: errno.into(),
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(InputKind::File {
            len: u64::try_from(stat.st_size).unwrap_or(0),
        }),
        FileType::BlockDevice => {
            let len = rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0)).map_err(|errno| {
                KexecError::Memory {
                    action: "asking a block device's length",
                    cause: errno.into(),
                }
            })?;
            Ok(InputKind::File { len })
        }
        FileType::Directory => Err(KexecError::NotAnInput {
            kind: "a directory",
        }),
        FileType::Symlink => Err(KexecError::NotAnInput {
            kind: "a symbolic link",
        }),
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::Unknown => {
            Ok(InputKind::Stream)
        }
    }
}

/// Reads a stream to its end into sealed memory.
///
/// These bytes pass through this process: where to cut is not known before
/// they were read. `progress` gets the sum of bytes so far.
///
/// # Errors
///
/// [`KexecError::StreamTooLong`] behind `limit` bytes, [`KexecError::Memory`]
/// if reading or writing fails.
pub fn read_stream(
    stream: impl AsFd,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<SealedFile, KexecError> {
    let mut writer = MemfdWriter::new("ukexec-stream")?;
    let mut buf = vec![0; STREAM_BUFFER];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(stream.as_fd(), &mut *buf))
            .map_err(|errno| KexecError::Memory {
                action: "reading the stream",
                cause: errno.into(),
            })?;
        let Some(bytes) = buf.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return writer.finish();
        };
        if writer.len() + bytes.len() as u64 > limit {
            return Err(KexecError::StreamTooLong { limit });
        }
        std::io::Write::write_all(&mut writer, bytes).map_err(|cause| KexecError::Memory {
            action: "writing into memory",
            cause,
        })?;
        progress(writer.len());
    }
}

/// A file's bytes, sealed, in parts.
///
/// Each range that was cut out is a part of its own, all bytes between them
/// together are one more; [`Snapshot::layout`] says where each byte of the file
/// went.
#[derive(Debug)]
pub struct Snapshot {
    parts: Vec<SealedFile>,
    layout: Vec<Span>,
    len: u64,
    moved: Moved,
}

/// Where a range of the file lies in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// The bytes of the file.
    pub range: Range<u64>,
    /// Index in [`Snapshot::parts`].
    pub part: usize,
    /// Where in that part `range` begins.
    pub offset: u64,
}

impl Snapshot {
    /// Takes all bytes that `file` has now over into sealed memory.
    ///
    /// `cuts` are ascending and disjoint; empty ones are passed over. Bytes
    /// that are appended meanwhile are left alone. `progress` gets the sum of
    /// bytes so far.
    ///
    /// # Errors
    ///
    /// [`KexecError::CutPastEnd`] and [`KexecError::CutOrder`] for cuts that
    /// do not fit, [`KexecError::Shrank`] if the file gets shorter meanwhile,
    /// [`KexecError::Stream`] and [`KexecError::NotAnInput`] for what is no
    /// file, [`KexecError::Memory`] if reading, writing or sealing fails.
    pub fn take(
        file: impl AsFd,
        cuts: &[Range<u64>],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, KexecError> {
        let fd = file.as_fd();
        let InputKind::File { len } = input_kind(fd)? else {
            return Err(KexecError::Stream);
        };
        check_cuts(cuts, len)?;
        // Only a hint, so a file system that takes none does no harm.
        let _unheeded = rustix::fs::fadvise(fd, 0, None, Advice::Sequential);
        let mut pass = Pass {
            fd,
            len,
            rest: None,
            layout: Vec::new(),
            moved: Moved::default(),
            progress,
        };
        let mut parts = Vec::new();
        let mut at = 0;
        for cut in cuts.iter().filter(|cut| !cut.is_empty()) {
            pass.take_rest(at..cut.start)?;
            let mut memfd = Memfd::new("ukexec-section")?;
            pass.take_range(cut.clone(), &mut memfd)?;
            // Part 0 is the rest.
            parts.push(memfd.seal()?);
            pass.layout.push(Span {
                range: cut.clone(),
                part: parts.len(),
                offset: 0,
            });
            at = cut.end;
        }
        pass.take_rest(at..len)?;
        Self::collect(pass, parts)
    }

    fn collect(pass: Pass<'_>, mut parts: Vec<SealedFile>) -> Result<Self, KexecError> {
        let Pass {
            len,
            rest,
            mut layout,
            moved,
            ..
        } = pass;
        match rest {
            Some(rest) => parts.insert(0, rest.seal()?),
            // Nothing lies between the cuts: they are all the parts there are.
            None => layout.iter_mut().for_each(|span| span.part -= 1),
        }
        Ok(Self {
            parts,
            layout,
            len,
            moved,
        })
    }

    /// Returns the length of the whole in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the file was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the parts, none of them empty.
    #[must_use]
    pub fn parts(&self) -> &[SealedFile] {
        &self.parts
    }

    /// Returns where the file's bytes lie: spans in file order that cover it
    /// without gap or overlap.
    #[must_use]
    pub fn layout(&self) -> &[Span] {
        &self.layout
    }

    /// Returns how many bytes were moved, and how.
    #[must_use]
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// Gives the parts away, with the layout.
    #[must_use]
    pub fn into_parts(self) -> (Vec<SealedFile>, Vec<Span>) {
        (self.parts, self.layout)
    }
}

/// One way through a file.
struct Pass<'a> {
    fd: BorrowedFd<'a>,
    len: u64,
    /// The bytes between the cuts.
    rest: Option<Memfd>,
    layout: Vec<Span>,
    moved: Moved,
    progress: &'a mut dyn FnMut(u64),
}

impl Pass<'_> {
    fn take_rest(&mut self, range: Range<u64>) -> Result<(), KexecError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut rest = match self.rest.take() {
            Some(rest) => rest,
            None => Memfd::new("ukexec-rest")?,
        };
        self.layout.push(Span {
            range: range.clone(),
            part: 0,
            offset: rest.len,
        });
        self.take_range(range, &mut rest)?;
        self.rest = Some(rest);
        Ok(())
    }

    fn take_range(&mut self, range: Range<u64>, memfd: &mut Memfd) -> Result<(), KexecError> {
        let mut done = self.moved.total();
        let moved = send(self.fd, range, memfd.as_fd(), &mut |count| {
            done += count;
            (self.progress)(done);
        })
        .map_err(|error| match error {
            TransferError::End { found } => KexecError::Shrank {
                expected: self.len,
                found,
            },
            TransferError::Io(cause) => KexecError::Memory {
                action: "copying the file into memory",
                cause,
            },
        })?;
        memfd.len += moved.total();
        self.moved += moved;
        Ok(())
    }
}

fn check_cuts(cuts: &[Range<u64>], len: u64) -> Result<(), KexecError> {
    let mut previous_end = 0;
    for cut in cuts.iter().filter(|cut| !cut.is_empty()) {
        if cut.start < previous_end {
            return Err(KexecError::CutOrder {
                cut: cut.clone(),
                previous_end,
            });
        }
        if cut.end > len {
            return Err(KexecError::CutPastEnd {
                cut: cut.clone(),
                len,
            });
        }
        previous_end = cut.end;
    }
    Ok(())
}

/// Bytes read from a stream at a time.
const STREAM_BUFFER: usize = 256 << 10;
