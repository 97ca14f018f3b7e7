//! Files and streams that can be read as images.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{KexecError, failed};
use crate::memfd::length_in;
use crate::sealed::{MemfdWriter, SealedFile};

/// How an input can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// At any offset: a regular file or a block device of this many bytes.
    File {
        /// Length in bytes.
        len: u64,
    },
    /// From start to end only: a pipe, a socket, a terminal, a file of `/proc`
    /// whose length is not known before. It goes through [`read_stream`] before
    /// anything can be looked up in it.
    Stream,
}

/// Returns whether `file` has a signature beside its content that IMA may accept, and
/// not just a digest; `None` where its file system does not say.
///
/// Spec: Linux, `security/integrity/integrity.h` (`enum evm_ima_xattr_type`) and
/// `ima_appraise.c` (`xattr_verify`), which accepts a portable signature of EVM's too.
#[must_use]
pub fn has_ima_signature(file: BorrowedFd<'_>) -> Option<bool> {
    let signed = |name: &CStr| {
        // Larger attributes than this do not exist.
        let mut value = vec![0; XATTR_SIZE_MAX];
        match rustix::fs::fgetxattr(file, name, &mut *value) {
            Ok(len) => is_signature(value.get(..len)?),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Some(false),
            Err(_) => None,
        }
    };
    match (signed(c"security.ima"), signed(c"security.evm")) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// Returns whether `file` has a list of users and groups who may access it: the group's
/// permissions then bound those of all of them. Where its file system does not say, it may
/// have one.
#[must_use]
pub fn has_access_list(file: BorrowedFd<'_>) -> bool {
    let found = rustix::fs::fgetxattr(file, c"system.posix_acl_access", &mut [0_u8; 0]);
    !matches!(found, Err(Errno::NODATA | Errno::OPNOTSUPP))
}

/// Returns whether the value of an attribute of IMA's or EVM's is a signature; `None`
/// for a type that is not known here.
fn is_signature(value: &[u8]) -> Option<bool> {
    match value.first()? {
        // A digest, a keyed one of EVM's, a digest with the name of its algorithm.
        1 | 2 | 4 => Some(false),
        // A signature, a portable one of EVM's, one of a digest of fs-verity's.
        3 | 5 | 6 => Some(true),
        _ => None,
    }
}

/// Bytes of an attribute at most (Linux, `include/uapi/linux/limits.h`).
const XATTR_SIZE_MAX: usize = 64 << 10;

/// Returns the major and minor number of the device that `file` lies on, if it can be
/// asked.
#[must_use]
pub fn device_of(file: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let device = rustix::fs::fstat(file).ok()?.st_dev;
    Some((rustix::fs::major(device), rustix::fs::minor(device)))
}

/// Opens the regular file at `path` for reading, and nothing else: a pipe that
/// nobody writes to would let its reader wait for ever, and a device has no end.
///
/// # Errors
///
/// The error of opening it, and `InvalidInput` for anything but a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a pipe does not wait for a writer then, nor does a terminal become
    // this process's own. Regular files do not heed either flag.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    regular(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Returns `file` if it is a regular one.
pub(crate) fn regular(file: File) -> io::Result<File> {
    let mode = rustix::fs::fstat(&file)?.st_mode;
    let Some(kind) = other_kind(FileType::from_raw_mode(mode)) else {
        return Ok(file);
    };
    let message = format!("expected a regular file, found {kind}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Returns what a thing of this `kind` is, unless that is a regular file.
pub(crate) fn other_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("a folder"),
        FileType::Fifo => Some("a pipe"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("a device"),
        FileType::Socket => Some("a socket"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Unknown => Some("a file of a kind that this program does not know"),
    }
}

/// Returns how `file` can be read.
///
/// # Errors
///
/// It is a directory, or the descriptor cannot be asked.
pub fn input_kind(file: impl AsFd) -> Result<InputKind, KexecError> {
    let fd = file.as_fd();
    let unseen = failed("looking at the file");
    let stat = rustix::fs::fstat(fd).map_err(&unseen)?;
    match FileType::from_raw_mode(stat.st_mode) {
        // Files of /proc say that they are empty.
        FileType::RegularFile if stat.st_size == 0 && has_bytes(fd) => Ok(InputKind::Stream),
        FileType::RegularFile => Ok(InputKind::File {
            len: length_in(&stat).map_err(unseen)?,
        }),
        FileType::BlockDevice => {
            let len = rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0))
                .map_err(failed("asking a block device's length"))?;
            Ok(InputKind::File { len })
        }
        FileType::Directory => Err(not_an_input("a directory")),
        FileType::Symlink => Err(not_an_input("a symbolic link")),
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::Unknown => {
            Ok(InputKind::Stream)
        }
    }
}

fn not_an_input(kind: &str) -> KexecError {
    KexecError::new(format!(
        "{kind} is not an image: give a file, a block device or a pipe"
    ))
}

/// Reads a stream to its end into sealed memory.
///
/// These bytes pass through this process: where to cut is not known before
/// they were read. `progress` gets the sum of bytes so far.
///
/// # Errors
///
/// There are more than `limit` bytes, or reading or writing fails.
pub fn read_stream(
    stream: impl AsFd,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<SealedFile, KexecError> {
    let mut writer = MemfdWriter::new("ukexec-stream")?;
    let mut buf = vec![0; STREAM_BUFFER];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(stream.as_fd(), &mut *buf))
            .map_err(failed("reading the stream"))?;
        let Some(bytes) = buf.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return writer.finish();
        };
        if writer.len() + bytes.len() as u64 > limit {
            return Err(KexecError::new(format!(
                "the stream has more than {limit} bytes, which is more than an image can have; \
                 give the image itself"
            )));
        }
        io::Write::write_all(&mut writer, bytes).map_err(failed("writing into memory"))?;
        progress(writer.len());
    }
}

fn has_bytes(fd: BorrowedFd<'_>) -> bool {
    rustix::io::pread(fd, &mut [0_u8], 0).is_ok_and(|count| count > 0)
}

/// Bytes read from a stream at a time.
const STREAM_BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::contents;

    #[test]
    fn a_file_may_have_an_access_list() {
        let file = tempfile::tempfile().unwrap();
        assert!(!has_access_list(file.as_fd()));
        // Version 2: the owner, user 12345, the group, the mask, others; with all of their
        // rights (Linux, `include/uapi/linux/posix_acl_xattr.h`).
        let mut list = vec![2, 0, 0, 0];
        for (tag, id) in [
            (1_u16, u32::MAX),
            (2, 12345),
            (4, u32::MAX),
            (16, u32::MAX),
            (32, u32::MAX),
        ] {
            list.extend(tag.to_le_bytes());
            list.extend([7, 0]);
            list.extend(id.to_le_bytes());
        }
        let flags = rustix::fs::XattrFlags::empty();
        // Not every file system has lists.
        if rustix::fs::fsetxattr(&file, "system.posix_acl_access", &list, flags).is_ok() {
            assert!(has_access_list(file.as_fd()));
        }
    }

    #[test]
    fn a_plain_file_has_no_signature_of_ima() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(has_ima_signature(file.as_fd()), Some(false));
    }

    #[test]
    fn a_digest_is_no_signature() {
        for (value, signed) in [
            (&[][..], None),
            (&[1, 7], Some(false)),
            (&[2, 7], Some(false)),
            (&[4, 4, 7], Some(false)),
            (&[3, 2], Some(true)),
            (&[5], Some(true)),
            (&[6], Some(true)),
            (&[0], None),
            (&[7], None),
        ] {
            assert_eq!(is_signature(value), signed, "{value:?}");
        }
    }

    #[test]
    fn opens_regular_files_alone_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let check = |path: &Path, expected: &Expect| {
            expected.assert_eq(&open_regular(path).unwrap_err().to_string());
        };
        std::fs::write(&path, b"keys").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(open_regular(&link).unwrap().metadata().unwrap().len(), 4);
        let pipe = folder.path().join("pipe");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        check(&pipe, &expect!["expected a regular file, found a pipe"]);
        check(
            folder.path(),
            &expect!["expected a regular file, found a folder"],
        );
        check(
            Path::new("/dev/zero"),
            &expect!["expected a regular file, found a device"],
        );
        let socket = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        check(&socket, &expect!["No such device or address (os error 6)"]);
    }

    #[test]
    fn reads_a_stream() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(input_kind(&reader).unwrap(), InputKind::Stream);
        let sent: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
        let content = sent.clone();
        let thread = std::thread::spawn(move || File::from(writer).write_all(&content));
        let mut last = 0;
        let file = read_stream(&reader, 1 << 20, &mut |done| last = done).unwrap();
        thread.join().unwrap().unwrap();
        assert_eq!(contents(&file), sent);
        assert_eq!(last, 1 << 20);
    }

    #[test]
    fn refuses_a_stream_without_end() {
        let zeros = File::open("/dev/zero").unwrap();
        let error = read_stream(zeros, 1 << 20, &mut |_| {}).unwrap_err();
        expect![
            "the stream has more than 1048576 bytes, which is more than an image can have; \
             give the image itself"
        ]
        .assert_eq(&error.to_string());
    }

    #[test]
    fn reads_a_file_that_hides_its_length() {
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(input_kind(&file).unwrap(), InputKind::Stream);
        let read = read_stream(&file, 1 << 20, &mut |_| {}).unwrap();
        assert!(contents(read).starts_with(b"Name:"));
    }
}
