//! Programs that cargo installs for xtask: built once, at one version, and kept.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::command::Tool;
use crate::kept::remove;
use crate::workspace;

/// Cases run side by side: the second one that needs a program finds it installed.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Returns the path of the program `name` at `version`, which is the name of its crate too.
///
/// # Errors
///
/// Cargo cannot install it.
pub(crate) fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let tools = workspace::tools_dir();
    let program = tools.join("bin").join(name);
    let _only_one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if is_current(&program, version)? {
        return Ok(program);
    }
    let build = tools.join(format!("build-{name}"));
    // They run for seconds either way; the unoptimised build is the quicker one.
    Tool::new("cargo")
        .args(["install", "--locked", "--debug", "--force", "--quiet"])
        .args([name, "--version", version])
        .arg("--root")
        .arg(&tools)
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .show()
        .with_context(|| format!("cannot install {name}"))?;
    remove(&build)?;
    Ok(program)
}

fn is_current(program: &Path, version: &str) -> Result<bool> {
    if !program.is_file() {
        return Ok(false);
    }
    let shown = Tool::new(program).arg("--version").text()?;
    Ok(shown.trim().ends_with(version))
}
