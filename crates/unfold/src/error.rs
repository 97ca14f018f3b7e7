//! Why an unfolding failed, and where.

use std::fmt;

use ukexec_bpf::RopeError;

use crate::ParserInfo;

/// A failed unfolding: where it was, and as [`source`](std::error::Error::source)
/// the [`Cause`].
#[derive(Debug)]
pub struct UnfoldError {
    place: Box<Place>,
    cause: Box<Cause>,
}

/// Where something failed, as far as known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) layer: String,
    pub(crate) stage: Option<u32>,
    pub(crate) parser: Option<ParserInfo>,
    pub(crate) hook: Option<&'static str>,
}

impl Place {
    /// Returns `cause` at this place.
    pub(crate) fn error(&self, cause: impl Into<Cause>) -> UnfoldError {
        UnfoldError {
            place: Box::new(self.clone()),
            cause: Box::new(cause.into()),
        }
    }
}

impl UnfoldError {
    /// Returns the path of the layer, such as `uki.efi > .linux`.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.place.layer
    }

    /// Returns the stage's number, from 1.
    #[must_use]
    pub fn stage(&self) -> Option<u32> {
        self.place.stage
    }

    /// Returns the parser that was chosen or asked.
    #[must_use]
    pub fn parser(&self) -> Option<&ParserInfo> {
        self.place.parser.as_ref()
    }

    /// Returns the hook whose program failed.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.place.hook
    }

    /// Returns the instruction that failed: a slot in its program's code.
    #[must_use]
    pub fn insn(&self) -> Option<u32> {
        self.cause.insn()
    }

    /// Returns the byte of the layer that is wrong.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.cause.offset()
    }

    /// Returns what went wrong.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for UnfoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.layer)?;
        match (self.place.stage, &self.place.parser) {
            (Some(stage), Some(parser)) => write!(f, ": stage {stage} ({parser})")?,
            (Some(stage), None) => write!(f, ": stage {stage}")?,
            (None, Some(parser)) => write!(f, ": parser {parser}")?,
            (None, None) => {}
        }
        match self.place.hook {
            Some(hook) => write!(f, ": hook {hook}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnfoldError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The image or a part of it could not be read.
    #[error("the image cannot be read")]
    Read(#[from] RopeError),
}

impl Cause {
    fn insn(&self) -> Option<u32> {
        None
    }

    fn offset(&self) -> Option<u64> {
        None
    }
}
