//! Parsers for images without one of their own: `parsers.d`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ukexec_kexec::shown_path;
use ukexec_unfold::PARSER_MAX;

use crate::error::{Context as _, Result};
use crate::files;

/// Where parsers are looked for, the first before the second.
const SYSTEM: [&str; 2] = ["/etc/ukexec/parsers.d", "/usr/lib/ukexec/parsers.d"];

/// Files of other names in these folders are neither parsers nor containers of some.
const SUFFIXES: [&str; 2] = [".bpf.o", ".bpf"];

/// Returns the parsers to ask before the built-in ones, in order: those in
/// `dirs` (the system's folders if there are none), each folder by file name. A
/// file hides one of the same name in a later folder; an empty one, or a link to
/// `/dev/null`, does only that.
pub(crate) fn all(dirs: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>> {
    let named = !dirs.is_empty();
    let system = SYSTEM.map(PathBuf::from);
    let dirs = if named { dirs } else { &system };
    let mut parsers = Vec::new();
    let mut seen = BTreeSet::new();
    for dir in dirs {
        for (name, path) in objects(dir, named)? {
            if !seen.insert(name.clone()) || is_masked(&path) {
                continue;
            }
            let object = files::read_regular(&path, PARSER_MAX)
                .context(|| format!("cannot read parser {}", shown_path(&path)))?;
            if !object.is_empty() {
                parsers.push((shown_path(Path::new(&name)), object));
            }
        }
    }
    Ok(parsers)
}

/// Returns whether `path` is a link to `/dev/null`, as systemd masks its files.
fn is_masked(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|real| real == Path::new("/dev/null"))
}

/// Returns the parser files in `dir` by name. A folder that nobody named may
/// be absent.
fn objects(dir: &Path, named: bool) -> Result<BTreeMap<String, PathBuf>> {
    let failed = || format!("cannot look for parsers in {}", shown_path(dir));
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error).context(failed),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.context(failed)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        {
            found.insert(name.to_owned(), path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn earlier_folders_come_first_and_hide_later_ones() {
        let (etc, usr) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (dir, name, text) in [
            (&usr, "b.bpf.o", "usr"),
            (&usr, "c.bpf.o", "usr"),
            (&usr, "masked.bpf.o", "usr"),
            (&etc, "masked.bpf.o", ""),
            (&etc, "z.bpf.o", "etc"),
            (&etc, "y.bpf", "etc"),
            (&usr, "y.bpf", "usr"),
            (&etc, "b.bpf.o", "etc"),
            (&etc, "notes.txt", "etc"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::write(usr.path().join("linked.bpf.o"), "usr").unwrap();
        symlink("/dev/null", etc.path().join("linked.bpf.o")).unwrap();
        let all = all(&[etc.path().to_owned(), usr.path().to_owned()]).unwrap();
        let found: Vec<(&str, &[u8])> = all
            .iter()
            .map(|(name, object)| (name.as_str(), &object[..]))
            .collect();
        assert_eq!(
            found,
            [
                ("b.bpf.o", &b"etc"[..]),
                ("y.bpf", b"etc"),
                ("z.bpf.o", b"etc"),
                ("c.bpf.o", b"usr")
            ]
        );
    }

    #[test]
    fn only_files_with_an_end_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bpf.o");
        symlink("/dev/zero", &path).unwrap();
        let error = all(&[dir.path().to_owned()]).unwrap_err();
        assert_eq!(
            crate::report::failure::sentence(&error),
            format!(
                "cannot read parser {}: expected a regular file, found a device",
                path.display()
            )
        );
    }

    #[test]
    fn a_folder_that_somebody_named_must_exist() {
        let error = all(&[PathBuf::from("/no/such/folder")])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "cannot look for parsers in /no/such/folder");
    }
}
