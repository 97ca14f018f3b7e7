//! The order of entries, best first, and their titles in a list.
//!
//! Spec: UAPI group, "Boot Loader Specification", "Sorting". As in systemd-boot, names are
//! compared without case, and boot counters where both entries have one.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::Entry;
use crate::version::compare_versions;

/// Compares two entries; the lesser is the better one.
pub(crate) fn compare_entries(a: &Entry, b: &Entry) -> Ordering {
    let is_bad = |it: &Entry| it.counter.is_some_and(|counter| counter.left == 0);
    is_bad(a)
        .cmp(&is_bad(b))
        .then_with(|| a.sort_key.is_none().cmp(&b.sort_key.is_none()))
        .then_with(|| compare_by_key(a, b))
        .then_with(|| compare_names(a, b))
        .then_with(|| a.profile.cmp(&b.profile))
        .then_with(|| compare_counters(a, b))
        // Nothing of systemd's tells these apart; the partition that is read first wins.
        .then_with(|| (a.partition, &a.path).cmp(&(b.partition, &b.path)))
}

fn compare_by_key(a: &Entry, b: &Entry) -> Ordering {
    if a.sort_key.is_none() {
        return Ordering::Equal;
    }
    let version = |entry: &Entry| entry.version.clone().unwrap_or_default();
    a.sort_key
        .cmp(&b.sort_key)
        .then_with(|| a.machine_id.cmp(&b.machine_id))
        .then_with(|| compare_versions(&version(b), &version(a)))
        // All first profiles of a version come first.
        .then(a.profile.cmp(&b.profile))
}

fn compare_names(a: &Entry, b: &Entry) -> Ordering {
    let [a, b] = [a, b].map(|entry| entry.name.to_ascii_lowercase());
    compare_versions(&b, &a)
}

/// An entry without a counter is a good one.
fn compare_counters(a: &Entry, b: &Entry) -> Ordering {
    match (a.counter, b.counter) {
        (Some(a), Some(b)) => b.left.cmp(&a.left).then(a.done.cmp(&b.done)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Gives each entry a title of its own, as bootctl does: it adds the version, the machine's
/// ID and the entry's ID in turn where several have the same.
pub(crate) fn name_entries(entries: &mut [Entry]) {
    for entry in &mut *entries {
        entry.show_title = entry.title.clone().unwrap_or_else(|| entry.id.clone());
    }
    let additions: [fn(&Entry) -> Option<&String>; 3] = [
        |it| it.version.as_ref(),
        |it| it.machine_id.as_ref(),
        |it| Some(&it.id),
    ];
    for addition in additions {
        let mut counts = BTreeMap::<String, usize>::new();
        for entry in &*entries {
            let count = counts.entry(entry.show_title.clone()).or_default();
            *count = count.saturating_add(1);
        }
        for entry in &mut *entries {
            let is_unique = counts.get(&entry.show_title) == Some(&1);
            if let Some(added) = addition(entry).filter(|_| !is_unique) {
                entry.show_title = format!("{} ({added})", entry.show_title);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{OSREL, Tree, uki};

    /// Checks IDs and titles of the entries, in order.
    fn check(files: &[(&str, &[u8])], expected: Expect) {
        let menu = Tree::new(files).menu();
        let lines = menu
            .entries()
            .iter()
            .map(|it| format!("{} | {}\n", it.id, it.show_title));
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn entries_are_sorted_by_key_machine_and_version() {
        check(
            &[
                ("loader/entries/a.conf", b"title A"),
                ("loader/entries/B.conf", b"title B"),
                ("loader/entries/c.conf", b"title C\nsort-key k\nversion 1.9"),
                (
                    "loader/entries/d.conf",
                    b"title C\nsort-key k\nversion 1.10",
                ),
                (
                    "loader/entries/e.conf",
                    b"title C\nsort-key k\nversion 1\nmachine-id m",
                ),
                ("x:loader/entries/f.conf", b"title F\nsort-key j"),
                ("loader/entries/g-6.1.conf", b"sort-key z"),
                ("x:loader/entries/g-6.12.conf", b"sort-key z"),
            ],
            expect![[r#"
                f.conf | F
                d.conf | C (1.10)
                c.conf | C (1.9)
                e.conf | C (1)
                g-6.12.conf | g-6.12.conf
                g-6.1.conf | g-6.1.conf
                B.conf | B
                a.conf | A
            "#]],
        );
    }

    #[test]
    fn bad_entries_are_last_and_good_counters_first() {
        check(
            &[
                ("loader/entries/a+0-3.conf", b"sort-key a"),
                ("loader/entries/b+1-1.conf", b"title B1"),
                ("loader/entries/b+2.conf", b"title B2"),
                ("loader/entries/b+1.conf", b"title B3"),
                ("loader/entries/b.conf", b"title B4"),
            ],
            expect![[r#"
                b.conf | B4
                b.conf | B2
                b.conf | B3
                b.conf | B1
                a.conf | a.conf
            "#]],
        );
    }

    #[test]
    fn profiles_follow_their_image() {
        let profiles: &[(&str, &[u8])] = &[
            (".osrel", OSREL),
            (".profile", b"ID=main"),
            (".profile", b"ID=dbg\nTITLE=Debug"),
            (".profile", b""),
        ];
        let titled: &[(&str, &[u8])] = &[
            (".osrel", OSREL),
            (".profile", b"TITLE=Live"),
            (".profile", b"TITLE=Next"),
        ];
        check(
            &[
                ("EFI/Linux/prof+3-1.efi", &uki(profiles)),
                ("EFI/Linux/titled.efi", &uki(titled)),
                ("EFI/Linux/plain.efi", &uki(&[(".osrel", OSREL)])),
                ("x:EFI/Linux/plain.efi", &uki(&[(".osrel", OSREL)])),
            ],
            expect![[r#"
                titled.efi | Debian 13 (Live)
                prof.efi@main | Debian 13 (main)
                plain.efi | Debian 13 (13) (plain.efi)
                plain.efi | Debian 13 (13) (plain.efi)
                titled.efi@1 | Debian 13 (Next)
                prof.efi@dbg | Debian 13 (Debug)
                prof.efi@2 | Debian 13 (@2)
            "#]],
        );
    }

    #[test]
    fn equal_titles_get_versions_machines_and_ids() {
        check(
            &[
                ("loader/entries/a.conf", b"title T\nversion 1\nmachine-id m"),
                ("loader/entries/b.conf", b"title T\nversion 1\nmachine-id n"),
                ("loader/entries/c.conf", b"title T\nversion 2"),
                ("loader/entries/d.conf", b"title U"),
                ("loader/entries/e.conf", b"title U"),
                ("loader/entries/f.conf", b"title V"),
            ],
            expect![[r#"
                f.conf | V
                e.conf | U (e.conf)
                d.conf | U (d.conf)
                c.conf | T (2)
                b.conf | T (1) (n)
                a.conf | T (1) (m)
            "#]],
        );
    }

    proptest! {
        #[test]
        fn entries_have_an_order(
            files in proptest::collection::vec(
                ("x?:?", "[ab]([+][0-2](-[01])?)?", "(sort-key [kl]\n)?(version [12.]{1,3}\n)?(machine-id [mn])?"),
                3,
            ),
        ) {
            let mut tree = Tree::default();
            for (at, name, keys) in &files {
                let at = if at.is_empty() { "" } else { "x:" };
                tree.add(format!("{at}loader/entries/{name}.conf").as_bytes(), keys.as_bytes());
            }
            let menu = tree.menu();
            for a in menu.entries() {
                for b in menu.entries() {
                    let order = compare_entries(a, b);
                    prop_assert_eq!(order, compare_entries(b, a).reverse());
                    for c in menu.entries() {
                        if order.is_le() && compare_entries(b, c).is_le() {
                            prop_assert!(compare_entries(a, c).is_le());
                        }
                    }
                }
            }
        }
    }
}
