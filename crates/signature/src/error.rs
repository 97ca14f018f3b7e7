//! Why signatures, certificates and lists of them are refused.

use alloc::{boxed::Box, format, string::String};
use core::error::Error;
use core::fmt;

use crate::{Algorithm, State};

/// Why something that should hold signatures, certificates or lists of them is
/// refused, or why an image cannot be verified. Only
/// [`source`](Error::source) returns the cause.
#[derive(Debug)]
pub struct SignatureError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    /// Empty where the cause says everything.
    text: String,
    cause: Option<Cause>,
}

/// The kinds that somebody asks for.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Other,
    NoTrust,
    Untrusted,
    WrongKey,
    Unsupported,
    Malformed,
}

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

impl SignatureError {
    /// Returns whether a file holds nothing that can be trusted, and need not. Any
    /// other file that is refused should hold some, and is damaged.
    pub fn is_no_trust(&self) -> bool {
        self.0.kind == Kind::NoTrust
    }

    /// Returns the state of a signature that this is the reason against.
    pub(crate) fn state(&self) -> State {
        match self.0.kind {
            Kind::Untrusted => State::Untrusted,
            Kind::Unsupported => State::Unsupported,
            Kind::Malformed => State::Malformed,
            Kind::Other | Kind::NoTrust | Kind::WrongKey => State::Bad,
        }
    }

    /// Returns whether a key was found not to have made a signature.
    pub(crate) fn is_wrong_key(&self) -> bool {
        self.0.kind == Kind::WrongKey
    }

    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind: Kind::Other,
            text: text.into(),
            cause: None,
        }))
    }

    fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds the cause; without a text of its own the error is written as it is.
    pub(crate) fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Makes it one of a file that holds nothing to trust, and need not.
    pub(crate) fn no_trust(self) -> Self {
        self.of_kind(Kind::NoTrust)
    }

    /// Makes it one of a signature that may be valid, but whose signer is not trusted.
    pub(crate) fn untrusted(self) -> Self {
        self.of_kind(Kind::Untrusted)
    }

    /// Makes it one of an algorithm or a key that is not accepted.
    pub(crate) fn unsupported(self) -> Self {
        self.of_kind(Kind::Unsupported)
    }

    /// Makes it one of a signature that cannot be read, unless it says more.
    pub(crate) fn malformed(self) -> Self {
        match self.0.kind {
            Kind::Other => self.of_kind(Kind::Malformed),
            _ => self,
        }
    }

    pub(crate) fn wrong_key(signer: &str, reason: &str) -> Self {
        let text = format!("the signature does not verify with the key of {signer}: {reason}");
        Self::new(text).of_kind(Kind::WrongKey)
    }

    pub(crate) fn reading(at: u64, len: u64, cause: impl Into<Cause>) -> Self {
        let text = format!("reading {len} bytes at {at:#x} failed");
        Self::new(text).because(cause)
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            Some(cause) if self.0.text.is_empty() => cause.fmt(f),
            _ => f.write_str(&self.0.text),
        }
    }
}

impl Error for SignatureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.0.cause.as_deref()?;
        if self.0.text.is_empty() {
            return cause.source();
        }
        Some(cause)
    }
}

pub(crate) fn unexpected(
    field: impl fmt::Display,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> SignatureError {
    SignatureError::new(format!("{field}: expected {expected}, found {found}"))
}

pub(crate) fn missing(field: &str, expected: &str) -> SignatureError {
    unexpected(field, expected, "nothing")
}

/// The bytes of `field` are no DER, or not of the shape that was expected.
pub(crate) fn not_der(field: &str, expected: &str, cause: &der::Error) -> SignatureError {
    unexpected(field, expected, format_args!("something else: {cause}"))
}

/// An algorithm or a key is too weak to mean anything.
pub(crate) fn weak(field: &str, expected: &str, found: impl fmt::Display) -> SignatureError {
    let found = format_args!("{found}, which is too weak to be accepted");
    unexpected(field, expected, found).unsupported()
}

pub(crate) fn too_long(field: &str, limit: usize, found: u64) -> SignatureError {
    unexpected(field, format_args!("at most {limit} bytes"), found)
}

pub(crate) fn too_many(field: &str, limit: usize) -> SignatureError {
    unexpected(field, format_args!("at most {limit}"), "more")
}

pub(crate) fn digest_missing(algorithm: Algorithm) -> SignatureError {
    SignatureError::new(format!(
        "the {algorithm} digest of the image is needed and was not taken"
    ))
}
