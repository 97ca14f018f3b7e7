//! Files with certificates: PEM, DER, PKCS#7, or EFI signature lists, distinguished
//! by their content.

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

use crate::error::unexpected;
use crate::pkcs7;
use crate::tlv::Element;
use crate::{Certificate, Guid, Origin, SignatureError, SignatureType, Trust};

impl Trust {
    /// Trusts what is in a file: certificates in PEM, DER or PKCS#7, or EFI
    /// signature lists, which may also hold images' digests. `name` is the origin
    /// of what it holds.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the file is none of these, or nothing in it can be
    /// trusted ([`SignatureError::is_no_trust`]); and for any certificate that
    /// cannot be read. Nothing is trusted then.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), SignatureError> {
        let origin = Origin::new(name);
        let mut added = Self::default();
        match Format::of(bytes) {
            Some(Format::Pem) => added.add_pem(&origin, bytes)?,
            Some(Format::Der) => {
                added.add_der(&origin, 1, Kind::of(bytes), without_newline(bytes))?;
            }
            Some(Format::SignatureLists) => added.add_allowed_list(&origin, bytes)?,
            Some(Format::Update) => {
                let found = "a signed update of a variable (EFI_VARIABLE_AUTHENTICATION_2): use \
                             the list it was made of";
                return Err(unexpected(name, ANY_FORMAT, found).no_trust());
            }
            None => return Err(unexpected(name, ANY_FORMAT, "something else").no_trust()),
        }
        if added.is_empty() {
            let notes = added.notes().iter().map(|note| note.text.as_str());
            let notes: Vec<&str> = notes.collect();
            let why = if notes.is_empty() {
                "no entries".to_owned()
            } else {
                notes.join("; ")
            };
            let text = format!("{origin}: nothing in it can be trusted: {why}");
            return Err(SignatureError::new(text).no_trust());
        }
        self.append(added);
        Ok(())
    }

    /// Trusts every certificate between `BEGIN` and `END`; keys and text
    /// beside them are not looked at.
    fn add_pem(&mut self, origin: &Origin, bytes: &[u8]) -> Result<(), SignatureError> {
        for ((kind, block), number) in pem_blocks(bytes).zip(1..) {
            let refuse = |cause: der::pem::Error| {
                SignatureError::new(certificate(origin, number)).because(cause)
            };
            let mut decoder = der::pem::Decoder::new_detect_wrap(block).map_err(refuse)?;
            let mut der = Vec::new();
            decoder.decode_to_end(&mut der).map_err(refuse)?;
            self.add_der(origin, number, kind, &der)?;
        }
        Ok(())
    }

    fn add_der(
        &mut self,
        origin: &Origin,
        number: usize,
        kind: Kind,
        der: &[u8],
    ) -> Result<(), SignatureError> {
        let certificates = kind.certificates(der);
        let certificates = certificates
            .map_err(|cause| SignatureError::new(certificate(origin, number)).because(cause))?;
        let Some(certificates) = certificates else {
            let found = "a PKCS#7 signature with certificates in it";
            return Err(unexpected(origin, "certificates alone", found).no_trust());
        };
        for certificate in certificates {
            self.allow_certificate(certificate, origin);
        }
        Ok(())
    }
}

/// Names a certificate of a file, counted from 1.
fn certificate(origin: &Origin, number: usize) -> String {
    format!("certificate {number} of {origin}")
}

enum Format {
    Pem,
    Der,
    SignatureLists,
    /// `EFI_VARIABLE_AUTHENTICATION_2`.
    Update,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Self> {
        if pem_blocks(bytes).next().is_some() {
            return Some(Self::Pem);
        }
        // An EFI_TIME, dwLength, wRevision, wCertificateType.
        if bytes.get(20..24) == Some(&[0x00, 0x02, 0xf1, 0x0e]) {
            return Some(Self::Update);
        }
        if looks_like_der(bytes) || Certificate::from_der(without_newline(bytes)).is_ok() {
            return Some(Self::Der);
        }
        let (guid, _) = bytes.split_first_chunk()?;
        let specified = SignatureType::from(Guid(*guid)).name();
        specified.map(|_| Self::SignatureLists)
    }
}

/// The kinds of things in DER.
#[derive(Clone, Copy)]
enum Kind {
    Certificate,
    /// A certificate, and behind it the uses that OpenSSL is to trust it for. They
    /// are about TLS and mail, and say nothing here.
    WithUses,
    /// A PKCS#7 `ContentInfo`.
    Bundle,
}

impl Kind {
    fn of(der: &[u8]) -> Self {
        let is_bundle = header(der).is_some_and(|content| content.starts_with(OID_OF_PKCS7));
        if is_bundle {
            Self::Bundle
        } else {
            Self::Certificate
        }
    }

    /// Returns the certificates in `der`, `None` for those of a signature: they
    /// came with what was signed.
    fn certificates(self, der: &[u8]) -> Result<Option<Vec<Certificate>>, SignatureError> {
        Ok(match self {
            Self::Certificate => Some(vec![Certificate::from_der(der)?]),
            Self::WithUses => Some(vec![Certificate::first(der)?]),
            Self::Bundle => pkcs7::bundle(&Element::only("PKCS#7", der)?)?,
        })
    }
}

/// Returns whether `bytes` begin like a certificate of version 3 or a bundle,
/// damaged or not: keys, requests and lists of revoked certificates begin in
/// another way.
fn looks_like_der(bytes: &[u8]) -> bool {
    let Some(content) = header(bytes) else {
        return false;
    };
    content.starts_with(OID_OF_PKCS7)
        || header(content).is_some_and(|body| body.starts_with(VERSION_3))
}

/// Returns `der` without the end of a line behind it, as editors leave one.
fn without_newline(der: &[u8]) -> &[u8] {
    match Element::split_first("DER", der) {
        Ok((first, behind)) if behind.iter().all(u8::is_ascii_whitespace) => first.raw,
        _ => der,
    }
}

/// Returns what follows the tag and length of a SEQUENCE, however long it is.
fn header(der: &[u8]) -> Option<&[u8]> {
    match der {
        [0x30, 0x81, _, content @ ..]
        | [0x30, 0x82, _, _, content @ ..]
        | [0x30, 0x83, _, _, _, content @ ..]
        | [0x30, 0x00..=0x7f, content @ ..] => Some(content),
        _ => None,
    }
}

/// Returns the certificates and bundles in `text`, from `BEGIN` to `END`.
fn pem_blocks(text: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    let mut rest = text;
    core::iter::from_fn(move || {
        loop {
            let (_, begun) = rest.split_at_checked(find(rest, BEGIN)?)?;
            let behind = begun.get(BEGIN.len()..)?;
            let known = LABELS.iter().find(|(label, _)| {
                let end = behind.strip_prefix(label.as_bytes());
                end.is_some_and(|end| end.starts_with(DASHES))
            });
            let Some((label, kind)) = known else {
                rest = behind;
                continue;
            };
            // Without an end it is a damaged certificate, not none.
            let end = [END, label.as_bytes(), DASHES].concat();
            let end = find(begun, &end).map_or(begun.len(), |at| at.saturating_add(end.len()));
            let block;
            (block, rest) = begun.split_at_checked(end)?;
            return Some((*kind, block));
        }
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

const ANY_FORMAT: &str = "certificates (PEM, DER or PKCS#7) or EFI signature lists";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// The labels that OpenSSL reads certificates under.
const LABELS: [(&str, Kind); 6] = [
    ("CERTIFICATE", Kind::Certificate),
    ("X509 CERTIFICATE", Kind::Certificate),
    ("TRUSTED CERTIFICATE", Kind::WithUses),
    ("PKCS7", Kind::Bundle),
    ("PKCS #7 SIGNED DATA", Kind::Bundle),
    ("CMS", Kind::Bundle),
];
/// The object identifier id-signedData, with its tag and length.
const OID_OF_PKCS7: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// `[0] EXPLICIT` around the number 2.
const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use std::error::Error as _;

    const ONE: &[u8] = include_bytes!("../testdata/trust/one.der");
    const TWO: &[u8] = include_bytes!("../testdata/trust/two.der");
    const LISTS: &[u8] = include_bytes!("../testdata/trust/certificates.esl");
    const PEM: &[u8] = include_bytes!("../testdata/trust/certificates.pem");
    const TBS_HASHES: &[u8] = include_bytes!("../testdata/trust/tbs-hashes.esl");
    const UPDATE: &[u8] = include_bytes!("../testdata/trust/update.auth");
    const TRUSTED: &[u8] = include_bytes!("../testdata/trust/trusted.pem");
    const BUNDLE: &[u8] = include_bytes!("../testdata/trust/bundle.p7b");
    const BUNDLE_PEM: &[u8] = include_bytes!("../testdata/trust/bundle.pem");
    const SIGNATURE: &[u8] = include_bytes!("../testdata/trust/signature.p7s");

    fn check(bytes: &[u8], expected: Expect) {
        let mut trust = Trust::default();
        let said = match trust.add_file("keys", bytes) {
            Ok(()) => trust
                .anchors()
                .map(|(certificate, origin)| format!("{origin}: {}\n", certificate.subject()))
                .collect(),
            Err(error) => {
                assert_eq!(trust, Trust::default());
                let cause = error.source().map(|cause| format!(": {cause}"));
                format!("{error}{}", cause.unwrap_or_default())
            }
        };
        expected.assert_eq(&said);
    }

    fn edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    }

    #[test]
    fn reads_every_format() {
        check(
            ONE,
            expect![[r#"
            keys: CN=ukexec test one
        "#]],
        );
        check(
            TWO,
            expect![[r#"
            keys: CN=ukexec test two
        "#]],
        );
        check(
            PEM,
            expect![[r#"
            keys: CN=ukexec test one
            keys: CN=ukexec test two
        "#]],
        );
        check(
            LISTS,
            expect![[r#"
            keys: CN=ukexec test one
            keys: CN=ukexec test two
        "#]],
        );
    }

    #[test]
    fn reads_what_openssl_writes() {
        let one = || {
            expect![[r#"
                keys: CN=ukexec test one
            "#]]
        };
        let both = || {
            expect![[r#"
                keys: CN=ukexec test one
                keys: CN=ukexec test two
            "#]]
        };
        check(TRUSTED, one());
        let relabelled = |from: &[u8], label: &str, to: &str| {
            let text = std::str::from_utf8(from).unwrap();
            assert!(text.contains(label));
            text.replace(label, to).into_bytes()
        };
        check(&relabelled(PEM, "CERTIFICATE", "X509 CERTIFICATE"), both());
        check(
            &relabelled(TRUSTED, "TRUSTED CERTIFICATE", "TRUSTED"),
            expect![
                "keys: expected certificates (PEM, DER or PKCS#7) or EFI signature lists, found something else"
            ],
        );
        check(BUNDLE, both());
        check(BUNDLE_PEM, both());
        check(&relabelled(BUNDLE_PEM, "PKCS7", "CMS"), both());
        check(
            &[&TRUSTED[..TRUSTED.len() - 1], b"\r\n", BUNDLE_PEM].concat(),
            expect![[r#"
            keys: CN=ukexec test one
            keys: CN=ukexec test one
            keys: CN=ukexec test two
        "#]],
        );
    }

    #[test]
    fn der_may_end_like_a_line() {
        for behind in [&b"\n"[..], b"\r\n", b" \n\n"] {
            for der in [ONE, BUNDLE] {
                let bytes = [der, behind].concat();
                let mut trust = Trust::default();
                trust.add_file("keys", &bytes).unwrap();
            }
        }
        check(
            &[ONE, b"\n."].concat(),
            expect![
                "certificate 1 of keys: certificate: expected a certificate (X.509, DER), found something else: trailing data at end of DER message: decoded 381 bytes, 2 bytes remaining at DER byte 381"
            ],
        );
    }

    #[test]
    fn what_else_lies_in_folders_of_keys_is_no_trust() {
        let key = include_bytes!("../testdata/trust/key.der");
        let request = include_bytes!("../testdata/trust/request.der");
        let with_key = include_bytes!("../testdata/trust/key.p12");
        let guid = b"77fa9abd-0359-4d32-bd60-28f4e78f784b\n";
        let others: [&[u8]; 9] = [
            key, request, with_key, guid, b"", b"\n", UPDATE, SIGNATURE, TBS_HASHES,
        ];
        for other in others {
            let error = Trust::default().add_file("other", other).unwrap_err();
            assert!(error.is_no_trust(), "{error}");
        }
        for damaged in [
            &ONE[..ONE.len() - 1],
            &BUNDLE[..100],
            &PEM[..PEM.len() - 40],
            &LISTS[..100],
        ] {
            let error = Trust::default().add_file("damaged", damaged).unwrap_err();
            assert!(!error.is_no_trust(), "{error}");
        }
    }

    #[test]
    fn a_signature_is_not_trusted_for_what_is_in_it() {
        check(
            SIGNATURE,
            expect![
                "keys: expected certificates alone, found a PKCS#7 signature with certificates in it"
            ],
        );
    }

    #[test]
    fn pem_is_read_whatever_ends_its_lines() {
        let text = std::str::from_utf8(PEM).unwrap();
        check(
            text.replace('\n', "\r\n").as_bytes(),
            expect![[r#"
            keys: CN=ukexec test one
            keys: CN=ukexec test two
        "#]],
        );
        check(
            text.trim_end().as_bytes(),
            expect![[r#"
            keys: CN=ukexec test one
            keys: CN=ukexec test two
        "#]],
        );
    }

    #[test]
    fn refuses_what_holds_no_certificates() {
        check(
            b"",
            expect![
                "keys: expected certificates (PEM, DER or PKCS#7) or EFI signature lists, found something else"
            ],
        );
        check(
            b"\x7fELF and more than sixteen bytes",
            expect![
                "keys: expected certificates (PEM, DER or PKCS#7) or EFI signature lists, found something else"
            ],
        );
        check(
            b"-----BEGIN PRIVATE KEY-----\n",
            expect![
                "keys: expected certificates (PEM, DER or PKCS#7) or EFI signature lists, found something else"
            ],
        );
        check(
            &LISTS[..16],
            expect![
                "the EFI signature lists of keys are damaged: EFI_SIGNATURE_LIST at offset 0x0: expected a header of 28 bytes, found 16 bytes; is the list cut off?"
            ],
        );
        check(
            TBS_HASHES,
            expect![
                "keys: nothing in it can be trusted: certificate's hash in the list of EFI_CERT_X509_SHA256_GUID at offset 0x0 passed over: no use is made of it here; certificate's hash in the list of EFI_CERT_X509_SHA384_GUID at offset 0x5c passed over: no use is made of it here"
            ],
        );
        check(
            UPDATE,
            expect![
                "keys: expected certificates (PEM, DER or PKCS#7) or EFI signature lists, found a signed update of a variable (EFI_VARIABLE_AUTHENTICATION_2): use the list it was made of"
            ],
        );
    }

    #[test]
    fn refuses_damaged_certificates() {
        check(
            &ONE[..ONE.len() - 1],
            expect![
                "certificate 1 of keys: certificate: expected a certificate (X.509, DER), found something else: ASN.1 DER message is incomplete: expected 381, actual 380 at DER byte 4"
            ],
        );
        check(
            &edited(PEM, "-----END CERTIFICATE-----", ""),
            expect!["certificate 1 of keys: PEM Base64 error: invalid Base64 encoding"],
        );
        let end = PEM.len() - 27;
        check(
            &PEM[..end],
            expect!["certificate 2 of keys: PEM error in pre-encapsulation boundary"],
        );
        let mut pem = PEM.to_vec();
        pem[end - 40] = b'!';
        check(
            &pem,
            expect!["certificate 2 of keys: PEM Base64 error: invalid Base64 encoding"],
        );
        check(
            &LISTS[..LISTS.len() - 1],
            expect![
                "the EFI signature lists of keys are damaged: SignatureListSize at offset 0x1b9: expected 28 to 423 bytes, which is where the input ends, found 424"
            ],
        );
    }

    #[test]
    fn adds_to_what_is_there() {
        let mut trust = Trust::default();
        trust.add_file("one.der", ONE).unwrap();
        trust.add_file("two.der", TWO).unwrap();
        let origins: Vec<_> = trust
            .anchors()
            .map(|(_, origin)| origin.to_string())
            .collect();
        assert_eq!(origins, ["one.der", "two.der"]);
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes: Vec<u8>) {
            let _added = Trust::default().add_file("any", &bytes);
        }

        #[test]
        fn no_damaged_file_panics(at in 0..PEM.len(), value: u8, cut in 0..PEM.len()) {
            for file in [PEM, ONE, LISTS, TRUSTED, BUNDLE, BUNDLE_PEM] {
                let mut bytes = file.to_vec();
                let len = bytes.len();
                bytes[at % len] = value;
                bytes.truncate(cut % len + 1);
                let _added = Trust::default().add_file("any", &bytes);
            }
        }
    }
}
