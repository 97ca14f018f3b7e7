//! Sealed memory files: bytes that cannot change any more.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::Errno;

use crate::error::KexecError;
use crate::transfer::{TransferError, send, write_all};

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
    /// `UnexpectedEof` where the range passes the end.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            match rustix::io::pread(&self.fd, &mut *rest, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    at += count as u64;
                    // Linux reads no more than there is room for.
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

/// A file in memory whose bytes stay as they are, while more may come behind
/// them: until it is sealed, [`GrowableFile::append`](Self::append) is all that
/// can be done to it.
///
/// It cannot shrink (`F_SEAL_SHRINK`). The descriptor that can write never
/// leaves this value; what [`AsFd`] gives is open for reading alone.
pub struct GrowableFile {
    pub(crate) memfd: Memfd,
    reader: OwnedFd,
}

impl GrowableFile {
    pub(crate) fn new(memfd: Memfd) -> Result<Self, KexecError> {
        let reader = memfd.open_again()?;
        memfd.add_seals(SealFlags::SHRINK)?;
        Ok(Self { memfd, reader })
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.memfd.len
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the bytes immutable.
    ///
    /// # Errors
    ///
    /// [`KexecError::Memory`] if the file cannot be sealed.
    pub fn seal(self) -> Result<SealedFile, KexecError> {
        self.memfd.seal()
    }
}

/// Open for reading alone.
impl AsFd for GrowableFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl fmt::Debug for GrowableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrowableFile")
            .field("fd", &self.reader.as_raw_fd())
            .field("len", &self.len())
            .finish()
    }
}

/// A memory file that another process writes, until it is sealed here.
pub struct SharedMemfd {
    memfd: Memfd,
}

impl SharedMemfd {
    /// Returns a file without bytes. `name` shows in `/proc/PID/fd`.
    ///
    /// # Errors
    ///
    /// [`KexecError::Memory`] if the kernel gives no memory file.
    pub fn new(name: &str) -> Result<Self, KexecError> {
        Ok(Self {
            memfd: Memfd::new(name)?,
        })
    }

    /// Seals what was written. Descriptors that others still have can be read
    /// from, but the kernel takes no image while one of them is open for
    /// writing: they have to be closed before.
    ///
    /// # Errors
    ///
    /// [`KexecError::Memory`] if the file cannot be asked or sealed, for one
    /// because somebody has it mapped for writing.
    pub fn seal(self) -> Result<SealedFile, KexecError> {
        self.memfd.seal_as_is()
    }
}

impl AsFd for SharedMemfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }
}

impl fmt::Debug for SharedMemfd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemfd")
            .field("fd", &self.memfd.fd.as_raw_fd())
            .finish()
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
        self.seal_as_is()
    }

    /// As [`seal`](Self::seal), with the bytes that are there. Others who may
    /// write could change their number until the file is sealed, so that they
    /// are counted behind it.
    fn seal_as_is(self) -> Result<SealedFile, KexecError> {
        self.seal_by(&mut |memfd, seals| rustix::fs::fcntl_add_seals(memfd, seals))
    }

    /// Seals by calling `add`, which stands for the kernel.
    ///
    /// The kernel refuses to forbid writing while a page of the file is in use
    /// elsewhere: in a pipe, on its way to another processor's list, in a map;
    /// and some kernels count a huge page wrongly, and refuse always. That
    /// passes, or a copy is sealed in the file's place.
    fn seal_by(self, add: AddSeals<'_>) -> Result<SealedFile, KexecError> {
        let failed = memory("sealing a file in memory");
        // This is never refused. From here on nobody else who writes can make it
        // longer, whatever becomes of the rest.
        add(&self.fd, SealFlags::GROW | SealFlags::SHRINK).map_err(&failed)?;
        let sealed = match forbid_writing(&self.fd, add) {
            Ok(()) => self,
            Err(Errno::BUSY) => {
                let copy = self.copy()?;
                add(&copy.fd, SealFlags::GROW | SealFlags::SHRINK).map_err(&failed)?;
                match forbid_writing(&copy.fd, add) {
                    // Nobody else ever had the copy open, so that no map of it
                    // can write, which is all that this seal leaves possible.
                    Err(Errno::BUSY) => add(&copy.fd, SealFlags::FUTURE_WRITE | SealFlags::SEAL),
                    done => done,
                }
                .map_err(&failed)?;
                copy
            }
            Err(errno) => return Err(failed(errno)),
        };
        let fd = sealed.open_again()?;
        let len = rustix::fs::fstat(&fd)
            .and_then(|stat| length(&stat))
            .map_err(memory("looking at a sealed file"))?;
        Ok(SealedFile { fd, len })
    }

    /// Returns a fresh file with the bytes of this one, whose length is sealed.
    ///
    /// The copy is what counts from then on, and nobody else has it. If only
    /// this process could write to the original (a snapshot, a stream, a bundle,
    /// what was assembled), it has the bytes that were written, hashed and shown
    /// to the worker: the worker reads the original through a descriptor that
    /// cannot write. If the worker wrote the original, it can write while this
    /// copies; the copy then is one of the outputs that it could have written.
    fn copy(&self) -> Result<Self, KexecError> {
        let len = rustix::fs::fstat(&self.fd)
            .and_then(|stat| length(&stat))
            .map_err(memory("looking at a file in memory"))?;
        let mut copy = Self::new("ukexec-copy")?;
        let moved = send(self.as_fd(), 0..len, copy.as_fd(), &mut |_| {});
        let moved = moved.map_err(|error| KexecError::Memory {
            action: "copying a file in memory, which is in use and cannot be sealed",
            cause: match error {
                TransferError::Io(cause) => cause,
                TransferError::End { .. } => io::ErrorKind::UnexpectedEof.into(),
            },
        })?;
        copy.len = moved.total();
        Ok(copy)
    }

    fn add_seals(&self, seals: SealFlags) -> Result<(), KexecError> {
        rustix::fs::fcntl_add_seals(&self.fd, seals).map_err(memory("sealing a file in memory"))
    }

    /// Opens the file once more, for reading alone.
    fn open_again(&self) -> Result<OwnedFd, KexecError> {
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let opened = rustix::fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        opened.map_err(|errno| match errno {
            Errno::NOENT => memory(
                "opening a sealed file again through /proc/self/fd (is /proc mounted?)",
            )(errno),
            errno => memory("opening a sealed file again through /proc/self/fd")(errno),
        })
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

/// Returns the length in `stat`; a negative one is an error, as of a file that is
/// too large for the call.
pub(crate) fn length(stat: &Stat) -> Result<u64, Errno> {
    u64::try_from(stat.st_size).map_err(|_negative| Errno::OVERFLOW)
}

pub(crate) fn memory(action: &'static str) -> impl Fn(Errno) -> KexecError {
    move |errno| KexecError::Memory {
        action,
        cause: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use rustix::fs::SeekFrom;

    use super::*;
    use crate::assemble::Part;

    fn sealed(bytes: &[u8]) -> SealedFile {
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_negative_length_is_an_error() {
        let mut stat = rustix::fs::fstat(tempfile::tempfile().unwrap()).unwrap();
        assert_eq!(length(&stat), Ok(0));
        stat.st_size = -1;
        assert_eq!(length(&stat), Err(Errno::OVERFLOW));
    }

    #[test]
    fn holds_what_was_written() {
        for len in [
            0,
            1,
            MemfdWriter::BUFFER - 1,
            MemfdWriter::BUFFER,
            3 * MemfdWriter::BUFFER + 7,
        ] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let file = sealed(&bytes);
            assert_eq!(file.len(), len as u64);
            assert_eq!(file.is_empty(), len == 0);
            assert_eq!(file.to_vec().unwrap(), bytes, "{len} bytes");
        }
    }

    #[test]
    fn keeps_the_order_of_small_and_large_writes() {
        let mut writer = MemfdWriter::new("test").unwrap();
        let large = vec![2; MemfdWriter::BUFFER];
        for bytes in [&[1; 3][..], &large, &[3; 5], &[4; 1]] {
            writer.write_all(bytes).unwrap();
        }
        assert_eq!(writer.len(), 3 + large.len() as u64 + 6);
        let expected = [&[1; 3][..], &large, &[3; 5], &[4; 1]].concat();
        assert_eq!(writer.finish().unwrap().to_vec().unwrap(), expected);
    }

    #[test]
    fn reads_inside_and_refuses_outside() {
        let file = sealed(b"0123456789");
        let mut buf = [0; 4];
        file.read_at(6, &mut buf).unwrap();
        assert_eq!(&buf, b"6789");
        for offset in [7, 10, 11, u64::MAX >> 1, u64::MAX] {
            let error = file.read_at(offset, &mut buf).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "at {offset}");
        }
        file.read_at(10, &mut []).unwrap();
    }

    #[test]
    fn cannot_be_changed() {
        let file = sealed(b"fixed");
        assert_eq!(rustix::io::write(&file, b"x"), Err(Errno::BADF));
        // Not even through another descriptor that could write.
        let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let other = rustix::fs::open(link, OFlags::RDWR, Mode::empty()).unwrap();
        assert_eq!(rustix::io::write(&other, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&other, 2), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&other, 20), Err(Errno::PERM));
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::SEAL));
        assert_eq!(file.to_vec().unwrap(), b"fixed");
    }

    fn growable(bytes: &[u8]) -> GrowableFile {
        let mut memfd = Memfd::new("test").unwrap();
        write_all(memfd.as_fd(), bytes).unwrap();
        memfd.len = bytes.len() as u64;
        GrowableFile::new(memfd).unwrap()
    }

    #[test]
    fn a_growable_file_only_grows() {
        let mut file = growable(b"section");
        assert_eq!(rustix::io::write(&file, b"x"), Err(Errno::BADF));
        assert_eq!(rustix::fs::ftruncate(&file.memfd.fd, 2), Err(Errno::PERM));
        assert_eq!(rustix::fs::seek(&file, SeekFrom::End(0)), Ok(7));
        let moved = file.append(&[Part::Zeros(1), Part::Bytes(b"tail"), Part::Zeros(2)]);
        assert_eq!((moved.unwrap().total(), file.len()), (4, 14));
        let file = file.seal().unwrap();
        assert_eq!(file.to_vec().unwrap(), b"section\0tail\0\0");
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SEAL));
    }

    /// Whoever had it before the seal can read, and see it grow, but not write.
    #[test]
    fn others_only_read_a_growable_file() {
        let mut file = growable(b"section");
        let theirs = file.as_fd().try_clone_to_owned().unwrap();
        file.append(&[Part::Bytes(b"+")]).unwrap();
        let mut seen = [0; 10];
        assert_eq!(rustix::io::pread(&theirs, &mut seen, 0), Ok(8));
        assert_eq!(&seen[..8], b"section+");
        file.seal().unwrap();
        assert_eq!(rustix::io::write(&theirs, b"x"), Err(Errno::BADF));
    }

    #[test]
    fn what_another_wrote_is_sealed_whole() {
        let shared = SharedMemfd::new("test").unwrap();
        let theirs = shared.as_fd().try_clone_to_owned().unwrap();
        rustix::io::write(&theirs, b"output").unwrap();
        let file = shared.seal().unwrap();
        assert_eq!(file.to_vec().unwrap(), b"output");
        assert_eq!(rustix::io::write(&theirs, b"more"), Err(Errno::PERM));
    }

    /// The other keeps changing the length meanwhile.
    #[test]
    fn what_is_sealed_is_as_long_as_it_says() {
        for _ in 0..200 {
            let shared = SharedMemfd::new("test").unwrap();
            let theirs = shared.as_fd().try_clone_to_owned().unwrap();
            let file = std::thread::scope(|scope| {
                scope.spawn(|| {
                    for len in 1.. {
                        if rustix::fs::ftruncate(&theirs, len % 7).is_err() {
                            break;
                        }
                    }
                });
                shared.seal().unwrap()
            });
            let found = rustix::fs::fstat(&file).unwrap().st_size;
            assert_eq!(u64::try_from(found).unwrap(), file.len());
        }
    }

    /// Puts the first page of `file` into a pipe, where it stays until the
    /// pipe is read, and returns that.
    fn hold_page(file: impl AsFd) -> File {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let flags = rustix::pipe::SpliceFlags::empty();
        let moved = rustix::pipe::splice(file, Some(&mut 0), writer, None, 4096, flags);
        assert!(moved.unwrap() > 0);
        reader.into()
    }

    fn inode(file: impl AsFd) -> u64 {
        rustix::fs::fstat(file).unwrap().st_ino
    }

    /// Expects `file` to hold `bytes` for good, as a file of its own or not.
    fn check_sealed(file: &SealedFile, bytes: &[u8], copy_of: u64, copied: bool) {
        assert_eq!(file.to_vec().unwrap(), bytes);
        let seals = rustix::fs::fcntl_get_seals(file).unwrap();
        let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        assert!(seals.contains(all), "{seals:?}");
        assert_eq!(inode(file) != copy_of, copied);
        check_writers(file);
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

    #[test]
    fn a_file_that_stays_in_use_is_copied_before_it_is_sealed() {
        let mut file = growable(b"section");
        let (held, original) = (hold_page(&file), inode(&file));
        file.append(&[Part::Bytes(b"+"), Part::Zeros(9000)])
            .unwrap();
        let expected = [b"section+", &[0; 9000][..]].concat();
        check_sealed(&file.seal().unwrap(), &expected, original, true);
        drop(held);
        let mut writer = MemfdWriter::new("test").unwrap();
        let bytes = vec![7; 3 * MemfdWriter::BUFFER];
        writer.write_all(&bytes).unwrap();
        let _held = hold_page(&writer.memfd);
        let original = inode(&writer.memfd);
        check_sealed(&writer.finish().unwrap(), &bytes, original, true);
    }

    /// The other one keeps a file that nobody looks at, and cannot make it grow.
    #[test]
    fn what_another_wrote_and_holds_is_copied() {
        let shared = SharedMemfd::new("test").unwrap();
        let theirs = shared.as_fd().try_clone_to_owned().unwrap();
        rustix::io::write(&theirs, b"output").unwrap();
        let (_held, original) = (hold_page(&theirs), inode(&theirs));
        let file = shared.seal().unwrap();
        assert_eq!(rustix::io::pwrite(&theirs, b"OUT", 0), Ok(3));
        assert_eq!(rustix::io::pwrite(&theirs, b"more", 6), Err(Errno::PERM));
        check_sealed(&file, b"output", original, true);
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
        assert_eq!(file.to_vec().unwrap(), b"image");
        let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let other = rustix::fs::open(link, OFlags::RDWR, Mode::empty()).unwrap();
        assert_eq!(rustix::io::write(&other, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&other, 2), Err(Errno::PERM));
        let more = rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE);
        assert_eq!(more, Err(Errno::PERM));
    }

    /// The kernel answers `ETXTBSY` to an image that anyone has open for writing.
    #[test]
    fn is_open_for_writing_nowhere() {
        check_writers(&sealed(b"fixed"));
        check_writers(&growable(b"fixed").seal().unwrap());
    }

    fn check_writers(file: &SealedFile) {
        let inode = rustix::fs::fstat(file).unwrap().st_ino;
        let mut found = 0;
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            // Other tests close theirs meanwhile.
            let Ok(path) = entry.map(|entry| entry.path()) else {
                continue;
            };
            let Ok(stat) = rustix::fs::stat(&path) else {
                continue;
            };
            if stat.st_ino != inode {
                continue;
            }
            let number = path.file_name().unwrap().to_str().unwrap().to_owned();
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            assert_eq!(flags & OFlags::ACCMODE.bits(), OFlags::RDONLY.bits());
            found += 1;
        }
        assert!(found >= 1);
    }

    #[test]
    fn starts_at_its_start() {
        let file = sealed(b"fixed");
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Current(0)), Ok(0));
    }
}
