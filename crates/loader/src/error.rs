//! The error of this crate, and how layers add to it.

use std::error::Error;
use std::{fmt, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ukexec_boot::BootError;
use ukexec_bpf::RopeError;
use ukexec_kexec::KexecError;
use ukexec_sandbox::SandboxError;
use ukexec_signature::SignatureError;
use ukexec_stub::StubError;
use ukexec_unfold::UnfoldError;

use crate::protocol::line;

/// Why an image was not taken apart or not loaded.
///
/// It prints the text of the outermost layer;
/// [`sentence`](crate::report::failure::sentence) adds those of the causes.
#[derive(Debug)]
pub struct LoaderError(Box<Inner>);

pub(crate) type Result<T, E = LoaderError> = std::result::Result<T, E>;

#[derive(Debug)]
struct Inner {
    /// A text, a text with a cause, or a library's error as it is.
    error: Box<dyn Error + Send + Sync>,
    place: Place,
    plan: Option<Value>,
}

impl LoaderError {
    /// Returns an error that is this text, or that is another error.
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Box::new(Inner {
            error: error.into(),
            place: Place::default(),
            plan: None,
        }))
    }

    /// Returns an error that is `text`, with this as its cause.
    pub(crate) fn context(mut self, text: impl Into<String>) -> Self {
        self.0.error = Box::new(Layer {
            text: text.into(),
            cause: self.0.error,
        });
        self
    }

    /// Adds the report of the dry run that ended so.
    pub(crate) fn with_plan(mut self, plan: Option<Value>) -> Self {
        self.0.plan = plan;
        self
    }

    /// Returns the report for machines of the dry run that the error ended.
    #[must_use]
    pub fn plan(&self) -> Option<&Value> {
        self.0.plan.as_ref()
    }

    /// Returns the place in the image, as far as it is known.
    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// Returns the library's error that this is, or its own text.
    pub(crate) fn inner(&self) -> &(dyn Error + 'static) {
        &*self.0.error
    }
}

/// An error in words, and its place: as a worker sends it, and as documents have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failure {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(deserialize_with = "line::line")]
    pub(crate) message: String,
}

impl Failure {
    /// Returns an error that is about no place.
    pub(crate) fn new(message: String) -> Self {
        let place = Place::default();
        Self { place, message }
    }
}

/// A place in an image, as far as it is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Path of the layer.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) layer: Option<String>,
    /// The stage, from 1.
    pub(crate) stage: Option<u32>,
    /// The hook whose program ran.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) hook: Option<String>,
    /// The instruction in the program.
    pub(crate) insn: Option<u32>,
    /// Bytes into the layer.
    pub(crate) offset: Option<u64>,
}

impl fmt::Display for LoaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl Error for LoaderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error.source()
    }
}

impl From<Failure> for LoaderError {
    fn from(Failure { place, message }: Failure) -> Self {
        let mut error = Self::new(message);
        error.0.place = place;
        error
    }
}

impl From<UnfoldError> for LoaderError {
    fn from(error: UnfoldError) -> Self {
        let place = Place {
            layer: Some(error.layer().to_owned()),
            stage: error.stage(),
            hook: error.hook().map(str::to_owned),
            insn: error.insn(),
            offset: error.offset(),
        };
        let mut error = Self::new(error);
        error.0.place = place;
        error
    }
}

/// Errors that `?` passes on as they are.
macro_rules! pass_on {
    ($($error:ty)*) => {
        $(impl From<$error> for LoaderError {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        })*
    };
}

pass_on! { io::Error serde_json::Error BootError KexecError RopeError SandboxError SignatureError StubError }

/// Adds a text to an error, or stands for a value that is not there.
pub(crate) trait Context<T> {
    /// Returns the value, or an error that is `text` with the cause behind it.
    fn context<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<LoaderError>> Context<T> for Result<T, E> {
    fn context<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().context(text()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context<S: Into<String>>(self, text: impl FnOnce() -> S) -> Result<T> {
        self.ok_or_else(|| LoaderError::new(text().into()))
    }
}

/// The text of a layer, before its cause.
#[derive(Debug)]
struct Layer {
    text: String,
    cause: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
