//! Boot entries, as systemd-boot and bootctl find them: which there are, in which order, and
//! which one is the default.
//!
//! - [`Menu::read`] lists the entries of both boot partitions, best first, and
//!   [`Menu::find`] finds one by any spelling of its ID.
//! - [`Type1`], [`LoaderConf`] and [`ImageSummary`] are the contents of files there.
//! - [`BootFiles`] and [`Variables`] bring files and UEFI variables.
//!
//! No file is opened here. No input makes this crate panic. Time and memory are bounded by
//! the input's length, and by limits on the number of entries and on their texts.
//!
//! Left out: entries that only firmware's boot loader can find, such as those of other
//! operating systems, and those that a virtual machine's monitor brings.
//!
//! Spec: UAPI group, "Boot Loader Specification"; systemd-boot(7), bootctl(1). Where both
//! differ, the list is bootctl's, and order and default are those of systemd-boot.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod architecture;
mod choice;
mod entry;
mod error;
mod files;
mod image;
mod lines;
mod loader_conf;
mod menu;
mod name;
mod order;
mod pattern;
#[cfg(test)]
mod testing;
mod type1;
mod version;
mod wanted;

pub use entry::{Boots, Counter, Entry, EntryImage, EntryKind};
pub use error::EntriesError;
pub use files::{BootFiles, Partition, Running, Variables};
pub use image::{ImageSummary, OsSummary, ProfileSummary};
pub use loader_conf::LoaderConf;
pub use menu::{Menu, PassedOver};
pub use type1::Type1;
pub use wanted::Wanted;
