//! A text of a worker: one line, which is short and steers no terminal.

use serde::{Deserialize, Deserializer};

use crate::report::printable::is_printable;

/// Bytes of a line of text, before the mark that it was cut there.
pub(crate) const LINE_MAX: usize = 4 << 10;

/// Returns `text` as one line that a terminal can do nothing but show, cut
/// behind [`LINE_MAX`] bytes.
pub(crate) fn short_line(text: &str) -> String {
    cut(text, LINE_MAX)
}

/// As [`short_line`], cut behind `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let end = line.len();
        if is_printable(c) {
            line.push(c);
        } else {
            line.extend(c.escape_default());
        }
        if line.len() > max {
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

/// Reads a text of a worker as [`short_line`].
pub(crate) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(short_line(&String::deserialize(from)?))
}

/// As [`line()`], of a text that may be absent.
pub(crate) fn some_line<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    Ok(text.as_deref().map(short_line))
}

/// As [`line()`], of several.
pub(crate) fn lines<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let lines: Vec<String> = Vec::deserialize(from)?;
    Ok(lines.iter().map(|line| short_line(line)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_steers_nothing() {
        assert_eq!(short_line("a\tb\n\u{202e}é"), "a\\tb\\n\\u{202e}é");
        for text in [
            "x".repeat(10_000),
            "\u{1b}".repeat(10_000),
            "é".repeat(5_000),
        ] {
            let line = short_line(&text);
            assert!(line.len() <= LINE_MAX + "…".len() && line.ends_with('…'));
            // A line that is cut at one end of the channel stays so at the other.
            assert_eq!(short_line(&line), line);
        }
        let longest = "x".repeat(LINE_MAX);
        assert_eq!(short_line(&longest), longest);
    }
}
