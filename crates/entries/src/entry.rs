//! Boot entries, as a menu lists them.

use crate::architecture::Architecture;
use crate::{ImageSummary, Partition};

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
        if !matches!(self.boots, Boots::Uki(_)) {
            // A kernel boots without PE headers, and with damaged ones.
            return None;
        }
        if let Some(damage) = &image.damage {
            return Some(damage.clone());
        }
        let number = usize::try_from(self.profile).ok()?;
        (number > 0 && number >= image.profiles.len())
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
            &self.reason,
        ];
        let boots = match &self.boots {
            Boots::Linux(place) | Boots::Uki(place) | Boots::Efi(place) | Boots::UkiUrl(place) => {
                Some(place)
            }
            Boots::Nothing => None,
        };
        let lists = lists.into_iter().flatten();
        let texts = lists
            .chain(texts.into_iter().flatten())
            .chain([&self.path])
            .chain(boots);
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
