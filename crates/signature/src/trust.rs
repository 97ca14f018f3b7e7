//! What is trusted and what is revoked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AlgorithmSet, Certificate, Digests};

/// Where an entry comes from: `db`, `MokListRT`, `trust.pem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin(String);

impl Origin {
    /// Names an origin.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which entry of a revocation list an image or a certificate is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The list.
    pub origin: Origin,
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is in {}", self.origin)
    }
}

/// What is trusted and what is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    allowed: Vec<(Certificate, Origin)>,
    revoked: Vec<(Certificate, Origin)>,
}

impl Trust {
    /// Returns the trusted certificates.
    pub fn anchors(&self) -> impl Iterator<Item = (&Certificate, &Origin)> {
        self.allowed.iter().map(|(one, origin)| (one, origin))
    }

    /// Returns the revoked certificates that are known as a whole. What one of
    /// them issued is revoked as well.
    pub fn revoked_certificates(&self) -> impl Iterator<Item = (&Certificate, &Origin)> {
        self.revoked.iter().map(|(one, origin)| (one, origin))
    }

    /// Returns why `certificate` is revoked, if it is.
    pub fn revokes_certificate(&self, certificate: &Certificate) -> Option<Revocation> {
        let (_, origin) = self
            .revoked_certificates()
            .find(|(revoked, _)| *revoked == certificate)?;
        Some(Revocation {
            origin: origin.clone(),
        })
    }

    /// Returns why an image with these digests is revoked, if it is.
    pub fn revokes_image(&self, _digests: &Digests) -> Option<Revocation> {
        None
    }

    /// Returns what allows an image with these digests without a signature.
    pub fn allows_image(&self, _digests: &Digests) -> Option<Origin> {
        None
    }

    /// Returns which digests the lists of images need.
    pub fn algorithms(&self) -> AlgorithmSet {
        AlgorithmSet::default()
    }
}
