//! Files that have no name until they are complete, and signals that wait while
//! something incomplete has one.

use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;

use crate::assemble::{Part, write_parts};
use crate::error::KexecError;
use crate::syscall::{Call, syscall};
use crate::transfer::Moved;

/// A file without a name: however this process ends, nothing of it stays.
#[derive(Debug)]
pub struct UnnamedFile {
    file: File,
    /// Where `file` is, as far as it is anywhere.
    path: PathBuf,
}

impl UnnamedFile {
    /// Makes one on the file system of `folder`, or `None` where that has no
    /// such files (`O_TMPFILE`) or `/proc` is missing, through which they get
    /// their names.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if it cannot be made for another reason.
    pub fn new(folder: &Path) -> Result<Option<Self>, KexecError> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        // Less what the umask takes away, as for any new file.
        let file = match open(folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => File::from(file),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(None),
            Err(errno) => {
                return Err(KexecError::File {
                    path: folder.to_owned(),
                    action: "making a file in it",
                    cause: errno.into(),
                });
            }
        };
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(path.exists().then_some(Self { file, path }))
    }

    /// Writes `parts` into it; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`crate::write_file`].
    pub fn write(&self, name: &Path, parts: &[Part<'_>]) -> Result<Moved, KexecError> {
        write_parts(&self.file, name, parts)
    }

    /// Gives it a name on its file system.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if there is such a file, or the name cannot be made.
    pub fn name(self, path: &Path) -> Result<(), KexecError> {
        linkat(CWD, &self.path, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(|errno| {
            KexecError::File {
                path: path.to_owned(),
                action: "giving the finished file its name",
                cause: errno.into(),
            }
        })
    }
}

/// Keeps `SIGHUP`, `SIGINT`, `SIGQUIT` and `SIGTERM` from the calling thread
/// until it is dropped; what came in the meantime counts then.
#[derive(Debug)]
pub struct HeldSignals {
    /// Signal masks belong to threads.
    _of_this_thread: PhantomData<*const ()>,
}

impl HeldSignals {
    /// Holds them back, as far as the kernel lets us.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it has an effect")]
    pub fn new() -> Self {
        let _not_worth_failing = syscall(&Call::HoldSignals { hold: true });
        Self {
            _of_this_thread: PhantomData,
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        let _as_above = syscall(&Call::HoldSignals { hold: false });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::syscall::fake;

    #[test]
    fn appears_when_named_and_replaces_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kernel");
        let Some(file) = UnnamedFile::new(home.path()).unwrap() else {
            return;
        };
        file.write(&path, &[Part::Bytes(b"new"), Part::Zeros(2)])
            .unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        file.name(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\0\0");
        let other = UnnamedFile::new(home.path()).unwrap().unwrap();
        let error = other.name(&path).unwrap_err().to_string();
        assert!(
            error.contains("kernel: giving the finished file its name"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"new\0\0");
    }

    #[test]
    fn needs_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let error = UnnamedFile::new(&home.path().join("absent")).unwrap_err();
        assert!(
            error.to_string().contains("absent: making a file in it"),
            "{error}"
        );
    }

    #[test]
    fn signals_are_held_and_released() {
        drop(HeldSignals::new());
        assert_eq!(fake::calls(), ["hold signals", "release signals"]);
    }
}
