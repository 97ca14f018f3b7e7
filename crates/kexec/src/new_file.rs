//! Files that get their names when they are complete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use crate::assemble::{Part, write_parts};
use crate::error::KexecError;
use crate::folder::Folder;
use crate::readers::Readers;
use crate::signals::HeldSignals;

impl Folder {
    /// Makes a file in it that gets its name when it is complete.
    ///
    /// # Errors
    ///
    /// None can be made.
    pub fn new_file(&self) -> Result<NewFile, KexecError> {
        let held = HeldSignals::new();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let (temporary, file) = self.temporary("making a file in it", |name| {
            openat(&self.fd, name, flags | OFlags::CLOEXEC, mode)
        })?;
        Ok(NewFile {
            folder: self.clone(),
            temporary: Some(temporary),
            file: File::from(file),
            _held: held,
        })
    }
}

/// A file that is not complete yet. Dropped before, it leaves nothing. Signals
/// wait while there is one.
#[derive(Debug)]
pub struct NewFile {
    folder: Folder,
    /// Its name so far.
    temporary: Option<OsString>,
    file: File,
    _held: HeldSignals,
}

impl NewFile {
    /// Puts `bytes` into it, and gives it the name `name` and to `readers`, in the
    /// place of a file of that name.
    ///
    /// # Errors
    ///
    /// It cannot be written or named, or something else has the name afterwards.
    pub fn complete(
        mut self,
        name: &OsStr,
        bytes: &[u8],
        readers: Readers,
    ) -> Result<(), KexecError> {
        let path = self.folder.path.join(name);
        write_parts(&self.file, &path, &[Part::Bytes(bytes)])?;
        self.appear(name, readers)
    }

    /// Gives it the name `name` and to `readers`, in the place of a file of that
    /// name, and returns it to be written.
    pub(crate) fn complete_empty(
        mut self,
        name: &OsStr,
        readers: Readers,
    ) -> Result<File, KexecError> {
        let file = self.file.try_clone();
        let file = file.map_err(self.folder.failed(name, "creating it"))?;
        self.appear(name, readers)?;
        Ok(file)
    }

    fn appear(&mut self, name: &OsStr, readers: Readers) -> Result<(), KexecError> {
        let folder = &self.folder;
        readers
            .admit_to(&self.file)
            .map_err(folder.failed(name, "setting who may read it"))?;
        if let Some(temporary) = self.temporary.take() {
            folder
                .rename(&temporary, name, self.file.as_fd())
                .inspect_err(|_| self.temporary = Some(temporary))?;
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _no_longer_there = unlinkat(&self.folder.fd, temporary, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use expect_test::expect;

    use crate::testing::{Home, all, mode};

    #[test]
    fn a_file_replaces_another_in_one_step() {
        let home = Home::new();
        for text in ["one", "two"] {
            let (around, name) = home.around("out");
            let new = around.new_file().unwrap();
            new.complete(&name, text.as_bytes(), all()).unwrap();
            assert_eq!(fs::read_to_string(home.path("out")).unwrap(), text);
        }
        assert_eq!(home.entries(), ["out"]);
    }

    #[test]
    fn a_file_that_was_swapped_leads_nowhere_else() {
        let (home, elsewhere) = (Home::new(), Home::new());
        let victim = elsewhere.path("victim");
        fs::write(&victim, "precious").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        let (around, name) = home.around("out");
        let new = around.new_file().unwrap();
        home.swap(&victim);
        home.check(
            new.complete(&name, b"new", all()),
            &expect![
                "HOME/out: somebody who may write to the folder around it put something else in its place; choose a folder that nobody else may write to"
            ],
        );
        assert_eq!(mode(&victim), 0o600);
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_link_stays_and_what_it_names_is_replaced() {
        let (home, elsewhere) = (Home::new(), Home::new());
        symlink("second", home.path("first")).unwrap();
        symlink(elsewhere.path("file"), home.path("second")).unwrap();
        let (around, name) = home.around("first");
        around
            .new_file()
            .unwrap()
            .complete(&name, b"new", all())
            .unwrap();
        assert_eq!(fs::read(elsewhere.path("file")).unwrap(), b"new");
        assert_eq!(home.entries(), ["first", "second"]);
    }
}
