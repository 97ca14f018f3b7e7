//! The variables in which systemd's boot loader and stub say how this machine was
//! booted: `Loader…` and `Stub…`.
//!
//! Firmware keeps most of them until it starts again, so that a kernel started by kexec
//! finds those of the boot before.
//!
//! Spec: <https://systemd.io/BOOT_LOADER_INTERFACE>.

use std::path::Path;

use ukexec_entries::{Variables, variable_text};

use crate::config::efivars::Efivars;
use crate::config::trust;
use crate::error::Result;

/// The variables of systemd on this machine.
#[derive(Clone, Debug)]
pub(crate) struct LoaderVariables(Efivars);

impl LoaderVariables {
    /// Opens those of `dir`, a folder as `efivars` of the configuration names one, or
    /// those of this machine. A machine without UEFI has none.
    pub(crate) fn open(dir: Option<&Path>) -> Result<Self> {
        Ok(Self(trust::variables_in(dir)?))
    }

    /// Returns the variable `name`, such as `LoaderEntryOneShot`, without its
    /// attributes. One that cannot be read counts as absent.
    pub(crate) fn payload(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.0.read(&format!("efivars/{name}-{VENDOR}")).ok()?;
        Some(file?.get(ATTRIBUTES_LEN..)?.to_owned())
    }

    /// Returns the text of the variable `name`, if it has one.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        variable_text(&self.payload(name)?)
    }
}

impl Variables for LoaderVariables {
    fn payload(&self, name: &str) -> Option<Vec<u8>> {
        self.payload(name)
    }
}

/// The vendor of systemd's variables, as names of files have it.
pub(crate) const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// efivarfs puts the attributes in front of the content.
const ATTRIBUTES_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(file: &[u8], text: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let efivars = dir.path().join("efivars");
        fs::create_dir(&efivars).unwrap();
        let name = "LoaderEntrySelected";
        fs::write(efivars.join(format!("{name}-{VENDOR}")), file).unwrap();
        let variables = LoaderVariables::open(Some(dir.path())).unwrap();
        assert_eq!(variables.text(name).as_deref(), text);
        assert_eq!(variables.text("LoaderEntryOneShot"), None);
    }

    #[test]
    fn a_text_ends_with_its_nul() {
        check(b"\x06\0\0\0a\0.\0e\0\0\0x\0", Some("a.e"));
        check(b"\x06\0\0\0a\0.\0e\0", Some("a.e"));
        check(b"\x06\0\0\0\xe9\0\0", Some("é"));
        check(b"\x06\0\0\0\x00\xd8a\0", Some("\u{fffd}a"));
        check(b"\x06\0\0\0", None);
        check(b"\x06\0\0", None);
    }

    #[test]
    fn only_a_folder_that_somebody_named_must_exist() {
        LoaderVariables::open(Some(Path::new("/no/such/folder"))).unwrap_err();
        let _of_this_machine = LoaderVariables::open(None).unwrap();
    }
}
