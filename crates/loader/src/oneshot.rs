//! The boot entry that the next boot by firmware starts once: it is read, and removed for
//! a caller who asks for that.

use std::path::{Path, PathBuf};

use ukexec_kexec::{remove_variable, shown_path};

use crate::config::efivars::Efivars;
use crate::config::loader_variables::{LoaderVariables, VENDOR};
use crate::error::{LoaderError, Result};
use crate::report::one_line;

const NAME: &str = "LoaderEntryOneShot";

/// Returns the ID of the entry, of the machine below `root`, which is `/` but for tests.
#[must_use]
pub fn oneshot_entry(root: &Path) -> Option<String> {
    // A caller who did not ask about the variable need not hear why it cannot be read.
    let variables = LoaderVariables::open(Some(&folder(root))).ok()?;
    let id = variables.text(NAME)?;
    Some(one_line(&id).into_owned())
}

/// Removes the variable of the machine below `root`. Returns whether there was one.
///
/// # Errors
///
/// It is there and stays, or nobody can see whether it is there.
pub fn clear_oneshot(root: &Path) -> Result<bool> {
    let folder = folder(root);
    if Efivars::open(&folder).is_ok_and(|it| it.is_not_mounted()) {
        return Err(LoaderError::new(format!(
            "{NAME} cannot be removed: efivarfs is not mounted on {}/efivars",
            shown_path(&folder)
        )));
    }
    Ok(remove_variable(
        &folder.join(format!("efivars/{NAME}-{VENDOR}")),
    )?)
}

fn folder(root: &Path) -> PathBuf {
    root.join("sys/firmware/efi")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_variable_is_read_and_removed_once() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(oneshot_entry(root), None);
        assert!(!clear_oneshot(root).unwrap());
        let efivars = folder(root).join("efivars");
        fs::create_dir_all(&efivars).unwrap();
        let error = clear_oneshot(root).unwrap_err().to_string();
        assert!(error.contains("not mounted"), "{error}");
        fs::write(efivars.join("BootOrder-1"), "").unwrap();
        assert!(!clear_oneshot(root).unwrap());
        let path = efivars.join(format!("{NAME}-{VENDOR}"));
        fs::write(&path, b"\x07\0\0\0a\0\x1b\0\0\0").unwrap();
        assert_eq!(oneshot_entry(root).as_deref(), Some("a\\u{1b}"));
        assert!(clear_oneshot(root).unwrap());
        assert_eq!(oneshot_entry(root), None);
        fs::create_dir(&path).unwrap();
        clear_oneshot(root).unwrap_err();
    }
}
