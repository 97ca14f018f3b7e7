//! Folders that get their names when they are complete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, fchmod, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::assemble::{Part, write_parts};
use crate::error::{KexecError, failed_at};
use crate::folder::{FOLDER, Folder, is_empty};
use crate::readers::{Readers, umask};
use crate::signals::HeldSignals;
use crate::transfer::Moved;
use crate::unnamed::UnnamedFile;

impl Folder {
    /// Makes a folder in it that gets its name when it is complete.
    ///
    /// # Errors
    ///
    /// None can be made.
    pub fn new_folder(&self) -> Result<NewFolder, KexecError> {
        let held = HeldSignals::new();
        let action = "making a folder in it";
        let (temporary, ()) = self.temporary(action, |name| mkdirat(&self.fd, name, Mode::RWXU))?;
        let new = openat(&self.fd, &temporary, FOLDER, Mode::empty())
            .map_err(self.failed(&temporary, action))?;
        // Another one may have been moved to where it was.
        let ours = || -> Result<bool, Errno> {
            let stat = fstat(&new)?;
            let is_private = stat.st_mode & 0o077 == 0;
            Ok(is_private && stat.st_uid == geteuid().as_raw() && is_empty(&new)?)
        };
        match ours() {
            Ok(true) => {}
            Ok(false) => return Err(self.swapped(&temporary)),
            Err(errno) => return Err(self.failed(&temporary, action)(errno)),
        }
        Ok(NewFolder {
            folder: Self {
                path: self.path.join(&temporary),
                fd: Arc::new(new),
            },
            parent: self.clone(),
            temporary: Some(temporary),
            names: Vec::new(),
            _held: held,
        })
    }
}

/// A folder that is not complete yet. Dropped before, it leaves nothing. Signals
/// wait while there is one.
#[derive(Debug)]
pub struct NewFolder {
    folder: Folder,
    parent: Folder,
    /// Its name so far.
    temporary: Option<OsString>,
    /// Files in it.
    names: Vec<OsString>,
    _held: HeldSignals,
}

impl NewFolder {
    /// Joins `parts` in a file of it.
    ///
    /// # Errors
    ///
    /// As those of [`UnnamedFile::write`], and if there is such a file.
    pub fn write(
        &mut self,
        name: &str,
        parts: &[Part<'_>],
        readers: Readers,
    ) -> Result<Moved, KexecError> {
        let name = OsStr::new(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let path = self.folder.path.join(name);
        let action = "creating it";
        let file = openat(&self.folder.fd, name, flags, mode).map_err(failed_at(&path, action))?;
        self.names.push(name.to_owned());
        readers.admit_to(&file).map_err(failed_at(&path, action))?;
        write_parts(&File::from(file), &path, parts)
    }

    /// Gives `file` a name in it.
    ///
    /// # Errors
    ///
    /// There is such a file, or the name cannot be made.
    pub fn name(&mut self, file: UnnamedFile, name: &str) -> Result<(), KexecError> {
        file.name(&self.folder, OsStr::new(name))?;
        self.names.push(name.into());
        Ok(())
    }

    /// Gives it the name `name`, in the place of an empty folder of that name,
    /// whose permissions it takes over; of another user's folder, it takes none to
    /// write over.
    ///
    /// # Errors
    ///
    /// It cannot be named, or something else has the name afterwards.
    pub fn complete(mut self, name: &OsStr) -> Result<(), KexecError> {
        let parent = &self.parent;
        let older = openat(&parent.fd, name, FOLDER, Mode::empty()).and_then(fstat);
        let mode = match older {
            Ok(stat) if stat.st_uid == geteuid().as_raw() => stat.st_mode & 0o7777,
            Ok(stat) => stat.st_mode & 0o755,
            Err(_absent) => 0o777 & !umask(),
        };
        fchmod(&self.folder.fd, Mode::from_raw_mode(mode))
            .map_err(parent.failed(name, "setting who may use it"))?;
        if let Some(temporary) = self.temporary.take() {
            parent
                .rename(&temporary, name, self.folder.as_fd())
                .inspect_err(|_| self.temporary = Some(temporary))?;
        }
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        let Some(temporary) = &self.temporary else {
            return;
        };
        for name in &self.names {
            let _no_longer_there = unlinkat(&self.folder.fd, name, AtFlags::empty());
        }
        let _no_longer_there = unlinkat(&self.parent.fd, temporary, AtFlags::REMOVEDIR);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use expect_test::expect;

    use super::*;
    use crate::folder::TargetState;
    use crate::testing::{Home, all, line, mode};

    #[test]
    fn a_folder_appears_only_when_complete() {
        let home = Home::new();
        let (around, name) = home.around("out");
        let mut new = around.new_folder().unwrap();
        new.write("kernel", &[Part::Bytes(b"k")], all()).unwrap();
        assert!(!home.path("out").exists());
        new.complete(&name).unwrap();
        assert_eq!(fs::read(home.path("out/kernel")).unwrap(), b"k");
        assert_eq!(home.entries(), ["out"]);
        assert_eq!(mode(&home.path("out")), 0o777 & !umask());
        assert_eq!(mode(&home.path("out/kernel")), 0o666 & !umask());
    }

    #[test]
    fn what_is_not_complete_leaves_nothing() {
        let home = Home::new();
        let (around, _) = home.around("out");
        let mut new = around.new_folder().unwrap();
        new.write("kernel", &[Part::Bytes(b"k")], all()).unwrap();
        drop(new);
        drop(around.new_file().unwrap());
        assert!(home.entries().is_empty());
    }

    #[test]
    fn an_empty_folder_is_replaced_and_its_permissions_stay() {
        let home = Home::new();
        fs::create_dir(home.path("out")).unwrap();
        fs::set_permissions(home.path("out"), Permissions::from_mode(0o700)).unwrap();
        let (around, name) = home.around("out");
        assert_eq!(
            around.target_state(&name).unwrap(),
            TargetState::EmptyFolder
        );
        let mut new = around.new_folder().unwrap();
        new.write("kernel", &[], all()).unwrap();
        new.complete(&name).unwrap();
        assert_eq!(mode(&home.path("out")), 0o700);
        assert_eq!(around.target_state(&name).unwrap(), TargetState::FullFolder);
        home.check(
            around.new_folder().unwrap().complete(&name),
            &expect![
                "HOME/out: giving what is finished its name: Directory not empty (os error 39)"
            ],
        );
        assert_eq!(home.entries(), ["out"]);
    }

    #[test]
    fn another_users_folder_gives_nobody_rights_to_write() {
        let home = Home::new();
        fs::create_dir(home.path("out")).unwrap();
        for (owner, expected) in [(geteuid().as_raw(), 0o777), (12345, 0o755)] {
            fs::set_permissions(home.path("out"), Permissions::from_mode(0o777)).unwrap();
            // Only root can make a folder that is somebody else's.
            if std::os::unix::fs::chown(home.path("out"), Some(owner), None).is_err() {
                continue;
            }
            let (around, name) = home.around("out");
            around.new_folder().unwrap().complete(&name).unwrap();
            assert_eq!(mode(&home.path("out")), expected);
        }
    }

    #[test]
    fn a_file_is_made_once() {
        let home = Home::new();
        let mut new = home.around("out").0.new_folder().unwrap();
        new.write("kernel", &[], all()).unwrap();
        let again = line(&new.write("kernel", &[], all()).unwrap_err());
        let end = "kernel: creating it: File exists (os error 17)";
        assert!(again.ends_with(end), "{again}");
    }

    #[test]
    fn a_folder_that_was_swapped_leads_nowhere_else() {
        let (home, elsewhere) = (Home::new(), Home::new());
        let victim = elsewhere.path("victim");
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o700)).unwrap();
        let (around, name) = home.around("out");
        let mut new = around.new_folder().unwrap();
        home.swap(&victim);
        new.write("kernel", &[Part::Bytes(b"k")], all()).unwrap();
        home.check(
            new.complete(&name),
            &expect![
                "HOME/out: somebody who may write to the folder around it put something else in its place; choose a folder that nobody else may write to"
            ],
        );
        assert_eq!(mode(&victim), 0o700);
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    }
}
