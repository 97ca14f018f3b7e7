//! The crate's error type.

use std::error::Error;

/// Why a worker could not be started, tied or confined, or why a frame did not
/// get across; a channel is of no more use then.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SandboxError(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Inner {
    kind: Kind,
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Closed,
    TimedOut,
    Other,
}

impl SandboxError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::of(Kind::Other, text, None)
    }

    /// Returns the error of a call that failed while `action` was being done.
    pub(crate) fn failed<E>(action: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |cause| Self::of(Kind::Other, action, Some(cause.into()))
    }

    pub(crate) fn closed() -> Self {
        let text = "the other end of the channel is closed";
        Self::of(Kind::Closed, text, None)
    }

    pub(crate) fn timed_out() -> Self {
        let text = "a frame did not get across the channel before the deadline";
        Self::of(Kind::TimedOut, text, None)
    }

    fn of(
        kind: Kind,
        text: impl Into<String>,
        source: Option<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let text = text.into();
        Self(Box::new(Inner { kind, text, source }))
    }

    /// Returns whether nobody is at the other end of the channel.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.kind == Kind::Closed
    }

    /// Returns whether nothing came, or could be sent, before the deadline.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        self.0.kind == Kind::TimedOut
    }

    /// Returns the text with its cause.
    pub(crate) fn line(&self) -> String {
        match &self.0.source {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}
