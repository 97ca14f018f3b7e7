//! `cargo xtask ci`: everything a change must pass, ended by one line of counts.

use anyhow::{Result, ensure};

use crate::command::Tool;
use crate::metadata::{self, entries, field};
use crate::runner::{self, Case, Counts};
use crate::setup::{self, Need};
use crate::{fuzz, mutate, no_std, packages, parsers, rust_version, test, tidy, tools, workspace};

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// How long each fuzz target runs; corpora grow from run to run.
const FUZZ_SECONDS: u32 = 8;

/// How many mutated inputs run, the same ones each time: about 20 seconds on two processors.
const MUTATED: u64 = 200_000;

/// A check and what it is called.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    ("formatting", formatting),
    ("clippy", clippy),
    ("tidy", tidy::run),
    ("documentation", documentation),
    ("examples in the documentation", doc_tests),
    ("packages", packages::check),
    ("without std", no_std::check),
    ("oldest Rust", rust_version::check),
    ("parsers --check", || parsers::run(true)),
    ("licences, bans and sources", deny),
    ("fuzzing", || fuzz::run(FUZZ_SECONDS, "")),
    ("mutated inputs", || mutate::run(MUTATED)),
];

/// Runs all checks, then all tests; or only the checks whose name holds `filter`. Each check
/// counts as one test.
///
/// # Errors
///
/// A program is missing and cannot be installed, or no check has such a name. Checks that fail are
/// counted.
pub(crate) fn run(filter: Option<&str>) -> Result<Counts> {
    setup::ensure(&[Need::Test, Need::Parsers])?;
    let mut counts = Counts::default();
    let wanted = filter.unwrap_or_default();
    for (name, check) in CHECKS.iter().filter(|(name, _)| name.contains(wanted)) {
        println!("== {name}");
        counts += runner::run_one("check", Case::new(*name, check));
    }
    if filter.is_none() {
        println!("== tests");
        counts += test::run(None)?;
    }
    ensure!(counts != Counts::default(), "no check is called {wanted:?}");
    Ok(counts)
}

fn formatting() -> Result<()> {
    cargo(&["fmt", "--all", "--check"]).show()?;
    cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]).show()
}

fn clippy() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
    ])
    .args(["-D", "warnings"])
    .show()
}

fn documentation() -> Result<()> {
    cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])
    .env("RUSTDOCFLAGS", "-D warnings")
    .show()
}

/// Runs the examples of all libraries, of which each has one on its front page.
fn doc_tests() -> Result<()> {
    let text = cargo(&["test", "--doc", "--workspace", "--all-features"]).text()?;
    let is_good = |line: &&str| line.starts_with("test ") && line.ends_with(" ... ok");
    let good: Vec<&str> = text.lines().filter(is_good).collect();
    for package in metadata::packages(&workspace::root())? {
        for target in entries(&package, "targets") {
            let front_page = workspace::shown(field(target, "src_path").as_ref());
            let ran = good
                .iter()
                .any(|line| line.contains(&format!(" {front_page} - ")));
            ensure!(
                ran || !entries(target, "kind").iter().any(|kind| kind == "lib"),
                "{front_page} has no example that compiles"
            );
        }
    }
    println!("{} examples", good.len());
    Ok(())
}

/// Checks `deny.toml` with cargo-deny, which is built once and kept. Not its advisories: their
/// database lies on a server of its own.
fn deny() -> Result<()> {
    let program = tools::installed("cargo-deny", CARGO_DENY)?;
    Tool::new(program)
        .args(["--log-level", "error", "--workspace", "--locked"])
        .args(["check", "licenses", "bans", "sources"])
        .dir(workspace::root())
        .show()
}

fn cargo(args: &[&str]) -> Tool {
    Tool::new("cargo").args(args).dir(workspace::root())
}
