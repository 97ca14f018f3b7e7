//! Boot entries, as a menu lists them.

use crate::Partition;

/// A boot entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its ID, as bootctl writes it.
    pub id: String,
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
    /// Whether the boot loader would boot it next, unasked.
    pub default: bool,
    /// Whether the boot loader says it booted it last.
    pub selected: bool,
    /// Whether it is the default because of a variable for the next boot only.
    pub oneshot: bool,
    /// Whether it is the one that runs now.
    pub running: bool,
    /// Why it cannot be loaded.
    pub reason: Option<String>,
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
    /// None that there is only one of.
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
