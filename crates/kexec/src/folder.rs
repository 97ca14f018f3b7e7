//! Files and folders that appear complete or not at all.
//!
//! All acts go by descriptors: whoever else may write to the folder around can
//! put a link in the place of a name at any time, and leads no act elsewhere by
//! it. Names of our own are made with their owner's rights alone; permissions
//! are given to descriptors.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fchmod, fstat, fstatfs, mkdirat,
    open, openat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::assemble::{Part, write_parts};
use crate::error::KexecError;
use crate::readers::{Readers, umask};
use crate::signals::HeldSignals;
use crate::transfer::Moved;
use crate::unnamed::UnnamedFile;

/// A folder, by its descriptor. Clones share it.
#[derive(Clone, Debug)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    /// What errors call it.
    path: PathBuf,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetState {
    /// Nothing.
    Free,
    /// A regular file.
    File,
    /// A folder without entries.
    EmptyFolder,
    /// A folder with entries.
    FullFolder,
    /// A device, a pipe, a socket or a link.
    Other,
}

impl Folder {
    /// Opens the folder that `target` is in, and returns it with the name in it.
    /// Where `target` is a link, they are those of what it names: a link of this
    /// user's or of root's.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if there is no such folder, or the link is another
    /// user's; [`KexecError::NoName`] if `target` ends in no name.
    pub fn around(target: &Path) -> Result<(Self, OsString), KexecError> {
        Self::around_but(target, |_| Ok(false))
    }

    /// As [`around`](Self::around), but follows no link in a folder of which `is_end`
    /// says so.
    pub(crate) fn around_but(
        target: &Path,
        is_end: impl Fn(&Self) -> Result<bool, KexecError>,
    ) -> Result<(Self, OsString), KexecError> {
        let mut target = target.to_owned();
        for _ in 0..LINKS_MAX {
            let name = target.file_name().ok_or_else(|| KexecError::NoName {
                path: target.clone(),
            })?;
            let parent = match target.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let folder = Self::open(parent)?;
            if is_end(&folder)? {
                return Ok((folder, name.to_owned()));
            }
            let Some(link) = folder.link(name)? else {
                let name = name.to_owned();
                return Ok((folder, name));
            };
            target = parent.join(link);
        }
        Err(KexecError::File {
            path: target,
            action: "following a link",
            cause: Errno::LOOP.into(),
        })
    }

    /// Opens the folder `path`, through links of this user's or of root's alone.
    fn open(path: &Path) -> Result<Self, KexecError> {
        let failed = |action| {
            move |errno: Errno| KexecError::File {
                path: path.to_owned(),
                action,
                cause: errno.into(),
            }
        };
        let opening = failed("opening the folder");
        let step = OFlags::PATH | OFlags::CLOEXEC;
        let mut at = open(start(path), step, Mode::empty()).map_err(&opening)?;
        let mut names = steps(path);
        let mut links = 0;
        while let Some(name) = names.pop() {
            let next = openat(&at, &name, step | OFlags::NOFOLLOW, Mode::empty());
            let next = next.map_err(&opening)?;
            let stat = fstat(&next).map_err(&opening)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                at = next;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(failed("following a link")(Errno::LOOP));
            }
            if !is_trusted(&stat) {
                return Err(failed(OTHERS_LINK)(Errno::ACCESS));
            }
            if is_proc(&at).map_err(&opening)? {
                at = openat(&at, &name, step, Mode::empty()).map_err(&opening)?;
                continue;
            }
            let link = readlinkat(&next, "", Vec::new()).map_err(&opening)?;
            let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
            if link.is_absolute() {
                at = open(start(&link), step, Mode::empty()).map_err(&opening)?;
            }
            names.extend(steps(&link));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(&at, ".", flags, Mode::empty()).map_err(&opening)?;
        Ok(Self {
            fd: Arc::new(fd),
            path: path.to_owned(),
        })
    }

    /// Returns what the link `name` says; `None` if it is no link.
    fn link(&self, name: &OsStr) -> Result<Option<PathBuf>, KexecError> {
        let failed = |errno: Errno| self.failed(name, "looking at it", errno.into());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(link) => link,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = fstat(&link).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        if !is_trusted(&stat) {
            return Err(self.failed(name, OTHERS_LINK, Errno::ACCESS.into()));
        }
        let path = readlinkat(&link, "", Vec::new()).map_err(failed)?;
        Ok(Some(OsString::from_vec(path.into_bytes()).into()))
    }

    /// Returns what `name` stands for.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if that cannot be seen.
    pub fn target_state(&self, name: &OsStr) -> Result<TargetState, KexecError> {
        let failed = |errno: Errno| self.failed(name, "looking at it", errno.into());
        let stat = match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(TargetState::Free),
            Err(errno) => return Err(failed(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(TargetState::File),
            FileType::Directory => {
                let folder = openat(&self.fd, name, FOLDER, Mode::empty()).map_err(failed)?;
                if is_empty(&folder).map_err(failed)? {
                    Ok(TargetState::EmptyFolder)
                } else {
                    Ok(TargetState::FullFolder)
                }
            }
            _ => Ok(TargetState::Other),
        }
    }

    /// Makes a file in it that gets its name when it is complete.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if none can be made.
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

    /// Makes a folder in it that gets its name when it is complete.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if none can be made.
    pub fn new_folder(&self) -> Result<NewFolder, KexecError> {
        let held = HeldSignals::new();
        let action = "making a folder in it";
        let (temporary, ()) = self.temporary(action, |name| mkdirat(&self.fd, name, Mode::RWXU))?;
        let new = openat(&self.fd, &temporary, FOLDER, Mode::empty())
            .map_err(|errno| self.failed(&temporary, action, errno.into()))?;
        // Another one may have been moved to where it was.
        let ours = || -> Result<bool, Errno> {
            let stat = fstat(&new)?;
            let is_private = stat.st_mode & 0o077 == 0;
            Ok(is_private && stat.st_uid == geteuid().as_raw() && is_empty(&new)?)
        };
        match ours() {
            Ok(true) => {}
            Ok(false) => return Err(self.swapped(&temporary)),
            Err(errno) => return Err(self.failed(&temporary, action, errno.into())),
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

    /// Has `make` make something under a name that nothing has yet.
    fn temporary<T>(
        &self,
        action: &'static str,
        make: impl Fn(&OsStr) -> Result<T, Errno>,
    ) -> Result<(OsString, T), KexecError> {
        let pid = rustix::process::getpid().as_raw_nonzero();
        for count in 0..NAMES_MAX {
            let name = OsString::from(format!("{TEMPORARY}{pid}-{count}"));
            match make(&name) {
                Ok(made) => return Ok((name, made)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed(OsStr::new(""), action, errno.into())),
            }
        }
        Err(self.failed(OsStr::new(""), action, Errno::EXIST.into()))
    }

    /// Renames `temporary`, which is `made`, to `name`.
    fn rename(
        &self,
        temporary: &OsStr,
        name: &OsStr,
        made: BorrowedFd<'_>,
    ) -> Result<(), KexecError> {
        let failed = |errno: Errno| {
            let action = "giving what is finished its name";
            self.failed(name, action, errno.into())
        };
        let made = fstat(made).map_err(failed)?;
        renameat(&self.fd, temporary, &self.fd, name).map_err(failed)?;
        let found = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let identity = |stat: &Stat| (stat.st_dev, stat.st_ino);
        if identity(&made) != identity(&found) {
            return Err(self.swapped(name));
        }
        Ok(())
    }

    pub(crate) fn swapped(&self, name: &OsStr) -> KexecError {
        KexecError::Swapped {
            path: self.path.join(name),
        }
    }

    pub(crate) fn failed(
        &self,
        name: &OsStr,
        action: &'static str,
        cause: io::Error,
    ) -> KexecError {
        KexecError::File {
            path: self.path.join(name),
            action,
            cause,
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Where the way along `path` begins.
fn start(path: &Path) -> &'static str {
    if path.is_absolute() { "/" } else { "." }
}

/// Returns the names along `path`, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().rev();
    let steps = steps.filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir));
    steps.map(|step| step.as_os_str().to_owned()).collect()
}

/// Returns whether what has `stat` is this user's or root's.
pub(crate) fn is_trusted(stat: &Stat) -> bool {
    [0, geteuid().as_raw()].contains(&stat.st_uid)
}

/// Returns whether `folder` is in `/proc`, where links are not what they say.
pub(crate) fn is_proc(folder: impl AsFd) -> Result<bool, Errno> {
    Ok(fstatfs(folder)?.f_type == PROC_SUPER_MAGIC)
}

const OTHERS_LINK: &str = "following a link that another user made";

/// So many links are followed one after the other, as the kernel does.
const LINKS_MAX: usize = 40;

/// What our names begin with until something is complete.
const TEMPORARY: &str = ".ukexec-";

/// So many names are tried: each may be one that an earlier process left.
const NAMES_MAX: u32 = 1000;

/// How a folder is opened, and nothing else.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn is_empty(folder: impl AsFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
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
    /// [`KexecError::File`] if it cannot be written or named,
    /// [`KexecError::Swapped`] if something else has the name afterwards.
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
        let file = file.map_err(|cause| self.folder.failed(name, "creating it", cause))?;
        self.appear(name, readers)?;
        Ok(file)
    }

    fn appear(&mut self, name: &OsStr, readers: Readers) -> Result<(), KexecError> {
        let folder = &self.folder;
        readers
            .admit_to(&self.file)
            .map_err(|cause| folder.failed(name, "setting who may read it", cause))?;
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
        let failed = |cause| self.folder.failed(name, "creating it", cause);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            openat(&self.folder.fd, name, flags, mode).map_err(|errno| failed(errno.into()))?;
        self.names.push(name.to_owned());
        readers.admit_to(&file).map_err(failed)?;
        write_parts(&File::from(file), &self.folder.path.join(name), parts)
    }

    /// Gives `file` a name in it.
    ///
    /// # Errors
    ///
    /// [`KexecError::File`] if there is such a file, or the name cannot be made.
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
    /// [`KexecError::File`] if it cannot be named, [`KexecError::Swapped`] if
    /// something else has the name afterwards.
    pub fn complete(mut self, name: &OsStr) -> Result<(), KexecError> {
        let parent = &self.parent;
        let older = openat(&parent.fd, name, FOLDER, Mode::empty()).and_then(fstat);
        let mode = match older {
            Ok(stat) if stat.st_uid == geteuid().as_raw() => stat.st_mode & 0o7777,
            Ok(stat) => stat.st_mode & 0o755,
            Err(_absent) => 0o777 & !umask(),
        };
        fchmod(&self.folder.fd, Mode::from_raw_mode(mode))
            .map_err(|errno| parent.failed(name, "setting who may use it", errno.into()))?;
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
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use expect_test::{Expect, expect};

    use super::*;

    /// A folder for a test, and the name `out` in it.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn around(&self, name: &str) -> (Folder, OsString) {
            Folder::around(&self.path(name)).unwrap()
        }

        /// What is in it, sorted.
        fn entries(&self) -> Vec<OsString> {
            let entries = fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        }

        /// Moves what has a temporary name away, as somebody else who may write
        /// here could, and puts a link to `victim` in its place.
        fn swap(&self, victim: &Path) {
            let temporary = self.entries();
            let temporary = temporary
                .iter()
                .find(|name| name.to_string_lossy().starts_with(TEMPORARY))
                .unwrap();
            let temporary = self.0.path().join(temporary);
            fs::rename(&temporary, self.path("moved")).unwrap();
            symlink(victim, &temporary).unwrap();
        }

        fn check(&self, result: Result<(), KexecError>, expected: &Expect) {
            let error = result.unwrap_err().to_string();
            expected.assert_eq(&error.replace(&self.0.path().display().to_string(), "HOME"));
        }
    }

    fn all() -> Readers {
        let file = tempfile::tempfile().unwrap();
        file.set_permissions(Permissions::from_mode(0o666)).unwrap();
        Readers::of(&file).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

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
        let again = new.write("kernel", &[], all()).unwrap_err().to_string();
        let end = "kernel: creating it: File exists (os error 17)";
        assert!(again.ends_with(end), "{again}");
    }

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

    #[test]
    fn links_without_end_and_of_other_users_are_not_followed() {
        let home = Home::new();
        symlink("b", home.path("a")).unwrap();
        symlink("a", home.path("b")).unwrap();
        let around = |name: &str| Folder::around(&home.path(name)).map(drop);
        home.check(
            around("a"),
            &expect!["HOME/a: following a link: Too many levels of symbolic links (os error 40)"],
        );
        symlink("c", home.path("theirs")).unwrap();
        let path = home.path("theirs");
        // Only root can make a link that is somebody else's.
        if std::os::unix::fs::lchown(&path, Some(12345), None).is_ok() {
            home.check(
                around("theirs"),
                &expect![
                    "HOME/theirs: following a link that another user made: Permission denied (os error 13)"
                ],
            );
        }
        home.check(
            around("absent/out"),
            &expect!["HOME/absent: opening the folder: No such file or directory (os error 2)"],
        );
        home.check(
            Folder::around(Path::new("/")).map(drop),
            &expect!["/ does not name a new file or folder"],
        );
    }

    #[test]
    fn a_way_through_links_of_other_users_is_not_taken() {
        let (home, elsewhere) = (Home::new(), Home::new());
        fs::create_dir(elsewhere.path("folder")).unwrap();
        symlink(elsewhere.path("folder/../folder"), home.path("second")).unwrap();
        symlink("./second", home.path("first")).unwrap();
        let (around, name) = home.around("first/out");
        around.new_folder().unwrap().complete(&name).unwrap();
        assert!(elsewhere.path("folder/out").is_dir());
        // Only root can make a link that is somebody else's.
        if std::os::unix::fs::lchown(home.path("second"), Some(12345), None).is_ok() {
            home.check(
                Folder::around(&home.path("first/out")).map(drop),
                &expect!["HOME/first: following a link that another user made: Permission denied (os error 13)"],
            );
        }
        symlink("loop", home.path("loop")).unwrap();
        home.check(
            Folder::around(&home.path("loop/out")).map(drop),
            &expect![
                "HOME/loop: following a link: Too many levels of symbolic links (os error 40)"
            ],
        );
        fs::write(home.path("file"), "").unwrap();
        home.check(
            Folder::around(&home.path("file/out")).map(drop),
            &expect!["HOME/file: opening the folder: Not a directory (os error 20)"],
        );
    }

    #[test]
    fn tells_what_a_name_stands_for() {
        let home = Home::new();
        fs::write(home.path("file"), "").unwrap();
        symlink("file", home.path("link")).unwrap();
        let (around, _) = home.around("out");
        let state = |name: &str| around.target_state(OsStr::new(name)).unwrap();
        assert_eq!(state("out"), TargetState::Free);
        assert_eq!(state("file"), TargetState::File);
        assert_eq!(state("link"), TargetState::Other);
    }
}
