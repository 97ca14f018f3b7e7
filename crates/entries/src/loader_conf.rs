//! `loader/loader.conf`: the settings of systemd-boot that choose an entry.
//!
//! Spec: loader.conf(5).

use serde::{Deserialize, Serialize};

use crate::Type1;
use crate::lines::settings;

/// The settings that choose an entry. Each is a pattern of IDs, or `@saved`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderConf {
    /// `preferred`: the default among entries with tries left.
    pub preferred: Option<String>,
    /// `default`.
    pub default: Option<String>,
}

impl LoaderConf {
    /// Returns the settings in a file of these bytes. Of a longer file than
    /// [`Type1::SIZE_MAX`], the front counts.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let front = bytes.get(..Type1::SIZE_MAX).unwrap_or(bytes);
        let mut conf = Self::default();
        for (key, value) in settings(front) {
            let setting = match key {
                "preferred" => &mut conf.preferred,
                "default" => &mut conf.default,
                _ => continue,
            };
            let value = String::from_utf8_lossy(value);
            // systemd-boot ignores other words with a `@`; for bootctl they match nothing.
            if !value.starts_with('@') || value.eq_ignore_ascii_case("@saved") {
                *setting = Some(value.into_owned());
            }
        }
        conf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_pattern_counts() {
        for (file, preferred, default) in [
            ("", None, None),
            ("timeout 3\ndefault a*\npreferred b", Some("b"), Some("a*")),
            ("default a\ndefault b\ndefault @x", None, Some("b")),
            ("default @Saved", None, Some("@Saved")),
            ("#default a\ndefault", None, None),
        ] {
            let conf = LoaderConf::parse(file.as_bytes());
            let found = (conf.preferred.as_deref(), conf.default.as_deref());
            assert_eq!(found, (preferred, default), "{file}");
        }
        let long = "default a\n".to_owned() + &"#".repeat(Type1::SIZE_MAX) + "\ndefault b";
        assert_eq!(
            LoaderConf::parse(long.as_bytes()).default.as_deref(),
            Some("a")
        );
    }
}
