//! The result of verifying an image.

use alloc::{borrow::ToOwned, format, string::String, string::ToString, vec, vec::Vec};
use core::error::Error;
use core::fmt;
use core::iter::successors;
use core::ops::RangeInclusive;

use serde::Serialize;

use crate::digest::Hex;
use crate::{Algorithm, Certificate, Origin, Revocation, SignatureError};

/// The result of verifying an image or a file. Displayed as one sentence.
///
/// Nobody but this crate can make one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// A signature is valid, and a chain leads from it to a trusted
    /// certificate.
    #[non_exhaustive]
    Good(Good),
    /// The digest of the image is itself in a list of allowed ones.
    #[non_exhaustive]
    Allowed {
        /// The list.
        origin: Origin,
    },
    /// There is no signature, and the digest is in no list.
    #[non_exhaustive]
    Unsigned,
    /// A signature may be valid, but nobody trusted vouches for its key.
    #[non_exhaustive]
    Untrusted {
        /// For each signature, why it does not count.
        reasons: Vec<String>,
    },
    /// The image, or a certificate that signs it, is revoked.
    #[non_exhaustive]
    Revoked {
        /// By what.
        revocation: Revocation,
        /// The subject of the certificate, or `None` for the image itself.
        certificate: Option<String>,
    },
    /// There are signatures, and none is valid.
    #[non_exhaustive]
    Bad {
        /// For each signature, why it does not count.
        reasons: Vec<String>,
    },
}

/// A good signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Good {
    /// The subject of the certificate whose key signed.
    pub signer: String,
    /// From the signer's certificate to the trusted one, which may be the
    /// same.
    pub chain: Vec<CertificateSummary>,
    /// Where the trusted certificate comes from.
    pub anchor: Origin,
    /// The algorithm of the digest that is signed.
    pub algorithm: Algorithm,
    /// That digest, in hexadecimal.
    pub digest: String,
}

/// The facts about a certificate that people want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateSummary {
    /// Whose key it holds.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// When it is valid, in seconds since 1970. `None`: its dates cannot be
    /// read.
    pub validity: Option<RangeInclusive<u64>>,
}

impl Verdict {
    /// Returns whether the image may run where only trusted ones may.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_) | Self::Allowed { .. })
    }

    /// Returns the good signature, if that is the verdict.
    #[must_use]
    pub fn good(&self) -> Option<&Good> {
        match self {
            Self::Good(good) => Some(good),
            _ => None,
        }
    }

    /// Makes one verdict of those on each signature.
    pub(crate) fn combine(
        verified: impl IntoIterator<Item = Result<Good, SignatureError>>,
    ) -> Self {
        let mut found = None;
        let mut reasons = Vec::new();
        let mut untrusted = false;
        for one in verified {
            match one {
                Ok(good) => found = found.or(Some(good)),
                Err(error) => {
                    untrusted |= error.is_untrusted();
                    reasons.push(error.to_string());
                }
            }
        }
        match found {
            Some(good) => Self::Good(good),
            None if untrusted => Self::Untrusted { reasons },
            None => Self::Bad { reasons },
        }
    }

    /// Returns a bad one, for `error` and its causes.
    pub(crate) fn bad(error: &(dyn Error + 'static)) -> Self {
        let causes = successors(Some(error), |&error| error.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Self::Bad {
            reasons: vec![causes.join(": ")],
        }
    }

    /// Returns the verdict, but a bad one for a good one if not everything was
    /// `looked` at: what revokes the image may be left.
    pub(crate) fn unless_in_doubt(self, looked: Result<(), SignatureError>) -> Self {
        match looked {
            Err(error) if self.is_good() => Self::bad(&error),
            _ => self,
        }
    }
}

impl From<&Certificate> for CertificateSummary {
    fn from(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: Hex(certificate.serial()).to_string(),
            fingerprint: certificate.fingerprint(),
            validity: certificate.validity(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(good) => good.fmt(f),
            Self::Allowed { origin } => {
                write!(f, "good: the digest of the image is listed in {origin}")
            }
            Self::Unsigned => f.write_str("unsigned"),
            Self::Untrusted { reasons } => write!(f, "untrusted: {}", numbered(reasons)),
            Self::Revoked {
                revocation,
                certificate: Some(subject),
            } => write!(f, "revoked: the certificate of {subject}: {revocation}"),
            Self::Revoked {
                revocation,
                certificate: None,
            } => write!(f, "revoked: the image: {revocation}"),
            Self::Bad { reasons } => write!(f, "bad signature: {}", numbered(reasons)),
        }
    }
}

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "good: signed by {}", self.signer)?;
        match self.chain.as_slice() {
            [] | [_] => write!(f, ", who is trusted by {}", self.anchor),
            [_, .., last] => write!(
                f,
                ", vouched for by {}, who is trusted by {}",
                last.subject, self.anchor
            ),
        }
    }
}

/// Returns reasons in a row, numbered if there are several.
fn numbered(reasons: &[String]) -> String {
    match reasons {
        [] => "there is no signature of a kind that is known".to_owned(),
        [reason] => reason.clone(),
        reasons => {
            let numbered = (1..).zip(reasons);
            let numbered = numbered.map(|(number, reason)| format!("signature {number}: {reason}"));
            numbered.collect::<Vec<_>>().join("; ")
        }
    }
}
