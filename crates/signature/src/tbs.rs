//! The fields of a certificate that its issuer signs, its `TBSCertificate`.
//!
//! Firmware never reads the version and the dates of a certificate, so that
//! any integer and any text will do for them. Everything else is DER.
//!
//! Spec: RFC 5280, section 4.1.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use der::asn1::{BitString, ContextSpecific, Int};
use der::{Decode, SliceReader, Tag, TagNumber};
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Time;

use crate::SignatureError;
use crate::error::not_der;
use crate::tlv::{Element, Elements};

/// The fields, each as it is needed.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) is_version_1: bool,
    /// Of any length: firmware may revoke a certificate with a long one.
    pub(crate) serial: Int,
    pub(crate) signature: AlgorithmIdentifierOwned,
    pub(crate) issuer: Name,
    /// In seconds since 1970. `None`: the dates cannot be read.
    pub(crate) validity: Option<RangeInclusive<u64>>,
    pub(crate) subject: Name,
    pub(crate) key: SubjectPublicKeyInfoOwned,
    /// In every version, as OpenSSL reads them.
    pub(crate) extensions: Vec<Extension>,
}

impl Fields {
    pub(crate) fn read(body: &Element<'_>) -> Result<Self, SignatureError> {
        let mut fields = body.sequence(FIELD)?;
        let is_version_1 = match fields.context(0)? {
            Some(tagged) => {
                let version = Element::only(FIELD, tagged.content())?;
                let version: Int = decode(&version, "a version")?;
                version.as_bytes() == [0]
            }
            None => true,
        };
        let read = Self {
            is_version_1,
            serial: next(&mut fields, "a serial number")?,
            signature: next(&mut fields, "a signature algorithm")?,
            issuer: next(&mut fields, "an issuer")?,
            validity: validity(&fields.required("dates")?)?,
            subject: next(&mut fields, "a subject")?,
            key: next(&mut fields, "a public key")?,
            extensions: {
                skip_unique_id(&mut fields, 1)?;
                skip_unique_id(&mut fields, 2)?;
                match fields.context(3)? {
                    Some(tagged) => {
                        let extensions = Element::only(FIELD, tagged.content())?;
                        decode(&extensions, "extensions")?
                    }
                    None => Vec::new(),
                }
            },
        };
        fields.finish()?;
        Ok(read)
    }
}

/// Reads two times of a kind that certificates have.
fn validity(dates: &Element<'_>) -> Result<Option<RangeInclusive<u64>>, SignatureError> {
    let mut dates = dates.sequence(FIELD)?;
    let begin = time(&dates.required("a first date")?)?;
    let end = time(&dates.required("a last date")?)?;
    dates.finish()?;
    Ok(begin.zip(end).map(|(begin, end)| begin..=end))
}

/// Returns a time in seconds since 1970; `None` if it cannot be read.
pub(crate) fn time(date: &Element<'_>) -> Result<Option<u64>, SignatureError> {
    if !date.has(Tag::UtcTime) {
        date.tagged(Tag::GeneralizedTime, "a date")?;
    }
    let time = Time::from_der(date.raw).ok();
    Ok(time.map(|time| time.to_unix_duration().as_secs()))
}

/// Steps over the unique identifier with this tag, which nothing uses.
fn skip_unique_id(fields: &mut Elements<'_>, number: u32) -> Result<(), SignatureError> {
    let Some(tagged) = fields.tagged(number, false)? else {
        return Ok(());
    };
    let number = TagNumber(number);
    let id = SliceReader::new(tagged.raw)
        .and_then(|mut reader| ContextSpecific::<BitString>::decode_implicit(&mut reader, number));
    id.map(drop)
        .map_err(|cause| not_der(FIELD, "a unique identifier", &cause))
}

fn next<T>(fields: &mut Elements<'_>, expected: &'static str) -> Result<T, SignatureError>
where
    T: for<'a> Decode<'a, Error = der::Error>,
{
    decode(&fields.required(expected)?, expected)
}

fn decode<T>(element: &Element<'_>, expected: &'static str) -> Result<T, SignatureError>
where
    T: for<'a> Decode<'a, Error = der::Error>,
{
    T::from_der(element.raw).map_err(|cause| not_der(FIELD, expected, &cause))
}

const FIELD: &str = "certificate";

#[cfg(test)]
mod tests {
    use crate::testing::{certificate, wrap};
    use crate::tlv::Element;
    use crate::{Certificate, SignatureError};

    /// Places of the fields in a certificate of version 3 without unique
    /// identifiers.
    const VERSION: usize = 0;
    const SERIAL: usize = 1;
    const VALIDITY: usize = 4;
    const SUBJECT: usize = 5;
    const KEY: usize = 6;

    /// Reads `leaf` with its fields edited.
    fn read(edit: impl FnOnce(&mut Vec<Vec<u8>>)) -> Result<Certificate, SignatureError> {
        let leaf = certificate("leaf");
        let parts = |der: &[u8]| -> Vec<Vec<u8>> {
            let mut parts = Element::only("test", der).unwrap().inside("test").unwrap();
            std::iter::from_fn(|| parts.next().unwrap())
                .map(|part| part.raw.to_vec())
                .collect()
        };
        let mut outer = parts(leaf.der());
        let mut fields = parts(leaf.tbs());
        edit(&mut fields);
        outer[0] = wrap(0x30, &fields.concat());
        Certificate::from_der(&wrap(0x30, &outer.concat()))
    }

    fn refuses(reason: &str, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let error = read(edit).unwrap_err().to_string();
        assert!(error.contains(reason), "expected {reason:?}: {error}");
    }

    fn version(number: &[u8]) -> Vec<u8> {
        wrap(0xa0, &wrap(2, number))
    }

    fn utc(begin: &[u8], end: &[u8]) -> Vec<u8> {
        wrap(0x30, &[wrap(0x17, begin), wrap(0x17, end)].concat())
    }

    #[test]
    fn extensions_count_whatever_the_version() {
        for number in [&[0][..], &[1], &[3], &[0x7f], &[0xff], &[1, 0, 0]] {
            let found = read(|fields| fields[VERSION] = version(number)).unwrap();
            assert_eq!(found.fields().is_version_1, number == [0]);
            assert!(found.extensions().unwrap().key_id.is_some());
        }
        let found = read(|fields| fields[VERSION].clear()).unwrap();
        assert!(found.fields().is_version_1);
        for malformed in [
            wrap(0xa0, b""),
            version(&[]),
            version(&[0, 1]),
            wrap(0xa0, &wrap(4, &[2])),
            wrap(0xa0, &[2, 1, 2, 2, 1, 2]),
        ] {
            refuses("certificate: expected", |fields| {
                fields[VERSION] = malformed;
            });
        }
    }

    #[test]
    fn dates_may_be_unreadable() {
        let unreadable = "its dates cannot be read";
        for (begin, end) in [
            (&b"2001010000Z"[..], &b"4001010000Z"[..]),
            (b"200101000000+0100", b"400101000000+0100"),
            (b"201301000000Z", b"401301000000Z"),
            (b"200101000000Z", b""),
            (b"x", b"400101000000Z"),
        ] {
            let found = read(|fields| fields[VALIDITY] = utc(begin, end)).unwrap();
            assert_eq!(found.validity(), None);
            assert_eq!(found.check_date(2_000_000_000), Err(unreadable));
        }
        let readable = utc(b"200101000000Z", b"400101000000Z");
        let found = read(|fields| fields[VALIDITY] = readable.clone()).unwrap();
        assert_eq!(found.validity(), Some(1_577_836_800..=2_208_988_800));
        assert_eq!(found.check_date(2_000_000_000), Ok(()));
        let time = wrap(0x17, b"200101000000Z");
        for malformed in [
            wrap(0x30, b""),
            wrap(0x30, &time),
            wrap(0x30, &time.repeat(3)),
            wrap(0x30, &wrap(4, b"200101000000Z").repeat(2)),
            wrap(0x31, &time.repeat(2)),
        ] {
            refuses("certificate", |fields| fields[VALIDITY] = malformed);
        }
    }

    #[test]
    fn everything_else_is_der() {
        let id = |tag, content| {
            move |fields: &mut Vec<Vec<u8>>| {
                fields.insert(KEY + 1, wrap(tag, content));
            }
        };
        read(id(0x81, &[0, 1])).unwrap();
        read(id(0x82, &[4, 0x10])).unwrap();
        refuses("a unique identifier", id(0x81, &[]));
        refuses("a unique identifier", id(0x82, &[9, 1]));
        refuses("nothing more", id(0x83, &[0]));
        refuses("nothing more", id(0xa1, &[]));
        refuses("a serial number", |fields| {
            fields[SERIAL] = wrap(2, &[0, 7])
        });
        refuses("a serial number", |fields| fields[SERIAL].clear());
        refuses("nothing more", |fields| fields.push(vec![5, 0]));
        refuses("extensions", |fields| {
            *fields.last_mut().unwrap() = wrap(0xa3, &wrap(0x30, &[5, 0]));
        });
        let long = read(|fields| fields[SERIAL] = wrap(2, &[7; 100])).unwrap();
        assert_eq!(long.serial(), [7; 100]);
        for field in SERIAL..=KEY {
            let error = read(|fields| drop(fields.remove(field)));
            assert!(error.is_err(), "without {field}: {error:?}");
        }
    }

    #[test]
    fn mail_addresses_are_found_in_names_and_beside_them() {
        let name = |oid: &[u8], text: &[u8]| {
            let attribute = wrap(0x30, &[wrap(6, oid), wrap(0x16, text)].concat());
            wrap(0x30, &wrap(0x31, &attribute))
        };
        let mail = name(
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01",
            b"me\x1b@name.example",
        );
        let names = [
            wrap(0x82, b"host.example"),
            wrap(0x81, b"me@beside.example"),
        ];
        let names = wrap(4, &wrap(0x30, &names.concat()));
        let beside = wrap(0x30, &[wrap(6, b"\x55\x1d\x11"), names].concat());
        let beside = wrap(0xa3, &wrap(0x30, &beside));
        let email = |name: Option<&[u8]>, beside: Option<&[u8]>| {
            let found = read(|fields| {
                if let Some(name) = name {
                    fields[SUBJECT] = name.to_vec();
                }
                if let Some(beside) = beside {
                    *fields.last_mut().unwrap() = beside.to_vec();
                }
            });
            found.unwrap().email()
        };
        assert_eq!(email(None, None), None);
        let long = name(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", &[b'x'; 300]);
        assert!(email(Some(&long), None).unwrap().ends_with("xx…"));
        let found = email(Some(&mail), Some(&beside));
        assert_eq!(found.as_deref(), Some("me\u{fffd}@name.example"));
        assert_eq!(
            email(None, Some(&beside)).as_deref(),
            Some("me@beside.example")
        );
    }
}
