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
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::convert::Infallible;
//!
//! use ukexec_entries::{BootFiles, ImageSummary, LoaderConf, Menu, Partition, Running, Type1};
//! use ukexec_entries::Wanted;
//!
//! struct Esp(BTreeMap<String, Vec<u8>>);
//!
//! impl BootFiles for Esp {
//!     type Error = Infallible;
//!     fn names(
//!         &mut self,
//!         partition: Partition,
//!         folder: &str,
//!         each: &mut dyn FnMut(&[u8], Option<&'static str>),
//!     ) -> Result<(), Infallible> {
//!         let paths = self.0.keys().filter(|_| partition == Partition::Esp);
//!         let split = paths.filter_map(|path| path.rsplit_once('/'));
//!         split.filter(|(at, _)| *at == folder).for_each(|(_, name)| each(name.as_bytes(), None));
//!         Ok(())
//!     }
//!     fn loader_conf(&mut self) -> Result<LoaderConf, Infallible> {
//!         let file = self.0.get("loader/loader.conf");
//!         Ok(LoaderConf::parse(file.map(Vec::as_slice).unwrap_or_default()))
//!     }
//!     fn type1(&mut self, _: Partition, path: &str) -> Result<Result<Type1, String>, Infallible> {
//!         Ok(Type1::parse(&self.0[path]))
//!     }
//!     fn image(
//!         &mut self,
//!         _: Partition,
//!         path: &str,
//!     ) -> Result<Result<ImageSummary, String>, Infallible> {
//!         let file = self.0.get(path).ok_or_else(|| "no such file".to_owned());
//!         Ok(file.and_then(ImageSummary::read))
//!     }
//! }
//!
//! let files = [
//!     ("linux", "kernel"),
//!     ("loader/loader.conf", "default debian-6.1*"),
//!     ("loader/entries/debian-6.1.conf", "title Debian\nversion 6.1\nlinux /linux"),
//!     ("loader/entries/debian-6.12+3.conf", "title Debian\nversion 6.12\nlinux /linux"),
//! ];
//! let mut esp = Esp(files.map(|(path, text)| (path.to_owned(), text.into())).into());
//! // Without UEFI variables, and without a word of the running system.
//! let menu = Menu::read(&mut esp, &(), &Running::default())?;
//! let titles: Vec<_> = menu.entries().iter().map(|it| it.show_title.as_str()).collect();
//! assert_eq!(titles, ["Debian (6.12)", "Debian (6.1)"]);
//! assert_eq!(menu.find(&Wanted::Default)?.id, "debian-6.12.conf");
//! assert_eq!(menu.find(&Wanted::from("debian-6.1"))?.path, "loader/entries/debian-6.1.conf");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
mod definition;
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
mod text;
mod type1;
mod version;
mod wanted;

pub use choice::variable_text;
pub use entry::{Boots, Counter, Entry, EntryImage, EntryKind};
pub use error::EntriesError;
pub use files::{BootFiles, Partition, Running, Variables};
pub use image::{ImageSummary, OsSummary, ProfileSummary};
pub use loader_conf::LoaderConf;
pub use menu::{Menu, PassedOver};
pub use type1::Type1;
pub use wanted::Wanted;
