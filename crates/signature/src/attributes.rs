//! Attributes of a PKCS#7 signature: those that are signed in the content's
//! place, and those that nobody signed.
//!
//! Spec: RFC 2315, section 9.2; RFC 5652, sections 5.3 and 11.

use der::asn1::ObjectIdentifier;

use crate::algorithm::oid;
use crate::pkcs7::{missing, unexpected};
use crate::tlv::{Element, Elements};
use crate::{Algorithm, SignatureError};

/// What is signed in the content's place: attributes of it.
#[derive(Debug)]
pub(crate) struct SignedAttributes<'a> {
    /// The whole element, which is hashed with another tag than it has.
    raw: &'a [u8],
    pub(crate) content_type: ObjectIdentifier,
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
                return Err(unexpected(
                    ATTRIBUTES,
                    "each attribute once",
                    kind.to_string(),
                ));
            }
        }
        let content_type = content_type.ok_or_else(|| missing(ATTRIBUTES, "a content type"))?;
        let message_digest =
            message_digest.ok_or_else(|| missing(ATTRIBUTES, "a message digest"))?;
        Ok(Self {
            raw: element.raw,
            content_type: content_type.oid("a content type")?,
            message_digest: message_digest.octets("a message digest")?,
        })
    }

    /// Returns the digest of what is signed: the attributes with the tag of a
    /// SET, not the one that they have here.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Vec<u8> {
        let untagged = self.raw.get(1..).unwrap_or_default();
        algorithm.digest_of_parts(&[&[TAG_SET_OF], untagged])
    }
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
const TAG_SET_OF: u8 = 0x31;
