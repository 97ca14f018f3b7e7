//! `cargo xtask test`: the workspace's tests, then the cases that need images and machines.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::cases;
use crate::command::Tool;
use crate::runner::{self, Case, Counts, libtest_counts, seconds};
use crate::setup::{self, Need};
use crate::stand::build_ukexec;
use crate::workspace;

/// Runs everything, or only the cases whose name holds `filter`.
///
/// # Errors
///
/// Something is missing that cannot be installed, `ukexec` does not build, or no case has such a
/// name. Tests that fail are counted.
pub(crate) fn run(filter: Option<&str>) -> Result<Counts> {
    setup::ensure(&[Need::Test, Need::Parsers])?;
    let mut counts = Counts::default();
    if filter.is_none() {
        counts += cargo_test()?;
    }
    let start = Instant::now();
    let mut cases = cases::all(&build_ukexec()?);
    let built = (start.elapsed(), "building ukexec for the cases".to_owned());
    counts.times.push(built);
    if let Some(filter) = filter {
        cases.retain(|case| case.name().contains(filter));
        ensure!(
            !cases.is_empty(),
            "no case is called {filter:?}; `cargo xtask test --list` names them all"
        );
    }
    counts += runner::run(cases);
    Ok(counts)
}

/// Prints the names of all cases.
pub(crate) fn list() {
    let cases = cases::all(&workspace::root());
    for name in cases.iter().map(Case::name) {
        println!("{name}");
    }
}

/// Runs `cargo test` on the workspace, showing what it prints and counting its results.
fn cargo_test() -> Result<Counts> {
    let start = Instant::now();
    let mut child = Tool::new("cargo")
        .args(["test", "--workspace", "--all-features", "--no-fail-fast"])
        .dir(workspace::root())
        .into_command()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `cargo test`")?;
    let pipe = child.stdout.take().context("`cargo test` has no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(pipe).lines() {
        let line = line.context("cannot read the output of `cargo test`")?;
        println!("{line}");
        if let Some(more) = libtest_counts(&line) {
            counts += more;
        } else if line.ends_with(" ... FAILED") {
            counts.failures.push(line);
        }
    }
    let status = child.wait()?;
    println!("cargo test took {}", seconds(start));
    counts
        .times
        .push((start.elapsed(), "cargo test".to_owned()));
    // A test program that does not build or dies prints no summary line.
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}
