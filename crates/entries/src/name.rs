//! Names of entry files, their boot counters, and the spellings of an ID.
//!
//! Spec: UAPI group, "Boot Loader Specification"; systemd's "Automatic Boot Assessment".

use crate::pattern::matches;
use crate::{Counter, Entry, EntryKind};

/// The kinds of entries, with their folders and the suffixes of their files.
pub(crate) const FOLDERS: [(EntryKind, &str, &str); 2] = [
    (EntryKind::Type1, "loader/entries", ".conf"),
    (EntryKind::Type2, "EFI/Linux", ".efi"),
];

/// A name has at most so many bytes.
const NAME_MAX: usize = 255;

/// Boot counters are no larger than systemd's.
const COUNTER_MAX: u32 = i32::MAX.unsigned_abs();

/// Returns whether `name` ends with `suffix`, without case.
pub(crate) fn has_suffix(name: &[u8], suffix: &str) -> bool {
    let at = name.len().checked_sub(suffix.len());
    at.and_then(|at| name.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

/// Returns the name of an entry's file as text.
///
/// # Errors
///
/// In words, why bootctl passes it over.
pub(crate) fn checked_name(name: &[u8]) -> Result<&str, &'static str> {
    if name.len() > NAME_MAX {
        return Err("its name has more than 255 bytes");
    }
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-_.@".contains(byte);
    match str::from_utf8(name) {
        Ok(text) if name.iter().all(is_allowed) => Ok(text),
        _ => Err("a name has only ASCII letters, digits and + - _ . @"),
    }
}

/// Returns `name` without its boot counter, and the counter, if there is one between the
/// last `+` and the suffix.
///
/// # Errors
///
/// In words: it is larger than any.
pub(crate) fn split_counter(name: &str) -> Result<(String, Option<Counter>), &'static str> {
    let Some((stem, suffix, counter)) = counter(name) else {
        return Ok((name.to_owned(), None));
    };
    let counter = counter.ok_or("its boot counter is larger than any")?;
    Ok((format!("{stem}.{suffix}"), Some(counter)))
}

/// Returns the parts of `name` around a boot counter, and the counter if it is not too
/// large.
fn counter(name: &str) -> Option<(&str, &str, Option<Counter>)> {
    let (front, suffix) = name.rsplit_once('.')?;
    let (stem, numbers) = front.rsplit_once('+')?;
    let (left, done) = match numbers.split_once('-') {
        Some((left, done)) => (left, done),
        None => (numbers, "0"),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(left) || !is_number(done) {
        return None;
    }
    let number = |text: &str| text.parse().ok().filter(|number| *number <= COUNTER_MAX);
    let counter = number(left).zip(number(done));
    Some((
        stem,
        suffix,
        counter.map(|(left, done)| Counter { left, done }),
    ))
}

/// How exactly a word has to spell an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// The name of its definition's file with the boot counter, letter by letter. An image
    /// spells its first profile.
    File,
    /// As bootctl writes it, letter by letter.
    Exact,
    /// As systemd-boot writes it, without case.
    SystemdBoot,
    /// As bootctl writes it, without case.
    Bootctl,
    /// With the number of the profile or its ID, with or without suffix and counter.
    Any,
}

impl Entry {
    /// Returns whether `word` spells the entry's ID.
    pub(crate) fn is_spelt(&self, word: &str, spelling: Spelling) -> bool {
        match spelling {
            Spelling::File => self.file() == Some(word),
            Spelling::Exact => self.id == word,
            Spelling::SystemdBoot => self.systemd_boot_id().eq_ignore_ascii_case(word),
            Spelling::Bootctl => self.id.eq_ignore_ascii_case(word),
            Spelling::Any => self.is_any_spelling(word),
        }
    }

    /// Returns whether `pattern` means the entry's ID as systemd-boot or bootctl writes it,
    /// or else any spelling of it.
    pub(crate) fn is_meant(&self, pattern: &str, spelling: Spelling) -> bool {
        match spelling {
            Spelling::SystemdBoot => matches(pattern, self.systemd_boot_id()),
            Spelling::Bootctl => matches(pattern, &self.id),
            Spelling::File | Spelling::Exact | Spelling::Any => self.is_spelt(pattern, spelling),
        }
    }

    /// Returns the ID as systemd-boot writes it but for case: the first profile's is the
    /// name of the file, whatever the profile's own ID is.
    #[must_use]
    pub fn systemd_boot_id(&self) -> &str {
        match self.profile {
            0 => &self.name,
            _ => &self.id,
        }
    }

    fn file(&self) -> Option<&str> {
        let is_first = self.kind == EntryKind::Type1 || self.profile == 0;
        let file = self.path.rsplit('/').next();
        file.filter(|_| is_first)
    }

    fn is_any_spelling(&self, word: &str) -> bool {
        let stem = self.name.rsplit_once('.').map_or("", |(stem, _)| stem);
        // With the suffix, or with none behind a counter.
        let is_name = |word: &str| {
            let without = |suffix: &str| {
                let name = split_counter(&[word, suffix].concat()).ok()?.0;
                name.strip_suffix(suffix).map(str::to_owned)
            };
            let mut words = ["", "."].into_iter().filter_map(without);
            words.any(|word| {
                [&self.name, stem]
                    .iter()
                    .any(|it| it.eq_ignore_ascii_case(&word))
            })
        };
        let is_type2 = self.kind == EntryKind::Type2;
        if (!is_type2 || self.profile == 0) && is_name(word) {
            return true;
        }
        let Some((name, profile)) = word.rsplit_once('@').filter(|_| is_type2) else {
            return false;
        };
        let is_id = |id: &String| id.eq_ignore_ascii_case(profile);
        let is_profile =
            self.profile_id.as_ref().is_some_and(is_id) || profile.parse() == Ok(self.profile);
        is_profile && is_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stands_in_front_of_the_suffix() {
        for (name, expected) in [
            ("a.efi", "a.efi -"),
            ("a+3.efi", "a.efi 3 0"),
            ("a+3-1.conf", "a.conf 3 1"),
            ("a+1+0-03.EFI", "a+1.EFI 0 3"),
            ("a+3-1.x.efi", "a+3-1.x.efi -"),
            ("a+.efi", "a+.efi -"),
            ("a+3-.efi", "a+3-.efi -"),
            ("a+-1.efi", "a+-1.efi -"),
            ("a+3-1-1.efi", "a+3-1-1.efi -"),
            ("+3.efi", ".efi 3 0"),
            ("a+2147483647.efi", "a.efi 2147483647 0"),
            ("a+2147483648.efi", "its boot counter is larger than any"),
            ("a+1-99999999999.efi", "its boot counter is larger than any"),
            ("a+3", "a+3 -"),
        ] {
            let shown = match split_counter(name) {
                Ok((name, None)) => format!("{name} -"),
                Ok((name, Some(Counter { left, done }))) => format!("{name} {left} {done}"),
                Err(words) => words.to_owned(),
            };
            assert_eq!(shown, expected, "{name}");
        }
    }

    #[test]
    fn names_are_those_that_bootctl_takes() {
        for name in ["a.conf", "A-z_0+1@2.efi", &"a".repeat(255)] {
            assert_eq!(checked_name(name.as_bytes()), Ok(name));
        }
        let long = "a".repeat(256);
        for name in ["a b.conf", "a\n.conf", "ä.conf", "a/b.conf", &long] {
            checked_name(name.as_bytes()).unwrap_err();
        }
        checked_name(b"\xff.conf").unwrap_err();
        assert!(has_suffix(b"a.CoNf", ".conf") && !has_suffix(b"conf", ".conf"));
    }
}
