//! Helpers of the tests: a folder, and somebody else who may write to it.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use expect_test::Expect;
use rustix::fs::{OFlags, SealFlags};

use crate::error::KexecError;
use crate::folder::{Folder, TEMPORARY};
use crate::readers::Readers;
use crate::sealed::SealedFile;

/// A folder for a test, and the name `out` in it.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn around(&self, name: &str) -> (Folder, OsString) {
        Folder::around(&self.path(name)).unwrap()
    }

    /// Its entries, sorted.
    pub(crate) fn entries(&self) -> Vec<OsString> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    /// Moves what has a temporary name away, as somebody else who may write
    /// here could, and puts a link to `victim` in its place.
    pub(crate) fn swap(&self, victim: &Path) {
        let temporary = self.entries();
        let temporary = temporary
            .iter()
            .find(|name| name.to_string_lossy().starts_with(TEMPORARY))
            .unwrap();
        let temporary = self.0.path().join(temporary);
        fs::rename(&temporary, self.path("moved")).unwrap();
        symlink(victim, &temporary).unwrap();
    }

    pub(crate) fn check(&self, result: Result<(), KexecError>, expected: &Expect) {
        let error = line(&result.unwrap_err());
        expected.assert_eq(&error.replace(&self.0.path().display().to_string(), "HOME"));
    }
}

/// Everybody.
pub(crate) fn all() -> Readers {
    Readers::everybody()
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// All bytes of a file, from its start.
pub(crate) fn contents(file: impl AsFd) -> Vec<u8> {
    let mut file = File::from(file.as_fd().try_clone_to_owned().unwrap());
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    file.rewind().unwrap();
    bytes
}

/// The error and its cause, as they are printed.
pub(crate) fn line(error: &KexecError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

pub(crate) fn inode(file: impl AsFd) -> u64 {
    rustix::fs::fstat(file).unwrap().st_ino
}

/// Expects `file` to hold `bytes` for good, as a file of its own or not.
pub(crate) fn check_sealed(file: &SealedFile, expected: &[u8], copy_of: u64, copied: bool) {
    assert_eq!(contents(file), expected);
    let seals = rustix::fs::fcntl_get_seals(file).unwrap();
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    assert!(seals.contains(all), "{seals:?}");
    assert_eq!(inode(file) != copy_of, copied);
    check_writers(file);
}

/// Expects that `file` is open, and nowhere for writing.
pub(crate) fn check_writers(file: &SealedFile) {
    let inode = rustix::fs::fstat(file).unwrap().st_ino;
    let mut found = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        // Other tests close theirs meanwhile.
        let Ok(path) = entry.map(|entry| entry.path()) else {
            continue;
        };
        let Ok(stat) = rustix::fs::stat(&path) else {
            continue;
        };
        if stat.st_ino != inode {
            continue;
        }
        let number = path.file_name().unwrap().to_str().unwrap().to_owned();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & OFlags::ACCMODE.bits(), OFlags::RDONLY.bits());
        found += 1;
    }
    assert!(found >= 1);
}
