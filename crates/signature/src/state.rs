//! The standing of an image or of a signature, in one word.

use core::fmt;

use serde::Serialize;

/// How an image, or one signature of it, stands.
///
/// Of several signatures, the first of these states counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// A signature is valid, and a chain leads from it to a trusted certificate.
    Good,
    /// The digest of the image is itself in a list of allowed ones.
    Allowed,
    /// There is no signature, and the digest is in no list.
    Unsigned,
    /// Nobody verified it.
    Unverified,
    /// A signature may be valid, but nobody trusted vouches for its key.
    Untrusted,
    /// The image, or a certificate that signs it, is revoked.
    Revoked,
    /// A signature is not valid, or is one of other bytes.
    Bad,
    /// A signature is of a kind that does not count: an algorithm or a key that is
    /// not known, or too weak.
    Unsupported,
    /// A signature cannot be read.
    Malformed,
}

impl State {
    /// Returns whether an image may run where only trusted ones may.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::Allowed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Allowed => "allowed",
            Self::Unsigned => "unsigned",
            Self::Unverified => "not verified",
            Self::Untrusted => "untrusted",
            Self::Revoked => "revoked",
            Self::Bad => "bad",
            Self::Unsupported => "unsupported",
            Self::Malformed => "malformed",
        })
    }
}
