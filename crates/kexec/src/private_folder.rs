//! A folder that root keeps to itself, and small files in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdir, open, openat, unlinkat};
use rustix::io::Errno;

use crate::error::{KexecError, failed_at, shown_path};
use crate::folder::{FOLDER, Folder, is_trusted};
use crate::input::regular;

/// A folder that nobody but its owner can use, root or this user.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a folder is there, is not, or is out of reach"
)]
pub enum PrivateFolder {
    /// There is none.
    Absent,
    /// This user may not open it.
    Denied,
    /// It is open.
    Open(Folder),
}

impl PrivateFolder {
    /// Opens the folder at `path`, and not one that a link there names.
    ///
    /// # Errors
    ///
    /// It cannot be opened for another reason, is another user's, or others may
    /// use it.
    pub fn open(path: &Path) -> Result<Self, KexecError> {
        let fd = match open(path, FOLDER, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(Self::Absent),
            Err(Errno::ACCESS) => return Ok(Self::Denied),
            Err(errno) => return Err(failed_at(path, OPENING)(errno)),
        };
        let stat = fstat(&fd).map_err(failed_at(path, OPENING))?;
        let mode = stat.st_mode & 0o777;
        if !is_trusted(&stat) || mode != PRIVATE.bits() {
            let (path, owner) = (shown_path(path), stat.st_uid);
            return Err(KexecError::new(format!(
                "{path}: expected a folder of root's own with mode 700, found one of user {owner} \
                 with mode {mode:o}; remove it"
            )));
        }
        Ok(Self::Open(Folder {
            fd: Arc::new(fd),
            path: path.to_owned(),
        }))
    }

    /// As [`open`](Self::open), of a folder that is made where there is none.
    ///
    /// # Errors
    ///
    /// As those of [`open`](Self::open), and if it cannot be made or this user
    /// may not open it.
    pub fn make(path: &Path) -> Result<Folder, KexecError> {
        match mkdir(path, PRIVATE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed_at(path, "making the folder")(errno)),
        }
        match Self::open(path)? {
            Self::Open(folder) => Ok(folder),
            Self::Denied => Err(failed_at(path, OPENING)(Errno::ACCESS)),
            Self::Absent => Err(failed_at(path, OPENING)(Errno::NOENT)),
        }
    }
}

impl Folder {
    /// Returns the bytes of the regular file `name` in it, `None` if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no regular file, or has more than `limit` bytes.
    pub fn read(&self, name: &OsStr, limit: u64) -> Result<Option<Vec<u8>>, KexecError> {
        let failed = self.failed::<io::Error>(name, "reading it");
        // A pipe would let its reader wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match openat(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        let mut bytes = Vec::new();
        let file = regular(file).map_err(&failed)?;
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(KexecError::new(format!(
                "{}: expected at most {limit} bytes, found more",
                shown_path(&self.path.join(name))
            )));
        }
        Ok(Some(bytes))
    }

    /// Removes the file `name` from it, if there is one.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove(&self, name: &OsStr) -> Result<(), KexecError> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed(name, "removing it")(errno)),
        }
    }
}

const OPENING: &str = "opening the folder";
const PRIVATE: Mode = Mode::RWXU;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use expect_test::{Expect, expect};
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;
    use crate::readers::Readers;
    use crate::testing::{Home, mode};

    /// Has `edit` put something else where a private folder is, and compares why
    /// that is refused.
    fn check(edit: impl FnOnce(&Path), expected: &Expect) {
        let home = Home::new();
        let path = home.path("run");
        PrivateFolder::make(&path).unwrap();
        edit(&path);
        home.check(PrivateFolder::make(&path).map(drop), expected);
    }

    #[test]
    fn a_private_folder_is_made_once_and_opened_again() {
        let home = Home::new();
        let path = home.path("run");
        let absent = PrivateFolder::open(&path).unwrap();
        assert!(matches!(absent, PrivateFolder::Absent), "{absent:?}");
        PrivateFolder::make(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        PrivateFolder::make(&path).unwrap();
        let open = PrivateFolder::open(&path).unwrap();
        assert!(matches!(open, PrivateFolder::Open(_)), "{open:?}");
        home.check(
            PrivateFolder::make(&home.path("absent/run")).map(drop),
            &expect!["HOME/absent/run: making the folder: No such file or directory (os error 2)"],
        );
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        let home = Home::new();
        let path = home.path("run");
        PrivateFolder::make(&path).unwrap();
        let owner = rustix::process::geteuid().as_raw();
        for mode in [0o755, 0o710, 0o770, 0o500] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = PrivateFolder::make(&path).unwrap_err().to_string();
            let expected = format!(
                "{}: expected a folder of root's own with mode 700, found one of user {owner} \
                 with mode {mode:o}; remove it",
                path.display()
            );
            assert_eq!(error, expected);
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn what_is_no_folder_of_ours_is_refused() {
        check(
            |path| {
                fs::remove_dir(path).unwrap();
                symlink("/", path).unwrap();
            },
            &expect!["HOME/run: opening the folder: Not a directory (os error 20)"],
        );
        check(
            |path| {
                fs::remove_dir(path).unwrap();
                fs::write(path, "").unwrap();
            },
            &expect!["HOME/run: opening the folder: Not a directory (os error 20)"],
        );
        // Only root can make a folder that is somebody else's.
        if rustix::process::geteuid().is_root() {
            check(
                |path| chown(path, Some(12345), None).unwrap(),
                &expect![
                    "HOME/run: expected a folder of root's own with mode 700, found one of user 12345 with mode 700; remove it"
                ],
            );
        }
    }

    #[test]
    fn a_file_is_read_as_far_as_it_may_be_long() {
        let home = Home::new();
        let folder = PrivateFolder::make(&home.path("run")).unwrap();
        let name = OsStr::new("load.json");
        assert_eq!(folder.read(name, 5).unwrap(), None);
        let write = |bytes: &[u8]| {
            let new = folder.new_file().unwrap();
            new.complete(name, bytes, Readers::OWNER).unwrap();
        };
        write(b"12345");
        assert_eq!(mode(&home.path("run/load.json")), 0o600);
        assert_eq!(folder.read(name, 5).unwrap().unwrap(), b"12345");
        home.check(
            folder.read(name, 4).map(drop),
            &expect!["HOME/run/load.json: expected at most 4 bytes, found more"],
        );
        folder.remove(name).unwrap();
        folder.remove(name).unwrap();
        assert_eq!(folder.read(name, 5).unwrap(), None);
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let home = Home::new();
        let folder = PrivateFolder::make(&home.path("run")).unwrap();
        fs::write(home.path("secret"), "secret").unwrap();
        symlink("../secret", home.path("run/link")).unwrap();
        fs::create_dir(home.path("run/folder")).unwrap();
        mknodat(CWD, home.path("run/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        for (name, expected) in [
            (
                "link",
                expect![
                    "HOME/run/link: reading it: Too many levels of symbolic links (os error 40)"
                ],
            ),
            (
                "folder",
                expect!["HOME/run/folder: reading it: expected a regular file, found a folder"],
            ),
            (
                "pipe",
                expect!["HOME/run/pipe: reading it: expected a regular file, found a pipe"],
            ),
        ] {
            home.check(folder.read(OsStr::new(name), 9).map(drop), &expected);
        }
        home.check(
            folder.remove(OsStr::new("folder")),
            &expect!["HOME/run/folder: removing it: Is a directory (os error 21)"],
        );
    }
}
