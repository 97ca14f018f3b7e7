//! The options that choose an image: a file, or a boot entry.

use std::path::PathBuf;

use clap::Args;
use ukexec_loader::{BootPlaces, Wanted};

use super::headings::INPUT;

/// A boot entry in place of an image.
#[derive(Debug, Args)]
#[command(next_help_heading = INPUT)]
pub(crate) struct EntryArgs {
    /// Boot entry in place of IMAGE
    ///
    /// Its ID, or default|newest|oneshot|selected. `ukexec entries` lists them. default is the one that systemd-boot would start, newest the
    /// one of the running system with the highest version, oneshot the one that was set for the
    /// next boot, selected the one that firmware started last. An ID may be the name of a file, with or
    /// without its suffix, and with @ and the number or the ID of a profile behind it.
    #[arg(long, value_name = "ID")]
    entry: Option<String>,
    /// Root of the EFI system partition
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    esp: Option<PathBuf>,
    /// Root of the partition XBOOTLDR, which bootctl calls $BOOT
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    boot: Option<PathBuf>,
}

/// One image, or a boot entry.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// The image; without one, a list of boot entries to choose from
    #[arg(value_name = "IMAGE", conflicts_with = "entry")]
    pub(crate) image: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) entry: EntryArgs,
}

impl EntryArgs {
    /// Returns the entry that the caller asks for.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        self.entry.as_deref().map(Wanted::from)
    }

    /// Returns where entries are read.
    pub(crate) fn places(&self) -> BootPlaces {
        BootPlaces {
            root: None,
            esp: self.esp.clone(),
            boot: self.boot.clone(),
        }
    }

    /// Returns the roots of partitions that the caller names.
    pub(crate) fn partitions(&self) -> Vec<PathBuf> {
        self.esp.iter().chain(&self.boot).cloned().collect()
    }
}
