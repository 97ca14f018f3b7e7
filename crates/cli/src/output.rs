//! Files and folders that appear complete or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use ukexec_kexec::{HeldSignals, Moved, Part, UnnamedFile, write_file as write_parts};

/// A folder that appears at its final place when it is complete. Dropped before,
/// it leaves nothing.
///
/// Its files have no names until then. Then they get them in a folder beside
/// the final place, which is renamed: only a process that is killed in that
/// moment, when all is written, leaves that folder behind. Where the file
/// system has no files without names, they are written into it.
#[derive(Debug)]
pub(crate) struct NewDir {
    target: PathBuf,
    files: Vec<(&'static str, UnnamedFile)>,
    beside: Option<Beside>,
}

/// A folder beside the final place. Signals wait while there is one.
#[derive(Debug)]
struct Beside {
    folder: TempDir,
    _held: HeldSignals,
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
        Ok(Self {
            target,
            files: Vec::new(),
            beside: None,
        })
    }

    /// Joins `parts` in a file of this folder.
    pub(crate) fn write(
        &mut self,
        name: &'static str,
        parts: &[Part<'_>],
    ) -> anyhow::Result<Moved> {
        let failed = || format!("cannot write part {name}");
        let unnamed = match self.beside {
            Some(_) => None,
            None => UnnamedFile::new(parent(&self.target)).with_context(failed)?,
        };
        if let Some(file) = unnamed {
            let moved = file.write(&self.target.join(name), parts);
            self.files.push((name, file));
            return moved.with_context(failed);
        }
        let beside = Beside::of(&mut self.beside, &self.target)?;
        write_parts(&beside.folder.path().join(name), parts).with_context(failed)
    }

    /// Gives the folder its final name.
    pub(crate) fn complete(mut self) -> anyhow::Result<()> {
        let beside = Beside::of(&mut self.beside, &self.target)?;
        let folder = beside.folder.path();
        for (name, file) in self.files {
            file.name(&folder.join(name))?;
        }
        use_umask(folder, 0o777)?;
        fs::rename(folder, &self.target).with_context(|| {
            format!(
                "cannot rename the finished folder to {}",
                self.target.display()
            )
        })?;
        // It lies elsewhere now, and there is nothing left to remove.
        beside.folder.disable_cleanup(true);
        Ok(())
    }
}

impl Beside {
    /// Returns the one in `slot`, or makes it beside `target`.
    fn of<'a>(slot: &'a mut Option<Self>, target: &Path) -> anyhow::Result<&'a mut Self> {
        if let Some(beside) = slot {
            return Ok(beside);
        }
        let held = HeldSignals::new();
        let folder = tempfile::Builder::new()
            .prefix(".ukexec-")
            .tempdir_in(parent(target))
            .with_context(|| format!("cannot make a folder in {}", parent(target).display()))?;
        Ok(slot.insert(Self {
            folder,
            _held: held,
        }))
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
        // Its name is only for a moment.
        let _held = HeldSignals::new();
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
        let mut dir = NewDir::create(&target).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
        assert!(!target.exists());
        dir.complete().unwrap();
        assert_eq!(fs::read(target.join("kernel")).unwrap(), b"k");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_without_unnamed_files_appears_complete_as_well() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("parts");
        let mut dir = NewDir::create(&target).unwrap();
        Beside::of(&mut dir.beside, &dir.target).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
        assert!(dir.files.is_empty() && !target.exists());
        dir.complete().unwrap();
        assert_eq!(fs::read(target.join("kernel")).unwrap(), b"k");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut dir = NewDir::create(&home.path().join("parts")).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
        drop(dir);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_folder_is_taken_and_a_full_one_refused() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("parts");
        fs::create_dir(&target).unwrap();
        let mut dir = NewDir::create(&target).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
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
