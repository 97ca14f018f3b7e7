//! The files of UEFI variables: the system's, or a folder like it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files;

/// Where Linux has them.
pub(crate) const SYSTEM: &str = "/sys/firmware/efi";

/// A folder with UEFI variables.
#[derive(Clone, Debug)]
pub(crate) struct Efivars {
    dir: PathBuf,
    /// Variables lie in the folder itself, not in `efivars/` below it.
    flat: bool,
}

impl Efivars {
    /// Takes `dir` for one like `/sys/firmware/efi` if there is `efivars/` or
    /// `mok-variables/` in it, else for a copy of efivarfs, which has no
    /// `mok-variables/`. A machine without UEFI has no [`SYSTEM`], and no
    /// variables; any other folder has to exist.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let has = |name: &str| dir.join(name).is_dir();
        if dir != Path::new(SYSTEM) {
            fs::read_dir(dir)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            flat: !has("efivars") && !has("mok-variables"),
        })
    }

    /// Returns whether there is a place for variables and not one in it: there
    /// is no firmware without any.
    pub(crate) fn is_not_mounted(&self) -> bool {
        let entries = fs::read_dir(self.dir.join("efivars"));
        entries.is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Returns the variables that say what the machine trusts, as paths below
    /// `/sys/firmware/efi`.
    pub(crate) fn of_trust(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let (own, mok) = (self.dir.join("efivars"), self.dir.join("mok-variables"));
        let folders = if self.flat {
            vec![("efivars", &self.dir)]
        } else {
            vec![("efivars", &own), ("mok-variables", &mok)]
        };
        for (folder, dir) in folders {
            let entries = match fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if OF_TRUST.iter().any(|start| name.starts_with(start)) {
                    names.push(format!("{folder}/{name}"));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns the content of the file `name`, a path below
    /// `/sys/firmware/efi`, if there is one.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let name = match name.strip_prefix("efivars/") {
            Some(name) if self.flat => name,
            None if self.flat => return Ok(None),
            _ => name,
        };
        match files::read_regular(&self.dir.join(name), MAX_LEN) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            content => content.map(Some),
        }
    }
}

/// The names of variables that hold keys and revocations, or say whether these
/// count, begin so.
const OF_TRUST: [&str; 7] = [
    "db-",
    "dbx-",
    "MokIgnoreDB",
    "MokList",
    "MokSBState",
    "SbatLevel",
    "SecureBoot-",
];

/// No variable is longer: firmware has less room for all of them.
const MAX_LEN: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const DB: &str = "efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f";

    fn check(dir: &Path, db: Option<&str>, mok: Option<&str>) {
        let efivars = Efivars::open(dir).unwrap();
        let text = |name| {
            let content = efivars.read(name).unwrap();
            content.map(|content| String::from_utf8(content).unwrap())
        };
        assert_eq!(text(DB).as_deref(), db);
        assert_eq!(text("mok-variables/MokListRT").as_deref(), mok);
    }

    #[test]
    fn reads_a_folder_like_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("efivars")).unwrap();
        fs::write(dir.path().join(DB), "db").unwrap();
        check(dir.path(), Some("db"), None);
        fs::create_dir(dir.path().join("mok-variables")).unwrap();
        fs::write(dir.path().join("mok-variables/MokListRT"), "mok").unwrap();
        check(dir.path(), Some("db"), Some("mok"));
    }

    #[test]
    fn reads_a_copy_of_efivarfs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(Path::new(DB).file_name().unwrap()), "db").unwrap();
        fs::write(dir.path().join("MokListRT"), "not a name of efivarfs").unwrap();
        check(dir.path(), Some("db"), None);
    }

    #[test]
    fn a_place_for_variables_without_any_is_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let is_not_mounted = || Efivars::open(dir.path()).unwrap().is_not_mounted();
        assert!(!is_not_mounted());
        fs::create_dir(dir.path().join("efivars")).unwrap();
        assert!(is_not_mounted());
        fs::write(dir.path().join(DB), "db").unwrap();
        assert!(!is_not_mounted());
    }

    #[test]
    fn lists_what_is_about_trust() {
        let dir = tempfile::tempdir().unwrap();
        let list = || Efivars::open(dir.path()).unwrap().of_trust().unwrap();
        assert!(list().is_empty());
        let flat = dir.path().join("dbx-1");
        fs::write(&flat, "").unwrap();
        fs::write(dir.path().join("BootOrder-1"), "").unwrap();
        assert_eq!(list(), ["efivars/dbx-1"]);
        fs::create_dir(dir.path().join("mok-variables")).unwrap();
        fs::write(dir.path().join("mok-variables/MokListXRT"), "").unwrap();
        assert_eq!(list(), ["mok-variables/MokListXRT"]);
    }

    #[test]
    fn a_folder_that_somebody_named_must_exist() {
        let error = Efivars::open(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(DB)).unwrap();
        let efivars = Efivars::open(dir.path()).unwrap();
        assert!(efivars.read(DB).is_err());
    }

    #[test]
    fn a_file_without_end_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("efivars")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join(DB)).unwrap();
        let error = Efivars::open(dir.path()).unwrap().read(DB).unwrap_err();
        assert_eq!(error.to_string(), "expected a regular file, found a device");
    }
}
