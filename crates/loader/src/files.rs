//! Files that are read whole, none of them without end.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use ukexec_kexec::{Readers, open_regular, shown_path};

/// Longer files are not looked at: the parser ABI and `kexec_file_load(2)` know
/// lengths as C ints.
pub const IMAGE_LEN_MAX: u64 = i32::MAX as u64;

/// Opens a file that the caller named for this run: `-` is standard input.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    if is_stdin(path) {
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    } else {
        File::open(path)
    }
}

/// Returns whether `path` stands for standard input. A file of this name is `./-`.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Returns a file's name without its folders, for texts that have little room.
pub(crate) fn base_name(path: &Path) -> String {
    match path.file_name() {
        Some(name) if !is_stdin(path) => shown_path(Path::new(name)),
        _ => shown(path),
    }
}

/// Returns the name of a file that the caller named for this run, for messages.
#[must_use]
pub fn shown(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        shown_path(path)
    }
}

/// Returns the bytes of the regular file at `path`, if they are no more than
/// `limit`. It reads nothing but regular files: a folder may hold a pipe that
/// nobody writes to.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    bounded(open_regular(path)?, limit)
}

/// Returns the bytes of a file that the caller named for this run, if they are no
/// more than `limit`, and who may read it. It may be a pipe as well, such as a
/// shell's `<(…)`.
///
/// # Errors
///
/// It cannot be opened or read, or has more bytes.
pub fn read_named(path: &Path, limit: u64) -> io::Result<(Vec<u8>, Readers)> {
    let file = open_named(path)?;
    let readers = Readers::of(&file)?;
    Ok((bounded(file, limit)?, readers))
}

/// Returns the bytes of `file`, if they are no more than `limit`.
pub(crate) fn bounded(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("expected at most {limit} bytes, found more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        let named = |path: &Path, limit| read_named(path, limit).map(|(bytes, _)| bytes);
        for read in [read_regular, named] {
            assert_eq!(read(&path, 5).unwrap(), b"12345");
            let error = read(&path, 4).unwrap_err().to_string();
            assert_eq!(error, "expected at most 4 bytes, found more");
        }
    }

    #[test]
    fn only_what_was_named_may_be_no_file() {
        let zeros = Path::new("/dev/zero");
        let error = read_regular(zeros, 1 << 20).unwrap_err().to_string();
        assert_eq!(error, "expected a regular file, found a device");
        let error = read_named(zeros, 1 << 20).unwrap_err().to_string();
        assert_eq!(error, "expected at most 1048576 bytes, found more");
        assert!(read_named(Path::new("/dev/null"), 0).unwrap().0.is_empty());
    }
}
