//! Signatures of images: PKCS#7 around `SpcIndirectDataContent`, which holds the
//! image's digest.
//!
//! Spec: "Windows Authenticode Portable Executable Signature Format".

use alloc::collections::BTreeSet;

use der::asn1::ObjectIdentifier;

use crate::algorithm::{digest_algorithm, known_digest_algorithm, oid};
use crate::error::{missing, unexpected};
use crate::pkcs7::{SignedData, SignerId};
use crate::table::certificate_table;
use crate::tlv::Element;
use crate::{Algorithm, SignatureError};

/// Returns which digests of the image its signatures need. One that
/// cannot be read needs none; its verdict says what is wrong with it.
pub(crate) fn algorithms_of(table: &[u8]) -> BTreeSet<Algorithm> {
    certificate_table(table)
        .into_iter()
        .flatten()
        .filter_map(|signature| ImageSignature::read(signature).ok())
        .map(|signature| signature.algorithm)
        .collect()
}

/// A signature of an image, read but not verified.
pub(crate) struct ImageSignature<'a> {
    pub(crate) signed: SignedData<'a>,
    /// The bytes that are signed: the inside of `SpcIndirectDataContent`.
    pub(crate) content: &'a [u8],
    pub(crate) algorithm: Algorithm,
    /// The digest of the image, as it was when it was signed.
    pub(crate) digest: &'a [u8],
}

impl<'a> ImageSignature<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, SignatureError> {
        // Firmware does not look at what follows, and neither does its hash.
        let signed = SignedData::read(&Element::first(SIGNATURE, bytes)?)?;
        check_form(&signed)?;
        let content = signed.envelope.content;
        let content = content.ok_or_else(|| missing(CONTENT, "the content"))?;
        let mut parts = content.sequence(CONTENT)?;
        let mut data = parts.required("data")?.sequence(CONTENT)?;
        let kind = data.required("a type")?.oid("a type")?;
        if !PE_IMAGE_DATA.contains(&kind) {
            return Err(unexpected(CONTENT, "SPC_PE_IMAGE_DATAOBJ", kind));
        }
        let mut info = parts.required("a digest")?.sequence(CONTENT)?;
        parts.finish()?;
        let algorithm = digest_algorithm(&info.required("a digest algorithm")?)?;
        let digest = info.required("a digest")?.octets("a digest")?;
        info.finish()?;
        check_one_digest(&signed, algorithm)?;
        Ok(Self {
            content: content.content(),
            signed,
            algorithm,
            digest,
        })
    }
}

/// Checks that `signed` has the form of an image's signature. Versions say
/// nothing: PKCS#7 has 1 here, CMS has 3, and firmware looks at neither.
fn check_form(signed: &SignedData<'_>) -> Result<(), SignatureError> {
    if signed.envelope.content_type != INDIRECT_DATA {
        return Err(unexpected(
            "content of the signature",
            "Authenticode's SpcIndirectDataContent",
            signed.envelope.content_type,
        ));
    }
    if let SignerId::KeyId(_) = signed.signer.id {
        let expected = "a signer named by issuer and serial number";
        let found = "one named by a key's identifier";
        return Err(unexpected(SIGNATURE, expected, found));
    }
    if signed.signer.attributes.is_none() {
        return Err(missing(SIGNATURE, "signed attributes"));
    }
    Ok(())
}

/// Checks that the image, its signature's content and what the signature
/// announces are hashed in one way. Firmware takes the image's digest by the
/// first algorithm that is announced, and compares it with the one signed.
fn check_one_digest(signed: &SignedData<'_>, image: Algorithm) -> Result<(), SignatureError> {
    let mut announced = signed.envelope.digest_algorithms.set(SIGNATURE)?;
    let first = digest_algorithm(&announced.required("a digest algorithm")?)?;
    let signer = signed.signer.algorithm;
    if image != signer || image != first {
        return Err(unexpected(
            SIGNATURE,
            "one digest algorithm for the image, for its signer and first among those announced",
            format_args!("{image}, {signer} and {first}"),
        ));
    }
    // OpenSSL hashes by all of them, and refuses one that it does not know.
    while let Some(other) = announced.next()? {
        known_digest_algorithm(&other)?;
    }
    Ok(())
}

const SIGNATURE: &str = "Authenticode signature";
const CONTENT: &str = "SpcIndirectDataContent";
const INDIRECT_DATA: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.1.4");
/// The types of data that the content may name. pesign before 0.113 wrote the
/// second, which names a purpose of keys; Linux accepts it on purpose.
const PE_IMAGE_DATA: [ObjectIdentifier; 2] =
    [oid("1.3.6.1.4.1.311.2.1.15"), oid("1.3.6.1.4.1.311.2.1.21")];
