//! Texts with a meaning, and the screen that they meet.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthChar as _;

use crate::report::printable::one_line;

/// The screen that a page is printed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns of a line.
    pub width: usize,
    /// A terminal wraps every line; elsewhere command lines and digests stay one
    /// line each, so that programs find them.
    pub terminal: bool,
    /// Verdicts have colours.
    pub color: bool,
    /// Bars of maps are block characters, not ASCII. Texts are the same either way.
    pub utf8: bool,
}

impl Screen {
    /// No terminal: 100 columns without colours.
    pub const FILE: Self = Self {
        width: 100,
        terminal: false,
        color: false,
        utf8: true,
    };

    /// The terminal that shows the most bytes for a page.
    pub const NARROWEST: Self = Self {
        width: 40,
        terminal: true,
        color: true,
        utf8: true,
    };
}

/// The meaning of a text, which a colour shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Style {
    /// None.
    #[default]
    Plain,
    /// A good verdict.
    Good,
    /// A doubt.
    Warn,
    /// A bad verdict.
    Bad,
    /// A detail, such as a digest.
    Dim,
    /// A title.
    Strong,
}

impl Style {
    /// Returns the parameter of the escape sequence, ECMA-48 section 8.3.117 (SGR).
    pub(super) fn sgr(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Strong => Some(1),
            Self::Dim => Some(2),
            Self::Bad => Some(31),
            Self::Good => Some(32),
            Self::Warn => Some(33),
        }
    }
}

/// Texts in one line, each with a style.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text(pub(super) Vec<(Style, String)>);

impl Text {
    /// Returns `text` in `style`.
    #[must_use]
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// Adds `text` in `style`.
    #[must_use]
    pub fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// Adds `other`.
    #[must_use]
    pub fn append(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Returns a bound on its printed bytes. An escape has at most six for one of the
    /// text. On the narrowest terminal two lines in a row hold more than 20 of them,
    /// with an indent of 20, two switches of colour of 9, and an end each.
    pub(super) fn len_bound(&self) -> usize {
        let spans = self.0.iter();
        spans.map(|(_, text)| 18 + 6 * 5 * text.len()).sum()
    }

    /// Returns its columns.
    pub(super) fn width(&self) -> usize {
        let spans = self.0.iter().map(|(_, text)| one_line(text));
        spans.map(|text| width(&text)).sum()
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self::styled(Style::Plain, text)
    }
}

/// Returns the columns of a text without control characters.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Returns the columns of a character that is printable.
pub(super) fn columns(c: char) -> usize {
    // Only control characters have no width, and none is printable.
    c.width().unwrap_or(0)
}

/// Returns `text` with escapes for what steers a terminal.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    one_line(text)
}
