//! `ukexec` run in a folder, and images of few bytes.

pub(crate) mod images;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `ukexec` with `args` in `dir`, where the machine's terminal does not count.
pub(crate) fn ukexec<A: AsRef<OsStr>>(dir: &Path, args: &[A]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    command
        .current_dir(dir)
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("COLUMNS");
    command.output().expect("ukexec runs")
}

/// Returns a folder that holds `files`.
pub(crate) fn folder<B: AsRef<[u8]>>(files: &[(&str, B)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        fs::write(dir.path().join(name), content).expect("room for a file");
    }
    dir
}

/// Returns a path below the root of the workspace.
pub(crate) fn workspace(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(path)
}
