//! Files beside an image that systemd-stub adds to what it boots: which there are.
//!
//! They are found by their names, and opened by them; the worker reads them. Left out: all
//! that the stub leaves out, links and pipes, and what others than root and the image's
//! owner may write. `docs/companions.md` has the rules.
//!
//! Spec: systemd-stub(7), "Companion Files".

mod copies;
mod rights;

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ukexec_kexec::{Folder, FolderEntry, shown_path};
use ukexec_stub::{CompanionFolder, CompanionKind, image_folder};

pub(crate) use self::copies::Copies;
use self::rights::Owners;
use super::input::{InputBytes, InputFile};
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::files::shown;
use crate::options::Companions;
use crate::protocol::beside::PassedOver;
use crate::report::failure::sentence;

/// The companions of an image, in the stub's order, by name alone.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    named: Vec<Named>,
    /// Those that are left alone, each with whether the stub would take it.
    passed_over: Vec<(PassedOver, bool)>,
    owners: Owners,
}

/// A companion that was found.
#[derive(Debug)]
struct Named {
    place: CompanionFolder,
    folder: Folder,
    name: OsString,
    kind: CompanionKind,
}

/// An image takes so many companions.
const COMPANIONS_MAX: usize = 4096;

/// So many names that the stub passes over are listed, of each folder.
const OTHERS_MAX: usize = 20;

/// So many names of a folder are in a warning.
const WARNED_MAX: usize = 4;

impl Listing {
    /// Looks for the companions of `image`. `partitions` are roots of partitions, for
    /// images below them.
    pub(crate) fn find(
        image: &InputFile,
        companions: &Companions,
        partitions: &[PathBuf],
    ) -> Result<Self> {
        let mut listing = Self {
            owners: Owners::of(image.opened.as_ref()),
            ..Self::default()
        };
        match companions {
            Companions::None => {}
            Companions::Folders { local, global } => {
                if let Some(global) = global {
                    listing.add_global(global, None)?;
                }
                if let Some(local) = local {
                    listing.add_named(CompanionFolder::Image, local)?;
                }
            }
            Companions::Auto | Companions::Strict => {
                let Some(real) = real_path(image)? else {
                    return Ok(listing);
                };
                let (root, is_named) = partition(&real, partitions)?;
                if let (Some(named), false) = (partitions.first(), is_named) {
                    let reason = "the image does not lie below this root".to_owned();
                    listing.pass_over(named.as_os_str(), None, reason, true);
                }
                listing.add_global(&root.join("loader"), Some(&root))?;
                let within = real.strip_prefix(&root).unwrap_or(&real);
                let beside = OsString::from_vec(image_folder(within.as_os_str().as_bytes()));
                listing.add(CompanionFolder::Image, &root.join(beside), Some(&root))?;
            }
        }
        Ok(listing)
    }

    /// Adds those in a folder that the caller named, which must exist.
    fn add_named(&mut self, place: CompanionFolder, path: &Path) -> Result<()> {
        let failed = || format!("cannot look for companions in {}", shown_path(path));
        fs::read_dir(path).context(failed).map_err(of_file)?;
        self.add(place, path, None)
    }

    /// Adds those in the folders below `loader`, on the partition with this `root` if the
    /// caller did not name it.
    fn add_global(&mut self, loader: &Path, root: Option<&Path>) -> Result<()> {
        if root.is_none() {
            let failed = || format!("cannot look for companions in {}", shown_path(loader));
            fs::read_dir(loader).context(failed).map_err(of_file)?;
        }
        for place in CompanionFolder::GLOBAL {
            let below = place.path().and_then(|path| path.strip_prefix("loader/"));
            let below = below.context(|| "a folder of companions lies nowhere")?;
            self.add(place, &loader.join(below), root.or(Some(loader)))?;
        }
        Ok(())
    }

    /// Adds those in the folder `path`, if it exists. Nobody may put another in its place,
    /// below the folder `root`.
    fn add(&mut self, place: CompanionFolder, path: &Path, root: Option<&Path>) -> Result<()> {
        let failed = || format!("cannot look for companions in {}", shown_path(path));
        let found = match fs::symlink_metadata(path) {
            Err(error) if is_absent(&error) => return Ok(()),
            found => found.context(failed).map_err(of_file)?,
        };
        // A link that the caller named is the caller's word.
        let folder = if found.is_dir() || root.is_none() {
            Folder::open(path)
        } else {
            self.pass_over(path.as_os_str(), None, "it is no folder".to_owned(), true);
            return Ok(());
        };
        let folder = folder.map_err(LoaderError::from).map_err(of_file)?;
        if let Some(reason) = self.owners.distrust_folder(&folder, root).context(failed)? {
            self.pass_over(path.as_os_str(), None, reason, true);
            return Ok(());
        }
        self.read(place, &folder).map_err(of_file)
    }

    fn read(&mut self, place: CompanionFolder, folder: &Folder) -> Result<()> {
        let failed = || {
            format!(
                "cannot look for companions in {}",
                shown_path(folder.path())
            )
        };
        let mut named = Vec::new();
        let mut others = Others::default();
        for entry in folder.entries().context(failed)? {
            let FolderEntry { name, other } = entry.context(failed)?;
            match (place.kind_of(name.as_bytes()), other) {
                (Ok(kind), None) => named.push((name, kind)),
                (Ok(kind), Some(other)) => {
                    let reason = format!("it is {other}, not a regular file");
                    others.add(name, Some(kind), reason);
                }
                (Err(reason), _) => others.add(name, None, reason.to_owned()),
            }
            if self.named.len() + named.len() > COMPANIONS_MAX {
                return Err(LoaderError::new(format!(
                    "{}: more than {COMPANIONS_MAX} companions; --companions=none loads the image \
                     without any",
                    shown_path(folder.path())
                )));
            }
        }
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.named
            .extend(named.into_iter().map(|(name, kind)| Named {
                place,
                folder: folder.clone(),
                name,
                kind,
            }));
        let more = others.shorten();
        for (name, kind, reason) in others.first {
            let path = folder.path().join(name);
            self.pass_over(path.as_os_str(), kind, reason, kind.is_some());
        }
        if more > 0 {
            let it = PassedOver {
                path: shown_path(folder.path()),
                kind: None,
                reason: format!("{more} more files in it"),
                count: more,
                of_entry: false,
            };
            self.passed_over.push((it, false));
        }
        Ok(())
    }

    fn pass_over(
        &mut self,
        path: &OsStr,
        kind: Option<CompanionKind>,
        reason: String,
        would_count: bool,
    ) {
        let it = PassedOver {
            path: shown_path(Path::new(path)),
            kind,
            reason,
            count: 1,
            of_entry: false,
        };
        self.passed_over.push((it, would_count));
    }

    /// Returns a warning that names what `load` adds to the image.
    pub(crate) fn warning(&self) -> Option<String> {
        let mut folders = Vec::new();
        for in_one in self.named.chunk_by(|one, next| one.place == next.place) {
            let names = in_one.iter().take(WARNED_MAX);
            let names: Vec<_> = names.map(|it| shown_path(Path::new(&it.name))).collect();
            let more = match in_one.len() - names.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let folder = in_one.first().map(|it| shown_path(it.folder.path()));
            let folder = folder.unwrap_or_default();
            folders.push(format!("{}{more} of {folder}", names.join(", ")));
        }
        (!folders.is_empty()).then(|| {
            let folders = folders.join("; ");
            format!("`ukexec load` adds companions, which are not looked at here: {folders}")
        })
    }
}

/// Returns a warning if `load` would add something to `image`, or would fail for it.
pub(crate) fn warning(image: &InputFile) -> Option<String> {
    match Listing::find(image, &Companions::Auto, &[]) {
        Ok(listing) => listing.warning(),
        Err(error) => Some(format!(
            "`ukexec load` would not take companions: {}",
            sentence(&error)
        )),
    }
}

/// Returns a warning if `load` would add files of `extra`, those of a boot entry.
pub(crate) fn extra_warning(extra: &[(String, InputFile)]) -> Option<String> {
    let is_taken = |name: &str, file: &InputFile| {
        CompanionFolder::Entry.kind_of(name.as_bytes()).is_ok() && file.len() > 0
    };
    let taken = extra.iter().filter(|(name, file)| is_taken(name, file));
    let names: Vec<&str> = taken.map(|(name, _)| name.as_str()).collect();
    let shown = names.join(", ");
    (!names.is_empty()).then(|| format!("`ukexec load` adds extra files of the entry: {shown}"))
}

/// The names in a folder that are no companions: the first, and how many more.
#[derive(Default)]
struct Others {
    first: Vec<(OsString, Option<CompanionKind>, String)>,
    more: u64,
}

impl Others {
    fn add(&mut self, name: OsString, kind: Option<CompanionKind>, reason: String) {
        self.first.push((name, kind, reason));
        if self.first.len() > 4 * OTHERS_MAX {
            self.shorten();
        }
    }

    /// Keeps the first names, and returns how many more there were.
    fn shorten(&mut self) -> u64 {
        // Files with the name of a companion are of most interest.
        self.first
            .sort_by(|(one, a, _), (other, b, _)| (a.is_none(), one).cmp(&(b.is_none(), other)));
        self.more += self.first.len().saturating_sub(OTHERS_MAX) as u64;
        self.first.truncate(OTHERS_MAX);
        self.more
    }
}

/// Returns where `image` is, if it lies on a disk.
fn real_path(image: &InputFile) -> Result<Option<PathBuf>> {
    let (InputBytes::File(..), Some(opened)) = (&image.content, &image.opened) else {
        return Ok(None);
    };
    if !opened.is_file() {
        return Ok(None);
    }
    let found = image.path.canonicalize();
    let found = found.and_then(|real| Ok((fs::symlink_metadata(&real)?, real)));
    let (there, real) = match found {
        // It has no name any more, or never had one.
        Err(error) if is_absent(&error) => return Ok(None),
        found => found
            .context(|| format!("cannot read {}", shown(&image.path)))
            .map_err(of_file)?,
    };
    let identity = |it: &Metadata| (it.dev(), it.ino());
    if identity(&there) != identity(opened) {
        let text = format!(
            "{} was replaced while it was opened; try again when nothing writes there",
            shown(&image.path)
        );
        return Err(of_file(LoaderError::new(text)));
    }
    Ok(Some(real))
}

/// Returns the root of the partition that the image at `real` lies on: the lowest of the
/// roots that the caller named, or else the highest folder above it on the same device;
/// and whether the caller named it.
fn partition(real: &Path, named: &[PathBuf]) -> Result<(PathBuf, bool)> {
    let mut roots = Vec::new();
    for root in named {
        let failed = || format!("cannot read the partition's root {}", shown_path(root));
        let root = root.canonicalize().context(failed).map_err(of_file)?;
        if !root.is_dir() {
            let text = format!("the partition's root {} is no folder", shown_path(&root));
            return Err(of_file(LoaderError::new(text)));
        }
        if real.starts_with(&root) {
            roots.push(root);
        }
    }
    if let Some(root) = roots.into_iter().max_by_key(|root| root.as_os_str().len()) {
        return Ok((root, true));
    }
    // A file of an overlay may have another device number than its folder.
    let mut above = real.ancestors().skip(1);
    let mut root = above.next().context(|| "the image lies in no folder")?;
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev());
    let failed = || format!("cannot read the folder of {}", shown_path(real));
    let own = device(root).context(failed).map_err(of_file)?;
    for folder in above {
        if device(folder).context(failed).map_err(of_file)? != own {
            break;
        }
        root = folder;
    }
    Ok((root.to_owned(), false))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn of_file(error: LoaderError) -> LoaderError {
    error.of_kind(ErrorKind::File)
}

#[cfg(test)]
mod tests;
