//! A folder for tests, and somebody else who may write to it.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use expect_test::Expect;

use crate::error::KexecError;
use crate::folder::{Folder, TEMPORARY};
use crate::readers::Readers;

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
        let error = result.unwrap_err().to_string();
        expected.assert_eq(&error.replace(&self.0.path().display().to_string(), "HOME"));
    }
}

/// Everybody.
pub(crate) fn all() -> Readers {
    let file = tempfile::tempfile().unwrap();
    file.set_permissions(Permissions::from_mode(0o666)).unwrap();
    Readers::of(&file).unwrap()
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
