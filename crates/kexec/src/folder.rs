//! Folders, in which files and folders appear complete or not at all.
//!
//! All acts go by descriptors: whoever else may write to the folder around can
//! put a link in the place of a name at any time, and leads no act elsewhere by
//! it. Names of our own are made with their owner's rights alone; permissions
//! are given to descriptors.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, open, openat,
    readlinkat, renameat, statat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::error::{KexecError, failed_at, shown_path};

/// A folder, by its descriptor. Clones share it.
#[derive(Clone, Debug)]
pub struct Folder {
    pub(crate) fd: Arc<OwnedFd>,
    /// Its name in errors.
    pub(crate) path: PathBuf,
}

/// The kind of thing that a name stands for.
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
    /// There is no such folder, the link is another user's, or `target` ends in no
    /// name.
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
            let name = target.file_name().ok_or_else(|| {
                let path = shown_path(&target);
                KexecError::new(format!("{path} does not name a new file or folder"))
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
        Err(failed_at(target, TOO_MANY_LINKS)(Errno::LOOP))
    }

    /// Opens the folder `path`, through links of this user's or of root's alone.
    ///
    /// # Errors
    ///
    /// There is no such folder, or a link on the way is another user's.
    pub fn open(path: &Path) -> Result<Self, KexecError> {
        let opening = failed_at(path, "opening the folder");
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
                return Err(failed_at(path, TOO_MANY_LINKS)(Errno::LOOP));
            }
            if !is_trusted(&stat) {
                return Err(failed_at(path, OTHERS_LINK)(Errno::ACCESS));
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
        let failed = self.failed(name, "looking at it");
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(link) => link,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = fstat(&link).map_err(&failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        if !is_trusted(&stat) {
            return Err(self.failed(name, OTHERS_LINK)(Errno::ACCESS));
        }
        let path = readlinkat(&link, "", Vec::new()).map_err(failed)?;
        Ok(Some(OsString::from_vec(path.into_bytes()).into()))
    }

    /// Returns what `name` stands for.
    ///
    /// # Errors
    ///
    /// That cannot be seen.
    pub fn target_state(&self, name: &OsStr) -> Result<TargetState, KexecError> {
        let failed = self.failed(name, "looking at it");
        let stat = match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(TargetState::Free),
            Err(errno) => return Err(failed(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(TargetState::File),
            FileType::Directory => {
                let folder = openat(&self.fd, name, FOLDER, Mode::empty()).map_err(&failed)?;
                if is_empty(&folder).map_err(failed)? {
                    Ok(TargetState::EmptyFolder)
                } else {
                    Ok(TargetState::FullFolder)
                }
            }
            _ => Ok(TargetState::Other),
        }
    }

    /// Has `make` make something under a name that nothing has yet.
    pub(crate) fn temporary<T>(
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
                Err(errno) => return Err(self.failed("".as_ref(), action)(errno)),
            }
        }
        Err(self.failed("".as_ref(), action)(Errno::EXIST))
    }

    /// Renames `temporary`, which is `made`, to `name`.
    pub(crate) fn rename(
        &self,
        temporary: &OsStr,
        name: &OsStr,
        made: BorrowedFd<'_>,
    ) -> Result<(), KexecError> {
        let failed = self.failed(name, "giving what is finished its name");
        let made = fstat(made).map_err(&failed)?;
        renameat(&self.fd, temporary, &self.fd, name).map_err(&failed)?;
        let found = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let identity = |stat: &Stat| (stat.st_dev, stat.st_ino);
        if identity(&made) != identity(&found) {
            return Err(self.swapped(name));
        }
        Ok(())
    }

    /// Returns the error of something else that has a name given to a file or
    /// folder of ours.
    pub(crate) fn swapped(&self, name: &OsStr) -> KexecError {
        KexecError::new(format!(
            "{}: somebody who may write to the folder around it put something else in its place; \
             choose a folder that nobody else may write to",
            shown_path(&self.path.join(name))
        ))
    }

    /// Returns the error of a call on `name` that failed.
    pub(crate) fn failed<E: Into<io::Error>>(
        &self,
        name: &OsStr,
        action: &'static str,
    ) -> impl Fn(E) -> KexecError + use<E> {
        failed_at(self.path.join(name), action)
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

const TOO_MANY_LINKS: &str = "following a link";
const OTHERS_LINK: &str = "following a link that another user made";

/// So many links are followed one after the other, as the kernel does.
const LINKS_MAX: usize = 40;

/// The start of our names until something is complete.
pub(crate) const TEMPORARY: &str = ".ukexec-";

/// So many names are tried: each may be one that an earlier process left.
const NAMES_MAX: u32 = 1000;

/// How a folder is opened, and nothing else.
pub(crate) const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

pub(crate) fn is_empty(folder: impl AsFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use expect_test::expect;

    use super::*;
    use crate::testing::Home;

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
    fn a_name_stands_for_a_file_or_something_else() {
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
