//! Why something about BPF is refused, or ended early.

use std::error::Error;
use std::fmt;

use crate::Place;
use crate::bounds::wide;

/// Why an object, its types or a program is refused, or a run ended early.
///
/// Its text says where, what was expected and what was found. A cause below it
/// is its source alone.
#[derive(Debug)]
pub struct BpfError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    place: Option<Place>,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BpfError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            place: None,
            text: text.into(),
            source: None,
        }))
    }

    /// A field has a value that it may not have.
    pub(crate) fn field(
        part: impl fmt::Display,
        field: &str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self::new(format!(
            "{part}, {field}: expected {expected}, found {found}"
        ))
    }

    /// There is more of something than this crate takes.
    pub(crate) fn too_many(what: &str, found: u64, limit: u64) -> Self {
        Self::new(format!("{what}: {found}, at most {limit} are taken"))
    }

    /// Says which part of the whole it is about, in front of the text.
    pub(crate) fn of(mut self, part: impl fmt::Display) -> Self {
        self.0.text = format!("{part}: {}", self.0.text);
        self
    }

    /// Says which instruction it is about.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    /// Says what caused it.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Returns the instruction it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
}

impl fmt::Display for BpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.text)
    }
}

impl Error for BpfError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.source.as_deref()?)
    }
}

/// Checks a count against its cap.
pub(crate) fn check_count(what: &str, found: usize, limit: usize) -> Result<(), BpfError> {
    if found <= limit {
        return Ok(());
    }
    Err(BpfError::too_many(what, wide(found), wide(limit)))
}
