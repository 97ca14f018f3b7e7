//! Files beside an image that systemd-stub takes along: which they are by their names,
//! and where they lie.
//!
//! Spec: systemd-stub(7), "Companion Files".

use serde::{Deserialize, Serialize};

use crate::Archive;

/// The use of a companion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompanionKind {
    /// A PE file whose sections add to those of the image.
    Addon,
    /// An encrypted credential.
    Credential,
    /// A system extension: the image of a disk.
    Sysext,
    /// A configuration extension: the image of a disk.
    Confext,
}

/// A folder of companions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompanionFolder {
    /// The one beside the image, [`image_folder`].
    Image,
    /// Addons for all images.
    Addons,
    /// Credentials for all images.
    Credentials,
    /// Extensions for all images.
    Extensions,
    /// No folder: a boot entry names the file.
    Entry,
}

/// The archives that companions are put into, in the order that they have in the
/// initrd. Inside one, the files are sorted by the bytes of their names.
pub const COMPANION_ARCHIVES: [(CompanionKind, CompanionFolder, Archive); 6] = {
    use CompanionFolder::{Credentials, Extensions, Image};
    use CompanionKind::{Confext, Credential, Sysext};
    [
        (Credential, Image, Archive::CREDENTIALS),
        (Credential, Credentials, Archive::GLOBAL_CREDENTIALS),
        (Sysext, Image, Archive::SYSEXT),
        (Sysext, Extensions, Archive::GLOBAL_SYSEXT),
        (Confext, Image, Archive::CONFEXT),
        (Confext, Extensions, Archive::GLOBAL_CONFEXT),
    ]
};

/// The folders of addons, in the order in which they count. Inside one, the files are
/// sorted by the bytes of their names.
pub const ADDON_FOLDERS: [CompanionFolder; 2] = [CompanionFolder::Addons, CompanionFolder::Image];

/// The names of companions end with these. The first that fits counts.
const SUFFIXES: [(&[u8], CompanionKind); 4] = [
    (b".addon.efi", CompanionKind::Addon),
    (b".cred", CompanionKind::Credential),
    (b".confext.raw", CompanionKind::Confext),
    (b".raw", CompanionKind::Sysext),
];

/// The longest name of a file on Linux, in bytes.
const NAME_MAX: usize = 255;

impl CompanionFolder {
    /// The folders of companions for all images.
    pub const GLOBAL: [Self; 3] = [Self::Addons, Self::Credentials, Self::Extensions];

    /// Returns where the folder lies, from the root of the image's partition; `None` for
    /// the one beside the image, and where there is none.
    #[must_use]
    pub fn path(self) -> Option<&'static str> {
        match self {
            Self::Image | Self::Entry => None,
            Self::Addons => Some("loader/addons"),
            Self::Credentials => Some("loader/credentials"),
            Self::Extensions => Some("loader/extensions"),
        }
    }

    fn holds(self, kind: CompanionKind) -> bool {
        match self {
            Self::Image => true,
            Self::Addons => kind == CompanionKind::Addon,
            Self::Credentials => kind == CompanionKind::Credential,
            Self::Extensions => matches!(kind, CompanionKind::Sysext | CompanionKind::Confext),
            Self::Entry => kind != CompanionKind::Addon,
        }
    }

    /// Returns the kind of the companion that a file `name` in this folder is; or why it
    /// is passed over.
    ///
    /// The name of a companion is ASCII. Control characters, which no name on FAT has,
    /// are our own reason to pass a file over.
    ///
    /// # Errors
    ///
    /// The reason, in words.
    pub fn kind_of(self, name: &[u8]) -> Result<CompanionKind, &'static str> {
        let ends_with = |suffix: &[u8]| {
            let front = name.len().checked_sub(suffix.len());
            let end = front.and_then(|front| name.get(front..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        let kind = SUFFIXES.iter().find(|(suffix, _)| ends_with(suffix));
        let is_entrys = self == Self::Entry;
        match kind {
            // Of an entry, the whole suffix counts.
            Some((suffix, _)) if is_entrys && *suffix == b".raw" && !ends_with(b".sysext.raw") => {
                Err("its name ends with none of .cred, .sysext.raw and .confext.raw")
            }
            Some((_, kind)) if self.holds(*kind) => match name {
                [b'.', ..] if !is_entrys => Err("its name begins with a dot"),
                _ if name.len() > NAME_MAX => Err("its name is longer than 255 bytes"),
                _ if !name.is_ascii() => Err("its name is not ASCII"),
                _ if name.iter().any(u8::is_ascii_control) => {
                    Err("its name has control characters")
                }
                _ => Ok(*kind),
            },
            _ if is_entrys => Err("its name ends with none of .cred, .sysext.raw and .confext.raw"),
            _ => Err("its name is not that of a companion here"),
        }
    }
}

/// Returns the folder beside the image at `path`, a path from the root of its partition:
/// without the image's boot counter, the first `+` of the path.
#[must_use]
pub fn image_folder(path: &[u8]) -> Vec<u8> {
    let (front, end) = around_boot_counter(path).unwrap_or((path, b""));
    [front, end, b".extra.d"].concat()
}

/// Splits `path` around its boot counter: `+LEFT` or `+LEFT-DONE`, in front of a dot or
/// of the end.
fn around_boot_counter(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let plus = path.iter().position(|byte| *byte == b'+')?;
    let (front, counter) = path.split_at(plus);
    let mut end = behind_number(counter.get(1..)?)?;
    if let [b'-', done @ ..] = end {
        end = behind_number(done)?;
    }
    matches!(end, [] | [b'.', ..]).then_some((front, end))
}

/// Returns the bytes behind the number of 64 bits that `bytes` begin with.
fn behind_number(bytes: &[u8]) -> Option<&[u8]> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let (number, behind) = bytes.split_at_checked(digits.count())?;
    let number: Option<u64> = str::from_utf8(number).ok()?.parse().ok();
    number.map(|_| behind)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_name_says_the_kind() {
        use CompanionFolder::{Addons, Credentials, Entry, Extensions, Image};
        let long = "x".repeat(251) + ".raw";
        let names: &[(&str, &[u8])] = &[
            ("a.addon.efi", b"a.addon.efi"),
            ("Z.ADDON.EFI", b"Z.ADDON.EFI"),
            ("a.efi", b"a.efi"),
            ("Aa.CRED", b"Aa.CRED"),
            ("a.raw", b"a.raw"),
            ("a.sysext.raw", b"a.sysext.raw"),
            ("a.ConfExt.Raw", b"a.ConfExt.Raw"),
            ("aconfext.raw", b"aconfext.raw"),
            (".raw", b".raw"),
            (".a.cred", b".a.cred"),
            ("a\\n.cred", b"a\n.cred"),
            ("\\xff.cred", b"\xff.cred"),
            ("255 bytes", &long.as_bytes()[1..]),
            ("256 bytes", format!("x{long}").leak().as_bytes()),
            ("", b""),
        ];
        let mut shown = String::new();
        for (label, name) in names {
            let kinds = [Image, Addons, Credentials, Extensions, Entry].map(|folder| {
                let kind = folder.kind_of(name);
                kind.map_or_else(str::to_owned, |kind| format!("{kind:?}"))
            });
            shown += &format!("{label}: {}\n", kinds.join(", "));
        }
        expect![[r#"
            a.addon.efi: Addon, Addon, -, -, -
            Z.ADDON.EFI: Addon, Addon, -, -, -
            a.efi: -, -, -, -, -
            Aa.CRED: Credential, -, Credential, -, Credential
            a.raw: Sysext, -, -, Sysext, -
            a.sysext.raw: Sysext, -, -, Sysext, Sysext
            a.ConfExt.Raw: Confext, -, -, Confext, Confext
            aconfext.raw: Sysext, -, -, Sysext, -
            .raw: its name begins with a dot, -, -, its name begins with a dot, -
            .a.cred: its name begins with a dot, -, its name begins with a dot, -, Credential
            a\n.cred: its name has control characters, -, its name has control characters, -, its name has control characters
            \xff.cred: its name is not ASCII, -, its name is not ASCII, -, its name is not ASCII
            255 bytes: Sysext, -, -, Sysext, -
            256 bytes: its name is longer than 255 bytes, -, -, its name is longer than 255 bytes, -
            : -, -, -, -, -
        "#]]
        .assert_eq(
            &shown
                .replace("its name is not that of a companion here", "-")
                .replace(
                    "its name ends with none of .cred, .sysext.raw and .confext.raw",
                    "-",
                ),
        );
    }

    #[test]
    fn each_companion_but_an_addon_has_an_archive() {
        for folder in [CompanionFolder::Image]
            .into_iter()
            .chain(CompanionFolder::GLOBAL)
        {
            for (_, kind) in SUFFIXES {
                let is_addon = kind == CompanionKind::Addon;
                let is_there = |it: &&(CompanionKind, CompanionFolder, Archive)| {
                    (it.0, it.1) == (kind, folder)
                };
                let archives = COMPANION_ARCHIVES.iter().filter(is_there).count();
                assert_eq!(archives, usize::from(folder.holds(kind) && !is_addon));
                let addons = ADDON_FOLDERS.contains(&folder);
                assert!(!is_addon || addons == folder.holds(kind));
            }
        }
    }

    #[test]
    fn the_folder_of_an_image_has_no_boot_counter() {
        for (path, expected) in [
            ("EFI/Linux/base.efi", "EFI/Linux/base.efi"),
            ("EFI/Linux/base+3-1.efi", "EFI/Linux/base.efi"),
            ("base+3.efi", "base.efi"),
            ("base+3", "base"),
            ("base+3-0", "base"),
            ("base+18446744073709551615.efi", "base.efi"),
            (
                "base+18446744073709551616.efi",
                "base+18446744073709551616.efi",
            ),
            ("base+.efi", "base+.efi"),
            ("base+3-.efi", "base+3-.efi"),
            ("base+3x.efi", "base+3x.efi"),
            ("base++3.efi", "base++3.efi"),
            ("base+a+3.efi", "base+a+3.efi"),
            // It is the first `+`, in whatever part of the path.
            ("a+b/base+3.efi", "a+b/base+3.efi"),
            ("a+3.d/base+2.efi", "a.d/base+2.efi"),
            ("base+3-1-1.efi", "base+3-1-1.efi"),
        ] {
            let folder = image_folder(path.as_bytes());
            assert_eq!(
                String::from_utf8(folder).unwrap(),
                format!("{expected}.extra.d")
            );
        }
    }
}
