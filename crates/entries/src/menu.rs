//! The menu: all boot entries, best first, and the files that are none.

use std::collections::BTreeSet;

use crate::architecture::Architecture;
use crate::choice::Named;
use crate::definition::Definition;
use crate::name::{FOLDERS, checked_name, has_suffix, split_counter};
use crate::order::{compare_entries, name_entries};
use crate::text::cut;
use crate::{BootFiles, Boots, Entry, EntryKind, ImageSummary, Partition, Running, Variables};

/// Why files are passed over when entries take too much memory.
const FULL: &str = "there are too many entries";

/// Why images are passed over when their texts take too much time.
const BUSY: &str = "the images before it have too many profiles, or too long texts";

/// All boot entries, best first.
#[derive(Clone, Debug, Default)]
pub struct Menu {
    pub(crate) entries: Vec<Entry>,
    /// The running system.
    pub(crate) running: Running,
    /// The entries that variables name.
    pub(crate) named: Named,
    /// Sorted.
    passed_over: Vec<PassedOver>,
    more: u64,
    /// About so many bytes of memory the entries take.
    weight: usize,
    /// About how much work the images' texts were.
    work: u64,
    /// Whether no other entry has room.
    is_full: bool,
}

/// A file that looks like an entry and is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedOver {
    /// Its partition.
    pub partition: Partition,
    /// Its path from the partition's root. Bytes that are no text are escaped.
    pub path: String,
    /// Why it is passed over.
    pub reason: String,
}

impl Menu {
    /// So many files of a folder are read, the first by name.
    pub const FILES_MAX: usize = 4096;

    /// So many files that are passed over are named.
    pub const NAMED_MAX: usize = 20;

    /// About so many bytes of memory all entries take together.
    const WEIGHT_MAX: usize = 12 << 20;

    /// About so many bytes of images' texts are read.
    const WORK_MAX: u64 = 16 << 20;

    /// Reads all entries. Beyond limits of number and size, files are only counted.
    ///
    /// # Errors
    ///
    /// Those of `files`.
    pub fn read<F: BootFiles>(
        files: &mut F,
        variables: &impl Variables,
        running: &Running,
    ) -> Result<Self, F::Error> {
        let mut menu = Self {
            running: running.clone(),
            ..Self::default()
        };
        for partition in Partition::ALL {
            for folder in FOLDERS {
                menu.read_folder(files, partition, folder)?;
            }
        }
        menu.entries.sort_by(compare_entries);
        name_entries(&mut menu.entries);
        menu.named = Named::read(variables);
        menu.named.mark(&mut menu.entries, &files.loader_conf()?);
        menu.named.mark_running(&mut menu.entries, running);
        Ok(menu)
    }

    /// Returns the entries, best first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the files that look like entries and are none: the first 20 by path.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Returns how many more files are passed over.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more
    }

    fn read_folder<F: BootFiles>(
        &mut self,
        files: &mut F,
        partition: Partition,
        (kind, folder, suffix): (EntryKind, &str, &str),
    ) -> Result<(), F::Error> {
        let mut names = BTreeSet::new();
        files.names(partition, folder, &mut |name, not_regular| {
            if name.starts_with(b".") || !has_suffix(name, suffix) {
                return;
            }
            let named = match not_regular {
                Some(kind) => Err(format!("it is {kind}")),
                None => checked_name(name).map_err(str::to_owned),
            };
            match named {
                Ok(name) => names.insert(name.to_owned()),
                Err(reason) => return self.pass_over(partition, folder, name, reason),
            };
            if names.len() > Self::FILES_MAX
                && let Some(last) = names.pop_last()
            {
                let reason = format!("there are more than {} files", Self::FILES_MAX);
                self.pass_over(partition, folder, last.as_bytes(), reason);
            }
        })?;
        for file in names {
            let added = match split_counter(&file) {
                _ if self.is_full => Err(FULL.to_owned()),
                Ok((name, counter)) => {
                    let definition = Definition {
                        kind,
                        partition,
                        path: format!("{folder}/{file}"),
                        name_is_hidden: is_hidden(&name),
                        name,
                        counter,
                    };
                    self.read_file(files, definition)?
                }
                Err(reason) => Err(reason.to_owned()),
            };
            if let Err(reason) = added {
                self.pass_over(partition, folder, file.as_bytes(), reason);
            }
        }
        Ok(())
    }

    /// Adds the entries of a definition, or returns why there are none.
    fn read_file<F: BootFiles>(
        &mut self,
        files: &mut F,
        definition: Definition,
    ) -> Result<Result<(), String>, F::Error> {
        let name = self.running.architecture.as_deref();
        let running = name.and_then(Architecture::of_kernel);
        let Definition { partition, .. } = definition;
        match definition.kind {
            EntryKind::Type1 => {
                let keys = match files.type1(partition, &definition.path)? {
                    Ok(keys) => keys,
                    Err(words) => return Ok(Err(words)),
                };
                let mut entry = definition.type1(keys, running);
                if let Boots::Linux(path) | Boots::Uki(path) = &entry.boots {
                    let image = self.image(files, partition, path)?;
                    let place = |words| format!("{}: {words}", cut(path.clone()));
                    let image = image.map_err(place);
                    entry.add_image(image, running);
                }
                Ok(self.add(entry))
            }
            EntryKind::Type2 => {
                let image = self.image(files, partition, &definition.path)?;
                Ok(image.and_then(|image| self.add_profiles(&definition, &image, running)))
            }
        }
    }

    /// Returns the summary of an image, or why there is none.
    fn image<F: BootFiles>(
        &mut self,
        files: &mut F,
        partition: Partition,
        path: &str,
    ) -> Result<Result<ImageSummary, String>, F::Error> {
        if self.work > Self::WORK_MAX {
            return Ok(Err(BUSY.to_owned()));
        }
        let image = files.image(partition, path)?.map_err(cut);
        if let Ok(image) = &image {
            self.work = self.work.saturating_add(image.work);
        }
        Ok(image)
    }

    /// Adds an entry for each profile of a unified kernel image that describes its system,
    /// or returns why there is none.
    fn add_profiles(
        &mut self,
        definition: &Definition,
        image: &ImageSummary,
        running: Option<Architecture>,
    ) -> Result<(), String> {
        if let Some(damage) = &image.damage {
            return Err(damage.clone());
        }
        if !image.is_uki {
            return Err("it is no unified kernel image".to_owned());
        }
        if running.is_some_and(|running| image.is_foreign(running)) {
            return Err("it is for another architecture".to_owned());
        }
        let mut added = Err("it has no section .osrel with a name in it".to_owned());
        for (profile, number) in image.profiles.iter().zip(0..) {
            if let Some(os) = profile.os.clone() {
                let mut entry = definition.clone().type2(number, profile.clone(), os);
                entry.image = Some(image.into());
                self.add(entry)?;
                added = Ok(());
            }
        }
        added
    }

    fn add(&mut self, entry: Entry) -> Result<(), String> {
        let weight = self.weight.saturating_add(entry.weight());
        if weight > Self::WEIGHT_MAX {
            self.is_full = true;
            return Err(FULL.to_owned());
        }
        self.weight = weight;
        self.entries.push(entry);
        Ok(())
    }

    fn pass_over(&mut self, partition: Partition, folder: &str, name: &[u8], reason: String) {
        let file = PassedOver {
            partition,
            path: format!("{folder}/{}", shown(name)),
            reason: cut(reason),
        };
        let at = self.passed_over.partition_point(|it| *it < file);
        if at < Self::NAMED_MAX {
            self.passed_over.insert(at, file);
        }
        if at == Self::NAMED_MAX || self.passed_over.len() > Self::NAMED_MAX {
            self.passed_over.truncate(Self::NAMED_MAX);
            self.more = self.more.saturating_add(1);
        }
    }
}

/// Returns a name as text of one line, cut behind 255 bytes.
fn shown(name: &[u8]) -> String {
    let front = name.get(..255).unwrap_or(name);
    let mut shown = String::new();
    for chunk in front.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => shown.push_str("\\\\"),
                _ if c.is_control() => shown.extend(c.escape_unicode()),
                _ => shown.push(c),
            }
        }
        shown.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    shown
}

/// Returns whether systemd-boot passes over files of this name.
fn is_hidden(name: &str) -> bool {
    let front = name.as_bytes().get(..5);
    front.is_some_and(|front| front.eq_ignore_ascii_case(b"auto-"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::{OSREL, Tree, uki};

    /// Checks the entries and the reasons not to load them, and the files that are none.
    fn check(tree: &mut Tree, expected: Expect) {
        let menu = tree.menu();
        let mut shown = String::new();
        for it in menu.entries() {
            let reason = it.reason.as_deref().unwrap_or("-");
            shown += &format!("{} {:?}: {reason}\n", it.id, it.boots);
        }
        for PassedOver {
            partition,
            path,
            reason,
        } in menu.passed_over()
        {
            shown += &format!("{partition:?} {path}: {reason}\n");
        }
        expected.assert_eq(&format!("{shown}{} more\n", menu.more()));
    }

    #[test]
    fn entries_that_cannot_be_loaded_say_why() {
        let mut foreign = uki(&[(".osrel", OSREL)]);
        let mut damaged = foreign.clone();
        damaged[0x58..0x5a].fill(0);
        foreign[0x44..0x46].copy_from_slice(&[0x64, 0xaa]);
        let mut tree = Tree::new(&[
            ("a/k", b"kernel"),
            ("u.efi", &uki(&[(".osrel", OSREL)])),
            ("f.efi", &foreign),
            ("loader/entries/a.conf", b"linux /a/k"),
            ("loader/entries/b.conf", b"linux /a/gone"),
            ("loader/entries/c.conf", b"uki u.efi\nprofile 1"),
            ("loader/entries/d.conf", b"uki f.efi"),
            ("loader/entries/e.conf", b"efi u.efi"),
            ("loader/entries/f.conf", b"uki-url http://x"),
            ("loader/entries/g.conf", b"linux a/k\nuki u.efi"),
            ("loader/entries/h.conf", b"title nothing"),
            ("loader/entries/i.conf", b"linux a/k\narchitecture AA64"),
            ("loader/entries/j.conf", b"linux a/k\narchitecture X64"),
            ("loader/entries/auto-k.conf", b"linux a/k"),
            ("x:loader/entries/l.conf", b"linux a/k"),
            ("damaged", &damaged),
            ("loader/entries/m.conf", b"linux damaged"),
            ("loader/entries/n.conf", b"uki damaged"),
            ("loader/entries/o.conf", b"linux a/k\nefi ../x"),
            (
                "loader/entries/p.conf",
                b"linux a/k\narchitecture aa64\narchitecture x64",
            ),
            ("EFI/Linux/damaged.efi", &damaged),
            ("EFI/Linux/foreign.efi", &foreign),
        ]);
        check(
            &mut tree,
            expect![[r#"
                p.conf Linux("a/k"): it names several architectures
                o.conf Nothing: it names no program to boot, or several kinds
                n.conf Uki("damaged"): Magic at 0x58: expected 0x20b (PE32+), found 0x0
                m.conf Linux("damaged"): -
                l.conf Linux("a/k"): a/k: no such file
                j.conf Linux("a/k"): -
                i.conf Linux("a/k"): it is for architecture AA64
                h.conf Nothing: it names no program to boot, or several kinds
                g.conf Nothing: it names no program to boot, or several kinds
                f.conf UkiUrl("http://x"): its image is on a network
                e.conf Efi("u.efi"): it boots a program for firmware, no kernel
                d.conf Uki("f.efi"): its image is for another architecture
                c.conf Uki("u.efi"): its image has no profile 1
                b.conf Linux("a/gone"): a/gone: no such file
                auto-k.conf Linux("a/k"): systemd-boot passes over names that begin with auto-
                a.conf Linux("a/k"): -
                Esp EFI/Linux/damaged.efi: Magic at 0x58: expected 0x20b (PE32+), found 0x0
                Esp EFI/Linux/foreign.efi: it is for another architecture
                0 more
            "#]],
        );
        tree.running.architecture = None;
        check(
            &mut tree,
            expect![[r#"
                foreign.efi Uki("EFI/Linux/foreign.efi"): -
                p.conf Linux("a/k"): -
                o.conf Nothing: it names no program to boot, or several kinds
                n.conf Uki("damaged"): Magic at 0x58: expected 0x20b (PE32+), found 0x0
                m.conf Linux("damaged"): -
                l.conf Linux("a/k"): a/k: no such file
                j.conf Linux("a/k"): -
                i.conf Linux("a/k"): -
                h.conf Nothing: it names no program to boot, or several kinds
                g.conf Nothing: it names no program to boot, or several kinds
                f.conf UkiUrl("http://x"): its image is on a network
                e.conf Efi("u.efi"): it boots a program for firmware, no kernel
                d.conf Uki("f.efi"): -
                c.conf Uki("u.efi"): its image has no profile 1
                b.conf Linux("a/gone"): a/gone: no such file
                auto-k.conf Linux("a/k"): systemd-boot passes over names that begin with auto-
                a.conf Linux("a/k"): -
                Esp EFI/Linux/damaged.efi: Magic at 0x58: expected 0x20b (PE32+), found 0x0
                0 more
            "#]],
        );
    }

    #[test]
    fn files_that_are_no_entries_are_passed_over() {
        let mut no_uki = uki(&[]);
        no_uki[0x58 + 68] = 11;
        let mut tree = Tree::new(&[
            ("loader/entries/.a.conf", b"linux k"),
            ("loader/entries/a.txt", b"linux k"),
            ("loader/entries/a b.conf", b"linux k"),
            ("loader/entries/a\\\n.CONF", b"linux k"),
            ("loader/entries/link.conf", b"link"),
            ("loader/entries/bad.conf", b"profile x"),
            ("loader/entries/big+2147483648.conf", b"linux k"),
            ("x:EFI/Linux/no.efi", b"no"),
            ("EFI/Linux/none.efi", &no_uki),
            ("EFI/Linux/nameless.efi", &uki(&[(".osrel", b"VERSION=1")])),
        ]);
        tree.add(b"EFI/Linux/\xff.efi", b"");
        check(
            &mut tree,
            expect![[r#"
            Esp EFI/Linux/\xff.efi: a name has only ASCII letters, digits and + - _ . @
            Esp EFI/Linux/nameless.efi: it has no section .osrel with a name in it
            Esp EFI/Linux/none.efi: it is no unified kernel image
            Esp loader/entries/a b.conf: a name has only ASCII letters, digits and + - _ . @
            Esp loader/entries/a\\\u{a}.CONF: a name has only ASCII letters, digits and + - _ . @
            Esp loader/entries/bad.conf: its profile: expected a number up to 4294967295, found "x"
            Esp loader/entries/big+2147483648.conf: its boot counter is larger than any
            Esp loader/entries/link.conf: it is a symbolic link
            Xbootldr EFI/Linux/no.efi: it is no unified kernel image
            0 more
        "#]],
        );
    }

    #[test]
    fn twenty_files_are_named_and_the_others_counted() {
        let mut tree = Tree::default();
        for number in 0..5000 {
            tree.add(
                format!("loader/entries/{number:04}.conf").as_bytes(),
                b"efi k",
            );
        }
        for number in 0..30 {
            tree.add(format!("EFI/Linux/ {number:02}.efi").as_bytes(), b"");
        }
        let menu = tree.menu();
        let last = menu.entries().first().map(|it| it.id.as_str());
        assert_eq!(
            (menu.entries().len(), last),
            (Menu::FILES_MAX, Some("4095.conf"))
        );
        assert_eq!(menu.more(), 5000 - 4096 + 10);
        let named: Vec<_> = menu
            .passed_over()
            .iter()
            .map(|it| it.path.as_str())
            .collect();
        assert_eq!((named.len(), named[19]), (20, "EFI/Linux/ 19.efi"));
    }

    /// A file of keys may have any number of paths to one image.
    #[test]
    fn all_texts_of_images_together_have_an_end() {
        let long = [OSREL, &[b'#'; 60 << 10]].concat();
        let mut tree = Tree::new(&[("a.efi", &uki(&[(".osrel", &long)]))]);
        for number in 0..300 {
            let path = format!("loader/entries/{number:03}.conf");
            tree.add(path.as_bytes(), b"uki a.efi");
        }
        let menu = tree.menu();
        let read = menu.entries().iter().filter(|it| it.image.is_some());
        let read = read.count();
        assert!((270..280).contains(&read), "{read}");
        let reason = menu.entries()[0].reason.as_deref();
        assert_eq!(reason, Some(format!("a.efi: {BUSY}").as_str()));
    }

    /// Memory has an end, whatever it holds.
    #[test]
    fn long_paths_count() {
        let mut tree = Tree::default();
        let url = format!("uki-url {}", "x".repeat(1 << 10));
        let path = format!("linux {}", "y".repeat(1 << 10));
        for number in 0..4096 {
            for (kind, keys) in [("u", &url), ("p", &path)] {
                let file = format!("loader/entries/{kind}{number:04}.conf");
                tree.add(file.as_bytes(), keys.as_bytes());
                tree.add(format!("x:{file}").as_bytes(), keys.as_bytes());
            }
        }
        let menu = tree.menu();
        let texts = menu.entries().iter().map(|it| match &it.boots {
            Boots::Linux(path) | Boots::UkiUrl(path) => {
                path.len() + it.reason.as_ref().map_or(0, String::len)
            }
            other => panic!("{other:?}"),
        });
        assert!(texts.sum::<usize>() < Menu::WEIGHT_MAX);
        assert!(menu.more() > 8192);
    }

    /// Memory has an end.
    #[test]
    fn all_texts_together_have_an_end() {
        let mut tree = Tree::default();
        let long = format!("efi k\noptions {}", "x".repeat(60 << 10));
        for number in 0..500 {
            tree.add(
                format!("loader/entries/{number:03}.conf").as_bytes(),
                long.as_bytes(),
            );
        }
        let menu = tree.menu();
        let len = menu.entries().len();
        assert!((90..110).contains(&len), "{len}");
        assert_eq!(len as u64 + 20 + menu.more(), 500);
    }
}
