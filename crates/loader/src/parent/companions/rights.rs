//! Whose word the files in a folder are.
//!
//! Nobody verifies a credential or an extension, so that the rights of files stand for a
//! signature: they count if nobody but root and the owner of the image may have written
//! them, or put them there.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ukexec_kexec::{Folder, has_access_list, shown_path};

/// Users and groups that may say what goes along with an image.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// The owner of the image.
    user: Option<u32>,
    /// The group that may write the image as well.
    group: Option<u32>,
}

impl Owners {
    /// Returns those of an image that was opened; root alone if there is none.
    pub(super) fn of(image: Option<&Metadata>) -> Self {
        let writing = image.filter(|it| it.mode() & GROUP_WRITES != 0);
        Self {
            user: image.map(Metadata::uid),
            group: writing.map(Metadata::gid),
        }
    }

    /// Returns why others may have written `file`, of which this is `found`, if so.
    pub(super) fn distrust(&self, file: &File, found: &Metadata) -> Option<String> {
        let has_list = || has_access_list(file.as_fd());
        self.distrust_owner(found)
            .or_else(|| self.distrust_writers(found, has_list))
    }

    fn distrust_owner(&self, it: &Metadata) -> Option<String> {
        let owner = it.uid();
        (owner != 0 && Some(owner) != self.user)
            .then(|| format!("its owner, user {owner}, is neither root nor the owner of the image"))
    }

    /// Where a thing has a list of users, the group's rights may be theirs.
    fn distrust_writers(&self, it: &Metadata, has_list: impl Fn() -> bool) -> Option<String> {
        let group = it.gid();
        if it.mode() & OTHERS_WRITE != 0 {
            Some("everybody may write to it".to_owned())
        } else if it.mode() & GROUP_WRITES == 0 {
            None
        } else if group != 0 && Some(group) != self.group {
            Some(format!("group {group} may write to it"))
        } else {
            has_list().then(|| "users of its access list may write to it".to_owned())
        }
    }

    /// Returns why others may say which files are in `folder`, if so. Below the folder
    /// `root`, nobody else may put another folder in its place either.
    pub(super) fn distrust_folder(
        &self,
        folder: &Folder,
        root: Option<&Path>,
    ) -> io::Result<Option<String>> {
        let opened = File::from(folder.as_fd().try_clone_to_owned()?);
        if let Some(reason) = self.distrust(&opened, &opened.metadata()?) {
            return Ok(Some(reason));
        }
        let Some(root) = root else {
            return Ok(None);
        };
        let above = folder.path().ancestors().skip(1);
        for (level, above) in above.take_while(|it| it.starts_with(root)).enumerate() {
            let it = match above == root {
                true => fs::metadata(above)?,
                false => fs::symlink_metadata(above)?,
            };
            let reason = if it.is_dir() {
                // In a sticky folder, others rename nothing of ours. But they may have put
                // there what lies beside the image, before anybody else did.
                let is_fenced = level > 0 && it.mode() & STICKY != 0;
                let has_list = || !File::open(above).is_ok_and(|it| !has_access_list(it.as_fd()));
                let writers = self.distrust_writers(&it, has_list);
                let writers = || writers.filter(|_| !is_fenced);
                self.distrust_owner(&it).or_else(writers)
            } else {
                Some("it is no folder".to_owned())
            };
            if let Some(reason) = reason {
                return Ok(Some(format!("it lies in {}: {reason}", shown_path(above))));
            }
        }
        Ok(None)
    }
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;
