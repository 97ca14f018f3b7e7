//! The entry that a caller asks for.

use crate::name::Spelling;
use crate::version::compare_versions;
use crate::{EntriesError, Entry, Menu};

/// So many IDs an error names.
const NAMED_MAX: usize = 20;

/// The entry that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that systemd-boot would boot next.
    Default,
    /// The newest of the running system that can be loaded.
    Newest,
    /// The one that a variable names for the next boot only.
    Oneshot,
    /// The one that systemd-boot says it booted last.
    Selected,
    /// The one of this ID, however it is spelt.
    Id(String),
}

impl From<&str> for Wanted {
    fn from(word: &str) -> Self {
        match word {
            "default" => Self::Default,
            "newest" => Self::Newest,
            "oneshot" => Self::Oneshot,
            "selected" => Self::Selected,
            id => Self::Id(id.to_owned()),
        }
    }
}

impl Menu {
    /// Returns the entry that is `wanted`, which may have a reason not to be loaded.
    ///
    /// # Errors
    ///
    /// There is none, or an ID is spelt so that it may be several; with the IDs that there
    /// are.
    pub fn find(&self, wanted: &Wanted) -> Result<&Entry, EntriesError> {
        if self.entries.is_empty() {
            return Err(EntriesError::new("there are no boot entries"));
        }
        let named = |variable: &str, word: &Option<String>| match word {
            Some(word) => format!("{variable} names {word:?}, which is no boot entry"),
            None => format!("no boot entry is named: the variable {variable} is not set"),
        };
        let mut entries = self.entries.iter();
        let (found, why) = match wanted {
            Wanted::Id(word) => return self.find_id(word),
            Wanted::Newest => return self.newest(),
            Wanted::Default => {
                let why = "no boot entry is the default".to_owned();
                (entries.find(|it| it.default), why)
            }
            Wanted::Oneshot => {
                let why = named("LoaderEntryOneShot", &self.named.oneshot);
                (entries.find(|it| it.oneshot), why)
            }
            Wanted::Selected => {
                let why = named("LoaderEntrySelected", &self.named.selected);
                (entries.find(|it| it.selected), why)
            }
        };
        found.ok_or_else(|| self.none(&why))
    }

    fn find_id(&self, word: &str) -> Result<&Entry, EntriesError> {
        let spellings = [
            Spelling::File,
            Spelling::Exact,
            Spelling::SystemdBoot,
            Spelling::Bootctl,
            Spelling::Any,
        ];
        for spelling in spellings {
            let mut spelt = self.entries.iter().filter(|it| it.is_spelt(word, spelling));
            let Some(first) = spelt.next() else {
                continue;
            };
            // A boot loader, too, boots the first of one ID.
            return match spelt.find(|other| !other.id.eq_ignore_ascii_case(&first.id)) {
                Some(other) => Err(EntriesError::new(format!(
                    "{word:?} may be {:?} or {:?}",
                    first.id, other.id
                ))),
                None => Ok(first),
            };
        }
        Err(self.none(&format!("no boot entry has ID {word:?}")))
    }

    fn newest(&self) -> Result<&Entry, EntriesError> {
        let Some(sort_key) = &self.running.sort_key else {
            let why = "the running system has neither IMAGE_ID nor ID in its os-release file";
            return Err(EntriesError::new(why));
        };
        let is_ours = |entry: &&Entry| {
            entry.sort_key.as_ref() == Some(sort_key)
                && (entry.machine_id.is_none() || entry.machine_id == self.running.machine_id)
                && entry.counter.is_none_or(|counter| counter.left > 0)
                && entry.profile == 0
                && entry.reason.is_none()
        };
        let version = |entry: &Entry| entry.version.clone().unwrap_or_default();
        // Of equal ones the first, which is the best: the last in this order.
        let ours = self.entries.iter().rev().filter(is_ours);
        ours.max_by(|a, b| compare_versions(&version(a), &version(b)))
            .ok_or_else(|| {
                let why =
                    format!("no boot entry of this system, sort key {sort_key:?}, can be loaded");
                self.none(&why)
            })
    }

    fn none(&self, why: &str) -> EntriesError {
        let ids = self
            .entries
            .iter()
            .map(|it| it.id.escape_debug().to_string());
        let ids: Vec<_> = ids.collect();
        let (shown, more) = ids.split_at_checked(NAMED_MAX).unwrap_or((&ids, &[]));
        let shown = shown.join(", ");
        EntriesError::new(match more.len() {
            0 => format!("{why}; there are {shown}"),
            more => format!("{why}; there are {shown} and {more} more"),
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::Partition;
    use crate::testing::{OSREL, Tree, uki};

    fn tree() -> Tree {
        let profiles: &[(&str, &[u8])] = &[
            (".osrel", OSREL),
            (".profile", b"ID=main"),
            (".profile", b"ID=dbg"),
        ];
        let kernel: &[u8] = b"kernel";
        let mut tree = Tree::new(&[
            ("k", kernel),
            (
                "loader/entries/d-1.conf",
                b"sort-key debian\nversion 1\nlinux k",
            ),
            (
                "loader/entries/d-9.conf",
                b"sort-key debian\nversion 9\nlinux k\nmachine-id m",
            ),
            (
                "loader/entries/d-10.conf",
                b"sort-key debian\nversion 10\nlinux gone",
            ),
            (
                "loader/entries/d-11+0.conf",
                b"sort-key debian\nversion 11\nlinux k",
            ),
            (
                "loader/entries/prof.conf",
                b"sort-key x\nversion 99\nlinux k",
            ),
            ("EFI/Linux/prof+3.efi", &uki(profiles)),
        ]);
        tree.running.sort_key = Some("debian".to_owned());
        tree
    }

    fn check(tree: &mut Tree, word: &str, expected: Expect) {
        let menu = tree.menu();
        let found = menu.find(&Wanted::from(word));
        let shown = found.map_or_else(|error| error.to_string(), |it| it.id.clone());
        expected.assert_eq(&shown);
    }

    #[test]
    fn the_newest_is_of_this_system_and_can_be_loaded() {
        check(&mut tree(), "newest", expect!["prof.efi@main"]);
        let mut here = tree();
        here.running.machine_id = Some("m".to_owned());
        here.add(b"EFI/Linux/prof+3.efi", b"");
        check(&mut here, "newest", expect!["d-9.conf"]);
        here.running.sort_key = Some("arch".to_owned());
        check(
            &mut here,
            "newest",
            expect![[
                r#"no boot entry of this system, sort key "arch", can be loaded; there are d-10.conf, d-1.conf, d-9.conf, prof.conf, d-11.conf"#
            ]],
        );
        here.running.sort_key = None;
        check(
            &mut here,
            "newest",
            expect!["the running system has neither IMAGE_ID nor ID in its os-release file"],
        );
    }

    #[test]
    fn a_variable_names_an_entry() {
        check(
            &mut tree(),
            "oneshot",
            expect![
                "no boot entry is named: the variable LoaderEntryOneShot is not set; there are prof.efi@main, prof.efi@dbg, d-10.conf, d-1.conf, d-9.conf, prof.conf, d-11.conf"
            ],
        );
        check(
            &mut tree(),
            "selected",
            expect![
                "no boot entry is named: the variable LoaderEntrySelected is not set; there are prof.efi@main, prof.efi@dbg, d-10.conf, d-1.conf, d-9.conf, prof.conf, d-11.conf"
            ],
        );
        let mut named = tree().with("LoaderEntryOneShot", "prof@dbg");
        named = named.with("LoaderEntrySelected", "y");
        check(&mut named, "oneshot", expect!["prof.efi@dbg"]);
        check(&mut named, "default", expect!["prof.efi@dbg"]);
        check(
            &mut named,
            "selected",
            expect![[
                r#"LoaderEntrySelected names "y", which is no boot entry; there are prof.efi@main, prof.efi@dbg, d-10.conf, d-1.conf, d-9.conf, prof.conf, d-11.conf"#
            ]],
        );
    }

    #[test]
    fn an_id_is_spelt_in_several_ways() {
        check(&mut tree(), "d-9.conf", expect!["d-9.conf"]);
        check(&mut tree(), "D-9", expect!["d-9.conf"]);
        check(&mut tree(), "d-11+0", expect!["d-11.conf"]);
        check(&mut tree(), "d-11+0.conf", expect!["d-11.conf"]);
        check(&mut tree(), "prof.efi", expect!["prof.efi@main"]);
        check(&mut tree(), "PROF+3.efi@1", expect!["prof.efi@dbg"]);
        check(&mut tree(), "prof@main", expect!["prof.efi@main"]);
        check(&mut tree(), "prof@0", expect!["prof.efi@main"]);
        check(
            &mut tree(),
            "prof",
            expect![[r#""prof" may be "prof.efi@main" or "prof.conf""#]],
        );
        check(
            &mut tree(),
            "d",
            expect![[
                r#"no boot entry has ID "d"; there are prof.efi@main, prof.efi@dbg, d-10.conf, d-1.conf, d-9.conf, prof.conf, d-11.conf"#
            ]],
        );
        check(
            &mut Tree::default(),
            "d",
            expect!["there are no boot entries"],
        );
    }

    /// A file's name finds the file, even where a better entry has the same ID.
    #[test]
    fn the_name_of_a_file_tells_entries_of_one_id_apart() {
        let mut tree = Tree::new(&[
            ("loader/entries/a.conf", b"efi x\nsort-key b"),
            ("x:loader/entries/a.conf", b"efi y\nsort-key b"),
            ("loader/entries/a+3.conf", b"efi x\nsort-key a"),
            ("loader/entries/a+2-1.conf", b"efi x\nsort-key b"),
        ]);
        let menu = tree.menu();
        let ids: Vec<_> = menu.entries().iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["a.conf"; 4]);
        let found = |word| {
            let entry = menu.find(&Wanted::from(word)).unwrap();
            (
                entry.partition,
                entry.path.trim_start_matches("loader/entries/"),
            )
        };
        assert_eq!(found("a.conf"), (Partition::Esp, "a.conf"));
        assert_eq!(found("A.conf"), (Partition::Esp, "a+3.conf"));
        assert_eq!(found("a+3.conf"), (Partition::Esp, "a+3.conf"));
        assert_eq!(found("a+2-1.conf"), (Partition::Esp, "a+2-1.conf"));
    }

    proptest! {
        #[test]
        fn each_entry_is_found_by_its_id(
            names in proptest::collection::vec("[abA]{1,2}([+][01])?(@[ab0])?", 1..6),
            ids in proptest::collection::vec("(ID=[abA01@]{0,2})?", 0..3),
        ) {
            let mut tree = Tree::default();
            let profiles: Vec<_> = ids.iter().map(|id| (".profile", id.as_bytes())).collect();
            let image = uki(&[&[(".osrel", OSREL)][..], &profiles].concat());
            for name in &names {
                tree.add(format!("loader/entries/{name}.conf").as_bytes(), b"efi x");
                tree.add(format!("EFI/Linux/{name}.efi").as_bytes(), &image);
            }
            let menu = tree.menu();
            for entry in menu.entries() {
                let found = menu.find(&Wanted::Id(entry.id.clone())).unwrap();
                prop_assert_eq!(&found.id, &entry.id);
            }
        }
    }
}
