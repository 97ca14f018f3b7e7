//! Variables of UEFI, as files of efivarfs: their removal.
//!
//! Spec: Linux, "Documentation/filesystems/efivarfs.rst".

use std::path::Path;

use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, open, unlink};
use rustix::io::Errno;

use crate::error::{KexecError, failed_at};

/// Removes the variable whose file is at `path`. Returns whether there was one.
///
/// # Errors
///
/// It is there and stays: no right, or firmware that does not let go of it.
pub fn remove_variable(path: &Path) -> Result<bool, KexecError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(failed_at(path, "opening the variable")(errno)),
    };
    // efivarfs makes all but a few immutable, so that nobody removes them by accident.
    // Where there are no such flags, nothing stands in the way.
    if let Ok(found) = ioctl_getflags(&file)
        && found.contains(IFlags::IMMUTABLE)
    {
        ioctl_setflags(&file, found.difference(IFlags::IMMUTABLE))
            .map_err(failed_at(path, "clearing the immutable flag"))?;
    }
    unlink(path).map_err(failed_at(path, "removing the variable"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_variable_is_removed_and_none_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LoaderEntryOneShot-1");
        assert!(!remove_variable(&path).unwrap());
        fs::write(&path, b"\x07\0\0\0a\0\0\0").unwrap();
        assert!(remove_variable(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn one_that_stays_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LoaderEntryOneShot-1");
        fs::create_dir(&path).unwrap();
        let error = remove_variable(&path).unwrap_err().to_string();
        assert!(error.contains("removing"), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        remove_variable(&link).unwrap_err();
        assert!(path.exists());
    }
}
