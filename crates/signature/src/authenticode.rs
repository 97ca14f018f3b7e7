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
use crate::{Algorithm, Digests, SignatureError};

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

/// Returns by which algorithms the signatures say that the image's digest is taken,
/// also those signatures that do not count.
pub(crate) fn algorithms_named(signatures: &[&[u8]]) -> BTreeSet<Algorithm> {
    let named = signatures.iter().filter_map(|one| ImageDigest::find(one));
    named.filter_map(|digest| digest.algorithm().ok()).collect()
}

/// A digest of an image, as somebody signed it: the inside of
/// `SpcIndirectDataContent`.
pub(crate) struct ImageDigest<'a> {
    kind: ObjectIdentifier,
    pub(crate) identifier: Element<'a>,
    pub(crate) digest: &'a [u8],
}

impl<'a> ImageDigest<'a> {
    fn read(content: &Element<'a>) -> Result<Self, SignatureError> {
        let mut parts = content.sequence(CONTENT)?;
        let mut data = parts.required("data")?.sequence(CONTENT)?;
        let kind = data.required("a type")?.oid("a type")?;
        let mut info = parts.required("a digest")?.sequence(CONTENT)?;
        parts.finish()?;
        let identifier = info.required("a digest algorithm")?;
        let digest = info.required("a digest")?.octets("a digest")?;
        info.finish()?;
        Ok(Self {
            kind,
            identifier,
            digest,
        })
    }

    /// Finds the one in a signature, even if anything else is wrong with that.
    pub(crate) fn find(signature: &'a [u8]) -> Option<Self> {
        let mut info = Element::first(SIGNATURE, signature)
            .ok()?
            .sequence(SIGNATURE)
            .ok()?;
        info.next().ok()??;
        let signed = Element::first(SIGNATURE, info.next().ok()??.content()).ok()?;
        let mut parts = signed.sequence(SIGNATURE).ok()?;
        parts.next().ok()??;
        parts.next().ok()??;
        let mut content = parts.next().ok()??.sequence(SIGNATURE).ok()?;
        content.next().ok()??;
        let content = content.context(0).ok()??;
        Self::read(&Element::first(CONTENT, content.content()).ok()?).ok()
    }

    /// Returns the algorithm, also one that is too weak to count.
    pub(crate) fn algorithm(&self) -> Result<Algorithm, SignatureError> {
        known_digest_algorithm(&self.identifier)
    }
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
        let image = ImageDigest::read(&content)?;
        if !PE_IMAGE_DATA.contains(&image.kind) {
            return Err(unexpected(CONTENT, "SPC_PE_IMAGE_DATAOBJ", image.kind));
        }
        let algorithm = digest_algorithm(&image.identifier)?;
        check_one_digest(&signed, algorithm)?;
        Ok(Self {
            content: content.content(),
            signed,
            algorithm,
            digest: image.digest,
        })
    }

    /// Returns whether `digests` are of the image that was signed: its digest is in
    /// the content, and that of the content is among the signed attributes. `None`:
    /// there is none to compare with.
    pub(crate) fn fits(bytes: &'a [u8], digests: &Digests) -> Option<bool> {
        let image = ImageDigest::find(bytes)?;
        let found = digests.get(image.algorithm().ok()?)?;
        let of_content = |signature: &Self| {
            let signer = &signature.signed.signer;
            let attributes = signer.attributes.as_ref();
            let digest = signer.algorithm.digest(signature.content);
            attributes.is_none_or(|attributes| attributes.message_digest == digest)
        };
        Some(found == image.digest && Self::read(bytes).ok().is_none_or(|it| of_content(&it)))
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
