//! The description of an operating system.
//!
//! Spec: os-release(5).

use std::collections::BTreeMap;

use crate::assignments::assignments;

/// The fields that identify an operating system.
pub(crate) const OS_ID: [&str; 2] = ["IMAGE_ID", "ID"];

/// The description of an operating system: the fields of an os-release file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease(BTreeMap<String, String>);

impl OsRelease {
    /// Returns the fields in a file of these bytes. Of several lines for one field, the
    /// last counts.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let lines = assignments(bytes).into_iter();
        Self(lines.map(|(key, value)| (text(key), text(value))).collect())
    }

    /// Returns the value of the first of the fields `names` that is set.
    #[must_use]
    pub fn first(&self, names: &[&str]) -> Option<String> {
        let mut values = names.iter().filter_map(|name| self.0.get(*name));
        values.find(|value| !value.is_empty()).cloned()
    }
}

/// Returns the identity of the operating system by its `os_release` (os-release(5)),
/// which names a boot secret: `IMAGE_ID`, or else `ID`.
#[must_use]
pub fn os_id(os_release: &[u8]) -> Option<String> {
    OsRelease::parse(os_release).first(&OS_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_id_goes_before_an_id() {
        for (file, expected) in [
            ("ID=debian\nIMAGE_ID=\"kiosk\"\n", Some("kiosk")),
            ("NAME=x\nID=debian", Some("debian")),
            ("NAME=x", None),
            // The last line counts, even an empty one.
            ("ID=debian\nIMAGE_ID=kiosk\nIMAGE_ID=", Some("debian")),
            ("ID=debian\nID=arch", Some("arch")),
            ("# ID=debian\nID='ar'ch", Some("arch")),
        ] {
            assert_eq!(os_id(file.as_bytes()).as_deref(), expected, "{file}");
        }
    }
}
