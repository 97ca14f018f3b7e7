//! Sealed memory files: bytes that cannot change any more.

use std::io::{self, BufWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::SealFlags;

use crate::error::{KexecError, failed};
use crate::memfd::Memfd;

/// A file in memory whose bytes and length can never change again.
///
/// It is sealed (`F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL`)
/// and only open for reading: the kernel refuses an image that is open for
/// writing anywhere with `ETXTBSY`, sealed or not.
#[derive(Debug)]
pub struct SealedFile {
    pub(crate) fd: OwnedFd,
    pub(crate) len: u64,
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
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Writes into memory that becomes a [`SealedFile`].
///
/// Small writes are gathered; large ones go straight through.
#[derive(Debug)]
pub struct MemfdWriter(BufWriter<Memfd>);

impl MemfdWriter {
    /// Bytes gathered before they are written.
    const BUFFER: usize = 64 << 10;

    /// Returns a writer without bytes. `name` shows in `/proc/PID/fd`.
    ///
    /// # Errors
    ///
    /// The kernel gives no memory file.
    pub fn new(name: &str) -> Result<Self, KexecError> {
        let memfd = Memfd::new(name)?;
        Ok(Self(BufWriter::with_capacity(Self::BUFFER, memfd)))
    }

    /// Returns how many bytes were written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.get_ref().len + self.0.buffer().len() as u64
    }

    /// Returns whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory, with all that was written in it.
    pub(crate) fn flushed(&mut self) -> Result<&mut Memfd, KexecError> {
        self.0.flush().map_err(failed("writing into memory"))?;
        Ok(self.0.get_mut())
    }

    /// Seals what was written.
    ///
    /// # Errors
    ///
    /// The last bytes find no room, or the file cannot be sealed.
    pub fn finish(self) -> Result<SealedFile, KexecError> {
        let memfd = self.0.into_inner().map_err(|error| error.into_error());
        memfd.map_err(failed("writing into memory"))?.seal()
    }
}

impl io::Write for MemfdWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A file in memory whose bytes stay as they are, while more may come behind
/// them, and once into the room in front of them: until it is sealed,
/// [`append`](Self::append) and [`fill`](Self::fill) are all that can be done to it.
///
/// It cannot shrink (`F_SEAL_SHRINK`). The descriptor that can write never
/// leaves this value; what [`AsFd`] gives is open for reading alone.
#[derive(Debug)]
pub struct GrowableFile {
    pub(crate) memfd: Memfd,
    /// Zeros in front that other bytes may take the place of.
    pub(crate) room: u64,
    reader: OwnedFd,
}

impl GrowableFile {
    /// Returns `memfd`, whose first `room` bytes are zeros that may be filled.
    pub(crate) fn new(memfd: Memfd, room: u64) -> Result<Self, KexecError> {
        let reader = memfd.open_again()?;
        memfd.add_seals(SealFlags::SHRINK)?;
        Ok(Self {
            memfd,
            room,
            reader,
        })
    }

    /// Returns how many bytes in front may be filled.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.room
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
    /// The file cannot be sealed.
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

/// A memory file that another process writes, until it is sealed here.
#[derive(Debug)]
pub struct SharedMemfd(Memfd);

impl SharedMemfd {
    /// Returns a file without bytes. `name` shows in `/proc/PID/fd`.
    ///
    /// # Errors
    ///
    /// The kernel gives no memory file.
    pub fn new(name: &str) -> Result<Self, KexecError> {
        Memfd::new(name).map(Self)
    }

    /// Seals what was written. Descriptors that others still have can be read
    /// from, but the kernel takes no image while one of them is open for
    /// writing: they have to be closed before.
    ///
    /// # Errors
    ///
    /// The file cannot be asked or sealed, for one because somebody has mapped it for
    /// writing.
    pub fn seal(self) -> Result<SealedFile, KexecError> {
        self.0.seal_as_is()
    }
}

impl AsFd for SharedMemfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use std::os::fd::AsRawFd as _;

    use rustix::fs::{Mode, OFlags, SeekFrom};
    use rustix::io::Errno;

    use super::*;
    use crate::assemble::Part;
    use crate::testing::{check_sealed, check_writers, contents, inode};
    use crate::transfer::write_all;

    fn sealed(bytes: &[u8]) -> SealedFile {
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
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
            assert_eq!(contents(&file), bytes, "{len} bytes");
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
        assert_eq!(contents(writer.finish().unwrap()), expected);
    }

    #[test]
    fn parts_go_behind_what_was_written() {
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(b"ab").unwrap();
        let file = sealed(b"file");
        let part = Part::File {
            fd: file.as_fd(),
            range: 1..4,
        };
        let moved = writer.append(&[part, Part::Zeros(3)]).unwrap();
        assert_eq!(
            (moved.in_kernel, moved.through_user, writer.len()),
            (3, 0, 8)
        );
        writer.write_all(b"c").unwrap();
        writer.append(&[Part::Zeros(1)]).unwrap();
        assert_eq!(contents(writer.finish().unwrap()), b"abile\0\0\0c\0");
        let mut writer = MemfdWriter::new("test").unwrap();
        let part = Part::File {
            fd: file.as_fd(),
            range: 0..5,
        };
        assert!(writer.append(&[part]).is_err());
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
        assert_eq!(contents(&file), b"fixed");
    }

    fn growable(bytes: &[u8]) -> GrowableFile {
        let mut memfd = Memfd::new("test").unwrap();
        write_all(memfd.as_fd(), bytes).unwrap();
        memfd.len = bytes.len() as u64;
        GrowableFile::new(memfd, 0).unwrap()
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
        assert_eq!(contents(&file), b"section\0tail\0\0");
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SEAL));
    }

    #[test]
    fn room_in_front_is_filled_once() {
        let mut memfd = Memfd::new("test").unwrap();
        memfd.skip(6).unwrap();
        write_all(memfd.as_fd(), b"section").unwrap();
        memfd.len += 7;
        let mut file = GrowableFile::new(memfd, 6).unwrap();
        file.append(&[Part::Bytes(b"tail")]).unwrap();
        let error = file.fill(&[Part::Bytes(b"front")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there are 6 bytes of room in a part, and 5 to fill it"
        );
        let moved = file.fill(&[Part::Bytes(b"front"), Part::Zeros(1)]);
        assert_eq!((moved.unwrap().total(), file.len()), (5, 17));
        file.fill(&[Part::Bytes(b"other ")]).unwrap_err();
        file.append(&[Part::Bytes(b"+")]).unwrap();
        let file = file.seal().unwrap();
        assert_eq!(contents(&file), b"front\0sectiontail+");
    }

    /// A descriptor from before the seal can read, and see it grow, but not write.
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
    fn a_file_that_another_wrote_is_sealed_whole() {
        let shared = SharedMemfd::new("test").unwrap();
        let theirs = shared.as_fd().try_clone_to_owned().unwrap();
        rustix::io::write(&theirs, b"output").unwrap();
        let file = shared.seal().unwrap();
        assert_eq!(contents(&file), b"output");
        assert_eq!(rustix::io::write(&theirs, b"more"), Err(Errno::PERM));
    }

    /// The other keeps changing the length meanwhile.
    #[test]
    fn a_sealed_file_is_as_long_as_it_says() {
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
        let _held = hold_page(writer.0.get_ref());
        let original = inode(writer.0.get_ref());
        check_sealed(&writer.finish().unwrap(), &bytes, original, true);
    }

    /// The other one keeps a file that nobody looks at, and cannot make it grow.
    #[test]
    fn a_file_that_another_wrote_and_holds_is_copied() {
        let shared = SharedMemfd::new("test").unwrap();
        let theirs = shared.as_fd().try_clone_to_owned().unwrap();
        rustix::io::write(&theirs, b"output").unwrap();
        let (_held, original) = (hold_page(&theirs), inode(&theirs));
        let file = shared.seal().unwrap();
        assert_eq!(rustix::io::pwrite(&theirs, b"OUT", 0), Ok(3));
        assert_eq!(rustix::io::pwrite(&theirs, b"more", 6), Err(Errno::PERM));
        check_sealed(&file, b"output", original, true);
    }

    /// The kernel answers `ETXTBSY` to an image that anyone has open for writing.
    #[test]
    fn is_open_for_writing_nowhere() {
        check_writers(&sealed(b"fixed"));
        check_writers(&growable(b"fixed").seal().unwrap());
    }

    #[test]
    fn starts_at_its_start() {
        let file = sealed(b"fixed");
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Current(0)), Ok(0));
    }
}
