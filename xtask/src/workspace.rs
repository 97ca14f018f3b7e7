//! Where things lie: the checkout, its build folder and what xtask keeps there.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout: the folder above this crate's.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's build folder, which `CARGO_TARGET_DIR` may move.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where packages taken from Debian's archive are kept between runs.
pub(crate) fn downloads_dir() -> PathBuf {
    target_dir().join("ukexec-downloads")
}

/// Where installed Debian systems are kept between runs.
pub(crate) fn roots_dir() -> PathBuf {
    target_dir().join("ukexec-roots")
}

/// Where tools that cargo installed for xtask are kept between runs.
pub(crate) fn tools_dir() -> PathBuf {
    target_dir().join("ukexec-tools")
}

/// Where test images are built; everything in it can be made again.
pub(crate) fn work_dir() -> PathBuf {
    target_dir().join("ukexec-work")
}

/// Where programs and packages for users are built.
pub(crate) fn dist_dir() -> PathBuf {
    target_dir().join("ukexec-dist")
}

/// `path` as a person at the root of the checkout would type it.
pub(crate) fn shown(path: &Path) -> String {
    let root = root();
    path.strip_prefix(&root)
        .unwrap_or(path)
        .display()
        .to_string()
}
