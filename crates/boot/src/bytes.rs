//! Fields of a header, read without trusting its length.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use ukexec_pe::ReadAt;

use crate::error::BootError;

/// The first bytes of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the bytes from `at` on; none where they end before it.
    pub(crate) fn from(self, at: usize) -> &'a [u8] {
        self.0.get(at..).unwrap_or_default()
    }

    /// Returns whether `magic` stands at `at`.
    pub(crate) fn has(self, at: usize, magic: &[u8]) -> bool {
        self.from(at).starts_with(magic)
    }

    /// Returns the text at `at` up to a NUL or the end, at most `max` bytes, if
    /// there is any. It is one line that can be shown: bytes that are no UTF-8
    /// are replaced, and control characters are escaped. Bytes with both are no
    /// text.
    pub(crate) fn text(self, at: usize, max: usize) -> Option<String> {
        let bytes = self.from(at);
        let cut = bytes.get(..max).unwrap_or(bytes); // or there are fewer
        // `split` always yields a first part.
        let bytes = cut.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        let mut text = text.trim_end();
        if bytes.len() == max {
            // The limit may cut a character in two.
            text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        }
        let is_replaced = text.contains(char::REPLACEMENT_CHARACTER);
        let is_binary = is_replaced && text.contains(char::is_control);
        (!text.is_empty() && !is_binary).then(|| printable(text))
    }

    pub(crate) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(crate) fn u16(self, at: usize) -> Option<u16> {
        self.from(at).first_chunk().copied().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(self, at: usize) -> Option<u32> {
        self.from(at).first_chunk().copied().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(self, at: usize) -> Option<u64> {
        self.from(at).first_chunk().copied().map(u64::from_le_bytes)
    }

    pub(crate) fn u64_be(self, at: usize) -> Option<u64> {
        self.from(at).first_chunk().copied().map(u64::from_be_bytes)
    }
}

/// Returns `text` with everything escaped that would steer a terminal: control
/// characters, line ends among them, and what turns the direction of writing or
/// cannot be seen.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}'
            )
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Reads the bytes at `at`, at most `max`, fewer where the image ends.
pub(crate) fn read(
    image: &(impl ReadAt + ?Sized),
    at: u64,
    max: usize,
) -> Result<Vec<u8>, BootError> {
    let left = image.len().saturating_sub(at);
    let mut bytes = vec![0; usize::try_from(left).map_or(max, |left| left.min(max))];
    if !bytes.is_empty() {
        let read = image.read_at(at, &mut bytes);
        read.map_err(|cause| BootError::read(at, cause))?;
    }
    Ok(bytes)
}

/// Returns `len` as the type of positions in an image.
pub(crate) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX) // no machine has a wider `usize`
}

/// Every header but those of s390 and ELF segments lies in so many bytes.
pub(crate) const HEAD_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_that_can_be_shown() {
        for (bytes, text) in [
            (&b"6.1 (a@b)\0more"[..], Some("6.1 (a@b)")),
            ("6.1 (jürgen@höst)".as_bytes(), Some("6.1 (jürgen@höst)")),
            // ISO 8859-1.
            (b"6.1 (j\xfcrgen)", Some("6.1 (j\u{fffd}rgen)")),
            (
                b"6.1\x1b[31m\nkernel\t\x7f",
                Some(r"6.1\u{1b}[31m\nkernel\t\u{7f}"),
            ),
            (
                "6.1\u{9b}\u{202e}txt".as_bytes(),
                Some(r"6.1\u{9b}\u{202e}txt"),
            ),
            (b"\x90\x01\xff", None),
            (b"\0", None),
            (b"  ", None),
        ] {
            assert_eq!(Fields(bytes).text(0, 100).as_deref(), text, "{bytes:x?}");
        }
    }

    #[test]
    fn a_limit_may_cut_a_character() {
        assert_eq!(Fields("abcü".as_bytes()).text(0, 4).as_deref(), Some("abc"));
        assert_eq!(Fields(b"abc\xfc").text(0, 4).as_deref(), Some("abc"));
        assert_eq!(Fields(b"abc\xfcd").text(0, 4).as_deref(), Some("abc"));
    }
}
