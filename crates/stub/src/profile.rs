//! The profiles of an image, and which of them a caller asks for: the texts of
//! `.profile` sections.
//!
//! The rules are those of the built-in parser of unified kernel images,
//! `parsers/uki.bpf.c`, which names the profile that it chose where it runs itself.
//! Here they are for images that other parsers take apart.
//!
//! Spec: UAPI group, "Unified Kernel Image (UKI)".

use std::io;

use serde::Serialize;
use ukexec_pe::{PeImage, ReadAt, Section};

use crate::assignments::assignments;
use crate::section::SectionBytes;
use crate::{StubError, Uki};

/// The section that a profile begins with.
const PROFILE: &str = ".profile";

/// So many bytes of a `.profile` section are looked at.
const TEXT_MAX: u32 = 4096;

/// An ID has at most so many bytes, and so has the word that asks for it.
const ID_MAX: usize = 63;

/// So many bytes of a title, and of a command line, are listed.
const TITLE_MAX: usize = 256;
const LINE_MAX: usize = 4096;

/// So many bytes of a command line are compared.
const CMDLINE_MAX: u32 = 64 << 10;

/// Bytes of all titles and command lines of a list.
const TEXTS_MAX: usize = 24 << 10;

/// A profile that an image offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// Its number.
    pub number: u32,
    /// The word that asks for it.
    pub id: Option<String>,
    /// Its name for people, cut behind 256 bytes.
    pub title: Option<String>,
    /// Its command line where that is not the base's, cut behind 4 KiB; an empty one
    /// where it takes the base's away.
    pub cmdline: Option<String>,
}

impl Profile {
    /// So many profiles are listed.
    pub const LISTED_MAX: usize = 64;

    /// Returns how many profiles begin in an image with headers `pe`.
    #[must_use]
    pub fn count(pe: &PeImage) -> usize {
        profiles(pe).count()
    }

    /// Returns the profiles of `image`, whose headers `pe` are, at most 64; and how
    /// many more there are. Beyond 24 KiB, titles and command lines are cut.
    ///
    /// # Errors
    ///
    /// Errors of the image's medium, and a section with so many zeros behind its
    /// content that nobody means them.
    pub fn list<R: ReadAt>(image: &R, pe: &PeImage) -> Result<(Vec<Self>, usize), StubError> {
        let base = Uki::base(image, pe).cmdline()?;
        let mut left = TEXTS_MAX;
        let mut cut = |text: String, max: usize| {
            let text = cut(text, max.min(left));
            left = left.saturating_sub(text.len());
            text
        };
        let mut listed = Vec::new();
        for (section, number) in profiles(pe).zip(0..).take(Self::LISTED_MAX) {
            let text = SectionBytes::new(image, section).front(TEXT_MAX)?;
            let Names { id, title } = Names::read(&text);
            let cmdline = Uki::new(image, pe, number)?.cmdline()?;
            listed.push(Self {
                number,
                id: id.map(|id| self::cut(shown(&id), ID_MAX)),
                title: title.map(|title| cut(shown(&title), TITLE_MAX)),
                cmdline: (cmdline != base).then(|| cut(cmdline, LINE_MAX)),
            });
        }
        let more = Self::count(pe).saturating_sub(Self::LISTED_MAX);
        Ok((listed, more))
    }
}

impl<R: ReadAt> Uki<'_, R> {
    /// Returns the front of the command line, as text; an empty one stands for none.
    ///
    /// # Errors
    ///
    /// Errors of the image's medium, and a section with so many zeros behind its
    /// content that nobody means them.
    pub fn cmdline(&self) -> Result<String, StubError> {
        Ok(match self.section(".cmdline")? {
            Some(section) => shown(&section.front(CMDLINE_MAX)?),
            None => String::new(),
        })
    }

    /// Returns the ID of the profile, and its title.
    ///
    /// # Errors
    ///
    /// Those of [`Uki::cmdline`].
    pub fn profile_names(&self) -> Result<[Option<String>; 2], StubError> {
        let Some(section) = self.section(PROFILE)? else {
            return Ok([None, None]);
        };
        let Names { id, title } = Names::read(&section.front(TEXT_MAX)?);
        Ok([id, title].map(|name| Some(shown(&name?))))
    }
}

/// Returns a text up to its first NUL, without blanks around it.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

/// Cuts `text` behind `max` bytes, and marks that.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
    text
}

/// Returns the number of the profile that `selector` asks for. A number is the
/// profile of this number, and only where there is none an ID.
pub(crate) fn find(image: &impl ReadAt, pe: &PeImage, selector: &[u8]) -> io::Result<Option<u32>> {
    if selector.is_empty() || selector.len() > ID_MAX {
        return Ok(None);
    }
    match number(selector) {
        // The first profile needs no section of its own.
        Some(0) => return Ok(Some(0)),
        Some(wanted) if profiles(pe).zip(0..).any(|(_, number)| number == wanted) => {
            return Ok(Some(wanted));
        }
        _ => {}
    }
    for (section, number) in profiles(pe).zip(0..) {
        let text = SectionBytes::new(image, section).front(TEXT_MAX)?;
        if Names::read(&text).id.is_some_and(|id| id == selector) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Returns the sections that profiles begin with, in order.
pub(crate) fn profiles(pe: &PeImage) -> impl Iterator<Item = &Section> {
    pe.sections().iter().filter(|section| is_profile(section))
}

/// Returns whether a profile begins with `section`.
pub(crate) fn is_profile(section: &Section) -> bool {
    *section.name() == PROFILE
}

/// Returns `word` as a decimal number; `None` if it is none, or more than any.
fn number(word: &[u8]) -> Option<u32> {
    word.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The names that the text of a `.profile` section assigns.
#[derive(Debug, Default)]
struct Names {
    id: Option<Vec<u8>>,
    title: Option<Vec<u8>>,
}

impl Names {
    fn read(text: &[u8]) -> Self {
        let mut names = Self::default();
        for (key, value) in assignments(text) {
            let value = (!value.is_empty()).then_some(value);
            match key.as_slice() {
                b"ID" => names.id = value,
                b"TITLE" => names.title = value,
                _ => {}
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::image;

    /// Returns the profile that `selector` asks for among profiles of these texts.
    fn found(texts: &[&str], selector: &str) -> Option<u32> {
        let kernel: (&str, &[u8]) = (".linux", b"kernel");
        let texts = texts.iter().map(|text| (".profile", text.as_bytes()));
        let image = image(&[kernel].into_iter().chain(texts).collect::<Vec<_>>());
        let pe = PeImage::parse(&image).unwrap();
        find(&image, &pe, selector.as_bytes()).unwrap()
    }

    #[test]
    fn a_number_is_a_profile_and_else_an_id() {
        let texts = ["ID=main", "ID=1", "ID=2024", "ID=0x"];
        let found = |selector| found(&texts, selector);
        assert_eq!(["0", "1", "2", "003"].map(found), [0, 1, 2, 3].map(Some));
        assert_eq!(["main", "2024", "0x"].map(found), [0, 2, 3].map(Some));
        for none in [
            "4",
            "4294967296",
            "02024",
            "-1",
            "+1",
            "Main",
            "mai",
            "main ",
            "",
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_first_profile_needs_no_section() {
        assert_eq!(["0", "00"].map(|zero| found(&[], zero)), [Some(0); 2]);
        assert_eq!(found(&[], "1"), None);
        assert_eq!(found(&[], &"0".repeat(63)), Some(0));
        assert_eq!(found(&[], &"0".repeat(64)), None);
    }

    #[test]
    fn an_id_has_at_most_63_bytes() {
        for (len, expected) in [(63, Some(0)), (64, None)] {
            let id = "x".repeat(len);
            assert_eq!(found(&[&format!("ID={id}")], &id), expected);
        }
    }

    /// As systemd's `parse_env_file()` reads them.
    #[test]
    fn an_id_may_be_quoted_and_the_last_one_counts() {
        for text in [
            "ID=x",
            " \t ID \t = \t x \t ",
            "TITLE=t\r\nID=x\r\n",
            "ID=\"x\"",
            "ID='x'",
            "ID=\\x",
            "ID=y\nID=x",
            "# ID=y\nID=x\n; ID=z",
            "# \\\nID=x",
            "# \\a\nID=x",
            "ID=x\nTITLE='ID=y",
            "ID=x\nID y",
            "ID=x\0\nID=y",
            "ID=''\"x\"''",
            "ID=\\\nx",
        ] {
            assert_eq!(found(&[text], "x"), Some(0), "{text:?}");
        }
        for text in [
            "",
            "ID",
            "ID=",
            "#ID=x",
            "id=x",
            "IDX=x",
            "XID=x",
            "ID=x\nID=",
            "ID=x\nID='",
            "ID=xx",
            "ID= 'x '",
            "ID=x\\ ",
            "TITLE='\nID=x",
            "ID=x y",
            "ID=\"\\x\"",
            "\0ID=x",
        ] {
            assert_eq!(found(&[text], "x"), None, "{text:?}");
        }
        let escapes = r#"ID="\\\"\`\$\a""#;
        assert_eq!(found(&[escapes], r#"\"`$\a"#), Some(0));
    }

    fn listed(sections: &[(&str, &[u8])]) -> (String, usize) {
        let image = image(sections);
        let pe = PeImage::parse(&image).unwrap();
        let (profiles, more) = Profile::list(&image, &pe).unwrap();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let lines = profiles.iter().map(|it| {
            let (id, title, cmdline) = (text(&it.id), text(&it.title), text(&it.cmdline));
            format!("{} {id} {title} {cmdline}\n", it.number)
        });
        (lines.collect(), more)
    }

    #[test]
    fn a_list_has_the_command_lines_that_differ() {
        let sections: &[(&str, &[u8])] = &[
            (".linux", b"kernel"),
            (".cmdline", b"quiet\n\0"),
            (".profile", b"ID=main\nTITLE=\"Main one\""),
            (".profile", b"TITLE=Second"),
            (".cmdline", b"debug"),
            (".profile", b"ID=none\0ID=x"),
            (".cmdline", b""),
            (".profile", b""),
            (".cmdline", b" quiet "),
        ];
        let expected = "0 main Main one -\n1 - Second debug\n2 none - \n3 - - -\n";
        assert_eq!(listed(sections), (expected.to_owned(), 0));
        assert_eq!(listed(&[(".linux", b"kernel")]), (String::new(), 0));
    }

    #[test]
    fn a_list_and_its_texts_have_an_end() {
        let long = format!("ID={0}\nTITLE={0}", "é".repeat(1000));
        let (lines, more) = listed(&vec![(".profile", long.as_bytes()); 70]);
        assert_eq!((lines.lines().count(), more), (64, 6));
        assert!(lines.lines().all(|line| line.len() < 400), "{lines}");
        let line = "x".repeat(5000);
        let profile: [(&str, &[u8]); 2] = [(".profile", b""), (".cmdline", line.as_bytes())];
        let (lines, _) = listed(&profile);
        assert_eq!(lines.len(), "0 - - …\n".len() + 4096);
        let (lines, _) = listed(&profile.repeat(10));
        // Each mark of a cut has its place, too.
        assert_eq!(lines.matches('x').count(), (24 << 10) - 5 * "…".len());
    }

    proptest! {
        #[test]
        fn any_text_is_a_profile(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6),
        ) {
            let names = [".profile", ".cmdline"].into_iter().cycle();
            let sections: Vec<(&str, &[u8])> = names.zip(texts.iter().map(Vec::as_slice)).collect();
            let (lines, more) = listed(&sections);
            prop_assert!(more == 0 && lines.len() < 6 * 400);
        }
    }

    #[test]
    fn the_front_of_a_long_text_counts() {
        let text = |len| format!("#{}\nID=x", "-".repeat(len));
        let longest = 4096 - "#\nID=x".len();
        assert_eq!(found(&[&text(longest)], "x"), Some(0));
        assert_eq!(found(&[&text(longest + 1)], "x"), None);
    }
}
