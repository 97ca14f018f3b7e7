//! Whether the oldest Rust that is documented is enough.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::{Tool, is_installed};
use crate::metadata::{self, field};
use crate::runner::skip;
use crate::workspace;

const README: &str = "README.md";

/// Compares the `rust-version` of every package with the one in the README, and has that toolchain
/// check the workspace. Where it is the one that runs, all other checks do so already. Nothing is
/// downloaded: a machine without that toolchain skips the check.
///
/// # Errors
///
/// The versions differ, that toolchain refuses the workspace, or it is not here.
pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let packages = metadata::packages(&root)?;
    let wanted = packages
        .first()
        .map(|package| field(package, "rust_version"))
        .context("a package of the workspace")?;
    let same = |package: &Value| field(package, "rust_version") == wanted;
    ensure!(
        !wanted.is_empty() && packages.iter().all(same),
        "the packages differ in `rust-version`: have each inherit the workspace's"
    );
    let readme = std::fs::read_to_string(root.join(README))?;
    ensure!(
        readme.contains(&format!("Rust {wanted}")),
        "{README} does not name Rust {wanted}, which Cargo.toml asks for"
    );
    let running = Tool::new("rustc").arg("--version").text()?;
    let running = running.split(' ').nth(1).unwrap_or_default();
    if is_of(running, wanted) {
        println!("every check runs with Rust {running}");
        return Ok(());
    }
    let toolchain = installed(wanted)?.ok_or_else(|| {
        skip(format!(
            "Rust {wanted} is not installed beside {running}; `rustup toolchain install {wanted}` does it"
        ))
    })?;
    Tool::new("rustup")
        .args(["run", &toolchain, "cargo", "check", "--quiet", "--locked"])
        .args(["--workspace", "--all-targets", "--all-features"])
        .env(
            "CARGO_TARGET_DIR",
            workspace::target_dir().join("ukexec-rust-version"),
        )
        .dir(root)
        .show()
}

/// The toolchain of rustup that has the version `wanted`.
fn installed(wanted: &str) -> Result<Option<String>> {
    if !is_installed("rustup") {
        return Ok(None);
    }
    let list = Tool::new("rustup").args(["toolchain", "list"]).text()?;
    let mut names = list.lines().filter_map(|line| line.split(' ').next());
    Ok(names.find(|name| is_of(name, wanted)).map(str::to_owned))
}

/// Whether `name`, a version or a toolchain, is the version `wanted` or a patch release of it.
fn is_of(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_for_its_patch_releases() {
        for name in [
            "1.95",
            "1.95.0",
            "1.95.1-x86_64-unknown-linux-gnu",
            "1.95-x86_64",
        ] {
            assert!(is_of(name, "1.95"), "{name}");
        }
        for name in ["1.9", "1.950.0", "stable-x86_64-unknown-linux-gnu", ""] {
            assert!(!is_of(name, "1.95"), "{name}");
        }
    }
}
