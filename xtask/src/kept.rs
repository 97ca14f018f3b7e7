//! Files that are costly to make and are kept between runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// One lock for each file, so that two test cases do not make the same one.
static LOCKS: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// Makes the file or folder at `path` unless it is there: `make` gets another path, and what it
/// leaves there is renamed when it is complete.
///
/// # Errors
///
/// Those of `make`, and of the file system.
pub(crate) fn kept(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let lock = Arc::clone(
        LOCKS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(path.to_path_buf())
            .or_default(),
    );
    let _only_one = lock.lock().unwrap_or_else(PoisonError::into_inner);
    if path.exists() {
        return Ok(());
    }
    let mut unfinished = OsString::from(path);
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    remove(&unfinished)?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    make(&unfinished)?;
    fs::rename(&unfinished, path).with_context(|| format!("cannot rename to {}", path.display()))
}

/// Removes a file or a folder with all that is in it, if it is there.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        Ok(())
    };
    done.with_context(|| format!("cannot remove {}", path.display()))
}
