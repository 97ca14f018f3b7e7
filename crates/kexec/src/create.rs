//! Files that are written as time goes by.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::error::KexecError;
use crate::folder::{Folder, TargetState, is_proc, is_trusted};
use crate::readers::Readers;

/// Makes the file `path` for `readers`, in the place of a file of that name, and
/// opens it for writing. Devices and pipes are written where they are, but not
/// pipes of other users. Links are followed as by [`Folder::around`], and those in
/// `/proc` as the kernel does: they are descriptors.
///
/// # Errors
///
/// It cannot be made or opened, `path` ends in no name, or something else has the
/// name afterwards.
pub fn create_file(path: &Path, readers: Readers) -> Result<File, KexecError> {
    let in_proc =
        |folder: &Folder| is_proc(folder).map_err(folder.failed("".as_ref(), "looking at it"));
    let (around, name) = Folder::around_but(path, in_proc)?;
    let failed = around.failed(&name, "opening it");
    let mut flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !in_proc(&around)? {
        if matches!(
            around.target_state(&name)?,
            TargetState::Free | TargetState::File
        ) {
            return around.new_file()?.complete_empty(&name, readers);
        }
        flags |= OFlags::NOFOLLOW;
    }
    let file = openat(&around, &name, flags, Mode::empty()).map_err(&failed)?;
    let stat = fstat(&file).map_err(failed)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if flags.contains(OFlags::NOFOLLOW) {
        if kind == FileType::RegularFile {
            return Err(around.swapped(&name));
        }
        if kind == FileType::Fifo && !is_trusted(&stat) {
            let action = "writing to a pipe that another user made";
            return Err(around.failed(&name, action)(Errno::ACCESS));
        }
    }
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use rustix::process::geteuid;

    use super::*;
    use crate::testing::line;

    fn create(path: &Path) -> Result<File, KexecError> {
        create_file(path, Readers::OWNER)
    }

    #[test]
    fn a_file_of_that_name_is_replaced_and_not_written() {
        let home = tempfile::tempdir().unwrap();
        let (path, other) = (home.path().join("out"), home.path().join("other"));
        fs::write(&other, "precious").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o666)).unwrap();
        fs::hard_link(&other, &path).unwrap();
        create(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn links_of_other_users_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (link, victim) = (home.path().join("link"), home.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        // Only root can make a link that is somebody else's.
        if lchown(&link, Some(12345), None).is_ok() {
            let error = line(&create(&link).unwrap_err());
            assert!(
                error.contains("following a link that another user made"),
                "{error}"
            );
            assert_eq!(fs::read(&victim).unwrap(), b"precious");
            lchown(&link, Some(geteuid().as_raw()), None).unwrap();
        }
        create(&link).unwrap().write_all(b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&victim).unwrap(), b"new");
    }

    #[test]
    fn devices_and_descriptors_are_written_where_they_are() {
        let home = tempfile::tempdir().unwrap();
        create(Path::new("/dev/null")).unwrap();
        let file = File::create(home.path().join("kept")).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let link = home.path().join("link");
        symlink(path, &link).unwrap();
        create(&link).unwrap().write_all(b"kept").unwrap();
        assert_eq!(fs::read(home.path().join("kept")).unwrap(), b"kept");
        let error = line(&create(home.path()).unwrap_err());
        assert!(error.contains("opening it: Is a directory"), "{error}");
    }

    #[test]
    fn pipes_of_other_users_are_not_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let reader = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
        create(&path).unwrap();
        if lchown(&path, Some(12345), None).is_ok() {
            let error = line(&create(&path).unwrap_err());
            assert!(error.contains("a pipe that another user made"), "{error}");
        }
        drop(reader);
    }
}
