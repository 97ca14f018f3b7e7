//! Attributes of a PKCS#7 signature: those that are signed in the content's
//! place, and those that nobody signed.
//!
//! Spec: RFC 2315, section 9.2; RFC 5652, sections 5.3 and 11.

use alloc::vec::Vec;
use der::asn1::ObjectIdentifier;

use crate::algorithm::oid;
use crate::error::{missing, unexpected};
use crate::tbs::time;
use crate::tlv::{Element, Elements};
use crate::{Algorithm, SignatureError};

/// The attributes that are signed in the content's place.
#[derive(Debug)]
pub(crate) struct SignedAttributes<'a> {
    /// Length and content of the element, which is hashed with another tag than
    /// it has.
    untagged: &'a [u8],
    pub(crate) message_digest: &'a [u8],
}

impl<'a> SignedAttributes<'a> {
    pub(crate) fn read(element: &Element<'a>) -> Result<Self, SignatureError> {
        let mut content_type = None;
        let mut message_digest = None;
        let mut attributes = element.inside(ATTRIBUTES)?;
        while let Some(attribute) = attributes.next()? {
            let (kind, mut values) = attribute_parts(&attribute, ATTRIBUTES)?;
            let slot = match kind {
                CONTENT_TYPE => &mut content_type,
                MESSAGE_DIGEST => &mut message_digest,
                _ => {
                    values.check_rest()?;
                    continue;
                }
            };
            let value = values.required("one value")?;
            values.finish()?;
            if slot.replace(value).is_some() {
                return Err(unexpected(ATTRIBUTES, "each attribute once", kind));
            }
        }
        // It may name anything: the content names its own type.
        if let Some(content_type) = content_type {
            content_type.oid("a content type")?;
        }
        let message_digest =
            message_digest.ok_or_else(|| missing(ATTRIBUTES, "a message digest"))?;
        let tag_and_rest = element.raw.split_first();
        let (_, untagged) = tag_and_rest.ok_or_else(|| missing(ATTRIBUTES, "a tag"))?;
        Ok(Self {
            untagged,
            message_digest: message_digest.octets("a message digest")?,
        })
    }

    /// Returns the digest of what is signed: the attributes with the tag of a
    /// SET, not the one that they have here.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Vec<u8> {
        algorithm.digest_of_parts(&[&[TAG_SET_OF], self.untagged])
    }
}

/// Returns when the signer says that he signed, in seconds since 1970.
pub(crate) fn signing_time(attributes: &Element<'_>) -> Option<u64> {
    let value = values(attributes, SIGNING_TIME)?.next().ok()??;
    time(&value).ok()?
}

/// Returns the signatures that lie in attributes which are not signed. Windows looks
/// at them.
pub(crate) fn nested<'a>(attributes: &Element<'a>) -> Option<Elements<'a>> {
    values(attributes, NESTED_SIGNATURE)
}

/// Returns the values of the first attribute of `kind`, if it can be found.
fn values<'a>(attributes: &Element<'a>, kind: ObjectIdentifier) -> Option<Elements<'a>> {
    let mut attributes = attributes.inside(ATTRIBUTES).ok()?;
    while let Some(attribute) = attributes.next().ok()? {
        if let Ok((found, values)) = attribute_parts(&attribute, ATTRIBUTES)
            && found == kind
        {
            return Some(values);
        }
    }
    None
}

/// Splits an attribute into its type and its values.
fn attribute_parts<'a>(
    attribute: &Element<'a>,
    field: &'static str,
) -> Result<(ObjectIdentifier, Elements<'a>), SignatureError> {
    let mut parts = attribute.sequence(field)?;
    let kind = parts.required("a type")?.oid("a type")?;
    let values = parts.required("values")?.set(field)?;
    parts.finish()?;
    Ok((kind, values))
}

/// Checks that attributes which are not signed, and say nothing, have the
/// shape of attributes.
pub(crate) fn check_unsigned(attributes: &Element<'_>) -> Result<(), SignatureError> {
    let mut attributes = attributes.inside(UNSIGNED_ATTRIBUTES)?;
    while let Some(attribute) = attributes.next()? {
        let (_, values) = attribute_parts(&attribute, UNSIGNED_ATTRIBUTES)?;
        values.check_rest()?;
    }
    Ok(())
}

const ATTRIBUTES: &str = "signed attributes";
const UNSIGNED_ATTRIBUTES: &str = "unsigned attributes";
const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = oid("1.2.840.113549.1.9.5");
/// `SPC_NESTED_SIGNATURE_OBJID`.
const NESTED_SIGNATURE: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.4.1");
const TAG_SET_OF: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wrap;

    /// Reads attributes with these values of `contentType` and a digest.
    fn read(content_types: &[&[u8]]) -> Result<Vec<u8>, SignatureError> {
        let attribute = |kind: ObjectIdentifier, values: &[u8]| {
            let kind = wrap(6, kind.as_bytes());
            wrap(0x30, &[kind, wrap(0x31, values)].concat())
        };
        let mut attributes = attribute(MESSAGE_DIGEST, &wrap(4, b"digest"));
        for values in content_types {
            attributes.extend(attribute(CONTENT_TYPE, values));
        }
        let attributes = wrap(0xa0, &attributes);
        let element = Element::only("test", &attributes).unwrap();
        let read = SignedAttributes::read(&element)?;
        Ok(read.message_digest.to_vec())
    }

    #[test]
    fn any_content_type_will_do() {
        let data = wrap(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1]);
        let other = wrap(6, &[0x2a, 3, 4]);
        for content_types in [&[][..], &[&data[..]], &[&other[..]]] {
            assert_eq!(read(content_types).unwrap(), b"digest");
        }
        for (malformed, reason) in [
            (&[&data[..], &data][..], "each attribute once"),
            (&[&data, &other], "each attribute once"),
            (&[&[data.clone(), other.clone()].concat()], "nothing more"),
            (&[b""], "one value"),
            (&[&wrap(12, b"text")], "a content type"),
            (&[&wrap(6, b"")], "a content type"),
        ] {
            let error = read(malformed).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
