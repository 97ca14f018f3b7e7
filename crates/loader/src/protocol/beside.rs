//! Additions of a boot to an image that do not lie in it: files beside the image, and
//! what the machine and the caller add.
//!
//! The parent finds it by name and opens it; the worker alone reads it.

use serde::{Deserialize, Serialize};
use ukexec_stub::{CompanionFolder, CompanionKind};

use super::Span;
use super::bundle::Bundled;

/// The files beside an image, and all else that goes along.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// The files that systemd-stub would add, in its order: of each folder by name,
    /// addons of the partition before those of the image.
    pub(crate) companions: Vec<CompanionFile>,
    /// Files there that are left alone.
    pub(crate) passed_over: Vec<PassedOver>,
    /// Whether it is an error to pass over a companion that systemd-stub would take.
    pub(crate) strict: bool,
    /// The machine's SMBIOS structures, if it has some.
    pub(crate) smbios: Option<Bundled>,
    /// The use of the text for the command line in them.
    pub(crate) smbios_text: SmbiosText,
    /// The device tree that firmware gave the running kernel.
    pub(crate) fdt: Option<Bundled>,
    /// The secret of the running boot, 32 bytes, and the system that it was made for.
    pub(crate) boot_secret: Option<Bundled>,
    pub(crate) os_release: Option<Bundled>,
    /// The caller's secrets, in order. No text of the worker has a byte of them.
    pub(crate) credentials: Vec<CallersCredential>,
    /// The words `console=` of the running kernel's line.
    pub(crate) console: Vec<String>,
    /// Whether they are added to a line that has none.
    pub(crate) keep_console: bool,
    /// Words that are added to a line without them, in front of the caller's.
    pub(crate) masks: Vec<String>,
}

/// A file beside an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CompanionFile {
    /// Where it is, for reports.
    pub(crate) path: String,
    /// Its name in its folder: ASCII without control characters.
    pub(crate) name: String,
    pub(crate) kind: CompanionKind,
    pub(crate) folder: CompanionFolder,
    /// Its bytes. Zeros follow them up to a multiple of 4.
    pub(crate) span: Span,
}

/// A file beside an image, or a folder of such, that is left alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PassedOver {
    /// Where it is, for reports.
    pub(crate) path: String,
    /// Its kind, if its name says one.
    pub(crate) kind: Option<CompanionKind>,
    /// Why, such as "its name begins with a dot".
    pub(crate) reason: String,
    /// So many files it stands for: all of a folder but the first.
    pub(crate) count: u64,
    /// Whether a boot entry names it.
    pub(crate) of_entry: bool,
}

/// The use of the text in SMBIOS that is for the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SmbiosText {
    /// It is added.
    Added,
    /// Nobody wants it.
    #[default]
    Unwanted,
    /// This is a confidential VM, whose host is not trusted.
    Confidential,
}

/// A secret for the next system, which the caller gives.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallersCredential {
    /// Letters, digits and `._-`, without a suffix.
    pub(crate) name: String,
    pub(crate) span: Span,
}
