//! Moving bytes between descriptors, in the kernel where it can.
//!
//! `sendfile(2)` copies once, from the page cache into the target;
//! `copy_file_range(2)` may copy nothing at all, since file systems that share
//! extents answer it with a clone (btrfs, XFS, bcachefs). Where neither works
//! (FUSE, some pseudo file systems), bytes go through a buffer here, and
//! [`Moved`] says so.

use std::io;
use std::ops::{AddAssign, Range};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use serde::Serialize;

use crate::tap::{Show, Window};

/// Bytes moved, by their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Copied or shared by the kernel.
    pub in_kernel: u64,
    /// Copied through this process's memory.
    pub through_user: u64,
}

impl Moved {
    /// Returns the sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.in_kernel + self.through_user
    }
}

impl AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.in_kernel += other.in_kernel;
        self.through_user += other.through_user;
    }
}

/// Why a range could not be moved.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// The source ends at `found`, inside the range.
    End { found: u64 },
    /// Reading or writing failed.
    Io(io::Error),
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for TransferError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Copies `range` of `from` to the file position of `to` and gives `progress`
/// the number of bytes that each step moved.
pub(crate) fn send(
    from: BorrowedFd<'_>,
    range: Range<u64>,
    to: BorrowedFd<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Moved, TransferError> {
    let mut moved = Moved::default();
    let mut at = range.start;
    // Where the target has no position, one is as good as another.
    let mut to_at = rustix::fs::tell(to).unwrap_or(at);
    while at < range.end {
        let mut next = at;
        let count = step(at, range.end).min(whole_pages(at, to_at));
        match rustix::fs::sendfile(to, from, Some(&mut next), count) {
            Ok(0) => return Err(TransferError::End { found: at }),
            Ok(count) => {
                let count = count as u64;
                at += count;
                to_at += count;
                moved.in_kernel += count;
                progress(count);
            }
            Err(Errno::INTR) => {}
            // The source has no page cache to send from, or a seccomp filter
            // forbids this call where it lets others pass.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => {
                let mut shown = |window: Window| {
                    progress(window.len as u64);
                    window
                };
                moved += copy(from, at..range.end, to, &mut shown)?;
                return Ok(moved);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(moved)
}

/// As [`send`], but lets the file system share extents instead of copying.
pub(crate) fn share(
    from: BorrowedFd<'_>,
    range: Range<u64>,
    to: BorrowedFd<'_>,
) -> Result<Moved, TransferError> {
    let mut moved = Moved::default();
    let mut at = range.start;
    while at < range.end {
        let mut next = at;
        match rustix::fs::copy_file_range(from, Some(&mut next), to, None, step(at, range.end)) {
            Err(Errno::INTR) => {}
            // Not between these file systems, or not for these descriptors;
            // and 0 may be a pseudo file system's way to say the same.
            // `sendfile` works for more, and returns a real error or end.
            Ok(0) | Err(_) => {
                moved += send(from, at..range.end, to, &mut |_| {})?;
                return Ok(moved);
            }
            Ok(count) => {
                at += count as u64;
                moved.in_kernel += count as u64;
            }
        }
    }
    Ok(moved)
}

/// Copies `range` of `from` to the file position of `to` through windows. `show` gets each
/// of them once it is written, and returns the next one to fill.
pub(crate) fn copy(
    from: BorrowedFd<'_>,
    range: Range<u64>,
    to: BorrowedFd<'_>,
    show: Show<'_>,
) -> Result<Moved, TransferError> {
    let mut window = Window::new();
    let mut at = range.start;
    while at < range.end {
        let want = step(at, range.end).min(window.buf.len());
        window.len = match rustix::io::pread(from, &mut window.buf[..want], at) {
            Ok(0) => return Err(TransferError::End { found: at }),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        write_all(to, window.bytes())?;
        at += window.len as u64;
        window = show(window);
    }
    Ok(Moved {
        in_kernel: 0,
        through_user: range.end - range.start,
    })
}

/// Writes all of `bytes` at the file position of `to`.
pub(crate) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // Linux writes no more than there is.
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Returns how many bytes to ask for in one call.
fn step(at: u64, end: u64) -> usize {
    usize::try_from(end - at).map_or(STEP, |left| left.min(STEP))
}

/// Returns how many bytes from `at` to send to `to_at` in one call, so that the kernel ends each of
/// its steps with a page of the target.
///
/// A step holds up to [`PIPE_PAGES`] parts of pages of the source. Where pages of source and target
/// do not begin at the same bytes, all steps but the last would end inside of a page of the target,
/// which the kernel then fills twice, with zeros in between: that costs a tenth.
fn whole_pages(at: u64, to_at: u64) -> usize {
    let page = rustix::param::page_size();
    let into_page = |at: u64| usize::try_from(at % page as u64).unwrap_or_default();
    match into_page(to_at) {
        into if into == into_page(at) => usize::MAX,
        into => (PIPE_PAGES - 1) * page - into,
    }
}

/// Pages in the pipe through which `sendfile(2)` moves bytes (`PIPE_DEF_BUFFERS`).
const PIPE_PAGES: usize = 16;

/// One call moves at most this, so that progress is seen and a signal heeded.
const STEP: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn copies_through_a_buffer_where_it_must() {
        let bytes: Vec<u8> = (0..Window::new().buf.len() * 2 + 3)
            .map(|at| (at % 251) as u8)
            .collect();
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(&bytes).unwrap();
        let mut to = tempfile::tempfile().unwrap();
        let mut seen = Vec::new();
        let range = 1..bytes.len() as u64;
        let mut show = |window: Window| {
            seen.extend_from_slice(window.bytes());
            window
        };
        let moved = copy(from.as_fd(), range, to.as_fd(), &mut show).unwrap();
        assert_eq!(
            moved,
            Moved {
                in_kernel: 0,
                through_user: bytes.len() as u64 - 1
            }
        );
        assert_eq!(seen, &bytes[1..]);
        let mut copied = Vec::new();
        to.rewind().unwrap();
        to.read_to_end(&mut copied).unwrap();
        assert_eq!(copied, &bytes[1..]);
    }

    #[test]
    fn steps_end_with_a_page_of_the_target() {
        let page = rustix::param::page_size();
        let at = page as u64;
        assert_eq!(whole_pages(3 * at, 0), usize::MAX);
        assert_eq!(whole_pages(3 * at + 5, 7 * at + 5), usize::MAX);
        assert_eq!(whole_pages(3 * at + 5, 0), 15 * page);
        assert_eq!(whole_pages(3 * at, 2 * at + 5), 15 * page - 5);
    }

    #[test]
    fn sends_what_lies_across_pages() {
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(&bytes).unwrap();
        let mut to = tempfile::tempfile().unwrap();
        to.write_all(b"begin").unwrap();
        let mut seen = 0;
        let range = 2049..1_000_000;
        let moved = send(from.as_fd(), range, to.as_fd(), &mut |count| seen += count);
        assert_eq!((moved.unwrap().in_kernel, seen), (997_951, 997_951));
        let mut copied = Vec::new();
        to.rewind().unwrap();
        to.read_to_end(&mut copied).unwrap();
        assert_eq!(copied[..5], *b"begin");
        assert!(copied[5..] == bytes[2049..1_000_000]);
    }

    #[test]
    fn says_where_the_source_ends() {
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"0123456789").unwrap();
        let to = tempfile::tempfile().unwrap();
        let (from, to) = (from.as_fd(), to.as_fd());
        for result in [
            send(from, 2..20, to, &mut |_| {}),
            copy(from, 2..20, to, &mut |window| window),
            share(from, 2..20, to),
        ] {
            assert!(
                matches!(result, Err(TransferError::End { found: 10 })),
                "{result:?}"
            );
        }
    }

    /// A device cannot be sent from on every kernel, but be read from.
    #[test]
    fn falls_back_for_odd_sources() {
        let from = File::open("/dev/zero").unwrap();
        let mut to = tempfile::tempfile().unwrap();
        let moved = share(from.as_fd(), 0..100, to.as_fd()).unwrap();
        assert_eq!(moved.total(), 100);
        let mut copied = Vec::new();
        to.rewind().unwrap();
        to.read_to_end(&mut copied).unwrap();
        assert_eq!(copied, [0; 100]);
    }

    #[test]
    fn names_what_failed() {
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"0123456789").unwrap();
        let to = File::open("/dev/null").unwrap();
        let result = send(from.as_fd(), 0..10, to.as_fd(), &mut |_| {});
        assert!(matches!(result, Err(TransferError::Io(_))), "{result:?}");
    }
}
