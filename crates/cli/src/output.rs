//! Files and folders that appear complete or not at all.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use ukexec_kexec::{Folder, Moved, NewFolder, Part, Readers, TargetState, UnnamedFile, shown_path};

/// A folder that appears at its final place when it is complete. Dropped before,
/// it leaves nothing.
///
/// Its files have no names until then. Then they get them in a folder beside
/// the final place, which is renamed: only a process that is killed in that
/// moment, when all is written, leaves that folder behind. Where the file
/// system has no files without names, they are written into it.
#[derive(Debug)]
pub(crate) struct NewDir {
    around: Folder,
    name: OsString,
    readers: Readers,
    files: Vec<(&'static str, UnnamedFile)>,
    beside: Option<NewFolder>,
}

impl NewDir {
    /// Refuses a `target` that is neither absent nor an empty folder.
    pub(crate) fn check(target: &Path) -> anyhow::Result<()> {
        place(target).map(drop)
    }

    /// Starts a folder that will become `target`, with files for `readers`.
    pub(crate) fn create(target: &Path, readers: Readers) -> anyhow::Result<Self> {
        // An empty folder behind a link is filled where it is.
        let (around, name) = place(target)?;
        Ok(Self {
            around,
            name,
            readers,
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
        if self.beside.is_none()
            && let Some(file) = UnnamedFile::new(&self.around, self.readers).with_context(failed)?
        {
            let moved = file.write(Path::new(name), parts);
            self.files.push((name, file));
            return moved.with_context(failed);
        }
        let readers = self.readers;
        let beside = beside(&mut self.beside, &self.around)?;
        beside.write(name, parts, readers).with_context(failed)
    }

    /// Gives the folder its final name.
    pub(crate) fn complete(mut self) -> anyhow::Result<()> {
        beside(&mut self.beside, &self.around)?;
        if let Some(mut folder) = self.beside {
            for (name, file) in self.files {
                folder.name(file, name)?;
            }
            folder.complete(&self.name)?;
        }
        Ok(())
    }
}

/// Returns where a new folder will be: the one around it, and its name there.
fn place(target: &Path) -> anyhow::Result<(Folder, OsString)> {
    let (around, name) = Folder::around(target)?;
    match around.target_state(&name)? {
        TargetState::Free | TargetState::EmptyFolder => Ok((around, name)),
        TargetState::FullFolder => bail!(
            "{} is not empty; name a folder that is absent or empty",
            shown_path(target)
        ),
        _ => bail!(
            "{} is not a folder; name one that is empty, or a new name",
            shown_path(target)
        ),
    }
}

/// Returns the folder in `slot`, or makes it in the folder `around`.
fn beside<'a>(
    slot: &'a mut Option<NewFolder>,
    around: &Folder,
) -> anyhow::Result<&'a mut NewFolder> {
    match slot {
        Some(folder) => Ok(folder),
        None => Ok(slot.insert(around.new_folder()?)),
    }
}

/// Writes `bytes` as `target`, a file for `readers`, replacing a file of that name
/// only when the new one is complete. It replaces the target of a link, not the
/// link, and refuses devices and pipes.
pub(crate) fn write_file(target: &Path, bytes: &[u8], readers: Readers) -> anyhow::Result<()> {
    let (around, name) = Folder::around(target)?;
    if !matches!(
        around.target_state(&name)?,
        TargetState::Free | TargetState::File
    ) {
        bail!(
            "{} is not a file; name one, or a new name",
            shown_path(target)
        );
    }
    let file = around.new_file()?;
    file.complete(&name, bytes, readers)
        .with_context(|| format!("cannot write {}", shown_path(target)))
}

/// Refuses an `output` that is one of the `inputs`, which would be lost.
pub(crate) fn check_apart<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let Some(target) = identity(output) else {
        return Ok(());
    };
    for input in inputs {
        if identity(input) == Some(target) {
            bail!(
                "{} is the input {}; name another file with -o",
                shown_path(output),
                shown_path(input)
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Readers of a file that only its owner may read.
    fn owner() -> Readers {
        Readers::of(tempfile::tempfile().unwrap()).unwrap()
    }

    #[test]
    fn a_folder_appears_only_when_complete() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("parts");
        let mut dir = NewDir::create(&target, owner()).unwrap();
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
        let mut dir = NewDir::create(&target, owner()).unwrap();
        beside(&mut dir.beside, &dir.around).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
        assert!(dir.files.is_empty() && !target.exists());
        dir.complete().unwrap();
        assert_eq!(fs::read(target.join("kernel")).unwrap(), b"k");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_folder_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let mut dir = NewDir::create(&home.path().join("parts"), owner()).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
        drop(dir);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_folder_is_taken_and_a_full_one_refused() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("parts");
        fs::create_dir(&target).unwrap();
        let mut dir = NewDir::create(&target, owner()).unwrap();
        dir.write("kernel", &[Part::Bytes(b"k")]).unwrap();
        dir.complete().unwrap();
        let error = NewDir::create(&target, owner()).unwrap_err().to_string();
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
        write_file(&link, b"new", owner()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(link.is_symlink());
        let pipe = home.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&pipe).unwrap();
        let error = write_file(&pipe, b"new", owner()).unwrap_err().to_string();
        assert!(
            error.ends_with("is not a file; name one, or a new name"),
            "{error}"
        );
        assert!(!pipe.metadata().unwrap().is_file());
    }
}
