//! The libraries that need no operating system: `xtask/no_std` does not compile if one of them, or
//! a crate below it, has the standard library.

use anyhow::Result;

use crate::command::Tool;
use crate::workspace;

/// Checks `xtask/no_std`.
///
/// # Errors
///
/// It does not compile, or with warnings.
pub(crate) fn check() -> Result<()> {
    let manifest = ["--manifest-path", "xtask/no_std/Cargo.toml"];
    let cargo = |args: &[&str]| {
        let cargo = Tool::new("cargo").args(args).args(manifest);
        cargo.dir(workspace::root())
    };
    cargo(&["fmt", "--check"]).show()?;
    let target = workspace::root().join("target/no_std");
    let clippy = cargo(&["clippy", "--locked", "--quiet"]).env("CARGO_TARGET_DIR", target);
    clippy.args(["--", "-D", "warnings"]).show()
}
