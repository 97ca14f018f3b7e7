//! Joining parts into one file, without bringing their bytes here.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::SeekFrom;

use crate::error::KexecError;
use crate::sealed::{Memfd, SealedFile};
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
/// [`KexecError::PartPastEnd`] if a part's range passes its file's end,
/// [`KexecError::Memory`] if reading, writing or sealing fails.
pub fn assemble(parts: &[Part<'_>]) -> Result<(SealedFile, Moved), KexecError> {
    let mut memfd = Memfd::new("ukexec-assembled")?;
    let mut moved = Moved::default();
    for part in parts {
        let more = match part {
            Part::File { fd, range } => send(*fd, range.clone(), memfd.as_fd(), &mut |_| {})
                .map_err(|error| part_error(error, range, "copying a part into memory"))?,
            Part::Bytes(bytes) => {
                write_all(memfd.as_fd(), bytes).map_err(|cause| KexecError::Memory {
                    action: "writing into memory",
                    cause,
                })?;
                Moved {
                    in_kernel: 0,
                    through_user: bytes.len() as u64,
                }
            }
            Part::Zeros(count) => {
                memfd.skip(*count)?;
                continue;
            }
        };
        memfd.len += more.total();
        moved += more;
    }
    Ok((memfd.seal()?, moved))
}

/// Joins `parts` in a new file at `path`.
///
/// Where the file systems allow it, extents are shared and nothing is copied.
/// Zeros become holes. On failure the file may be left behind, incomplete: the
/// caller writes into a folder that it discards then.
///
/// # Errors
///
/// [`KexecError::File`] if the file exists or cannot be written,
/// [`KexecError::FilePart`] if a part's range passes its file's end.
pub fn write_file(path: &Path, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
    let failed = |action| {
        move |cause: io::Error| KexecError::File {
            path: path.to_owned(),
            action,
            cause,
        }
    };
    let file = File::create_new(path).map_err(failed("creating it"))?;
    let mut len = 0;
    let mut moved = Moved::default();
    for part in parts {
        len += part.len();
        match part {
            Part::File { fd, range } => {
                moved += share(*fd, range.clone(), file.as_fd()).map_err(|error| match error {
                    TransferError::Io(cause) => failed("writing it")(cause),
                    end @ TransferError::End { .. } => KexecError::FilePart {
                        path: path.to_owned(),
                        cause: Box::new(part_error(end, range, "copying a part")),
                    },
                })?;
            }
            Part::Bytes(bytes) => {
                write_all(file.as_fd(), bytes).map_err(failed("writing it"))?;
                moved.through_user += bytes.len() as u64;
            }
            Part::Zeros(_) => {
                rustix::fs::seek(&file, SeekFrom::Start(len))
                    .map_err(|errno| failed("leaving zeros in it")(errno.into()))?;
            }
        }
    }
    // Zeros at the end were only skipped so far.
    file.set_len(len).map_err(failed("setting its length"))?;
    Ok(moved)
}

fn part_error(error: TransferError, range: &Range<u64>, action: &'static str) -> KexecError {
    match error {
        TransferError::End { found } => KexecError::PartPastEnd {
            range: range.clone(),
            found,
        },
        TransferError::Io(cause) => KexecError::Memory { action, cause },
    }
}
