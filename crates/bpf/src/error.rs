//! Why something about BPF is refused, or ended early.

use std::error::Error;
use std::fmt;

use crate::bounds::{counted, wide};
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
    /// The calls that are open there, the innermost first.
    callers: Vec<Place>,
    what: What,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug)]
enum What {
    Text(String),
    Denied(Denied),
    /// A text in guest memory, at this address, that has no NUL in so many bytes.
    Unterminated(String, usize),
    OutOfInsns,
    /// A limit, in the host's words.
    Limit(String),
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
        What::OutOfInsns.into()
    }

    /// `bytes` more than [`crate::Meter::memory`] has were asked for.
    pub(crate) fn out_of_memory(asked: u64, left: u64) -> Self {
        What::OutOfMemory { asked, left }.into()
    }

    /// A text in guest memory does not end where it must.
    pub(crate) fn unterminated(address: String, max: usize) -> Self {
        What::Unterminated(address, max).into()
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
        let Inner { place, .. } = &mut *self.0;
        let place = place.take();
        self.0.what = What::Text(format!("{part}: {self}"));
        self.0.place = place;
        self
    }

    /// Says which instruction it is about.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    /// Says which calls are open there, the innermost first.
    pub(crate) fn called_from(mut self, callers: Vec<Place>) -> Self {
        self.0.callers = callers;
        self
    }

    /// Says of a limit that is used up what `text` says: the host knows its name.
    #[must_use]
    pub fn of_limit(mut self, text: String) -> Self {
        self.0.what = What::Limit(text);
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
        matches!(self.0.what, What::Denied(_) | What::Unterminated(..))
    }

    /// Returns whether a limit is used up that has a name, by [`BpfError::of_limit`].
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self.0.what, What::Limit(_))
    }

    /// Returns whether [`crate::Meter::insns`] is used up.
    #[must_use]
    pub fn is_out_of_insns(&self) -> bool {
        matches!(self.0.what, What::OutOfInsns)
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

    /// Returns whether the host ended the run.
    #[must_use]
    pub fn is_from_host(&self) -> bool {
        matches!(self.0.what, What::Host(_))
    }

    /// Returns the instruction it is about, if it is about one.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// Returns the calls that are open at [`BpfError::place`], the innermost
    /// first.
    #[must_use]
    pub fn callers(&self) -> &[Place] {
        &self.0.callers
    }

    /// Returns what is wrong, without the place and the address.
    #[must_use]
    pub fn summary(&self) -> String {
        self.0.what.to_string()
    }

    /// Returns the guest address that is to blame, by name.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        match &self.0.what {
            What::Denied(denied) => denied.address(),
            What::Unterminated(address, _) => Some(address.clone()),
            _ => None,
        }
    }

    /// Returns a fact that explains the summary, such as where a region ends.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match &self.0.what {
            What::Denied(denied) => denied.note(),
            What::OutOfMemory { asked, left } => Some(format!(
                "asked for {}, {left} left",
                counted(*asked, "byte")
            )),
            _ => None,
        }
    }
}

impl From<What> for BpfError {
    fn from(what: What) -> Self {
        Self(Box::new(Inner {
            place: None,
            callers: Vec::new(),
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
        self.0.what.fmt(f)?;
        match (self.address(), self.note()) {
            (Some(address), Some(note)) => write!(f, ": {address}; {note}"),
            (Some(one), None) | (None, Some(one)) => write!(f, ": {one}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Unreadable(text) | Self::Limit(text) => f.write_str(text),
            Self::Denied(denied) => denied.fmt(f),
            Self::Unterminated(_, max) => write!(f, "a text has no NUL in its first {max} bytes"),
            Self::OutOfInsns => f.write_str("the instruction budget is used up"),
            Self::OutOfMemory { .. } => f.write_str("the memory budget is used up"),
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
