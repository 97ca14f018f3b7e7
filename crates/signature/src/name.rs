//! Names of subjects and issuers, in the one form in which they are compared.
//!
//! Spec: RFC 5280, section 7.1, as OpenSSL's `x509_name_canon` does it, which
//! firmware compares names with: text becomes UTF-8, white space at its ends
//! goes, runs of it become one space, and ASCII letters become small.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use der::asn1::Any;
use der::{Encode as _, ErrorKind, Tag, Tagged as _};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RelativeDistinguishedName};

/// A name as it is compared: the encodings of its parts in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanonicalName(Vec<u8>);

impl CanonicalName {
    /// Makes a name comparable.
    ///
    /// # Errors
    ///
    /// Text in it is not in the encoding that its tag says.
    pub(crate) fn new(name: &Name) -> der::Result<Self> {
        let mut encoded = Vec::new();
        for part in name.iter_rdn() {
            let attributes: Vec<_> = part.iter().map(canonical).collect::<der::Result<_>>()?;
            // Makes a set of them again, in the order of their new encodings.
            RelativeDistinguishedName::try_from(attributes)?.encode_to_vec(&mut encoded)?;
        }
        Ok(Self(encoded))
    }

    /// Returns whether this is `base`, or lies below it in the directory.
    pub(crate) fn is_below(&self, base: &Self) -> bool {
        // No encoding of a part starts another: whole parts are compared.
        self.0.starts_with(&base.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns text as UTF-8; `None` if `value` is something else.
///
/// # Errors
///
/// The text is not in the encoding that its tag says.
pub(crate) fn text(value: &Any) -> der::Result<Option<String>> {
    let bytes = value.value();
    let malformed = || der::Error::from(value.tag().value_error());
    match value.tag() {
        Tag::Utf8String => {
            let text = core::str::from_utf8(bytes).map_err(ErrorKind::Utf8)?;
            Ok(Some(text.to_owned()))
        }
        // OpenSSL reads them as Latin-1, whatever may stand in them.
        Tag::PrintableString | Tag::TeletexString | Tag::Ia5String | Tag::VisibleString => {
            Ok(Some(bytes.iter().copied().map(char::from).collect()))
        }
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(malformed());
            }
            let units = units.iter().copied().map(u16::from_be_bytes);
            let text = units.map(|unit| char::from_u32(unit.into()));
            text.collect::<Option<String>>()
                .ok_or_else(malformed)
                .map(Some)
        }
        _ => Ok(None),
    }
}

fn canonical(attribute: &AttributeTypeAndValue) -> der::Result<AttributeTypeAndValue> {
    let Some(text) = text(&attribute.value)? else {
        return Ok(attribute.clone());
    };
    let words = text.split(|c: char| c.is_ascii_whitespace() || c == VERTICAL_TAB);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let text = words.join(" ").to_ascii_lowercase();
    Ok(AttributeTypeAndValue {
        oid: attribute.oid,
        value: Any::new(Tag::Utf8String, text.into_bytes())?,
    })
}

/// White space to C's `isspace`, and not to Rust.
const VERTICAL_TAB: char = '\u{b}';

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use der::Decode as _;
    use x509_cert::name::RdnSequence;

    use super::*;

    /// Returns `CN=value`, with the tag of `value`.
    fn name(tag: Tag, value: &[u8]) -> der::Result<CanonicalName> {
        let mut parts = RdnSequence::from_str("O=x,C=DE").unwrap();
        let attribute = AttributeTypeAndValue {
            oid: crate::algorithm::oid("2.5.4.3"),
            value: Any::new(tag, value).unwrap(),
        };
        parts.push(RelativeDistinguishedName::try_from(vec![attribute]).unwrap());
        CanonicalName::new(&Name::from_der(&parts.to_der()?)?)
    }

    #[test]
    fn the_same_text_is_the_same_name_however_it_is_written() {
        let plain = name(Tag::Utf8String, b"machine owner").unwrap();
        for (tag, value) in [
            (Tag::PrintableString, &b"Machine Owner"[..]),
            (Tag::Ia5String, b"  MACHINE\t \x0b owner\n"),
            (Tag::TeletexString, b"machine owner"),
            (
                Tag::BmpString,
                b"\0M\0a\0c\0h\0i\0n\0e\0 \0 \0o\0w\0n\0e\0r",
            ),
        ] {
            assert_eq!(name(tag, value).unwrap(), plain, "{tag}");
        }
        for (tag, value) in [
            (Tag::Utf8String, &b"machineowner"[..]),
            (Tag::Utf8String, b"machine owner\0"),
            (Tag::NumericString, b"machine owner"),
            (Tag::OctetString, b"machine owner"),
        ] {
            assert_ne!(name(tag, value).unwrap(), plain, "{tag}");
        }
    }

    #[test]
    fn only_ascii_letters_become_small() {
        let latin = name(Tag::TeletexString, b"\xc4").unwrap();
        assert_eq!(latin, name(Tag::Utf8String, "Ä".as_bytes()).unwrap());
        assert_ne!(latin, name(Tag::Utf8String, "ä".as_bytes()).unwrap());
    }

    #[test]
    fn text_in_another_encoding_than_it_says_is_refused() {
        assert!(name(Tag::Utf8String, b"\xff").is_err());
        assert!(name(Tag::BmpString, b"\0").is_err());
        assert!(name(Tag::BmpString, b"\xd8\0").is_err());
    }

    #[test]
    fn names_lie_below_whole_parts_of_others() {
        let of = |text| CanonicalName::new(&Name::from_str(text).unwrap()).unwrap();
        // The last part in this notation is the first in the encoding.
        let name = of("CN=leaf,OU=unit,O=Org");
        for base in ["O=org", "OU=Unit,O=org", "CN=leaf,OU=unit,O=Org"] {
            assert!(name.is_below(&of(base)), "{base}");
        }
        for base in [
            "OU=unit",
            "O=o",
            "CN=le,OU=unit,O=Org",
            "CN=x,CN=leaf,OU=unit,O=Org",
        ] {
            assert!(!name.is_below(&of(base)), "{base}");
        }
        let multiple = of("CN=Leaf+UID=1,O=org");
        assert_eq!(multiple, of("UID=1+CN=leaf,O=org"));
        assert!(!multiple.is_below(&of("CN=leaf,O=org")));
    }
}
