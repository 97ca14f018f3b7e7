//! `cargo xtask conformance`: the interpreter against the public `bpf_conformance` suite.
//!
//! The suite is not part of this tree. It runs a plugin for each case, which is an example of
//! `crates/bpf`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::{Tool, last_lines, said};
use crate::workspace;

/// The processor versions that cases are sorted by; a later one has the cases of those before.
const CPU_VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v4"];

/// Builds the plugin and says how to point the suite at it.
///
/// # Errors
///
/// The plugin does not build.
pub(crate) fn show() -> Result<()> {
    let plugin = plugin()?;
    println!("plugin: {}", plugin.display());
    println!("with a built checkout of https://github.com/Alan-Jowett/bpf_conformance:");
    println!(
        "    cargo xtask conformance CHECKOUT/build/bin/bpf_conformance_runner CHECKOUT/tests"
    );
    Ok(())
}

/// Runs the suite's `runner` on the cases in `tests`, once for each processor version and form of
/// program.
///
/// # Errors
///
/// The plugin does not build, the runner cannot be run, or a case fails.
pub(crate) fn run(runner: &Path, tests: &Path) -> Result<()> {
    let plugin = plugin()?;
    let mut failed = Vec::new();
    for cpu in CPU_VERSIONS {
        for elf in ["false", "true"] {
            let output = Tool::new(runner)
                .arg("--test_file_directory")
                .arg(tests)
                .arg("--plugin_path")
                .arg(&plugin)
                .args(["--cpu_version", cpu, "--elf", elf])
                .args(["--include_groups", "callx", "packet"])
                .output()?;
            let text = said(&output);
            let form = if elf == "true" { "objects" } else { "code" };
            let verdict = verdict(&text).with_context(|| {
                let end = last_lines(&text, 10);
                format!("{} says no \"Passed N out of M\":\n{end}", runner.display())
            })?;
            println!("{cpu} {form:7} {verdict}");
            if !output.status.success() {
                print!("{}", failures(&text));
                failed.push(format!("{cpu} {form}"));
            }
        }
    }
    ensure!(failed.is_empty(), "cases fail: {}", failed.join(", "));
    Ok(())
}

/// Builds the plugin and returns where it is.
fn plugin() -> Result<PathBuf> {
    Tool::new("cargo")
        .args(["build", "--quiet", "-p", "ukexec-bpf"])
        .args(["--example", "conformance"])
        .dir(workspace::root())
        .show()?;
    Ok(workspace::target_dir().join("debug/examples/conformance"))
}

/// The line that counts.
fn verdict(said: &str) -> Option<&str> {
    said.lines().find(|line| line.starts_with("Passed "))
}

/// The lines of cases that did not pass.
fn failures(said: &str) -> String {
    let lines = said.lines();
    let failed = lines.filter(|line| line.starts_with("FAIL:") || line.starts_with("ERROR:"));
    failed.map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Test results:\nPASS: \"tests/a.data\"\nFAIL: \"tests/b.data\" why\n\
                        SKIP: \"tests/c.data\"\nPassed 1 out of 2 tests.\n";

    #[test]
    fn finds_the_counts_and_the_cases_that_fail() {
        assert_eq!(verdict(SAID), Some("Passed 1 out of 2 tests."));
        assert_eq!(failures(SAID), "    FAIL: \"tests/b.data\" why\n");
    }
}
