//! Text that a terminal can do nothing but show: names and texts come out of
//! images.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde_json::Value;

/// Returns `text` with characters made visible that steer the terminal or are
/// not seen: names and texts come out of images.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_printable(c) || matches!(c, '\n' | '\t'))
}

/// As [`visible`], in one line.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_printable)
}

fn escaped(text: &str, harmless: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.bytes().all(is_plain) || text.chars().all(&harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// Returns whether `byte` is a printable character of ASCII, as most are.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Returns whether `c` is seen as itself: neither control nor format character,
/// no space but the plain one, nothing that readers pass over.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library has the table. Marks that combine are fine behind
    // another character.
    let mut behind = [b'x'; 5];
    let len = 1 + c.encode_utf8(&mut behind[1..]).len();
    let shown = str::from_utf8(&behind[..len]).map(|pair| pair.escape_debug().count());
    shown == Ok(2) && !UNSEEN.iter().any(|range| range.contains(&c))
}

/// Letters and marks without a shape or a width (Unicode's
/// `Default_Ignorable_Code_Point`), as far as they are no format characters.
const UNSEEN: [RangeInclusive<char>; 9] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0100}'..='\u{e01ef}',
];

/// Returns a document as text that is still JSON when it is made [`visible`].
/// JSON itself lets characters behind ASCII stand as they are.
#[must_use]
pub fn json_text(document: &Value) -> String {
    json_visible(&format!("{document:#}\n"))
}

/// Returns a document in one line, as [`json_text`] does.
#[must_use]
pub fn json_line(document: &Value) -> String {
    json_visible(&format!("{document}\n"))
}

/// Returns JSON that is still JSON when it is made [`visible`].
pub(crate) fn json_visible(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    let is_other = |byte: u8| !is_plain(byte) && byte != b'\n';
    let mut rest = document;
    while let Some(at) = rest.bytes().position(is_other) {
        // Every byte in front of it is a character.
        let (plain, others) = rest.split_at(at);
        text.push_str(plain);
        let mut others = others.chars();
        match others.next() {
            Some(c) if !is_printable(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _infallible = write!(text, "\\u{unit:04x}");
                }
            }
            c => text.extend(c),
        }
        rest = others.as_str();
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(visible("a\tb\n"), "a\tb\n");
        assert_eq!(
            visible("\u{1b}]0;x\u{7}\r\u{9b}"),
            "\\u{1b}]0;x\\u{7}\\r\\u{9b}"
        );
    }

    #[test]
    fn what_is_not_seen_does_not_reach_the_terminal() {
        let plain = "Ubuntu 24.04 é e\u{301} 日本語 \u{0928}\u{093f} 🐧 \\ \" ' …";
        assert_eq!(visible(plain), plain);
        assert_eq!(one_line(plain), plain);
        let unseen = [
            '\0',
            '\u{8}',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e0101}',
            '\u{10ffff}',
        ];
        for c in unseen {
            let escape = c.escape_default().to_string();
            assert_eq!(visible(&format!("a{c}b")), format!("a{escape}b"));
            assert_eq!(one_line(&format!("{c}")), escape);
        }
        assert_eq!(one_line("a\tb\nukexec: c\r"), "a\\tb\\nukexec: c\\r");
    }

    #[test]
    fn json_stays_json_without_control_characters() {
        let text = "\u{1b}[0m\u{7f}\u{9b}\u{202e}\u{e0041}\u{feff}";
        let document = serde_json::json!({ "text": text });
        let text = json_text(&document);
        assert_eq!(visible(&text), text);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }
}
