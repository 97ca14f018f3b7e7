//! The partitions with boot entries: the EFI system partition and XBOOTLDR, where bootctl
//! finds them.
//!
//! Left out: asking a disk for the type of a partition. udev has asked, and where it says
//! nothing, a FAT file system that is mounted there is enough.
//!
//! Spec: UAPI group, "Boot Loader Specification", "The Partitions"; bootctl(1),
//! `--esp-path` and `--boot-path`.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use ukexec_entries::Partition;
use ukexec_kexec::{Folder, MountFacts, shown_path};

use crate::config::udev::{self, Device};
use crate::error::{Context as _, ErrorKind, LoaderError, Result};

/// Where a caller has boot entries read.
#[derive(Clone, Debug, Default)]
pub struct BootPlaces {
    /// The root of another system than the running one.
    pub root: Option<PathBuf>,
    /// The root of the EFI system partition.
    pub esp: Option<PathBuf>,
    /// The root of the partition XBOOTLDR.
    pub boot: Option<PathBuf>,
}

/// The partitions that were found, each by its root.
#[derive(Debug)]
pub(crate) struct BootPartitions {
    pub(crate) esp: Option<Folder>,
    pub(crate) xbootldr: Option<Folder>,
}

/// The words of the environment that bootctl reads, too.
#[derive(Debug, Default)]
struct Environment {
    esp: Option<PathBuf>,
    xbootldr: Option<PathBuf>,
    relax_esp: bool,
    relax_xbootldr: bool,
}

/// A place of the EFI system partition, in the order in which they are tried.
const ESP_PLACES: [&str; 3] = ["efi", "boot", "boot/efi"];
const XBOOTLDR_PLACE: &str = "boot";

/// A folder in place of both partitions, for machines without them.
const INSTEAD: &str = "run/boot-loader-entries";

/// Types of partitions: of GPT, and of MBR.
const ESP_TYPES: [&str; 1] = ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b"];
const XBOOTLDR_TYPES: [&str; 2] = ["bc13c2ff-59e6-4262-a352-b275fd6f7172", "0xea"];

impl BootPartitions {
    /// Finds those of `places`.
    ///
    /// # Errors
    ///
    /// A place that the caller named is no folder, or there is no partition; the error
    /// then names the places that were tried.
    pub(crate) fn find(places: &BootPlaces) -> Result<Self> {
        Self::find_in(places, &Environment::read())
    }

    /// Returns the partition's root.
    pub(crate) fn folder(&self, partition: Partition) -> Option<&Folder> {
        match partition {
            Partition::Esp => self.esp.as_ref(),
            Partition::Xbootldr => self.xbootldr.as_ref(),
        }
    }

    fn find_in(places: &BootPlaces, environment: &Environment) -> Result<Self> {
        let root = places.root.as_deref().unwrap_or(Path::new("/"));
        if places.esp.is_none()
            && places.boot.is_none()
            && let Ok(instead) = Folder::open_mounted_in(root, Path::new(INSTEAD))
        {
            return Ok(Self {
                esp: Some(instead),
                xbootldr: None,
            });
        }
        let mut tried = Vec::new();
        let mut denied = false;
        let esp = match named(places.esp.as_deref(), &environment.esp, ESP_VARIABLE, root)? {
            Some(named) => Some(named),
            None => ESP_PLACES.into_iter().find_map(|place| {
                let found = esp_at(place, root, environment.relax_esp);
                denied |= found.as_ref().is_err_and(|why| why == DENIED);
                let shown = shown_path(&root.join(place));
                let found = found.map_err(|why| tried.push(format!("{shown} ({why})")));
                found.ok()
            }),
        };
        let variable = &environment.xbootldr;
        let xbootldr = match named(places.boot.as_deref(), variable, XBOOTLDR_VARIABLE, root)? {
            Some(named) => Some(named),
            None => xbootldr_at(XBOOTLDR_PLACE, root, environment.relax_xbootldr).ok(),
        };
        if esp.is_none() && xbootldr.is_none() {
            let tried = tried.join(", ");
            let advice = match denied {
                true => "run it as root",
                false => "--esp DIR names the folder where it is mounted",
            };
            let text = format!("no EFI system partition: tried {tried}; {advice}");
            return Err(of_file(LoaderError::new(text)));
        }
        let xbootldr = match &esp {
            Some(esp) => xbootldr.filter(|it| !is_same(esp, it)),
            None => xbootldr,
        };
        Ok(Self { esp, xbootldr })
    }
}

impl Environment {
    fn read() -> Self {
        let path = |name| env::var_os(name).filter(|it| !it.is_empty());
        // The words that systemd takes for yes.
        let is_yes = |word: OsString| {
            let word = word.to_string_lossy().to_ascii_lowercase();
            ["1", "yes", "y", "true", "t", "on"].contains(&word.as_str())
        };
        let is_set = |name| env::var_os(name).is_some_and(is_yes);
        Self {
            esp: path(ESP_VARIABLE).map(PathBuf::from),
            xbootldr: path(XBOOTLDR_VARIABLE).map(PathBuf::from),
            relax_esp: is_set("SYSTEMD_RELAX_ESP_CHECKS"),
            relax_xbootldr: is_set("SYSTEMD_RELAX_XBOOTLDR_CHECKS"),
        }
    }
}

const ESP_VARIABLE: &str = "SYSTEMD_ESP_PATH";
const XBOOTLDR_VARIABLE: &str = "SYSTEMD_XBOOTLDR_PATH";

/// Opens the folder that the caller named, or else the environment by this `variable`, whose
/// paths are those of the system with this `root`.
fn named(
    callers: Option<&Path>,
    environment: &Option<PathBuf>,
    variable: &str,
    root: &Path,
) -> Result<Option<Folder>> {
    let failed = |path: &Path| format!("cannot look for boot entries in {}", shown_path(path));
    let opened = match (callers, environment) {
        (Some(path), _) => Folder::open_mounted(path).context(|| failed(path)),
        (None, Some(path)) => match path.strip_prefix("/") {
            Ok(below) => Folder::open_mounted_in(root, below)
                .context(|| format!("{variable}: {}", failed(&root.join(below)))),
            Err(_) => Err(LoaderError::new(format!(
                "{variable}: expected an absolute path, found {}",
                shown_path(path)
            ))),
        },
        (None, None) => return Ok(None),
    };
    opened.map(Some).map_err(of_file)
}

fn of_file(error: LoaderError) -> LoaderError {
    error.of_kind(ErrorKind::File)
}

/// Opens the EFI system partition at `path`, or says why there is none.
fn esp_at(path: &str, root: &Path, relaxed: bool) -> Result<Folder, String> {
    let (folder, facts) = look(path, root)?;
    if relaxed {
        return Ok(folder);
    }
    if !facts.is_fat {
        return Err("not FAT".to_owned());
    }
    is_of(&facts, root, &ESP_TYPES, true)?;
    Ok(folder)
}

/// Opens the partition XBOOTLDR at `path`, or says why there is none.
fn xbootldr_at(path: &str, root: &Path, relaxed: bool) -> Result<Folder, String> {
    let (folder, facts) = look(path, root)?;
    if !relaxed {
        is_of(&facts, root, &XBOOTLDR_TYPES, false)?;
    }
    Ok(folder)
}

/// Why others than root see no partition.
const DENIED: &str = "permission denied";

fn look(path: &str, root: &Path) -> Result<(Folder, MountFacts), String> {
    let found =
        Folder::open_mounted_in(root, Path::new(path)).and_then(|it| Ok((it.mount_facts()?, it)));
    match found {
        Ok((facts, folder)) => Ok((folder, facts)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("no such folder".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(DENIED.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks that a mounted file system is on a partition of one of these `types`, or of one
/// that udev does not know, if that `may_be_unknown`.
fn is_of(
    facts: &MountFacts,
    root: &Path,
    types: &[&str],
    may_be_unknown: bool,
) -> Result<(), String> {
    if !facts.is_root {
        return Err("nothing is mounted there".to_owned());
    }
    match partition_type(facts.device, root) {
        Some(kind) if types.contains(&kind.as_str()) => Ok(()),
        Some(kind) => Err(format!("a partition of type {kind}")),
        None if may_be_unknown => Ok(()),
        None => Err("a partition whose type is not known".to_owned()),
    }
}

/// Returns the type of the partition that is the block device, as udev knows it.
fn partition_type(device: Device, root: &Path) -> Option<String> {
    let kind = udev::property(device, "ID_PART_ENTRY_TYPE", root)?;
    Some(kind.to_ascii_lowercase())
}

/// Returns whether both folders are one, or both the root of one file system.
fn is_same(one: &Folder, other: &Folder) -> bool {
    let (Ok(one), Ok(other)) = (one.mount_facts(), other.mount_facts()) else {
        return false;
    };
    let both_roots = one.is_root && other.is_root;
    one.device == other.device && (both_roots || one.inode == other.inode)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns where the partitions of a system with these `folders` are found, or the
    /// error.
    fn found(folders: &[&str], places: &[&str; 2], environment: &Environment) -> String {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let named = |place: &str| (!place.is_empty()).then(|| root.path().join(place));
        let places = BootPlaces {
            root: Some(root.path().to_owned()),
            esp: named(places[0]),
            boot: named(places[1]),
        };
        let shown = match BootPartitions::find_in(&places, environment) {
            Ok(found) => {
                let path = |folder: Option<&Folder>| folder.map(|it| it.path().to_owned());
                let paths = [Partition::Esp, Partition::Xbootldr].map(|it| path(found.folder(it)));
                format!("{paths:?}")
            }
            Err(error) => crate::report::failure::sentence(&error),
        };
        shown.replace(&root.path().display().to_string(), "")
    }

    fn relaxed() -> Environment {
        Environment {
            relax_esp: true,
            relax_xbootldr: true,
            ..Environment::default()
        }
    }

    #[test]
    fn a_caller_names_any_folder() {
        let all = ["esp", "other", "run/boot-loader-entries", "efi"];
        let none = Environment::default();
        assert_eq!(found(&all, &["esp", ""], &none), r#"[Some("/esp"), None]"#);
        let both = found(&all, &["esp", "other"], &none);
        assert_eq!(both, r#"[Some("/esp"), Some("/other")]"#);
        assert_eq!(
            found(&all, &["esp", "esp"], &none),
            r#"[Some("/esp"), None]"#
        );
        assert_eq!(
            found(&all, &["absent", ""], &none),
            "cannot look for boot entries in /absent: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_folder_may_stand_for_both() {
        let all = ["run/boot-loader-entries", "efi"];
        let instead = r#"[Some("/run/boot-loader-entries"), None]"#;
        assert_eq!(found(&all, &["", ""], &Environment::default()), instead);
    }

    #[test]
    fn places_that_were_tried_are_named() {
        assert_eq!(
            found(&["boot"], &["", ""], &Environment::default()),
            "no EFI system partition: tried /efi (no such folder), /boot (not FAT), /boot/efi (no \
             such folder); --esp DIR names the folder where it is mounted"
        );
    }

    #[test]
    fn the_environment_says_where_and_how_strictly() {
        let first = found(&["boot", "boot/efi"], &["", ""], &relaxed());
        assert_eq!(first, r#"[Some("/boot"), None]"#);
        let both = found(&["efi", "boot"], &["", ""], &relaxed());
        assert_eq!(both, r#"[Some("/efi"), Some("/boot")]"#);
        let environment = Environment {
            esp: Some("/mnt/esp".into()),
            xbootldr: Some("/mnt/x".into()),
            ..Environment::default()
        };
        let named = found(&["mnt/esp", "mnt/x", "efi"], &["", ""], &environment);
        assert_eq!(named, r#"[Some("/mnt/esp"), Some("/mnt/x")]"#);
    }

    #[test]
    fn udev_knows_the_type_of_a_partition() {
        let root = tempfile::tempdir().unwrap();
        let facts = MountFacts {
            is_root: true,
            is_fat: true,
            device: (8, 1),
            inode: 1,
        };
        let judge = |types: &[&str], may| is_of(&facts, root.path(), types, may);
        assert!(judge(&ESP_TYPES, true).is_ok() && judge(&XBOOTLDR_TYPES, false).is_err());
        fs::create_dir_all(root.path().join("run/udev/data")).unwrap();
        let say = |kind: &str| {
            let text =
                format!("S:disk/by-label/x\nE:ID_FS_TYPE=vfat\nE:ID_PART_ENTRY_TYPE={kind}\n");
            fs::write(root.path().join("run/udev/data/b8:1"), text).unwrap();
        };
        say("C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        assert!(judge(&ESP_TYPES, true).is_ok());
        say("0xea");
        assert!(judge(&XBOOTLDR_TYPES, false).is_ok());
        let why = judge(&ESP_TYPES, true).unwrap_err();
        assert_eq!(why, "a partition of type 0xea");
        let facts = MountFacts {
            is_root: false,
            ..facts
        };
        let why = is_of(&facts, root.path(), &ESP_TYPES, true).unwrap_err();
        assert_eq!(why, "nothing is mounted there");
    }
}
