//! `ukexec` for machines of other architectures, as they are emulated in tests.
//!
//! The Rust that builds this workspace has a standard library for this machine alone. So a compiler of Debian builds
//! those programs, by packages of one version: it, and a standard library for each architecture. It needs a newer C
//! library than this machine may have, and runs with that of its own suite.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::apt::Archive;
use crate::command::Tool;
use crate::kept::kept;
use crate::materials::Target;
use crate::workspace;

/// The suite in which packages of all architectures have one version.
const SUITE: &str = "forky";

/// Cargo's profile of the programs that run in emulated machines, and of the packages of tests.
pub(crate) const PROFILE: &str = "guest";

/// An architecture to build for.
struct Cross {
    target: Target,
    triple: &'static str,
    archive: Archive,
    /// In front of the names of programs of its binutils and of GCC.
    tools: &'static str,
}

const fn cross(
    target: Target,
    triple: &'static str,
    architecture: &'static str,
    tools: &'static str,
) -> Cross {
    let archive = Archive {
        suite: SUITE,
        architecture,
    };
    Cross {
        target,
        triple,
        archive,
        tools,
    }
}

const HOST: Archive = Archive {
    suite: SUITE,
    architecture: "amd64",
};
const ALL: [Cross; 2] = [
    cross(
        Target::Arm64,
        "aarch64-unknown-linux-gnu",
        "arm64",
        "aarch64-linux-gnu",
    ),
    cross(
        Target::Riscv64,
        "riscv64gc-unknown-linux-gnu",
        "riscv64",
        "riscv64-linux-gnu",
    ),
];

/// Returns the static program `name` for `target`. The first call of this process builds all of them.
///
/// # Errors
///
/// The compiler cannot be fetched, the build fails, or `target` is this machine's.
pub(crate) fn program(target: Target, name: &str) -> Result<PathBuf> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !*built {
        // A C library that is linked statically names the calls for which it wants to be at hand.
        let options = ["-C", "target-feature=+crt-static", "-A", "linker_messages"];
        build(PROFILE, &options)
            .and_then(|tool| tool.env("CARGO_TARGET_DIR", dir()).show())
            .context("cannot build ukexec for other architectures")?;
        *built = true;
    }
    Ok(dir().join(triple(target)?).join(PROFILE).join(name))
}

/// Rust's name of a foreign architecture.
///
/// # Errors
///
/// `target` is this machine's.
pub(crate) fn triple(target: Target) -> Result<&'static str> {
    let cross = ALL.iter().find(|it| it.target == target);
    Ok(cross
        .with_context(|| format!("{target:?} is no foreign architecture"))?
        .triple)
}

/// The folder of cargo for programs that run in emulated machines.
pub(crate) fn dir() -> PathBuf {
    workspace::target_dir().join("ukexec-cross")
}

/// Returns the run of cargo that builds both programs by `profile` for all architectures, which share procedural
/// macros and build scripts. `options` are those of rustc.
///
/// # Errors
///
/// The compiler cannot be fetched.
pub(crate) fn build(profile: &str, options: &[&str]) -> Result<Tool> {
    let mut tool = Tool::new("cargo")
        .args(["build", "--locked", "--profile", profile])
        .args(["--package", "ukexec", "--bins"])
        .env("RUSTC", compiler()?)
        .env("CARGO_ENCODED_RUSTFLAGS", options.join("\u{1f}"))
        .env_remove("RUSTC_WRAPPER")
        .dir(workspace::root());
    for Cross { triple, tools, .. } in ALL {
        let variable = triple.replace('-', "_");
        let linker = format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase());
        tool = tool
            .args(["--target", triple])
            .env(&linker, format!("{tools}-gcc"))
            .env(&format!("CC_{variable}"), format!("{tools}-gcc"))
            .env(&format!("AR_{variable}"), format!("{tools}-ar"));
    }
    Ok(tool)
}

/// Returns a script that is `rustc`, with all standard libraries.
fn compiler() -> Result<PathBuf> {
    let host = HOST.fetch_with_dependencies("libstd-rust-dev")?;
    let libraries = host.join("usr/lib/x86_64-linux-gnu");
    let rustc = HOST
        .fetch("rustc", &["./usr/bin/rustc"])?
        .join("usr/bin/rustc");
    let standard = |root: &Path, triple: &str| root.join("usr/lib/rustlib").join(triple);
    let triple = "x86_64-unknown-linux-gnu";
    let mut standards = vec![(triple, standard(&host, triple))];
    for Cross {
        triple, archive, ..
    } in ALL
    {
        let root = archive.fetch("libstd-rust-dev", &["./usr/lib/rustlib"])?;
        standards.push((triple, standard(&root, triple)));
    }
    let toolchain = dir().join("toolchain");
    kept(&toolchain, |unfinished| {
        let all = unfinished.join("lib/rustlib");
        fs::create_dir_all(&all)?;
        for (triple, path) in standards {
            symlink(path, all.join(triple))?;
        }
        let script = format!(
            "#!/bin/sh\nexec {libraries}/ld-linux-x86-64.so.2 --library-path {libraries} {} --sysroot {} \"$@\"\n",
            rustc.display(),
            toolchain.display(),
            libraries = libraries.display(),
        );
        let path = unfinished.join("rustc");
        fs::write(&path, script)?;
        Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
    })?;
    Ok(toolchain.join("rustc"))
}
