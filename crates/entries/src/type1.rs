//! Entries of type #1: files of keys in `loader/entries`.
//!
//! Spec: UAPI group, "Boot Loader Specification", "Type #1 Boot Loader Entry Keys".

use serde::{Deserialize, Serialize};
use ukexec_stub::load_options;

use crate::lines::settings;
use crate::text::cut;

/// The keys of an entry of type #1. Paths are relative to the root of the entry's
/// partition, and have no `/` in front.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Type1 {
    /// `title`.
    pub title: Option<String>,
    /// `sort-key`.
    pub sort_key: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `machine-id`.
    pub machine_id: Option<String>,
    /// `architecture`.
    pub architecture: Option<String>,
    /// All `options`, joined by blanks. As in systemd-boot, they hold neither bytes that
    /// are no UTF-8 nor characters above U+FFFF.
    pub options: Option<String>,
    /// `linux`: a kernel.
    pub linux: Option<String>,
    /// `uki`: a unified kernel image.
    pub uki: Option<String>,
    /// `uki-url`: one on a network.
    pub uki_url: Option<String>,
    /// `efi`: a program for firmware.
    pub efi: Option<String>,
    /// All `initrd`.
    pub initrds: Vec<String>,
    /// All `extra`: credentials and extensions for a unified kernel image.
    pub extra: Vec<String>,
    /// `devicetree`.
    pub devicetree: Option<String>,
    /// The paths in all `devicetree-overlay`.
    pub devicetree_overlays: Vec<String>,
    /// `profile`: the profile of a unified kernel image.
    pub profile: u32,
    /// Whether it has several of the keys that name a program, with whatever values.
    pub is_of_several_kinds: bool,
    /// Whether it has several words for `architecture`.
    pub is_for_several: bool,
}

/// The keys that name a program.
const PROGRAMS: [&str; 4] = ["linux", "uki", "uki-url", "efi"];

/// A path from the root of a partition, or a URL, has at most so many bytes.
const PATH_MAX: usize = 1 << 10;

impl Type1 {
    /// A longer file is passed over.
    pub const SIZE_MAX: usize = 64 << 10;

    /// Returns the keys of a file of these bytes. The last line for a key counts, but
    /// those of lists add to them. Unknown keys, and paths that may lead elsewhere or are
    /// longer than 1 KiB, are ignored. Texts for people are cut.
    ///
    /// # Errors
    ///
    /// In words, why the file is passed over.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::SIZE_MAX {
            return Err(format!("it has more than {} bytes", Self::SIZE_MAX));
        }
        let has = |key: &&str| settings(bytes).any(|(it, _)| it == *key);
        let mut keys = Self {
            is_of_several_kinds: PROGRAMS.iter().filter(|key| has(key)).count() > 1,
            ..Self::default()
        };
        settings(bytes).try_for_each(|(key, value)| keys.set(key, value))?;
        Ok(keys)
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let text = || String::from_utf8_lossy(value).into_owned();
        let short = || Some(cut(text()));
        let replace = |path: &mut Option<String>| {
            if let Some(new) = self::path(&text()) {
                *path = Some(new);
            }
        };
        match key {
            "title" => self.title = short(),
            "sort-key" => self.sort_key = short(),
            "version" => self.version = short(),
            "machine-id" => self.machine_id = short(),
            "architecture" => {
                let new = short();
                let old = self.architecture.take();
                let is_equal = |(old, new): (&String, &String)| old.eq_ignore_ascii_case(new);
                self.is_for_several |= old
                    .as_ref()
                    .zip(new.as_ref())
                    .is_some_and(|it| !is_equal(it));
                self.architecture = new;
            }
            "options" => {
                let options = self.options.get_or_insert_default();
                if !options.is_empty() {
                    options.push(' ');
                }
                options.push_str(&load_options(value));
            }
            "linux" => replace(&mut self.linux),
            "uki" => replace(&mut self.uki),
            "uki-url" => {
                let url = Some(text()).filter(|url| url.len() <= PATH_MAX);
                self.uki_url = url.or_else(|| self.uki_url.take());
            }
            "efi" => replace(&mut self.efi),
            "initrd" => self.initrds.extend(path(&text())),
            "extra" => self.extra.extend(path(&text())),
            "devicetree" => replace(&mut self.devicetree),
            "devicetree-overlay" => {
                let text = text();
                let paths = text.split_ascii_whitespace().filter_map(path);
                self.devicetree_overlays.extend(paths);
            }
            "profile" => {
                let number = text().parse();
                let words = |_| {
                    let found = cut(text());
                    format!(
                        "its profile: expected a number up to {}, found {found:?}",
                        u32::MAX
                    )
                };
                self.profile = number.map_err(words)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns `value` as a path from the root of a partition, without a `/` in front. None if
/// it names a folder, is too long, or leads through `.` or `..`. Firmware takes `\` for a `/`.
fn path(value: &str) -> Option<String> {
    let value = value.replace('\\', "/");
    if value.ends_with('/') || value.len() > PATH_MAX {
        return None;
    }
    let names: Vec<_> = value.split('/').filter(|name| !name.is_empty()).collect();
    let is_plain = names.iter().all(|name| !matches!(*name, "." | ".."));
    is_plain.then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(file: &str, expected: Expect) {
        let shown = match Type1::parse(file.as_bytes()) {
            Ok(keys) => {
                let json = format!("{keys:?}").replace("None", "-");
                let fields = json.trim_start_matches("Type1 { ").trim_end_matches(" }");
                let unset = |field: &&str| {
                    !field.ends_with(": -")
                        && !field.ends_with(": []")
                        && !field.ends_with(": false")
                };
                fields
                    .split(", ")
                    .filter(unset)
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Err(words) => words,
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn every_key_is_read() {
        check(
            "title T\nversion 1\nmachine-id m\nsort-key s\narchitecture x64\nlinux /a/b\n\
             initrd /i\ninitrd /j\noptions quiet\noptions ro  rw\ndevicetree d\n\
             devicetree-overlay /o /p\ndevicetree-overlay q\nuki u\nuki-url http://x/y\n\
             efi e\nprofile 2\nextra /x.cred\nextra y.raw\nid x",
            expect![[r#"
                title: Some("T")
                sort_key: Some("s")
                version: Some("1")
                machine_id: Some("m")
                architecture: Some("x64")
                options: Some("quiet ro  rw")
                linux: Some("a/b")
                uki: Some("u")
                uki_url: Some("http://x/y")
                efi: Some("e")
                initrds: ["i"
                "j"]
                extra: ["x.cred"
                "y.raw"]
                devicetree: Some("d")
                devicetree_overlays: ["o"
                "p"
                "q"]
                profile: 2
                is_of_several_kinds: true"#]],
        );
    }

    #[test]
    fn the_last_line_counts_unless_its_path_leads_elsewhere() {
        let linux = |file: &str| Type1::parse(file.as_bytes()).unwrap().linux;
        for (file, expected) in [
            ("linux a\nlinux /b//c", Some("b/c")),
            ("linux \\EFI\\x", Some("EFI/x")),
            ("linux a\nlinux ../b", Some("a")),
            ("linux a\nlinux b/../c", Some("a")),
            ("linux ./a", None),
            ("linux a/", None),
            ("linux ..\\a", None),
            ("linux a..b", Some("a..b")),
        ] {
            assert_eq!(linux(file).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn a_profile_is_a_number_and_a_file_has_an_end() {
        check(
            "profile x",
            expect![[r#"its profile: expected a number up to 4294967295, found "x""#]],
        );
        check(
            "profile 4294967296",
            expect![[r#"its profile: expected a number up to 4294967295, found "4294967296""#]],
        );
        let long = "#".repeat(Type1::SIZE_MAX);
        check(&long, expect!["profile: 0"]);
        check(&(long + "\n"), expect!["it has more than 65536 bytes"]);
    }

    #[test]
    fn texts_and_paths_have_an_end() {
        let long = "x".repeat(20_000);
        let file = format!("title {long}\nlinux /k\nlinux {long}\nuki-url {long}");
        let keys = Type1::parse(file.as_bytes()).unwrap();
        assert_eq!(keys.title.map(|it| it.len()), Some(256));
        assert_eq!(keys.linux.as_deref(), Some("k"));
        assert_eq!(keys.uki_url, None);
        let words = Type1::parse(format!("profile {long}").as_bytes()).unwrap_err();
        assert!(words.len() < 400);
    }

    #[test]
    fn each_line_of_some_keys_counts() {
        let parse = |file: &str| Type1::parse(file.as_bytes()).unwrap();
        assert!(parse("linux /k\nefi /../x").is_of_several_kinds);
        assert!(!parse("linux /k\nlinux /../x\nefi").is_of_several_kinds);
        assert!(parse("architecture aa64\narchitecture x64").is_for_several);
        assert!(!parse("architecture X64\narchitecture x64").is_for_several);
    }

    #[test]
    fn options_are_those_that_systemd_boot_passes() {
        let keys = Type1::parse(b"options a\xff\nversion \xff\noptions \xf0\x9f\x90\xa7b").unwrap();
        assert_eq!(keys.options.as_deref(), Some("a b"));
        assert_eq!(keys.version.as_deref(), Some("\u{fffd}"));
    }

    proptest! {
        #[test]
        fn no_file_is_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(keys) = Type1::parse(&bytes) {
                let shown = format!("{keys:?}");
                prop_assert!(shown.len() < 1000 + 12 * bytes.len());
            }
        }
    }
}
