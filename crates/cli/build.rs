//! Finds the commit that is built, for `--version`: by `UKEXEC_COMMIT`, else by the
//! repository around this package. It reads two files at most and runs nothing. A
//! package outside of its repository has no commit.
//!
//! It also has the programs need no shared library but the C library: tools that make an
//! initramfs copy one file.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=UKEXEC_COMMIT");
    let commit = match env::var("UKEXEC_COMMIT") {
        Ok(commit) => Some(commit),
        Err(_) => in_repository(),
    };
    let commit = commit.filter(|commit| is_hash(commit));
    println!(
        "cargo::rustc-env=UKEXEC_COMMIT={}",
        commit.as_deref().and_then(|it| it.get(..12)).unwrap_or("")
    );
    if env::var_os("CARGO_CFG_TARGET_ENV").is_some_and(|env| env == "gnu") {
        link_unwinder_statically();
    }
}

/// Puts a linker script of the name of GCC's shared unwinder in front of it, which stands for
/// the static one: the standard library asks for the shared one by name.
fn link_unwinder_statically() {
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return;
    };
    if fs::write(out.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n").is_ok() {
        println!("cargo::rustc-link-search=native={}", out.display());
    }
}

/// Returns the commit that is checked out around this package.
fn in_repository() -> Option<String> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    // A copy of this package in another repository is not at this place in it.
    let root = package.ancestors().nth(2)?;
    if package != root.join("crates/cli") {
        return None;
    }
    let git = git_folder(&root.join(".git"))?;
    let head = read(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    // Worktrees share the branches of their repository.
    let shared = match fs::read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git,
    };
    if shared.join(name).exists() {
        return read(&shared.join(name));
    }
    let packed = read(&shared.join("packed-refs"))?;
    let commit = |line: &str| Some(line.strip_suffix(name)?.trim_end().to_owned());
    packed.lines().find_map(commit)
}

/// Returns the folder that `.git` is or names.
fn git_folder(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return Some(dot_git.to_owned());
    }
    let path = read(dot_git)?.strip_prefix("gitdir: ")?.to_owned();
    Some(dot_git.parent()?.join(path))
}

/// Returns the text of a file, which is built again when it changes.
fn read(path: &Path) -> Option<String> {
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}

fn is_hash(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
