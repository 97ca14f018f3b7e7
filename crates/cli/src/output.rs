//! Files and folders that appear complete or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A folder written beside its final place, and renamed when complete.
/// Dropped before, it leaves nothing.
#[derive(Debug)]
pub(crate) struct NewDir {
    beside: tempfile::TempDir,
    target: PathBuf,
}

impl NewDir {
    /// Refuses a `target` that is neither absent nor an empty folder.
    pub(crate) fn check(target: &Path) -> anyhow::Result<()> {
        if target.file_name().is_none() {
            bail!("{} does not name a new folder", target.display());
        }
        match fs::read_dir(target) {
            Ok(mut entries) => match entries.next() {
                Some(_) => bail!(
                    "{} is not empty; name a folder that is absent or empty",
                    target.display()
                ),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot use {}", target.display())),
        }
    }

    /// Starts a folder that will become `target`.
    pub(crate) fn create(target: &Path) -> anyhow::Result<Self> {
        Self::check(target)?;
        // An empty folder behind a link is filled where it is.
        let target = fs::canonicalize(target).unwrap_or_else(|_absent| target.to_owned());
        let beside = tempfile::Builder::new()
            .prefix(".ukexec-")
            .tempdir_in(parent(&target))
            .with_context(|| format!("cannot make a folder in {}", parent(&target).display()))?;
        Ok(Self { beside, target })
    }

    /// Returns where a file of this folder is written for now.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.beside.path().join(name)
    }

    /// Gives the folder its final name.
    pub(crate) fn complete(self) -> anyhow::Result<()> {
        let Self { beside, target } = self;
        use_umask(beside.path(), 0o777)?;
        fs::rename(beside.path(), &target).with_context(|| {
            format!("cannot rename the finished folder to {}", target.display())
        })?;
        // It lies elsewhere now, and there is nothing left to remove.
        let _moved_away = beside.keep();
        Ok(())
    }
}

/// Writes `bytes` as `target`, replacing a file of that name only when the new
/// one is complete. What a link names is replaced, not the link; devices and
/// pipes are refused.
pub(crate) fn write_file(target: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let real = fs::canonicalize(target).unwrap_or_else(|_absent| target.to_owned());
    if real.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        bail!(
            "{} is not a file; name one, or a new name",
            target.display()
        );
    }
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".ukexec-")
            .tempfile_in(parent(&real))?;
        io::Write::write_all(&mut file, bytes)?;
        use_umask(file.path(), 0o666)?;
        file.persist(&real)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", target.display()))
}

fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Gives `path` the mode that a plain `open` or `mkdir` would have given it:
/// temporary files are private to their owner.
fn use_umask(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let umask = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022);
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !umask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_only_when_complete() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("parts");
        let dir = NewDir::create(&target).unwrap();
        fs::write(dir.path("kernel"), "k").unwrap();
        assert!(!target.exists());
        dir.complete().unwrap();
        assert_eq!(fs::read(target.join("kernel")).unwrap(), b"k");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = NewDir::create(&home.path().join("parts")).unwrap();
        fs::write(dir.path("kernel"), "k").unwrap();
        drop(dir);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_folder_is_taken_and_a_full_one_refused() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("parts");
        fs::create_dir(&target).unwrap();
        let dir = NewDir::create(&target).unwrap();
        fs::write(dir.path("kernel"), "k").unwrap();
        dir.complete().unwrap();
        let error = NewDir::create(&target).unwrap_err().to_string();
        assert!(
            error.ends_with("is not empty; name a folder that is absent or empty"),
            "{error}"
        );
    }

    #[test]
    fn a_link_stays_and_a_device_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let (file, link) = (home.path().join("file"), home.path().join("link"));
        fs::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        let pipe = home.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&pipe).unwrap();
        let error = write_file(&pipe, b"new").unwrap_err().to_string();
        assert!(
            error.ends_with("is not a file; name one, or a new name"),
            "{error}"
        );
        assert!(!pipe.metadata().unwrap().is_file());
    }

    #[test]
    fn a_file_replaces_another_in_one_step() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("out.efi");
        write_file(&target, b"one").unwrap();
        write_file(&target, b"two").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
