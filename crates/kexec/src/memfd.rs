//! Files in memory, and how they are sealed.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::error::{KexecError, failed};
use crate::sealed::SealedFile;
use crate::transfer::{TransferError, send};

/// A memory file being written.
#[derive(Debug)]
pub(crate) struct Memfd {
    pub(crate) fd: OwnedFd,
    /// Bytes so far, kept by whoever writes.
    pub(crate) len: u64,
}

impl Memfd {
    pub(crate) fn new(name: &str) -> Result<Self, KexecError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Linux 6.3 has a flag for files that are no programs, and may insist on
        // it (vm.memfd_noexec=2); older kernels do not know it.
        let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
            result => result,
        };
        let fd = fd.map_err(failed("creating a file in memory (memfd_create)"))?;
        Ok(Self { fd, len: 0 })
    }

    /// Leaves `len` zeros in front of what is written next. Nothing was written yet.
    pub(crate) fn skip(&mut self, len: u64) -> Result<(), KexecError> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(len))
            .map_err(failed("leaving room in memory"))?;
        self.len = len;
        Ok(())
    }

    /// Makes the bytes immutable and gives up the right to write.
    pub(crate) fn seal(self) -> Result<SealedFile, KexecError> {
        // Zeros at the end were only skipped so far.
        rustix::fs::ftruncate(&self.fd, self.len).map_err(failed("growing a file in memory"))?;
        self.seal_as_is()
    }

    /// As [`seal`](Self::seal), with the bytes that are there. Others who may
    /// write could change their number until the file is sealed, so that they
    /// are counted behind it.
    pub(crate) fn seal_as_is(self) -> Result<SealedFile, KexecError> {
        self.seal_by(&mut |memfd, seals| rustix::fs::fcntl_add_seals(memfd, seals))
    }

    /// Seals by calling `add`, which stands for the kernel.
    ///
    /// The kernel refuses to forbid writing while a page of the file is in use
    /// elsewhere: in a pipe, on its way to another processor's list, in a map;
    /// and some kernels count a huge page wrongly, and refuse always. That
    /// passes, or a copy is sealed in the file's place.
    fn seal_by(self, add: AddSeals<'_>) -> Result<SealedFile, KexecError> {
        let not_sealed = failed("sealing a file in memory");
        // This is never refused. From here on nobody else who writes can make it
        // longer, whatever becomes of the rest.
        add(&self.fd, SealFlags::GROW | SealFlags::SHRINK).map_err(&not_sealed)?;
        let sealed = match forbid_writing(&self.fd, add) {
            Ok(()) => self,
            Err(Errno::BUSY) => {
                let copy = self.copy()?;
                add(&copy.fd, SealFlags::GROW | SealFlags::SHRINK).map_err(&not_sealed)?;
                match forbid_writing(&copy.fd, add) {
                    // Nobody else ever had the copy open, so that no map of it
                    // can write, which is all that this seal leaves possible.
                    Err(Errno::BUSY) => add(&copy.fd, SealFlags::FUTURE_WRITE | SealFlags::SEAL),
                    done => done,
                }
                .map_err(&not_sealed)?;
                copy
            }
            Err(errno) => return Err(not_sealed(errno)),
        };
        let fd = sealed.open_again()?;
        let len = length(&fd).map_err(failed("looking at a sealed file"))?;
        Ok(SealedFile { fd, len })
    }

    /// Returns a fresh file with the bytes of this one, whose length is sealed.
    ///
    /// The copy is what counts from then on, and nobody else holds it. If only
    /// this process could write to the original (a snapshot, a stream, a bundle,
    /// what was assembled), it has the bytes that were written, hashed and shown
    /// to the worker: the worker reads the original through a descriptor that
    /// cannot write. If the worker wrote the original, it can write while this
    /// copies; the copy then is one of the outputs that it could have written.
    fn copy(&self) -> Result<Self, KexecError> {
        let len = length(&self.fd).map_err(failed("looking at a file in memory"))?;
        let mut copy = Self::new("ukexec-copy")?;
        let moved = send(self.as_fd(), 0..len, copy.as_fd(), &mut |_| {});
        let moved = moved.map_err(|error| match error {
            TransferError::Io(cause) => cause,
            TransferError::End { .. } => io::ErrorKind::UnexpectedEof.into(),
        });
        let action = "copying a file in memory, which is in use and cannot be sealed";
        copy.len = moved.map_err(failed(action))?.total();
        Ok(copy)
    }

    pub(crate) fn add_seals(&self, seals: SealFlags) -> Result<(), KexecError> {
        rustix::fs::fcntl_add_seals(&self.fd, seals).map_err(failed("sealing a file in memory"))
    }

    /// Opens the file once more, for reading alone.
    pub(crate) fn open_again(&self) -> Result<OwnedFd, KexecError> {
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let opened = rustix::fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        opened.map_err(|errno| {
            let action = match errno {
                Errno::NOENT => {
                    "opening a sealed file again through /proc/self/fd (is /proc mounted?)"
                }
                _ => "opening a sealed file again through /proc/self/fd",
            };
            failed(action)(errno)
        })
    }
}

impl io::Write for Memfd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = rustix::io::write(&self.fd, bytes)?;
        self.len += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Adds seals to a file, as `fcntl(2)` does.
type AddSeals<'a> = &'a mut dyn FnMut(&OwnedFd, SealFlags) -> Result<(), Errno>;

/// Adds the last seals, as soon as no page is in use elsewhere.
fn forbid_writing(file: &OwnedFd, add: AddSeals<'_>) -> Result<(), Errno> {
    let start = Instant::now();
    let mut wait = Duration::from_millis(1);
    loop {
        match add(file, SealFlags::WRITE | SealFlags::SEAL) {
            // The kernel itself waits for a while, or not at all.
            Err(Errno::BUSY) if start.elapsed() < BUSY_FOR => sleep(wait),
            done => return done,
        }
        wait *= 2;
    }
}

/// How long pages may be in use elsewhere before the file is copied.
const BUSY_FOR: Duration = Duration::from_millis(100);

fn length(file: &OwnedFd) -> Result<u64, Errno> {
    length_in(&rustix::fs::fstat(file)?)
}

/// Returns the length in `stat`; a negative one is an error, as of a file that is
/// too large for the call.
pub(crate) fn length_in(stat: &Stat) -> Result<u64, Errno> {
    u64::try_from(stat.st_size).map_err(|_negative| Errno::OVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_sealed, contents, inode};
    use crate::transfer::write_all;

    #[test]
    fn a_negative_length_is_an_error() {
        let mut stat = rustix::fs::fstat(tempfile::tempfile().unwrap()).unwrap();
        assert_eq!(length_in(&stat), Ok(0));
        stat.st_size = -1;
        assert_eq!(length_in(&stat), Err(Errno::OVERFLOW));
    }

    /// The kernel that answers is a fake: how long a real one waits by itself, and
    /// how soon another thread lets go, depends on the machine.
    #[test]
    fn a_page_that_is_in_use_for_a_moment_is_waited_for() {
        let memfd = Memfd::new("test").unwrap();
        write_all(memfd.as_fd(), b"section").unwrap();
        let original = inode(&memfd);
        let mut busy = 2;
        let sealed = memfd.seal_by(&mut |file, seals| {
            if seals.contains(SealFlags::WRITE) && busy > 0 {
                busy -= 1;
                return Err(Errno::BUSY);
            }
            rustix::fs::fcntl_add_seals(file, seals)
        });
        check_sealed(&sealed.unwrap(), b"section", original, false);
        assert_eq!(busy, 0);
    }

    /// As on kernels that count huge pages wrongly.
    #[test]
    fn where_writing_is_never_forbidden_a_copy_is_closed_to_writers() {
        let memfd = Memfd::new("test").unwrap();
        write_all(memfd.as_fd(), b"image").unwrap();
        let original = inode(&memfd);
        let mut refused = 0;
        let sealed = memfd.seal_by(&mut |file, seals| {
            if seals.contains(SealFlags::WRITE) {
                refused += 1;
                return Err(Errno::BUSY);
            }
            rustix::fs::fcntl_add_seals(file, seals)
        });
        let file = sealed.unwrap();
        assert!(refused > 2);
        assert!(inode(&file) != original);
        assert_eq!(contents(&file), b"image");
        let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let other = rustix::fs::open(link, OFlags::RDWR, Mode::empty()).unwrap();
        assert_eq!(rustix::io::write(&other, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&other, 2), Err(Errno::PERM));
        let more = rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE);
        assert_eq!(more, Err(Errno::PERM));
    }
}
