//! Texts for people, which have an end.

/// A text has at most so many bytes.
const TEXT_MAX: usize = 256;

/// Cuts `text` behind the longest that is kept.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}
