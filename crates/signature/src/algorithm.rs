//! Algorithm identifiers: which digest, which kind of signature.
//!
//! Spec: RFC 4055 (RSA), RFC 5758 (ECDSA), RFC 8017, appendix A.

use alloc::{borrow::ToOwned, string::String, string::ToString};
use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::Algorithm::{Sha256, Sha384, Sha512};
use crate::error::{self, unexpected};
use crate::tlv::{Element, Elements};
use crate::{Algorithm, SignatureError};

/// How a signature is made, as far as its identifier says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RSASSA-PKCS1-v1_5. Identifiers may name the digest or leave it open.
    RsaPkcs1(Option<Algorithm>),
    /// RSASSA-PSS, with MGF1 over the same digest.
    RsaPss {
        algorithm: Algorithm,
        salt_len: usize,
    },
    /// ECDSA.
    Ecdsa(Option<Algorithm>),
}

impl Scheme {
    /// Reads an `AlgorithmIdentifier`.
    pub(crate) fn read(identifier: &Element<'_>) -> Result<Self, SignatureError> {
        let (oid, parameters) = split(identifier, SIGNATURE)?;
        if oid == RSASSA_PSS {
            return pss(parameters);
        }
        no_parameters(parameters)?;
        if let Some((_, scheme)) = SCHEMES.iter().find(|(known, _)| *known == oid) {
            return Ok(*scheme);
        }
        match WEAK_SCHEMES.iter().find(|(known, _)| *known == oid) {
            Some((_, name)) => Err(weak(SIGNATURE, name)),
            None => {
                let expected = "RSA (PKCS #1 v1.5 or PSS) or ECDSA with SHA-2";
                Err(unexpected(SIGNATURE, expected, oid).unsupported())
            }
        }
    }

    /// Returns the digest that the identifier names.
    pub(crate) fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::RsaPkcs1(algorithm) | Self::Ecdsa(algorithm) => algorithm,
            Self::RsaPss { algorithm, .. } => Some(algorithm),
        }
    }
}

/// Returns the name of the scheme that an `AlgorithmIdentifier` of a signature is
/// of, for people; that of an unknown one is its object identifier.
pub(crate) fn scheme_name(identifier: &Element<'_>) -> Option<String> {
    let (oid, _) = split(identifier, SIGNATURE).ok()?;
    let known = SCHEMES.iter().find(|(known, _)| *known == oid);
    let weak = WEAK_SCHEMES.iter().find(|(known, _)| *known == oid);
    Some(match (known, weak) {
        _ if oid == RSASSA_PSS => "RSASSA-PSS".to_owned(),
        (Some((_, Scheme::Ecdsa(_))), _) => "ECDSA".to_owned(),
        (Some(_), _) => "RSA".to_owned(),
        // It ends in the scheme.
        (None, Some((_, name))) => name.rsplit(' ').next().unwrap_or(name).to_owned(),
        (None, None) => oid.to_string(),
    })
}

/// As [`scheme_name`], of a digest.
pub(crate) fn digest_name(identifier: &Element<'_>) -> Option<String> {
    let (oid, _) = split(identifier, DIGEST).ok()?;
    Some(match (known_digest_algorithm(identifier), oid) {
        (Ok(algorithm), _) => algorithm.to_string(),
        (Err(_), MD5) => "MD5".to_owned(),
        (Err(_), other) => other.to_string(),
    })
}

/// Reads the `AlgorithmIdentifier` of a digest. SHA-1 is refused.
pub(crate) fn digest_algorithm(identifier: &Element<'_>) -> Result<Algorithm, SignatureError> {
    match known_digest_algorithm(identifier)? {
        Algorithm::Sha1 => Err(weak(DIGEST, "SHA-1")),
        algorithm => Ok(algorithm),
    }
}

/// Reads the `AlgorithmIdentifier` of a digest that nothing depends on.
pub(crate) fn known_digest_algorithm(
    identifier: &Element<'_>,
) -> Result<Algorithm, SignatureError> {
    let (oid, parameters) = split(identifier, DIGEST)?;
    no_parameters(parameters)?;
    match oid {
        SHA256 => Ok(Sha256),
        SHA384 => Ok(Sha384),
        SHA512 => Ok(Sha512),
        SHA1 => Ok(Algorithm::Sha1),
        MD5 => Err(weak(DIGEST, "MD5")),
        other => Err(unexpected(DIGEST, SHA_2, other).unsupported()),
    }
}

/// Reads the parameters of RSASSA-PSS. A parameter that is left out means SHA-1.
fn pss(parameters: Option<Element<'_>>) -> Result<Scheme, SignatureError> {
    let mut parameters = match &parameters {
        Some(parameters) => parameters.sequence(PSS)?,
        None => Elements::new(PSS, &[])?,
    };
    let Some(hash) = parameters.context(0)? else {
        return Err(weak(PSS, "SHA-1, by default"));
    };
    let algorithm = digest_algorithm(&Element::only(PSS, hash.content())?)?;
    let Some(mask) = parameters.context(1)? else {
        return Err(weak(PSS, "a mask by SHA-1, by default"));
    };
    let (mask, mask_hash) = split(&Element::only(PSS, mask.content())?, PSS)?;
    let mask_hash = mask_hash.map(|hash| digest_algorithm(&hash)).transpose()?;
    if mask != MGF1 || mask_hash != Some(algorithm) {
        let found = format_args!("{mask} with {mask_hash:?}");
        return Err(unexpected(
            PSS,
            "MGF1 with the digest of the signature",
            found,
        ));
    }
    let salt_len = match parameters.context(2)? {
        Some(salt) => Element::only(PSS, salt.content())?.number("the length of the salt")?,
        None => 20,
    };
    let salt_len = usize::try_from(salt_len)
        .map_err(|_too_long| unexpected(PSS, "a salt that fits memory", salt_len))?;
    if let Some(trailer) = parameters.context(3)? {
        let trailer = Element::only(PSS, trailer.content())?.number("the trailer")?;
        if trailer != 1 {
            return Err(unexpected(PSS, "trailer 1", trailer));
        }
    }
    parameters.finish()?;
    Ok(Scheme::RsaPss {
        algorithm,
        salt_len,
    })
}

/// Checks that parameters are left out, or NULL: both are written.
fn no_parameters(parameters: Option<Element<'_>>) -> Result<(), SignatureError> {
    match parameters {
        Some(parameters) => parameters.tagged(Tag::Null, "no parameters").map(|_| ()),
        None => Ok(()),
    }
}

/// Splits an `AlgorithmIdentifier` into its name and its parameters.
pub(crate) fn split<'a>(
    identifier: &Element<'a>,
    field: &'static str,
) -> Result<(ObjectIdentifier, Option<Element<'a>>), SignatureError> {
    let mut parts = identifier.sequence(field)?;
    let oid = parts.required("an algorithm")?.oid("an algorithm")?;
    let parameters = parts.next()?;
    parts.finish()?;
    Ok((oid, parameters))
}

fn weak(field: &'static str, found: &str) -> SignatureError {
    error::weak(field, SHA_2, found)
}

const SHA_2: &str = "SHA-256, SHA-384 or SHA-512";
const SIGNATURE: &str = "signature algorithm";
const DIGEST: &str = "digest algorithm";
const PSS: &str = "RSASSA-PSS parameters";

pub(crate) const RSA_ENCRYPTION: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
pub(crate) const RSASSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
const MGF1: ObjectIdentifier = oid("1.2.840.113549.1.1.8");
const MD5: ObjectIdentifier = oid("1.2.840.113549.2.5");
const SHA1: ObjectIdentifier = oid("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");

/// Schemes without parameters.
const SCHEMES: [(ObjectIdentifier, Scheme); 8] = [
    (RSA_ENCRYPTION, Scheme::RsaPkcs1(None)),
    (oid("1.2.840.113549.1.1.11"), Scheme::RsaPkcs1(Some(Sha256))),
    (oid("1.2.840.113549.1.1.12"), Scheme::RsaPkcs1(Some(Sha384))),
    (oid("1.2.840.113549.1.1.13"), Scheme::RsaPkcs1(Some(Sha512))),
    (EC_PUBLIC_KEY, Scheme::Ecdsa(None)),
    (oid("1.2.840.10045.4.3.2"), Scheme::Ecdsa(Some(Sha256))),
    (oid("1.2.840.10045.4.3.3"), Scheme::Ecdsa(Some(Sha384))),
    (oid("1.2.840.10045.4.3.4"), Scheme::Ecdsa(Some(Sha512))),
];
const WEAK_SCHEMES: [(ObjectIdentifier, &str); 3] = [
    (oid("1.2.840.113549.1.1.4"), "MD5 with RSA"),
    (oid("1.2.840.113549.1.1.5"), "SHA-1 with RSA"),
    (oid("1.2.840.10045.4.1"), "SHA-1 with ECDSA"),
];

pub(crate) const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}
