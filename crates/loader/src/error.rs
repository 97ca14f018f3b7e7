//! The error of this crate, and how layers add to it.

use std::error::Error;
use std::{fmt, io, iter};

use serde::{Deserialize, Serialize};
use ukexec_boot::BootError;
use ukexec_bpf::{BpfError, RopeError};
use ukexec_kexec::{KexecError, KexecErrorKind};
use ukexec_layout::LayoutError;
use ukexec_sandbox::SandboxError;
use ukexec_signature::SignatureError;
use ukexec_stub::StubError;
use ukexec_unfold::UnfoldError;

use crate::protocol::line;
use crate::report::Findings;

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
    kind: ErrorKind,
    place: Place,
    /// A fact that helps to mend it.
    note: Option<String>,
    report: Option<Box<Findings>>,
}

/// The kind of an error, on which the exit code depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Anything else, such as a mistake of the caller.
    #[default]
    Failed,
    /// A file or a folder that cannot be opened, read or written.
    File,
    /// An image that does not have the form that it claims, or that no parser takes
    /// apart.
    Format,
    /// A limit of one unfolding.
    Budget,
    /// This machine cannot: it lacks a call, a right, or room.
    Machine,
    /// A signature or a revocation.
    Signature,
}

impl LoaderError {
    /// Returns an error that is this text, or that is another error.
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Box::new(Inner {
            error: error.into(),
            kind: ErrorKind::default(),
            place: Place::default(),
            note: None,
            report: None,
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

    /// Returns it with a kind.
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds a fact that helps to mend it.
    pub(crate) fn with_note(mut self, note: String) -> Self {
        self.0.note = Some(note);
        self
    }

    /// Returns that fact.
    pub(crate) fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// Takes away what people read of the image: the error is what there is to say.
    pub(crate) fn without_page(mut self) -> Self {
        let report = self.0.report.take();
        self.0.report = report.filter(|it| matches!(**it, Findings::Document(_)));
        self
    }

    /// Adds what was known of the image when it happened.
    #[must_use]
    pub fn with_report(mut self, report: Option<Findings>) -> Self {
        self.0.report = report.map(Box::new);
        self
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns what was known of the image when it happened.
    #[must_use]
    pub fn report(&self) -> Option<&Findings> {
        self.0.report.as_deref()
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
    pub(crate) kind: ErrorKind,
    #[serde(deserialize_with = "line::line")]
    pub(crate) message: String,
    /// The name of the system's answer, such as `ENOSYS`.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) errno: Option<String>,
    pub(crate) place: Place,
    /// Of a parser: what is wrong, without the place.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) summary: Option<String>,
    /// Of a parser: the address and what is there, open calls, calls that failed
    /// before, and lines that it printed.
    #[serde(deserialize_with = "line::lines")]
    pub(crate) notes: Vec<String>,
}

impl Failure {
    /// Returns an error that is about no place.
    pub(crate) fn new(message: String) -> Self {
        Self {
            message,
            ..Self::default()
        }
    }

    /// Says which of several parts it is about.
    #[must_use]
    pub fn of_part(mut self, part: &str) -> Self {
        self.message = format!("{part}: {}", self.message);
        self.summary = self.summary.map(|summary| format!("{part}: {summary}"));
        self
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
    /// The parser, and where it is from.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) parser: Option<String>,
    /// The hook whose program ran.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) hook: Option<String>,
    /// The program, and the function in it.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) program: Option<String>,
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) function: Option<String>,
    /// The instruction in the program.
    pub(crate) insn: Option<u32>,
    /// The source line that it is from, by the object's own records.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) source: Option<String>,
    /// The guest address to blame, by name.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) address: Option<String>,
    /// Bytes into the layer.
    pub(crate) offset: Option<u64>,
}

impl Place {
    /// Returns the place of an instruction.
    pub(crate) fn in_code(place: &ukexec_bpf::Place) -> Self {
        let line = place.line.as_ref();
        let linked = place.section.is_none();
        Self {
            program: place.program.clone(),
            function: Some(place.function.clone()),
            // One in a section of an object is in no program yet.
            insn: linked.then_some(place.slot),
            file: line.map(|line| line.file.to_string()),
            line: line.map(|line| line.line),
            source: line.map(|line| line.text.to_string()),
            ..Self::default()
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Its message names the causes already.
impl Error for Failure {}

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

impl From<Box<Failure>> for LoaderError {
    fn from(failure: Box<Failure>) -> Self {
        let (kind, place) = (failure.kind, failure.place.clone());
        let mut error = Self::new(*failure).of_kind(kind);
        error.0.place = place;
        error
    }
}

impl From<UnfoldError> for LoaderError {
    fn from(error: UnfoldError) -> Self {
        let fault = error.fault();
        let place = Place {
            layer: Some(error.layer().to_owned()),
            stage: error.stage(),
            parser: error
                .parser()
                .map(|parser| format!("{} ({})", parser.full_name(), parser.origin)),
            hook: error.hook().map(str::to_owned),
            offset: error.offset(),
            address: fault.and_then(BpfError::address),
            ..fault
                .and_then(BpfError::place)
                .map(Place::in_code)
                .unwrap_or_default()
        };
        let causes = || iter::successors(error.source(), |&cause| cause.source());
        // A layer that the loader itself does not let in.
        let refusal = causes().find_map(|cause| cause.downcast_ref().map(Self::kind));
        let kind = match refusal {
            Some(refusal) => refusal,
            None if error.is_limit() => ErrorKind::Budget,
            // It would not be what was signed.
            None if error.is_forbidden() => ErrorKind::Signature,
            // Bytes that could not be read, or written.
            None if causes().any(|cause| cause.is::<io::Error>()) => ErrorKind::File,
            None => ErrorKind::Format,
        };
        let mut error = Self::new(error).of_kind(kind);
        error.0.place = place;
        error
    }
}

/// Errors that `?` passes on as they are.
macro_rules! pass_on {
    ($($kind:ident: $($error:ty)*,)*) => {
        $($(impl From<$error> for LoaderError {
            fn from(error: $error) -> Self {
                Self::new(error).of_kind(ErrorKind::$kind)
            }
        })*)*
    };
}

pass_on! {
    Failed: serde_json::Error SandboxError,
    File: io::Error RopeError,
    Format: BootError SignatureError StubError,
    Machine: LayoutError,
}

impl From<KexecError> for LoaderError {
    fn from(error: KexecError) -> Self {
        let kind = error.kind().into();
        Self::new(error).of_kind(kind)
    }
}

impl From<KexecErrorKind> for ErrorKind {
    fn from(kind: KexecErrorKind) -> Self {
        match kind {
            KexecErrorKind::Failed => Self::Failed,
            KexecErrorKind::Signature => Self::Signature,
            KexecErrorKind::Machine => Self::Machine,
        }
    }
}

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
