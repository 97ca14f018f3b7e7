//! Folders that are read: their names one by one, and the files behind them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use crate::folder::Folder;
use crate::input::other_kind;

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// The name.
    pub name: OsString,
    /// The kind of thing that it stands for, such as "a pipe", unless that is a regular
    /// file.
    pub other: Option<&'static str>,
}

impl Folder {
    /// Opens the regular file `name` for reading. A link is none, and nothing waits.
    ///
    /// # Errors
    ///
    /// The error of opening it, and `InvalidInput` for anything but a regular file.
    pub fn regular(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);
        let flags = flags.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
        crate::input::regular(openat(&self.fd, name, flags, Mode::empty())?.into())
    }

    /// Returns the names in the folder one by one, in no order: there may be more than
    /// anybody has memory for.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<FolderEntry>> + use<'_>> {
        let names = Dir::read_from(&self.fd)?;
        let entries = names.map(|entry| {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            let kind = match entry.file_type() {
                // Some file systems leave it to another question.
                FileType::Unknown => {
                    let stat = statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            let other = other_kind(kind);
            Ok(FolderEntry { name, other })
        });
        let is_itself = |it: &FolderEntry| it.name == "." || it.name == "..";
        Ok(entries.filter(move |entry| !entry.as_ref().is_ok_and(is_itself)))
    }

    /// Returns its name in errors.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use rustix::fs::mknodat;

    use super::*;
    use crate::testing::Home;

    #[test]
    fn names_are_listed_with_what_they_stand_for() {
        let home = Home::new();
        fs::create_dir(home.path("folder")).unwrap();
        let folder = Folder::open(&home.path("folder")).unwrap();
        fs::write(home.path("folder/file"), "bytes").unwrap();
        fs::create_dir(home.path("folder/inner")).unwrap();
        symlink("file", home.path("folder/link")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        mknodat(&folder, "pipe", FileType::Fifo, mode, 0).unwrap();
        let entries = folder.entries().unwrap().map(Result::unwrap);
        let mut entries: Vec<_> = entries.map(|it| (it.name, it.other)).collect();
        entries.sort();
        assert_eq!(
            entries,
            [
                ("file".into(), None),
                ("inner".into(), Some("a folder")),
                ("link".into(), Some("a symbolic link")),
                ("pipe".into(), Some("a pipe")),
            ]
        );
        let mut bytes = String::new();
        let mut file = folder.regular("file".as_ref()).unwrap();
        file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "bytes");
        // Neither follows a link, and a pipe without a writer is not waited for.
        let refused = |name: &str| folder.regular(name.as_ref()).unwrap_err().to_string();
        assert_eq!(
            refused("link"),
            "Too many levels of symbolic links (os error 40)"
        );
        assert_eq!(refused("pipe"), "expected a regular file, found a pipe");
    }

    #[test]
    fn a_folder_that_was_moved_is_still_read() {
        let home = Home::new();
        fs::create_dir(home.path("folder")).unwrap();
        fs::write(home.path("folder/file"), "").unwrap();
        let folder = Folder::open(&home.path("folder")).unwrap();
        fs::rename(home.path("folder"), home.path("moved")).unwrap();
        assert_eq!(folder.entries().unwrap().count(), 1);
        assert!(folder.regular("file".as_ref()).is_ok());
        assert!(folder.regular("absent".as_ref()).is_err());
    }
}
