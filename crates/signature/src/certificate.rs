//! X.509 certificates: what a chain needs of them.
//!
//! Spec: RFC 5280. Left out: policies, name constraints, revocation by CRL or
//! OCSP, which firmware does not look at either.

use std::fmt;
use std::ops::RangeInclusive;

use der::asn1::AnyRef;
use der::{Decode as _, Reader as _, SliceReader};
use serde::{Deserialize, Serialize};

use crate::SignatureError;
use crate::digest::{Algorithm, Hex};

/// A certificate that has been read, with the bytes it was read from.
///
/// Equal are certificates whose bytes are equal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

impl Certificate {
    /// The longest certificate that is read, in bytes. Those in use have one
    /// to two thousand.
    pub const MAX_LEN: usize = 16 * 1024;

    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if `der` is too long, or anything but one
    /// certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        if der.len() > Self::MAX_LEN {
            return Err(SignatureError::TooLong {
                field: "certificate",
                limit: Self::MAX_LEN,
                found: der.len(),
            });
        }
        let refuse = |cause| SignatureError::Der {
            field: "certificate",
            expected: "a certificate (X.509, DER)",
            cause,
        };
        let parsed = x509_cert::Certificate::from_der(der).map_err(refuse)?;
        tbs(der).map_err(refuse)?;
        Ok(Self {
            der: der.to_vec(),
            parsed,
        })
    }

    /// Returns the bytes of the certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the bytes that its issuer signed, and that revocation lists
    /// have hashes of: the `TBSCertificate`, with tag and length.
    pub fn tbs(&self) -> &[u8] {
        tbs(&self.der).unwrap_or_default() // was looked at when it was read
    }

    /// Returns the subject's name, for people.
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string()
    }

    /// Returns the issuer's name, for people.
    pub fn issuer(&self) -> String {
        self.parsed.tbs_certificate().issuer().to_string()
    }

    /// Returns the serial number's bytes.
    pub fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// Returns when it is valid, in seconds since 1970.
    pub fn validity(&self) -> RangeInclusive<u64> {
        let validity = self.parsed.tbs_certificate().validity();
        validity.not_before.to_unix_duration().as_secs()
            ..=validity.not_after.to_unix_duration().as_secs()
    }

    /// Returns the SHA-256 of the whole certificate, as tools show it.
    pub fn fingerprint(&self) -> String {
        Hex(&Algorithm::Sha256.digest(&self.der)).to_string()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .field("issuer", &self.issuer())
            .field("fingerprint", &self.fingerprint())
            .finish()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl From<Certificate> for Vec<u8> {
    fn from(certificate: Certificate) -> Self {
        certificate.der
    }
}

impl TryFrom<Vec<u8>> for Certificate {
    type Error = SignatureError;

    fn try_from(der: Vec<u8>) -> Result<Self, SignatureError> {
        Self::from_der(&der)
    }
}

/// Returns the first element of a certificate, as it lies there.
fn tbs(certificate: &[u8]) -> der::Result<&[u8]> {
    let body = AnyRef::from_der(certificate)?;
    SliceReader::new(body.value())?.tlv_bytes()
}
