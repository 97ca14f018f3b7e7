//! The command as a person or a script meets it: texts, streams, files, exit codes.
//!
//! `cargo xtask test` tests it with real images.

mod after_exec;
mod author;
mod companions;
mod documents;
mod entries;
#[cfg(feature = "escape")]
mod escape;
mod examples;
mod golden;
mod images;
mod kexec;
mod machine;
mod materials;
mod no_image;
mod parsers;
mod streams;
mod terminal;
mod trust;
mod words;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::Expect;

/// Runs `ukexec` with `args` in `dir` and compares its exit code and both
/// streams.
fn check(dir: &Path, args: &[&str], code: i32, expected: Expect) {
    let output = run(dir, args);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let [stdout, stderr] = streams(&output);
    expected.assert_eq(&format!("{stdout}--\n{stderr}"));
}

/// Runs `ukexec` with `args` in `dir`, without anything on its standard input.
fn run(dir: &Path, args: &[impl AsRef<OsStr>]) -> Output {
    command(dir, args).output().expect("ukexec runs")
}

/// Runs `ukexec` with `args` in `dir` and this standard input.
fn with_stdin(dir: &Path, args: &[&str], stdin: impl Into<Stdio>) -> Output {
    let output = command(dir, args).stdin(stdin).output();
    output.expect("ukexec runs")
}

/// Returns a pipe that `bytes` come out of.
fn pipe(bytes: Vec<u8>) -> Stdio {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // A reader that refuses what comes reads no more.
    std::thread::spawn(move || writer.write_all(&bytes));
    reader.into()
}

/// Returns a call of `ukexec` with `args` in `dir`, whatever terminal tests run on.
fn command(dir: &Path, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    command
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        .env("NO_COLOR", "1")
        .env_remove("COLUMNS");
    command
}

/// Returns stdout and stderr as text.
fn streams(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Returns a folder that holds `files`.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        fs::write(dir.path().join(name), content).expect("room for a file");
    }
    dir
}

/// Returns a path below the root of the workspace.
fn workspace(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(path)
}
