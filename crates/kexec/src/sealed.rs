//! Sealed memory files: bytes that cannot change any more.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use crate::error::KexecError;
use crate::transfer::write_all;

/// A file in memory whose bytes and length can never change again.
///
/// It is sealed (`F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL`)
/// and only open for reading: the kernel refuses an image that is open for
/// writing anywhere with `ETXTBSY`, sealed or not.
pub struct SealedFile {
    fd: OwnedFd,
    len: u64,
}

impl SealedFile {
    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buf` from the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the range passes the end; `buf` may then hold some
    /// of the bytes.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            match rustix::io::pread(&self.fd, &mut *rest, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    at += count as u64;
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Returns all bytes in this process's memory. The caller has looked at
    /// [`SealedFile::len`] before.
    ///
    /// # Errors
    ///
    /// What reading them says.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len).map_err(|_too_long| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedFile")
            .field("fd", &self.fd.as_raw_fd())
            .field("len", &self.len)
            .finish()
    }
}

/// Writes into memory that becomes a [`SealedFile`].
///
/// Small writes are gathered; large ones go straight through.
pub struct MemfdWriter {
    memfd: Memfd,
    buffer: Vec<u8>,
}

impl MemfdWriter {
    /// Bytes gathered before they are written.
    const BUFFER: usize = 64 << 10;

    /// Returns a writer without bytes. `name` shows in `/proc/PID/fd`.
    ///
    /// # Errors
    ///
    /// [`KexecError::Memory`] if the kernel gives no memory file.
    pub fn new(name: &str) -> Result<Self, KexecError> {
        Ok(Self {
            memfd: Memfd::new(name)?,
            buffer: Vec::new(),
        })
    }

    /// Returns how many bytes were written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.memfd.len + self.buffer.len() as u64
    }

    /// Returns whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seals what was written.
    ///
    /// # Errors
    ///
    /// [`KexecError::Memory`] if the last bytes find no room or the file cannot
    /// be sealed.
    pub fn finish(mut self) -> Result<SealedFile, KexecError> {
        io::Write::flush(&mut self).map_err(|cause| KexecError::Memory {
            action: "writing into memory",
            cause,
        })?;
        self.memfd.seal()
    }
}

impl io::Write for MemfdWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > Self::BUFFER {
            self.flush()?;
        }
        if bytes.len() >= Self::BUFFER {
            write_all(self.memfd.as_fd(), bytes)?;
            self.memfd.len += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(self.memfd.as_fd(), &self.buffer)?;
        self.memfd.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl fmt::Debug for MemfdWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemfdWriter")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A memory file being written.
pub(crate) struct Memfd {
    fd: OwnedFd,
    /// Bytes so far, kept by whoever writes.
    pub(crate) len: u64,
}

impl Memfd {
    pub(crate) fn new(name: &str) -> Result<Self, KexecError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Linux 6.3 on wants to be told that it is no program, and may insist
        // (vm.memfd_noexec=2); older ones do not know the flag.
        let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
            result => result,
        };
        let fd = fd.map_err(memory("creating a file in memory (memfd_create)"))?;
        Ok(Self { fd, len: 0 })
    }

    /// Leaves `count` zero bytes, which take no memory, and goes behind them.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), KexecError> {
        self.len += count;
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(self.len))
            .map_err(memory("leaving zeros in memory"))?;
        Ok(())
    }

    /// Makes the bytes immutable and gives up the right to write.
    pub(crate) fn seal(self) -> Result<SealedFile, KexecError> {
        // Zeros at the end were only skipped so far.
        rustix::fs::ftruncate(&self.fd, self.len).map_err(memory("growing a file in memory"))?;
        rustix::fs::fcntl_add_seals(
            &self.fd,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )
        .map_err(memory("sealing a file in memory"))?;
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let fd = rustix::fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(
            memory("opening a sealed file again through /proc/self/fd (is /proc mounted?)"),
        )?;
        Ok(SealedFile { fd, len: self.len })
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn memory(action: &'static str) -> impl Fn(Errno) -> KexecError {
    move |errno| KexecError::Memory {
        action,
        cause: errno.into(),
    }
}
