//! Where entries come from: the boot partitions, systemd's variables and the running system.

use serde::{Deserialize, Serialize};

use crate::{ImageSummary, LoaderConf, Type1};

/// A partition that holds boot entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// The EFI system partition.
    Esp,
    /// The extended boot loader partition.
    Xbootldr,
}

impl Partition {
    /// Both, in the order in which they are read.
    pub const ALL: [Self; 2] = [Self::Esp, Self::Xbootldr];
}

/// The boot partitions. Paths are relative to a partition's root, and have no `/` in front.
pub trait BootFiles {
    /// Why a partition cannot be read at all.
    type Error;

    /// Calls `each` with every name in `folder`, in no order, and with the kind of thing it
    /// is if that is no regular file ("a symbolic link"). A partition or a folder that does
    /// not exist has none.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    fn names(
        &mut self,
        partition: Partition,
        folder: &str,
        each: &mut dyn FnMut(&[u8], Option<&'static str>),
    ) -> Result<(), Self::Error>;

    /// Returns the settings of `loader/loader.conf` of the ESP; the default without such a
    /// file.
    ///
    /// # Errors
    ///
    /// Nothing can be read any more.
    fn loader_conf(&mut self) -> Result<LoaderConf, Self::Error>;

    /// Returns the keys of the file at `path`, or why it is passed over.
    ///
    /// # Errors
    ///
    /// Nothing can be read any more.
    fn type1(
        &mut self,
        partition: Partition,
        path: &str,
    ) -> Result<Result<Type1, String>, Self::Error>;

    /// Returns the summary of the image at `path`, or why it cannot be read ("no such
    /// file").
    ///
    /// # Errors
    ///
    /// Nothing can be read any more.
    fn image(
        &mut self,
        partition: Partition,
        path: &str,
    ) -> Result<Result<ImageSummary, String>, Self::Error>;
}

/// The UEFI variables of systemd's vendor.
pub trait Variables {
    /// Returns the payload of variable `name`, such as `LoaderEntryOneShot`, without its
    /// attributes.
    fn payload(&self, name: &str) -> Option<Vec<u8>>;
}

/// A machine without UEFI variables.
impl Variables for () {
    fn payload(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }
}

/// The running system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The release of its kernel, as of uname(2).
    pub release: Option<String>,
    /// Its `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// `IMAGE_ID` of its os-release file, or else `ID`.
    pub sort_key: Option<String>,
    /// The architecture of its kernel, as of uname(2): `x86_64`.
    pub architecture: Option<String>,
}
