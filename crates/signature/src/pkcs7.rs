//! PKCS#7 `SignedData` with one signer.
//!
//! Spec: RFC 2315 for images, RFC 5652 (CMS) for appended signatures; the
//! parts used here read the same in both. Left out: BER, which no signing
//! tool writes for images; time stamps and everything else that is not
//! signed; lists of revoked certificates.

use alloc::vec::Vec;
use core::fmt;

use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::algorithm::{Scheme, digest_algorithm, oid};
use crate::attributes::{SignedAttributes, check_unsigned};
use crate::certificate::Certificate;
use crate::digest::Hex;
use crate::error::{missing, too_many, unexpected};
use crate::key::LeastRsa;
use crate::tlv::{Element, Elements};
use crate::{Algorithm, SignatureError};

/// A `SignedData`, read but not verified.
#[derive(Debug)]
pub(crate) struct SignedData<'a> {
    pub(crate) envelope: Envelope<'a>,
    pub(crate) signer: SignerInfo<'a>,
}

/// The parts of a `SignedData`, its signers unread.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) version: u32,
    /// The digests by which readers are to hash the content while they read on.
    pub(crate) digest_algorithms: Element<'a>,
    pub(crate) content_type: ObjectIdentifier,
    /// The bytes that are signed, if they are in here.
    pub(crate) content: Option<Element<'a>>,
    /// Each once.
    pub(crate) certificates: Vec<Certificate>,
    signers: Elements<'a>,
}

/// A `SignerInfo`.
#[derive(Debug)]
pub(crate) struct SignerInfo<'a> {
    pub(crate) version: u32,
    pub(crate) id: SignerId<'a>,
    pub(crate) algorithm: Algorithm,
    pub(crate) attributes: Option<SignedAttributes<'a>>,
    scheme: Scheme,
    signature: &'a [u8],
}

/// The name of the certificate that holds the signer's key.
#[derive(Debug)]
pub(crate) enum SignerId<'a> {
    /// Name and number, as they are encoded.
    IssuerAndSerial {
        issuer: &'a [u8],
        serial: &'a [u8],
    },
    KeyId(&'a [u8]),
}

impl fmt::Display for SignerId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX: usize = 24;
        let (field, bytes) = match self {
            // Behind tag and length. There may be nothing, which is then said.
            Self::IssuerAndSerial { serial, .. } => {
                ("serial number", serial.get(2..).unwrap_or_default())
            }
            Self::KeyId(id) => ("key identifier", *id),
        };
        write!(f, "{field} {}", Hex(bytes.get(..MAX).unwrap_or(bytes))) // or it is shorter
    }
}

impl<'a> SignedData<'a> {
    /// How many certificates a signature may carry. More than the smallest
    /// that there are do not fit into the longest signature that is read.
    pub(crate) const MAX_CERTIFICATES: usize = 256;

    /// Reads a `ContentInfo` that holds `SignedData`.
    ///
    /// Parts that no chain needs are looked at as well: OpenSSL, and so firmware,
    /// accepts no signature in which anything is malformed.
    pub(crate) fn read(info: &Element<'a>) -> Result<Self, SignatureError> {
        let envelope = Envelope::read(info)?;
        let mut signers = envelope.signers.clone();
        let signer = SignerInfo::read(&signers.required("one signer")?)?;
        signers.finish()?;
        check_announced(&envelope.digest_algorithms, signer.algorithm)?;
        Ok(Self { envelope, signer })
    }
}

impl<'a> Envelope<'a> {
    fn read(info: &Element<'a>) -> Result<Self, SignatureError> {
        let mut parts = info.sequence(CONTENT_INFO)?;
        let kind = parts.required("signedData")?.oid("signedData")?;
        if kind != SIGNED_DATA {
            return Err(unexpected(CONTENT_INFO, "signedData", kind));
        }
        let content = explicit(&mut parts, CONTENT_INFO)?;
        parts.finish()?;
        let content = content.ok_or_else(|| missing(CONTENT_INFO, "content"))?;

        let mut parts = content.sequence(SIGNED)?;
        let version = parts.required("a version")?.number("a version")?;
        let digest_algorithms = parts.required("digest algorithms")?;
        let mut encapsulated = parts.required("content")?.sequence(ENCAPSULATED)?;
        let content_type = encapsulated.required("a type")?.oid("a type")?;
        let content = explicit(&mut encapsulated, ENCAPSULATED)?;
        encapsulated.finish()?;
        let certificates = match parts.context(0)? {
            Some(certificates) => read_certificates(&certificates)?,
            None => Vec::new(),
        };
        if let Some(lists) = parts.context(1)? {
            check_revocation_lists(&lists)?;
        }
        let signers = parts.required("signers")?.set(SIGNER)?;
        parts.finish()?;
        Ok(Self {
            version,
            digest_algorithms,
            content_type,
            content,
            certificates,
            signers,
        })
    }
}

/// Returns the certificates of a `SignedData` that nobody signed: a bundle, as
/// `openssl crl2pkcs7` makes it. `None` if somebody did.
pub(crate) fn bundle(info: &Element<'_>) -> Result<Option<Vec<Certificate>>, SignatureError> {
    let mut envelope = Envelope::read(info)?;
    let is_signed = envelope.signers.next()?.is_some();
    Ok((!is_signed).then_some(envelope.certificates))
}

impl<'a> SignerInfo<'a> {
    fn read(info: &Element<'a>) -> Result<Self, SignatureError> {
        let mut parts = info.sequence(SIGNER)?;
        let version = parts.required("a version")?.number("a version")?;
        let id = parts.required("the signer's certificate")?;
        let id = if id.is_context(0, false) {
            SignerId::KeyId(id.content())
        } else {
            let mut parts = id.sequence("issuer and serial number")?;
            let issuer = parts.required("an issuer")?.raw;
            let serial = parts.required("a serial number")?.raw;
            parts.finish()?;
            SignerId::IssuerAndSerial { issuer, serial }
        };
        let algorithm = digest_algorithm(&parts.required("a digest algorithm")?)?;
        let attributes = parts.context(0)?;
        let attributes = attributes
            .as_ref()
            .map(SignedAttributes::read)
            .transpose()?;
        let scheme = Scheme::read(&parts.required("a signature algorithm")?)?;
        let signature = parts.required("a signature")?.octets("a signature")?;
        if let Some(unsigned) = parts.context(1)? {
            check_unsigned(&unsigned)?;
        }
        parts.finish()?;
        Ok(Self {
            version,
            id,
            algorithm,
            attributes,
            scheme,
            signature,
        })
    }

    /// Checks the signature of `content` with the key in `signer`.
    ///
    /// `content_digest` is by [`Self::algorithm`]. With signed attributes it
    /// must be the one among them, and the attributes are what is signed.
    pub(crate) fn verify(
        &self,
        content_digest: &[u8],
        signer: &Certificate,
        least: LeastRsa,
    ) -> Result<(), SignatureError> {
        let signed = match &self.attributes {
            Some(attributes) => {
                if attributes.message_digest != content_digest {
                    let reason = "what is signed is the digest of another content";
                    return Err(SignatureError::wrong_key(&signer.subject(), reason));
                }
                attributes.digest(self.algorithm)
            }
            None => content_digest.to_vec(),
        };
        signer
            .public_key(least)?
            .verify(self.scheme, self.algorithm, &signed, self.signature)
            .map_err(|reason| SignatureError::wrong_key(&signer.subject(), reason))
    }
}

/// Checks that the signer's digest is among those that the front announces:
/// readers that hash while they read rely on it.
fn check_announced(algorithms: &Element<'_>, signer: Algorithm) -> Result<(), SignatureError> {
    let mut algorithms = algorithms.set(SIGNED)?;
    while let Some(algorithm) = algorithms.next()? {
        if digest_algorithm(&algorithm).is_ok_and(|algorithm| algorithm == signer) {
            return Ok(());
        }
    }
    Err(missing(
        SIGNED,
        "the signer's digest algorithm among those of the content",
    ))
}

/// Checks that lists of revoked certificates have the shape of such lists.
/// Firmware does not look at what they revoke.
fn check_revocation_lists(lists: &Element<'_>) -> Result<(), SignatureError> {
    let mut lists = lists.inside(REVOCATION_LISTS)?;
    while let Some(list) = lists.next()? {
        let mut parts = list.sequence(REVOCATION_LISTS)?;
        let mut body = parts.required("a list")?.sequence(REVOCATION_LISTS)?;
        let mut field = body.required("a version or an algorithm")?;
        if field.has(Tag::Integer) {
            field = body.required("an algorithm")?;
        }
        field.sequence(REVOCATION_LISTS)?;
        body.required("an issuer")?.sequence(REVOCATION_LISTS)?;
        body.required("a time")?;
        body.check_rest()?;
        parts.required("an algorithm")?.sequence(REVOCATION_LISTS)?;
        let signature = parts.required("a signature")?;
        signature.tagged(Tag::BitString, "a signature")?;
        parts.finish()?;
    }
    Ok(())
}

/// Returns what the next element, tagged \[0\] EXPLICIT, holds.
fn explicit<'a>(
    parts: &mut Elements<'a>,
    field: &'static str,
) -> Result<Option<Element<'a>>, SignatureError> {
    match parts.context(0)? {
        Some(tagged) => Element::only(field, tagged.content()).map(Some),
        None => Ok(None),
    }
}

fn read_certificates(set: &Element<'_>) -> Result<Vec<Certificate>, SignatureError> {
    let mut elements = set.inside(CERTIFICATES)?;
    let mut certificates: Vec<Certificate> = Vec::new();
    let mut count = 0_usize;
    while let Some(element) = elements.next()? {
        count = count.saturating_add(1);
        if count > SignedData::MAX_CERTIFICATES {
            return Err(too_many(CERTIFICATES, SignedData::MAX_CERTIFICATES));
        }
        let certificate = Certificate::from_der(element.raw)?;
        if certificates.iter().all(|one| one.der() != element.raw) {
            certificates.push(certificate);
        }
    }
    Ok(certificates)
}

const CONTENT_INFO: &str = "PKCS#7 ContentInfo";
const SIGNED: &str = "PKCS#7 SignedData";
const ENCAPSULATED: &str = "content of the signature";
const SIGNER: &str = "PKCS#7 SignerInfo";
const CERTIFICATES: &str = "certificates of the signature";
const REVOCATION_LISTS: &str = "revocation lists of the signature";
const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
