//! Boot entries, as a menu lists them, and how a definition becomes one.

use crate::architecture::Architecture;
use crate::{ImageSummary, OsSummary, Partition, ProfileSummary, Type1};

/// About so many bytes of memory an empty text takes.
const TEXT_WEIGHT: usize = 48;

/// A boot entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its ID, as bootctl writes it.
    pub id: String,
    /// The name of its definition's file, without boot counter.
    pub name: String,
    /// The kind of its definition.
    pub kind: EntryKind,
    /// The partition of its files.
    pub partition: Partition,
    /// Its definition's path from the root of the partition: a file of keys, or an image.
    pub path: String,
    /// Its name for people.
    pub title: Option<String>,
    /// Its name in a list, where no other has the same.
    pub show_title: String,
    /// Entries are sorted by it first.
    pub sort_key: Option<String>,
    /// The installation that it belongs to.
    pub machine_id: Option<String>,
    /// The version by which entries of the same sort key are sorted.
    pub version: Option<String>,
    /// The architecture that it says it is for.
    pub architecture: Option<String>,
    /// The command line that it brings.
    pub options: Option<String>,
    /// The program that it boots.
    pub boots: Boots,
    /// Its initrds, in order.
    pub initrds: Vec<String>,
    /// Credentials and extensions for a unified kernel image, in order.
    pub extra: Vec<String>,
    /// The device tree that it asks for.
    pub devicetree: Option<String>,
    /// Overlays of the device tree.
    pub devicetree_overlays: Vec<String>,
    /// The number of the image's profile.
    pub profile: u32,
    /// The ID of this profile.
    pub profile_id: Option<String>,
    /// Its boot counter.
    pub counter: Option<Counter>,
    /// The facts of its image, if that could be read.
    pub image: Option<EntryImage>,
    /// Whether systemd-boot would boot it next, unasked.
    pub default: bool,
    /// Whether systemd-boot says that it booted it last.
    pub selected: bool,
    /// Whether a variable names it for the next boot only.
    pub oneshot: bool,
    /// Whether it is the one that runs now.
    pub running: bool,
    /// Why it cannot be loaded.
    pub reason: Option<String>,
    /// Whether systemd-boot passes its definition over.
    pub(crate) is_hidden: bool,
}

/// The kind of an entry's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of keys.
    Type1,
    /// A unified kernel image.
    Type2,
}

/// The program that an entry boots: its path from the root of the partition, or where else
/// it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boots {
    /// A kernel, with the entry's initrds and options.
    Linux(String),
    /// A unified kernel image.
    Uki(String),
    /// A program for firmware.
    Efi(String),
    /// A unified kernel image on a network.
    UkiUrl(String),
    /// Nothing, since the definition names no program, or several.
    Nothing,
}

/// How often an entry may still be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Tries left.
    pub left: u32,
    /// Tries that did not end in a good boot.
    pub done: u32,
}

/// The facts of an entry's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryImage {
    /// Bytes of its file.
    pub size: u64,
    /// Whether it has a certificate table.
    pub signed: bool,
    /// The release of its kernel, if it names one.
    pub uname: Option<String>,
}

/// A definition: the file that an entry is made of.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) kind: EntryKind,
    pub(crate) partition: Partition,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) counter: Option<Counter>,
    /// Whether systemd-boot passes over files of this name.
    pub(crate) name_is_hidden: bool,
}

impl Definition {
    /// Returns the entry of a file of keys.
    pub(crate) fn type1(self, keys: Type1, running: Option<Architecture>) -> Entry {
        let boots = boots(&keys);
        let word = keys.architecture.as_deref();
        let is_foreign =
            word.is_some_and(|word| running.is_some_and(|running| !running.is_called(word)));
        let reason = match &boots {
            Boots::Nothing => Some("it names no program to boot, or several kinds".to_owned()),
            _ if is_foreign => Some(format!(
                "it is for architecture {}",
                word.unwrap_or_default()
            )),
            Boots::Efi(_) => Some("it boots a program for firmware, no kernel".to_owned()),
            Boots::UkiUrl(_) => Some("its image is on a network".to_owned()),
            Boots::Linux(_) | Boots::Uki(_) => None,
        };
        let entry = self.entry();
        Entry {
            is_hidden: entry.is_hidden || is_foreign || boots == Boots::Nothing,
            reason: entry.reason.clone().or(reason),
            title: keys.title,
            sort_key: keys.sort_key,
            machine_id: keys.machine_id,
            version: keys.version,
            architecture: keys.architecture,
            options: keys.options,
            boots,
            initrds: keys.initrds,
            extra: keys.extra,
            devicetree: keys.devicetree,
            devicetree_overlays: keys.devicetree_overlays,
            profile: keys.profile,
            ..entry
        }
    }

    /// Returns the entry of profile `number` of a unified kernel image.
    pub(crate) fn type2(self, number: u32, profile: ProfileSummary, os: OsSummary) -> Entry {
        let ProfileSummary { id, title, .. } = profile;
        let (suffix, added) = match (&id, &title, number) {
            (None, None, 0) => (None, None),
            (None, None, _) => (Some(number.to_string()), Some(format!("@{number}"))),
            (None, Some(title), 0) => (None, Some(title.clone())),
            (None, Some(title), _) => (Some(number.to_string()), Some(title.clone())),
            (Some(id), title, _) => (Some(id.clone()), title.clone().or_else(|| Some(id.clone()))),
        };
        let entry = Entry {
            boots: Boots::Uki(self.path.clone()),
            sort_key: os.sort_key,
            version: os.version,
            profile: number,
            profile_id: id,
            ..self.entry()
        };
        Entry {
            id: suffix.map_or(entry.id.clone(), |suffix| {
                format!("{}@{suffix}", entry.name)
            }),
            title: Some(match added {
                Some(added) => format!("{} ({added})", os.title),
                None => os.title,
            }),
            ..entry
        }
    }

    /// Returns an entry that has all that follows from the name of its file.
    fn entry(self) -> Entry {
        Entry {
            id: self.name.clone(),
            name: self.name,
            kind: self.kind,
            partition: self.partition,
            path: self.path,
            title: None,
            show_title: String::new(),
            sort_key: None,
            machine_id: None,
            version: None,
            architecture: None,
            options: None,
            boots: Boots::Nothing,
            initrds: Vec::new(),
            extra: Vec::new(),
            devicetree: None,
            devicetree_overlays: Vec::new(),
            profile: 0,
            profile_id: None,
            counter: self.counter,
            image: None,
            default: false,
            selected: false,
            oneshot: false,
            running: false,
            reason: self
                .name_is_hidden
                .then(|| "systemd-boot passes over names that begin with auto-".to_owned()),
            is_hidden: self.name_is_hidden,
        }
    }
}

/// Returns the one program that `keys` name.
fn boots(keys: &Type1) -> Boots {
    let kinds = [
        keys.linux.clone().map(Boots::Linux),
        keys.uki.clone().map(Boots::Uki),
        keys.uki_url.clone().map(Boots::UkiUrl),
        keys.efi.clone().map(Boots::Efi),
    ];
    let mut named = kinds.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(boots), None) => boots,
        _ => Boots::Nothing,
    }
}

impl Entry {
    /// Adds the facts of its image, and the reason that they are for not loading it.
    pub(crate) fn add_image(
        &mut self,
        image: Result<ImageSummary, String>,
        running: Option<Architecture>,
    ) {
        let reason = match image {
            Ok(image) => {
                let reason = self.objection(&image, running);
                self.image = Some((&image).into());
                reason
            }
            Err(words) => Some(words),
        };
        self.reason = self.reason.take().or(reason);
    }

    fn objection(&self, image: &ImageSummary, running: Option<Architecture>) -> Option<String> {
        if running.is_some_and(|running| image.is_foreign(running)) {
            return Some("its image is for another architecture".to_owned());
        }
        let number = usize::try_from(self.profile).ok()?;
        let is_uki = matches!(self.boots, Boots::Uki(_));
        (is_uki && number > 0 && number >= image.profiles.len())
            .then(|| format!("its image has no profile {number}"))
    }

    /// Returns about how much memory it takes. Texts count twice: in a list, some are part
    /// of its title.
    pub(crate) fn weight(&self) -> usize {
        let lists = [&self.initrds, &self.extra, &self.devicetree_overlays];
        let texts = [
            &self.title,
            &self.sort_key,
            &self.machine_id,
            &self.version,
            &self.architecture,
            &self.options,
            &self.devicetree,
            &self.profile_id,
        ];
        let lists = lists.into_iter().flatten();
        let texts = lists.chain(texts.into_iter().flatten()).chain([&self.path]);
        let weights = texts.map(|text| text.len().saturating_mul(2).saturating_add(TEXT_WEIGHT));
        weights.fold(size_of::<Self>(), usize::saturating_add)
    }
}

impl From<&ImageSummary> for EntryImage {
    fn from(image: &ImageSummary) -> Self {
        Self {
            size: image.size,
            signed: image.signed,
            uname: image.uname.clone(),
        }
    }
}
