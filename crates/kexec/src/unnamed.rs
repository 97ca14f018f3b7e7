//! Files that have no name until they are complete.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

use crate::assemble::{Part, write_parts};
use crate::error::KexecError;
use crate::folder::Folder;
use crate::readers::Readers;
use crate::transfer::Moved;

/// A file without a name: however this process ends, nothing of it stays.
#[derive(Debug)]
pub struct UnnamedFile {
    file: File,
    /// Where `file` is, as far as it is anywhere.
    path: PathBuf,
}

impl UnnamedFile {
    /// Makes one for `readers` on the file system of `folder`, or `None` where
    /// that has no such files (`O_TMPFILE`) or `/proc` is missing, through which
    /// they get their names.
    ///
    /// # Errors
    ///
    /// It cannot be made for another reason.
    pub fn new(folder: &Folder, readers: Readers) -> Result<Option<Self>, KexecError> {
        let action = "making a file in it";
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match openat(folder.as_fd(), ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(folder.failed("".as_ref(), action)(errno)),
        };
        readers
            .admit_to(&file)
            .map_err(folder.failed("".as_ref(), action))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(path.exists().then_some(Self { file, path }))
    }

    /// Writes `parts` into it; errors call it `name`.
    ///
    /// # Errors
    ///
    /// It cannot be written, or a part's range passes its file's end.
    pub fn write(&self, name: &Path, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
        write_parts(&self.file, name, parts)
    }

    /// Gives it a name in `folder`, on its file system.
    ///
    /// # Errors
    ///
    /// There is such a file, or the name cannot be made.
    pub(crate) fn name(self, folder: &Folder, name: &OsStr) -> Result<(), KexecError> {
        let follow = AtFlags::SYMLINK_FOLLOW;
        linkat(CWD, &self.path, folder.as_fd(), name, follow)
            .map_err(folder.failed(name, "giving the finished file its name"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn appears_when_named_and_replaces_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (folder, name) = Folder::around(&home.path().join("kernel")).unwrap();
        let path = home.path().join("kernel");
        let readers = Readers::of(tempfile::tempfile().unwrap()).unwrap();
        let Some(file) = UnnamedFile::new(&folder, readers).unwrap() else {
            return;
        };
        file.write(&path, &[Part::Bytes(b"new"), Part::Zeros(2)])
            .unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        file.name(&folder, &name).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\0\0");
        let other = UnnamedFile::new(&folder, readers).unwrap().unwrap();
        let error = other.name(&folder, &name).unwrap_err().to_string();
        assert!(
            error.contains("kernel: giving the finished file its name"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"new\0\0");
    }
}
