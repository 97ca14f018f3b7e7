//! The entries that boot loader and variables choose: the default, the one for the next boot,
//! the one that was booted last, and the one that runs.
//!
//! Spec: systemd-boot(7); systemd's "Boot Loader Interface". As in systemd-boot, an entry
//! without tries left is no preferred one, `@saved` is the one that was booted last, and
//! without any word the first entry of a first profile is the default.

use crate::name::Spelling;
use crate::{Boots, Entry, LoaderConf, Running, Variables};

/// So many characters of a variable are read.
const VARIABLE_MAX: usize = 1024;

/// Patterns of a file mean IDs as systemd-boot writes them, or else as bootctl does. bootctl
/// and logind put IDs into variables as users wrote them.
const OF_FILE: &[Spelling] = &[Spelling::SystemdBoot, Spelling::Bootctl];
const OF_VARIABLE: &[Spelling] = &[Spelling::SystemdBoot, Spelling::Bootctl, Spelling::Any];

/// The IDs and patterns that variables have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub(crate) oneshot: Option<String>,
    pub(crate) selected: Option<String>,
    preferred: Option<String>,
    default: Option<String>,
    last_booted: Option<String>,
    /// The entry after a failure of the firmware, if there was one.
    sysfail: Option<String>,
}

impl Named {
    pub(crate) fn read(variables: &impl Variables) -> Self {
        let text = |name: &str| {
            variables
                .payload(name)
                .and_then(|payload| variable_text(&payload))
        };
        Self {
            oneshot: text("LoaderEntryOneShot"),
            selected: text("LoaderEntrySelected"),
            preferred: text("LoaderEntryPreferred"),
            default: text("LoaderEntryDefault"),
            last_booted: text("LoaderEntryLastBooted"),
            sysfail: text("LoaderSysFailReason").and_then(|_| text("LoaderEntrySysFail")),
        }
    }

    /// Marks the default, the entry for the next boot, and the one that was booted last.
    pub(crate) fn mark(&self, entries: &mut [Entry], conf: &LoaderConf) {
        let variable =
            |word: &Option<String>| find(entries, word.as_deref()?, OF_VARIABLE, |_| true);
        let oneshot = variable(&self.oneshot);
        let selected = variable(&self.selected);
        let default = self.default(entries, conf);
        for (entry, at) in entries.iter_mut().zip(0..) {
            let is_it = |chosen: Option<usize>| chosen == Some(at);
            entry.oneshot = is_it(oneshot);
            entry.selected = is_it(selected);
            entry.default = is_it(default);
        }
    }

    fn default(&self, entries: &[Entry], conf: &LoaderConf) -> Option<usize> {
        // With the words that need an entry with tries left.
        let words = [
            (&self.sysfail, OF_VARIABLE, false),
            (&self.oneshot, OF_VARIABLE, false),
            (&self.preferred, OF_VARIABLE, true),
            (&conf.preferred, OF_FILE, true),
            (&self.default, OF_VARIABLE, false),
            (&conf.default, OF_FILE, false),
        ];
        let chosen = words
            .into_iter()
            .find_map(|(word, spellings, needs_tries)| {
                let mut word = word.as_deref()?;
                if word.eq_ignore_ascii_case("@saved") {
                    word = self.last_booted.as_deref()?;
                }
                let has_tries = |it: &Entry| it.counter.is_none_or(|counter| counter.left > 0);
                let fits = |it: &Entry| !it.is_hidden && (!needs_tries || has_tries(it));
                find(entries, word, spellings, fits)
            });
        let is_first = |entry: &Entry| !entry.is_hidden && entry.profile == 0;
        chosen.or_else(|| entries.iter().position(is_first))
    }

    /// Marks the entry that runs, if only one can be it.
    pub(crate) fn mark_running(&self, entries: &mut [Entry], running: &Running) {
        let fits = |entry: &Entry| fits(entry, running);
        let mut fitting = entries.iter().enumerate().filter(|(_, entry)| fits(entry));
        let runs = match (fitting.next(), fitting.next()) {
            (Some((only, _)), None) => Some(only),
            (None, _) => None,
            _ => self
                .selected
                .as_deref()
                .and_then(|word| find(entries, word, OF_VARIABLE, fits)),
        };
        if let Some(entry) = runs.and_then(|at| entries.get_mut(at)) {
            entry.running = true;
        }
    }
}

/// Returns the place of the first entry that `word` means and that `fits`, by the first of `spellings`
/// for which there is one.
fn find(
    entries: &[Entry],
    word: &str,
    spellings: &[Spelling],
    fits: impl Fn(&Entry) -> bool,
) -> Option<usize> {
    spellings.iter().find_map(|spelling| {
        let is_it = |entry: &Entry| fits(entry) && entry.is_meant(word, *spelling);
        entries.iter().position(is_it)
    })
}

/// Returns whether the running system may be an entry's.
fn fits(entry: &Entry, running: &Running) -> bool {
    let Some(release) = running.release.as_deref() else {
        return false;
    };
    let is_equal_if_there = |value: &Option<String>, expected: &Option<String>| {
        value.is_none() || expected.is_none() || value == expected
    };
    let has_release = match entry
        .image
        .as_ref()
        .and_then(|image| image.uname.as_deref())
    {
        Some(uname) => uname == release,
        None => {
            entry.version.as_deref() == Some(release)
                || matches!(&entry.boots, Boots::Linux(path) if names_release(path, release))
        }
    };
    has_release
        && is_equal_if_there(&entry.machine_id, &running.machine_id)
        && is_equal_if_there(&entry.sort_key, &running.sort_key)
}

/// Returns whether a folder or the file of `path` has the name of `release`, as in
/// `vmlinuz-6.12.1`.
fn names_release(path: &str, release: &str) -> bool {
    path.split('/').any(|name| {
        let name = name.strip_suffix(".efi").unwrap_or(name);
        let front = name.strip_suffix(release);
        front.is_some_and(|front| front.is_empty() || front.ends_with('-'))
    })
}

/// Returns the text that a variable of systemd's holds, if it is not empty: UTF-16 up to a NUL, without
/// its attributes.
#[must_use]
pub fn variable_text(payload: &[u8]) -> Option<String> {
    let units = payload.chunks_exact(2).map(|unit| match unit {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    let units = units.take_while(|unit| *unit != 0).take(VARIABLE_MAX);
    let text: String = char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OSREL, Tree, uki};

    /// Returns the entries of all tests, and a loader.conf.
    fn tree(loader_conf: &str) -> Tree {
        let profiles: &[(&str, &[u8])] = &[
            (".osrel", OSREL),
            (".uname", b"6.1.0"),
            (".profile", b"ID=main"),
            (".profile", b"ID=dbg"),
            (".profile", b""),
        ];
        Tree::new(&[
            ("loader/loader.conf", loader_conf.as_bytes()),
            (
                "loader/entries/first.conf",
                b"sort-key a\nlinux k\nprofile 1",
            ),
            (
                "loader/entries/arch.conf",
                b"sort-key b\nlinux k\narchitecture aa64",
            ),
            ("loader/entries/auto-x.conf", b"sort-key b\nlinux k"),
            ("loader/entries/B-2.conf", b"sort-key c\nefi k"),
            (
                "loader/entries/b-1.conf",
                b"sort-key c\nlinux k/6.1.0/linux",
            ),
            ("loader/entries/bad+0-3.conf", b"linux vmlinuz-6.1.0"),
            ("EFI/Linux/prof+3-1.efi", &uki(profiles)),
        ])
    }

    /// Returns the default of a tree with this loader.conf and these variables, which are
    /// named without `Loader`.
    fn default(loader_conf: &str, variables: &[(&str, &str)]) -> String {
        let mut tree = tree(loader_conf);
        for (name, value) in variables {
            tree = tree.with(&format!("Loader{name}"), value);
        }
        let menu = tree.menu();
        let default = menu.entries().iter().find(|it| it.default);
        default.map_or_else(|| "-".to_owned(), |it| it.id.clone())
    }

    /// Each word wins over those below it.
    #[test]
    fn the_default_follows_the_order_of_systemd_boot() {
        let words = [
            ("SysFailReason", "x", "prof.efi@dbg"),
            ("EntryOneShot", "prof.efi@2", "prof.efi@2"),
            ("EntryPreferred", "b-1*", "b-1.conf"),
        ];
        let of_file = "preferred prof.efi\ndefault prof.efi@dbg";
        let rest = [
            ("EntryDefault", "b-2.conf"),
            ("EntrySysFail", "prof.efi@dbg"),
        ];
        for at in 0..words.len() {
            let set = words[at..].iter().map(|(name, value, _)| (*name, *value));
            let set: Vec<_> = set.chain(rest).collect();
            assert_eq!(default(of_file, &set), words[at].2, "{set:?}");
        }
        assert_eq!(default(of_file, &rest), "prof.efi@main");
        assert_eq!(default("default prof.efi@dbg", &rest), "B-2.conf");
        assert_eq!(default("default prof.efi@dbg", &[]), "prof.efi@dbg");
    }

    /// The first entry is for a second profile. systemd-boot passes over the next two.
    #[test]
    fn without_a_word_the_first_entry_of_a_first_profile_is_the_default() {
        assert_eq!(default("", &[]), "B-2.conf");
        for nothing in ["nothing", "arch.conf", "auto-*", "bad.conf.conf", "@saved"] {
            assert_eq!(
                default(&format!("default {nothing}"), &[]),
                "B-2.conf",
                "{nothing}"
            );
        }
    }

    #[test]
    fn a_preferred_entry_has_tries_left() {
        assert_eq!(default("preferred bad.conf", &[]), "B-2.conf");
        assert_eq!(default("default bad.conf", &[]), "bad.conf");
        assert_eq!(default("", &[("EntryPreferred", "bad*")]), "B-2.conf");
        assert_eq!(default("preferred prof.efi", &[]), "prof.efi@main");
    }

    #[test]
    fn a_saved_entry_was_booted_last() {
        let last = ("EntryLastBooted", "b-1.conf");
        assert_eq!(default("default @saved", &[last]), "b-1.conf");
        assert_eq!(default("", &[("EntryDefault", "@Saved"), last]), "b-1.conf");
        // bootctl would look here.
        let selected = ("EntrySelected", "b-1.conf");
        assert_eq!(default("default @saved", &[selected]), "B-2.conf");
    }

    /// For systemd-boot and for bootctl, and of variables as users write it.
    #[test]
    fn a_word_spells_an_id_in_several_ways() {
        for (word, of_file, of_variable) in [
            ("prof.efi", "prof.efi@main", "prof.efi@main"),
            ("prof.efi@main", "prof.efi@main", "prof.efi@main"),
            ("PROF.efi@DBG", "prof.efi@dbg", "prof.efi@dbg"),
            ("prof.efi@1", "B-2.conf", "prof.efi@dbg"),
            ("prof.efi@0", "B-2.conf", "prof.efi@main"),
            ("prof+3-1.efi", "B-2.conf", "prof.efi@main"),
            ("prof", "B-2.conf", "prof.efi@main"),
            ("b-1", "B-2.conf", "b-1.conf"),
            ("b-[1]*", "b-1.conf", "b-1.conf"),
            ("first.conf", "first.conf", "first.conf"),
            ("b-?.conf", "B-2.conf", "B-2.conf"),
        ] {
            assert_eq!(default(&format!("default {word}"), &[]), of_file, "{word}");
            assert_eq!(
                default("", &[("EntryOneShot", word)]),
                of_variable,
                "{word}"
            );
        }
    }

    #[test]
    fn one_running_entry_is_marked() {
        let running = |selected: &str, machine_id: Option<&str>, sort_key: Option<&str>| {
            let mut tree = tree("").with("LoaderEntrySelected", selected);
            tree.running.release = Some("6.1.0".to_owned());
            tree.running.machine_id = machine_id.map(str::to_owned);
            tree.running.sort_key = sort_key.map(str::to_owned);
            let keys = b"version 6.1.0\nlinux k\nmachine-id m\nsort-key m";
            tree.add(b"loader/entries/m.conf", keys);
            let menu = tree.menu();
            let marked = menu.entries().iter().filter(|it| it.running);
            marked.map(|it| it.id.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(running("prof.efi@1", None, None), "prof.efi@dbg");
        assert_eq!(running("bad.conf", None, None), "bad.conf");
        assert_eq!(running("B-2.conf", None, None), "");
        assert_eq!(running("m.conf", Some("n"), None), "");
        assert_eq!(running("m.conf", Some("m"), Some("n")), "bad.conf");
        assert_eq!(running("m.conf", Some("m"), Some("m")), "m.conf");
        // Of those without a sort key there is one.
        assert_eq!(running("", Some("n"), Some("x")), "bad.conf");
        assert!(names_release("m/6.1.0/linux", "6.1.0") && names_release("x-6.1.efi", "6.1"));
        assert!(!names_release("m/6.1.0/linux", "6.1") && !names_release("x6.1", "6.1"));
    }

    #[test]
    fn a_variable_is_text_up_to_a_nul() {
        for (payload, expected) in [
            (&b"a\0b\0\0\0c\0"[..], Some("ab")),
            (b"a\0b", Some("a")),
            (b"\x00\xd8a\0", Some("\u{fffd}a")),
            (b"\0\0a\0", None),
            (b"", None),
        ] {
            assert_eq!(variable_text(payload).as_deref(), expected);
        }
        assert_eq!(
            variable_text(&[b'a', 0].repeat(9000)).unwrap().len(),
            VARIABLE_MAX
        );
    }
}
