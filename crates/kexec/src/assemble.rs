//! Joining parts into one file, without bringing their bytes here.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::SeekFrom;

use crate::error::{KexecError, failed, failed_at, shown_path};
use crate::memfd::Memfd;
use crate::sealed::{GrowableFile, MemfdWriter, SealedFile};
use crate::transfer::{Moved, TransferError, send, share, write_all};

/// Some bytes of a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Part<'a> {
    /// A range of a file.
    File {
        /// Open for reading.
        fd: BorrowedFd<'a>,
        /// Which of its bytes.
        range: Range<u64>,
    },
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// So many zero bytes.
    Zeros(u64),
}

impl Part<'_> {
    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::File { range, .. } => range.end.saturating_sub(range.start),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Joins `parts` in sealed memory.
///
/// Zeros take no memory and count as not moved.
///
/// # Errors
///
/// A part's range passes its file's end, or reading, writing or sealing fails.
pub fn assemble(parts: &[Part<'_>]) -> Result<(SealedFile, Moved), KexecError> {
    let mut memfd = Memfd::new("ukexec-assembled")?;
    let moved = append(&mut memfd, parts)?;
    Ok((memfd.seal()?, moved))
}

impl GrowableFile {
    /// Puts `parts` behind what is there, as [`assemble()`] joins them.
    ///
    /// # Errors
    ///
    /// As [`assemble()`]; the file is of no use then.
    pub fn append(&mut self, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
        append(&mut self.memfd, parts)
    }

    /// Puts `parts` into the room in front, as [`assemble()`] joins them.
    ///
    /// # Errors
    ///
    /// They have another length than the room; and as [`assemble()`], when the file is
    /// of no use.
    pub fn fill(&mut self, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
        let (len, room) = (parts.iter().map(Part::len).sum::<u64>(), self.room);
        if len != room {
            return Err(KexecError::new(format!(
                "there are {room} bytes of room in a part, and {len} to fill it"
            )));
        }
        let memfd = &mut self.memfd;
        let end = std::mem::take(&mut memfd.len);
        memfd.skip(0)?;
        let moved = append(memfd, parts)?;
        self.room = 0;
        memfd.skip(end)?;
        Ok(moved)
    }
}

impl MemfdWriter {
    /// Puts `parts` behind what was written, as [`assemble()`] joins them.
    ///
    /// # Errors
    ///
    /// As [`assemble()`]; the writer is of no use then.
    pub fn append(&mut self, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
        append(self.flushed()?, parts)
    }
}

fn append(memfd: &mut Memfd, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
    let (len, moved) = Target {
        fd: memfd.as_fd(),
        transfer: |from, range, to| send(from, range, to, &mut |_| {}),
        name: String::new(),
        failed: &|step, cause| {
            let action = match step {
                Step::Copy => "copying a part into memory",
                Step::Write => "writing into memory",
                Step::Skip => "leaving zeros in memory",
            };
            failed(action)(cause)
        },
    }
    .join(memfd.len, parts)?;
    memfd.len = len;
    Ok(moved)
}

/// Joins `parts` in `file`, which is empty and is or will be at `path`.
///
/// Where the file systems allow it, extents are shared and nothing is copied.
/// Zeros become holes. On failure the file is left incomplete.
pub(crate) fn write_parts(
    file: &File,
    path: &Path,
    parts: &[Part<'_>],
) -> Result<Moved, KexecError> {
    let (len, moved) = Target {
        fd: file.as_fd(),
        transfer: share,
        name: format!("{}: ", shown_path(path)),
        failed: &|step, cause| {
            let action = match step {
                Step::Copy | Step::Write => "writing it",
                Step::Skip => "leaving zeros in it",
            };
            failed_at(path, action)(cause)
        },
    }
    .join(0, parts)?;
    // Zeros at the end were only skipped so far.
    file.set_len(len)
        .map_err(failed_at(path, "setting its length"))?;
    Ok(moved)
}

/// A file that parts are joined in.
struct Target<'a> {
    fd: BorrowedFd<'a>,
    transfer: Transfer,
    /// The text in front of an error about a part.
    name: String,
    failed: &'a dyn Fn(Step, io::Error) -> KexecError,
}

type Transfer = fn(BorrowedFd<'_>, Range<u64>, BorrowedFd<'_>) -> Result<Moved, TransferError>;

/// A step of joining, for errors.
enum Step {
    Copy,
    Write,
    Skip,
}

impl Target<'_> {
    /// Puts `parts` behind the first `len` bytes, and returns how many there are then.
    fn join(&self, mut len: u64, parts: &[Part<'_>]) -> Result<(u64, Moved), KexecError> {
        let mut moved = Moved::default();
        for part in parts {
            len += part.len();
            match part {
                Part::File { fd, range } => {
                    let done = (self.transfer)(*fd, range.clone(), self.fd);
                    moved += done.map_err(|error| match error {
                        TransferError::Io(cause) => (self.failed)(Step::Copy, cause),
                        TransferError::End { found } => KexecError::new(format!(
                            "{}bytes {:#x}..{:#x} of a part were asked for, but it ends at \
                             {found:#x}",
                            self.name, range.start, range.end
                        )),
                    })?;
                }
                Part::Bytes(bytes) => {
                    write_all(self.fd, bytes).map_err(|cause| (self.failed)(Step::Write, cause))?;
                    moved.through_user += bytes.len() as u64;
                }
                Part::Zeros(_) => {
                    rustix::fs::seek(self.fd, SeekFrom::Start(len))
                        .map_err(|errno| (self.failed)(Step::Skip, errno.into()))?;
                }
            }
        }
        Ok((len, moved))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn write(path: &Path, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
        write_parts(&File::create_new(path).unwrap(), path, parts)
    }

    /// Assembles in memory and in a file, and compares both.
    fn check(parts: &[Part<'_>], expected: &[u8], moved: Moved) {
        let (sealed, in_memory) = assemble(parts).unwrap();
        assert_eq!(testing::contents(&sealed), expected);
        assert_eq!(sealed.len(), expected.len() as u64);
        assert_eq!(in_memory, moved);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let in_file = write(&path, parts).unwrap();
        assert_eq!(read(&path), expected);
        assert_eq!(in_file, moved);
    }

    #[test]
    fn joins_nothing() {
        check(&[], b"", Moved::default());
    }

    #[test]
    fn joins_parts_in_order() {
        let source = file(b"0123456789");
        let fd = source.as_fd();
        let parts = [
            Part::File { fd, range: 2..5 },
            Part::Zeros(3),
            Part::Bytes(b"ab"),
            Part::File { fd, range: 0..10 },
            Part::File { fd, range: 4..4 },
            Part::Zeros(2),
        ];
        let moved = Moved {
            in_kernel: 13,
            through_user: 2,
        };
        check(&parts, b"234\0\0\0ab0123456789\0\0", moved);
    }

    #[test]
    fn zeros_alone_take_no_bytes() {
        check(&[Part::Zeros(5000)], &[0; 5000], Moved::default());
        check(
            &[Part::Zeros(0), Part::Bytes(b""), Part::Zeros(1)],
            b"\0",
            Moved::default(),
        );
    }

    #[test]
    fn joins_sealed_parts() {
        let source = file(&[7; 100_000]);
        let whole = 0..100_000;
        let (sealed, _) = assemble(&[Part::File {
            fd: source.as_fd(),
            range: whole,
        }])
        .unwrap();
        let parts = [
            Part::File {
                fd: sealed.as_fd(),
                range: 0..50_000,
            },
            Part::File {
                fd: sealed.as_fd(),
                range: 50_000..100_000,
            },
        ];
        check(
            &parts,
            &[7; 100_000],
            Moved {
                in_kernel: 100_000,
                through_user: 0,
            },
        );
    }

    #[test]
    fn refuses_a_range_past_the_end() {
        let source = file(b"0123456789");
        let parts = [Part::File {
            fd: source.as_fd(),
            range: 5..11,
        }];
        let error = assemble(&parts).unwrap_err();
        expect!["bytes 0x5..0xb of a part were asked for, but it ends at 0xa"]
            .assert_eq(&error.to_string());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        let text = write(&path, &parts).unwrap_err().to_string();
        expect!["FOLDER/kernel: bytes 0x5..0xb of a part were asked for, but it ends at 0xa"]
            .assert_eq(&text.replace(&folder.path().display().to_string(), "FOLDER"));
    }

    proptest! {
        #[test]
        fn joins_any_parts(cuts in prop::collection::vec((0_u8..3, 0_usize..300), 0..10)) {
            let source: Vec<u8> = (0..1000).map(|at| (at % 251) as u8).collect();
            let source_file = file(&source);
            let mut parts = Vec::new();
            let mut expected = Vec::new();
            for (kind, len) in cuts {
                let start = len * 2;
                match kind {
                    0 => {
                        let range = start as u64..(start + len) as u64;
                        parts.push(Part::File { fd: source_file.as_fd(), range });
                        expected.extend_from_slice(&source[start..start + len]);
                    }
                    1 => {
                        parts.push(Part::Bytes(&source[..len]));
                        expected.extend_from_slice(&source[..len]);
                    }
                    _ => {
                        parts.push(Part::Zeros(len as u64));
                        expected.resize(expected.len() + len, 0);
                    }
                }
            }
            let (sealed, _) = assemble(&parts).unwrap();
            prop_assert_eq!(testing::contents(&sealed), expected);
        }
    }
}
