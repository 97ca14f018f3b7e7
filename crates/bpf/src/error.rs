//! Why something about BPF is refused, or ended early.

use std::error::Error;
use std::fmt;

use crate::bounds::wide;
use crate::denied::Denied;
use crate::{Place, RopeError};

/// Why an object, its types or a program is refused, or a run ended early.
///
/// Its text says where, what was expected and what was found. A cause below it
/// is its source alone.
#[derive(Debug)]
pub struct BpfError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    place: Option<Place>,
    what: What,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug)]
enum What {
    Text(String),
    Denied(Denied),
    /// A text in guest memory that has no NUL.
    Unterminated(String),
    OutOfMemory {
        asked: u64,
        left: u64,
    },
    /// The bytes of a region cannot be read; [`BpfError::in_region`] says which.
    Unreadable(String),
    /// The host ended the run; the text and the source are those of its error.
    Host(Box<dyn Error + Send + Sync>),
}

impl BpfError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        What::Text(text.into()).into()
    }

    /// The host ends the run.
    pub fn host(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        What::Host(error.into()).into()
    }

    /// [`crate::Meter::insns`] is used up.
    #[must_use]
    pub fn budget() -> Self {
        Self::new("the instruction budget is used up")
    }

    /// `bytes` more than [`crate::Meter::memory`] has were asked for.
    pub(crate) fn out_of_memory(asked: u64, left: u64) -> Self {
        What::OutOfMemory { asked, left }.into()
    }

    /// A text in guest memory does not end where it must.
    pub(crate) fn unterminated(place: &str, max: usize) -> Self {
        let text = format!("the text at {place} has no NUL in its first {max} bytes");
        What::Unterminated(text).into()
    }

    /// Says which region of guest memory it is about, where its bytes cannot be
    /// read.
    pub(crate) fn in_region(mut self, region: &str) -> Self {
        if let What::Unreadable(text) = &mut self.0.what {
            *text = format!("the bytes of {region} cannot be had");
        }
        self
    }

    /// A helper was called with arguments that it does not take.
    pub(crate) fn helper(helper: &str, problem: impl fmt::Display) -> Self {
        Self::new(format!("{helper}: {problem}"))
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
        self.0.what = What::Text(format!("{part}: {}", self.0.what));
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

    /// Returns whether a guest address is to blame, so that a helper or kfunc
    /// answers `-EFAULT` or `-EINVAL`.
    #[must_use]
    pub fn is_bad_address(&self) -> bool {
        matches!(self.0.what, What::Denied(_) | What::Unterminated(_))
    }

    /// Returns whether [`crate::Meter::memory`] is used up.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.0.what, What::OutOfMemory { .. })
    }

    /// Returns whether bytes that the host shows cannot be read. No program may
    /// pass over that.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.0.what, What::Unreadable(_))
    }

    /// Returns the instruction it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
}

impl From<What> for BpfError {
    fn from(what: What) -> Self {
        Self(Box::new(Inner {
            place: None,
            what,
            source: None,
        }))
    }
}

impl From<RopeError> for BpfError {
    fn from(cause: RopeError) -> Self {
        Self::from(What::Unreadable(String::new())).because(cause)
    }
}

impl From<Denied> for BpfError {
    fn from(denied: Denied) -> Self {
        What::Denied(denied).into()
    }
}

impl fmt::Display for BpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{place}: ")?;
        }
        self.0.what.fmt(f)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Unterminated(text) | Self::Unreadable(text) => {
                f.write_str(text)
            }
            Self::Denied(denied) => denied.fmt(f),
            Self::OutOfMemory { asked, left } => write!(
                f,
                "the memory budget is used up: {asked} bytes asked for, {left} left"
            ),
            Self::Host(error) => error.fmt(f),
        }
    }
}

impl Error for BpfError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.what {
            What::Host(error) => error.source(),
            _ => Some(self.0.source.as_deref()?),
        }
    }
}

pub(crate) fn check_count(what: &str, found: usize, limit: usize) -> Result<(), BpfError> {
    if found <= limit {
        return Ok(());
    }
    Err(BpfError::too_many(what, wide(found), wide(limit)))
}
