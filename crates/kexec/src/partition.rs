//! Partitions that are mounted: the folder at the root of one, and the files below it, of
//! which none lies elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, fstatfs, major, minor, open, openat, openat2};
use rustix::io::Errno;

use crate::folder::Folder;
use crate::input::regular;

/// The magic number of FAT (Linux, `include/uapi/linux/magic.h`).
const MSDOS_SUPER_MAGIC: i64 = 0x4d44;

/// The file system that a folder lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountFacts {
    /// Whether the folder is its root.
    pub is_root: bool,
    /// Whether it is FAT.
    pub is_fat: bool,
    /// The major and minor number of its device.
    pub device: (u32, u32),
    /// The folder's inode there.
    pub inode: u64,
}

impl Folder {
    /// Opens the folder `path` to look around in it: a partition that mounts itself when
    /// somebody looks is mounted by this.
    ///
    /// # Errors
    ///
    /// The error of opening it.
    pub fn open_mounted(path: &Path) -> io::Result<Self> {
        let fd = open(path, LOOK, Mode::empty())?;
        Ok(Self {
            fd: Arc::new(fd),
            path: path.to_owned(),
        })
    }

    /// Returns the file system that it lies on.
    ///
    /// # Errors
    ///
    /// Its descriptor cannot be asked.
    pub fn mount_facts(&self) -> io::Result<MountFacts> {
        let own = fstat(&self.fd)?;
        let above = fstat(openat(&self.fd, "..", OFlags::PATH, Mode::empty())?)?;
        #[expect(
            clippy::useless_conversion,
            reason = "the type of the field depends on the architecture"
        )]
        let kind = i64::from(fstatfs(&self.fd)?.f_type);
        let is_top = (own.st_dev, own.st_ino) == (above.st_dev, above.st_ino);
        Ok(MountFacts {
            is_root: is_top || own.st_dev != above.st_dev,
            is_fat: kind == MSDOS_SUPER_MAGIC,
            device: (major(own.st_dev), minor(own.st_dev)),
            inode: own.st_ino,
        })
    }

    /// Opens the folder at `path` from here.
    ///
    /// # Errors
    ///
    /// As of [`regular_below`](Self::regular_below).
    pub fn folder_below(&self, path: &Path) -> io::Result<Self> {
        Ok(Self {
            fd: Arc::new(self.below(path, LOOK)?),
            path: self.path.join(path),
        })
    }

    /// Opens the regular file at `path` from here for reading. No link is followed, no
    /// other file system is entered, and nothing waits.
    ///
    /// # Errors
    ///
    /// The error of opening it, and `InvalidInput` for a path that leads elsewhere and for
    /// anything but a regular file.
    pub fn regular_below(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        regular(self.below(path, flags)?.into())
    }

    fn below(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let is_plain = |step| matches!(step, Component::Normal(_));
        if path.as_os_str().is_empty() || !path.components().all(is_plain) {
            return Err(elsewhere("expected a path from the partition's root"));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::NOFOLLOW;
        let opened = match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            // Linux before 5.6, or a filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.step_by_step(path, flags),
            opened => opened,
        };
        opened.map_err(|errno| match errno {
            Errno::LOOP => elsewhere("found a symbolic link, which is not followed"),
            Errno::XDEV => elsewhere("found another file system on the way"),
            errno => errno.into(),
        })
    }

    fn step_by_step(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let device = fstat(&self.fd)?.st_dev;
        let mut at = openat(&self.fd, ".", step, Mode::empty())?;
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            let name = name.as_os_str();
            if names.peek().is_none() {
                return openat(&at, name, flags, Mode::empty());
            }
            at = openat(&at, name, step, Mode::empty())?;
            if fstat(&at)?.st_dev != device {
                return Err(Errno::XDEV);
            }
        }
        Err(Errno::INVAL)
    }
}

const LOOK: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn elsewhere(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{FileType, mknodat};

    use super::*;
    use crate::testing::Home;

    #[test]
    fn files_below_a_folder_lie_nowhere_else() {
        let home = Home::new();
        fs::create_dir_all(home.path("esp/EFI/Linux")).unwrap();
        fs::write(home.path("esp/EFI/Linux/a.efi"), "a").unwrap();
        fs::write(home.path("outside"), "secret").unwrap();
        symlink("../outside", home.path("esp/link")).unwrap();
        symlink("EFI", home.path("esp/folder")).unwrap();
        let esp = Folder::open_mounted(&home.path("esp")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        mknodat(&esp, "pipe", FileType::Fifo, mode, 0).unwrap();
        let outcome = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let stepped = esp.step_by_step(Path::new(path), flags).is_ok();
            match esp.regular_below(Path::new(path)) {
                Ok(_) => (stepped, "opened".to_owned()),
                Err(error) => (stepped, error.to_string()),
            }
        };
        assert_eq!(outcome("EFI/Linux/a.efi"), (true, "opened".to_owned()));
        let link = "found a symbolic link, which is not followed".to_owned();
        assert_eq!(outcome("link"), (false, link.clone()));
        assert_eq!(outcome("folder/Linux/a.efi"), (false, link));
        let pipe = "expected a regular file, found a pipe".to_owned();
        assert_eq!(outcome("pipe"), (true, pipe));
        let root = "expected a path from the partition's root";
        for path in [
            "../outside",
            "EFI/../../outside",
            "/etc/passwd",
            "",
            "./link",
        ] {
            assert_eq!(outcome(path).1, root, "{path}");
        }
        let absent = esp.regular_below(Path::new("EFI/b.efi")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
        let folder = esp.folder_below(Path::new("EFI/Linux")).unwrap();
        assert_eq!(folder.entries().unwrap().count(), 1);
        assert!(esp.folder_below(Path::new("EFI/Linux/a.efi")).is_err());
    }

    #[test]
    fn another_file_system_is_not_entered() {
        let root = Folder::open_mounted(Path::new("/")).unwrap();
        let error = root.regular_below(Path::new("proc/self/status"));
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "found another file system on the way");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let stepped = root.step_by_step(Path::new("proc/self/status"), flags);
        // `/proc/self` is a link, and comes first.
        assert!(matches!(stepped, Err(Errno::XDEV | Errno::NOTDIR)));
        let facts = root.mount_facts().unwrap();
        assert!(facts.is_root && !facts.is_fat);
        let proc = Folder::open_mounted(Path::new("/proc")).unwrap();
        assert!(proc.mount_facts().unwrap().is_root);
        let below = Folder::open_mounted(Path::new("/proc/sys/kernel")).unwrap();
        assert!(!below.mount_facts().unwrap().is_root);
    }
}
