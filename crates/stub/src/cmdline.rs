//! The texts that make up a command line, as systemd-stub 262 reads and joins them.
//!
//! Spec: systemd-stub(7); systemd's `mangle_stub_cmdline()` and `xstrn8_to_16()`.
//! Left out: the words `console=` that the stub makes up.

use std::iter;

/// A text as the stub takes it over, and what that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MangledLine {
    /// Without blanks and control characters around it; inside, a blank stands for each
    /// control character.
    pub line: String,
    /// How many bytes were dropped at both ends.
    pub dropped: usize,
    /// How many control characters inside became blanks.
    pub blanked: usize,
}

impl MangledLine {
    /// Returns `line` as the stub takes load options over.
    #[must_use]
    pub fn new(line: &str) -> Self {
        let is_blank = |c: char| c <= ' ' || c == '\u{7f}';
        let kept = line.trim_matches(is_blank);
        let blank = |c: char| if is_blank(c) { ' ' } else { c };
        Self {
            line: kept.chars().map(blank).collect(),
            dropped: line.len().saturating_sub(kept.len()),
            blanked: kept.chars().filter(|c| *c != ' ' && is_blank(*c)).count(),
        }
    }
}

/// Returns the text of a section `.cmdline` of an image as the stub takes it over: what
/// UTF-16 has of it, mangled.
#[must_use]
pub fn section_cmdline(bytes: &[u8]) -> String {
    mangled(&ucs2(bytes))
}

/// Returns the options of a boot entry as systemd-boot passes them on: what UTF-16 has of
/// them.
#[must_use]
pub fn load_options(options: &[u8]) -> String {
    ucs2(options)
}

/// Returns whether the stub takes load options over: not if there is a control character
/// in them.
#[must_use]
pub fn takes_load_options(options: &str) -> bool {
    !options.chars().any(|c| c < ' ')
}

/// Returns `line` as the stub takes it over.
pub(crate) fn mangled(line: &str) -> String {
    MangledLine::new(line).line
}

/// Returns `line` with `text` behind it, and a blank between them if neither is empty.
#[must_use]
pub fn with_text(line: &str, text: &str) -> String {
    let blank = if line.is_empty() || text.is_empty() {
        ""
    } else {
        " "
    };
    [line, blank, text].concat()
}

/// Returns the texts of addons as the one that the stub puts behind the command line, and
/// measures; an empty one stands for none.
#[must_use]
pub fn addons_text<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for text in texts {
        // The blank is there for an empty text, too.
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&mangled(text));
    }
    mangled(&joined)
}

/// Returns the text that `bytes` are up to the first NUL, as the stub makes UTF-16 of it:
/// without bytes that are no UTF-8 and without characters above U+FFFF.
///
/// As the stub's, the reader trusts the number of bytes that a first byte asks for. So it
/// drops all of them where one is no continuation, and it takes overlong forms; one of
/// NUL ends the text.
pub(crate) fn ucs2(bytes: &[u8]) -> String {
    let mut left = bytes;
    let characters = iter::from_fn(|| {
        let [first, ..] = left else { return None };
        let (len, bits) = match first {
            0 => return None,
            0x01..=0x7f => (1, 7),
            0xc0..=0xdf => (2, 5),
            0xe0..=0xef => (3, 4),
            0xf0..=0xf7 => (4, 3),
            0xf8..=0xfb => (5, 2),
            0xfc..=0xfd => (6, 1),
            0x80..=0xbf | 0xfe..=0xff => (1, 0),
        };
        let (bytes, behind) = left.split_at_checked(len).unwrap_or((&[], &[]));
        left = behind;
        Some(character(bytes, bits))
    });
    let is_kept = |c: &char| *c <= '\u{ffff}';
    let until_nul = characters.take_while(|c| *c != Some('\0'));
    until_nul.flatten().filter(is_kept).collect()
}

/// Returns the character that `bytes` are, of whose first the last `bits` count.
fn character(bytes: &[u8], bits: u32) -> Option<char> {
    let (first, rest) = bytes.split_first()?;
    let front = u32::from(*first) & 1_u32.checked_shl(bits)?.checked_sub(1)?;
    let value = rest.iter().try_fold(front, |value, byte| {
        (byte & 0xc0 == 0x80).then_some(value << 6 | u32::from(byte & 0x3f))
    })?;
    (bits > 0).then(|| char::from_u32(value)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_mangled_and_says_what_changed() {
        for (line, expected, dropped, blanked) in [
            ("", "", 0, 0),
            ("quiet  ro", "quiet  ro", 0, 0),
            (" \t\n\u{7f}", "", 4, 0),
            ("\u{1}quiet\tro\u{7f}\u{1f}x \n", "quiet ro  x", 3, 3),
            ("\u{a0}ä\u{10ffff}", "\u{a0}ä\u{10ffff}", 0, 0),
        ] {
            let mangled = MangledLine::new(line);
            assert_eq!(mangled.line, expected);
            assert_eq!(
                (mangled.dropped, mangled.blanked),
                (dropped, blanked),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_section_has_no_bytes_that_utf_16_has_not() {
        assert_eq!(section_cmdline(b"a\xf0\x9f\x98\x80b"), "ab");
        assert_eq!(section_cmdline(b"one\tx\xff"), "one x");
        assert_eq!(section_cmdline("\u{e4} b ".as_bytes()), "\u{e4} b");
    }

    #[test]
    fn options_are_passed_as_utf_16_and_not_taken_with_control_characters() {
        assert_eq!(load_options(" a\tb\u{ff} ".as_bytes()), " a\tb\u{ff} ");
        assert_eq!(load_options(b"a\xff\xf0\x9f\x98\x80b"), "ab");
        for (options, taken) in [
            ("", true),
            ("a \u{7f}b", true),
            ("a\tb", false),
            ("\u{1f}", false),
        ] {
            assert_eq!(takes_load_options(options), taken, "{options:?}");
        }
    }

    #[test]
    fn texts_of_addons_are_one_text() {
        for (texts, expected) in [
            (&[][..], ""),
            (&["", " \n"], ""),
            (&["a\n", "\tb c "], "a b c"),
            (&["", "a", "", "b", ""], "a  b"),
        ] {
            assert_eq!(addons_text(texts.iter().copied()), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_text_is_put_behind_a_line() {
        let cases = [
            ("", "", ""),
            ("a", "", "a"),
            ("", "b", "b"),
            ("a", "b", "a b"),
        ];
        for (line, text, expected) in cases {
            assert_eq!(with_text(line, text), expected);
        }
    }

    #[test]
    fn text_is_what_utf_16_can_say() {
        for (bytes, expected) in [
            (&b"quiet\0ro"[..], "quiet"),
            ("ä€\u{ffff}".as_bytes(), "ä€\u{ffff}"),
            ("a\u{1f600}b".as_bytes(), "ab"),
            (b"a\xffb\x80c\xfe", "abc"),
            // The byte behind \xc3 is gone with it.
            (b"a\xc3bc", "ac"),
            (b"a\xe2\x82", "a"),
            (b"a\xf8\x88\x80\x80\x80b", "ab"),
            (b"a\xfc\x80\x80\x80\x80\xc1b", "ab"),
            (b"\xc1\x81\xc0\x80b", "A"),
            // Half a surrogate pair.
            (b"a\xed\xa0\x80b", "ab"),
        ] {
            assert_eq!(ucs2(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn texts_stay_what_they_are(text in "[ -\u{d7ff}]{0,40}", bytes: Vec<u8>) {
            prop_assert_eq!(ucs2(text.as_bytes()), text.as_str());
            let is_kept = |c| ('\u{1}'..='\u{ffff}').contains(&c);
            prop_assert!(ucs2(&bytes).chars().all(is_kept));
            let line = mangled(&text);
            prop_assert_eq!(mangled(&line), line.as_str());
            prop_assert_eq!(addons_text([text.as_str()]), line);
        }
    }
}
