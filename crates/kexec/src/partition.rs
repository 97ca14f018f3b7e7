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

    /// As [`open_mounted`](Self::open_mounted), of the folder `path` of a system whose root is
    /// the folder `root`: links there lead nowhere else.
    ///
    /// # Errors
    ///
    /// The error of opening it, and `Unsupported` before Linux 5.6, unless `root` is `/`.
    pub fn open_mounted_in(root: &Path, path: &Path) -> io::Result<Self> {
        if root == Path::new("/") {
            return Self::open_mounted(&root.join(path));
        }
        let opened = openat2(
            open(root, LOOK, Mode::empty())?,
            path,
            LOOK,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        Ok(Self {
            fd: Arc::new(opened?),
            path: root.join(path),
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
        // To open a device may be all that it waits for.
        regular(self.below(path, OFlags::PATH | OFlags::CLOEXEC)?.into())?;
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
        let link = "expected a regular file, found a symbolic link".to_owned();
        assert_eq!(outcome("link"), (false, link));
        let link = "found a symbolic link, which is not followed".to_owned();
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
        // A pipe is not even opened: somebody who waits for a reader goes on waiting.
        let writer = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let waits = openat(&esp, "pipe", writer, Mode::empty());
        assert_eq!(waits.unwrap_err(), Errno::NXIO);
    }

    #[test]
    fn links_of_another_system_stay_in_it() {
        let home = Home::new();
        fs::create_dir_all(home.path("root/boot/esp")).unwrap();
        for (name, target) in [
            ("efi", "/boot/esp"),
            ("out", "/../../../../etc"),
            ("up", ".."),
        ] {
            symlink(target, home.path("root").join(name)).unwrap();
        }
        let inode = |name: &str| {
            let opened = Folder::open_mounted_in(&home.path("root"), Path::new(name));
            opened.map(|it| it.mount_facts().unwrap().inode)
        };
        assert_eq!(inode("efi").unwrap(), inode("boot/esp").unwrap());
        assert_eq!(inode("up").unwrap(), inode(".").unwrap());
        assert_eq!(inode("out").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Folder::open_mounted_in(Path::new("/"), Path::new("proc")).is_ok());
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
