//! X.509 certificates, as far as a chain needs them.
//!
//! Spec: RFC 5280.

use alloc::{borrow::ToOwned, format, string::String, string::ToString, vec::Vec};
use core::fmt::{self, Write as _};
use core::ops::RangeInclusive;

use der::asn1::{AnyRef, BitString, ObjectIdentifier};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::SignatureError;
use crate::algorithm::{Scheme, oid};
use crate::digest::{Algorithm, Hex};
use crate::error::{not_der, unexpected};
use crate::extensions::{Extensions, Standing, first_email};
use crate::key::{LeastRsa, PublicKey, key_size};
use crate::name::{CanonicalName, text};
use crate::pkcs7::SignerId;
use crate::tbs::Fields;
use crate::tlv::{Element, Elements};

/// A certificate that has been read, with the bytes it was read from.
///
/// Equal are certificates whose bytes are equal. To say which certificate it
/// is, take [`Certificate::tbs`]: anyone can change the other bytes, the
/// issuer's signature among them, and have one that is still valid.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    fields: Fields,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
    subject: CanonicalName,
    issuer: CanonicalName,
    /// Or that they are malformed.
    extensions: Result<Extensions, &'static str>,
}

impl Certificate {
    /// Reads the certificate that `bytes` begin with, as firmware reads what
    /// its lists hold: anything may lie behind it.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if there is no certificate.
    pub(crate) fn first(bytes: &[u8]) -> Result<Self, SignatureError> {
        Self::from_der(Element::first(CERTIFICATE, bytes)?.raw)
    }

    /// Reads a certificate. The caller bounds the length of the bytes.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if `der` is anything but one certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        let refuse = |cause| not_der(CERTIFICATE, "a certificate (X.509, DER)", &cause);
        let whole = AnyRef::from_der(der).map_err(refuse)?;
        let is_sequence = whole.tag().assert_eq(Tag::Sequence);
        is_sequence.map_err(refuse)?;
        let mut parts = Elements::new(CERTIFICATE, whole.value())?;
        let signed = parts.required("what is signed")?;
        let fields = Fields::read(&signed)?;
        let algorithm = parts.required("a signature algorithm")?;
        let signature = parts.required("a signature")?;
        parts.finish()?;
        let subject = CanonicalName::new(&fields.subject).map_err(refuse)?;
        let issuer = CanonicalName::new(&fields.issuer).map_err(refuse)?;
        Ok(Self {
            der: der.to_vec(),
            tbs: signed.raw.to_vec(),
            signature_algorithm: AlgorithmIdentifierOwned::from_der(algorithm.raw)
                .map_err(refuse)?,
            signature: BitString::from_der(signature.raw).map_err(refuse)?,
            extensions: Extensions::read(&fields.extensions, &fields.subject, &subject),
            subject,
            issuer,
            fields,
        })
    }

    /// Returns the bytes of the certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the bytes that its issuer signed, and that revocation lists
    /// have hashes of: the `TBSCertificate`, with tag and length.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// Returns the subject's name, for people: on one line, and not long.
    pub(crate) fn subject(&self) -> String {
        shown(&self.fields.subject)
    }

    /// Returns the issuer's name, for people.
    pub(crate) fn issuer(&self) -> String {
        shown(&self.fields.issuer)
    }

    /// Returns the first mail address of the subject, for people: in its name, or
    /// else in its alternative names.
    pub(crate) fn email(&self) -> Option<String> {
        let attributes = self.fields.subject.iter_rdn().flat_map(|part| part.iter());
        let mut of_name = attributes.filter(|one| one.oid == EMAIL_ADDRESS);
        let of_name = of_name.find_map(|one| text(&one.value).ok().flatten());
        let email = of_name.or_else(|| first_email(&self.fields.extensions))?;
        Some(on_one_line(&email))
    }

    /// Returns the size of the key or the name of its curve, for people.
    pub(crate) fn key_size(&self) -> Option<String> {
        key_size(&self.fields.key)
    }

    /// Returns the serial number's bytes.
    pub(crate) fn serial(&self) -> &[u8] {
        self.fields.serial.as_bytes()
    }

    /// Returns when it is valid, in seconds since 1970; `None` if its dates
    /// cannot be read.
    pub(crate) fn validity(&self) -> Option<RangeInclusive<u64>> {
        self.fields.validity.clone()
    }

    /// Returns the SHA-256 of the whole certificate, as tools show it.
    pub(crate) fn fingerprint(&self) -> String {
        Hex(&Algorithm::Sha256.digest(&self.der)).to_string()
    }

    /// Returns whether a signature names this certificate as its signer's.
    pub(crate) fn is(&self, id: &SignerId<'_>) -> bool {
        match id {
            SignerId::IssuerAndSerial { issuer, serial } => {
                self.issuer_and_serial().ok() == Some((issuer, serial))
            }
            SignerId::KeyId(id) => self.key_id() == Some(id),
        }
    }

    /// Returns two fields as they are encoded.
    fn issuer_and_serial(&self) -> Result<(&[u8], &[u8]), SignatureError> {
        let mut fields = Element::only(CERTIFICATE, self.tbs())?.sequence(CERTIFICATE)?;
        fields.context(0)?; // the version
        let serial = fields.required("a serial number")?;
        fields.required("a signature algorithm")?;
        let issuer = fields.required("an issuer")?;
        Ok((issuer.raw, serial.raw))
    }

    /// Returns the key that its subject signs with, if it is not too weak.
    pub(crate) fn public_key(&self, least: LeastRsa) -> Result<PublicKey, SignatureError> {
        PublicKey::read(&self.fields.key, least)
    }

    /// Returns whether this is issued by the subject of `issuer`, as far as
    /// names say.
    pub(crate) fn names(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
    }

    /// Returns whether it names itself as its issuer.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.names(self)
    }

    /// Checks that the key in `issuer` signed this.
    pub(crate) fn verify(&self, issuer: &Self, least: LeastRsa) -> Result<(), SignatureError> {
        let identifier = &self.signature_algorithm;
        if *identifier != self.fields.signature {
            let expected = "the same signature algorithm inside and outside";
            return Err(unexpected(CERTIFICATE, expected, identifier.oid));
        }
        let identifier = identifier.to_der();
        let identifier =
            identifier.map_err(|cause| not_der(CERTIFICATE, "a signature algorithm", &cause))?;
        let scheme = Scheme::read(&Element::only(CERTIFICATE, &identifier)?)?;
        let Some(algorithm) = scheme.algorithm() else {
            let expected = "a signature algorithm with a digest";
            return Err(unexpected(CERTIFICATE, expected, "one without"));
        };
        // Bits that are no whole bytes are read as none: no key signed that.
        let signature = self.signature.as_bytes().unwrap_or_default();
        let verified = issuer.public_key(least)?.verify(
            scheme,
            algorithm,
            &algorithm.digest(self.tbs()),
            signature,
        );
        verified.map_err(|reason| SignatureError::wrong_key(&issuer.subject(), reason))
    }

    /// Checks that this may issue certificates, with `below` other issuers
    /// between it and the signer.
    pub(crate) fn check_may_issue(
        &self,
        below: usize,
        is_trusted: bool,
    ) -> Result<(), &'static str> {
        let standing = match is_trusted {
            true if self.fields.is_version_1 && self.is_self_issued() => {
                Standing::TrustedVersion1Root
            }
            true => Standing::Trusted,
            false => Standing::Untrusted,
        };
        let extensions = self.extensions()?;
        extensions.check_may_issue(below, standing)?;
        extensions.check()
    }

    /// Checks that its extensions leave `issuer` the one that issued it: there
    /// may be several certificates with the same name and key.
    pub(crate) fn check_authority(&self, issuer: &Self) -> Result<(), &'static str> {
        let (key_id, serial) = (issuer.key_id(), issuer.serial());
        let extensions = self.extensions()?;
        if !extensions.may_be_issued_by(key_id, &issuer.issuer, serial) {
            return Err("its authority key identifier names another certificate than the issuer's");
        }
        Ok(())
    }

    /// Returns whether OpenSSL takes `issuer` for the one that issued this,
    /// which it says before it verifies any signature.
    pub(crate) fn seems_issued_by(&self, issuer: &Self) -> bool {
        let may_sign = |extensions: &Extensions| extensions.may_sign_certificates();
        self.names(issuer)
            && self.check_authority(issuer).is_ok()
            && issuer.extensions().is_ok_and(may_sign)
    }

    /// Returns whether OpenSSL takes this for a certificate that signed itself.
    pub(crate) fn seems_self_signed(&self) -> bool {
        self.is_self_issued() && self.check_authority(self).is_ok()
    }

    /// Returns its extensions.
    ///
    /// # Errors
    ///
    /// One of them is malformed; in words.
    pub(crate) fn extensions(&self) -> Result<&Extensions, &'static str> {
        self.extensions.as_ref().map_err(|reason| *reason)
    }

    fn key_id(&self) -> Option<&[u8]> {
        self.extensions().ok()?.key_id.as_deref()
    }

    /// Checks that it is valid at `now`, in seconds since 1970.
    pub(crate) fn check_date(&self, now: u64) -> Result<(), &'static str> {
        match &self.fields.validity {
            None => Err("its dates cannot be read"),
            Some(validity) if now < *validity.start() => Err("it is not valid yet"),
            Some(validity) if now > *validity.end() => Err("it has expired"),
            Some(_) => Ok(()),
        }
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

/// Returns the name that `der` is, for people.
pub(crate) fn shown_name(der: &[u8]) -> Option<String> {
    Name::from_der(der).ok().map(|name| shown(&name))
}

/// Writes a name for people.
fn shown(name: &Name) -> String {
    let mut text = String::new();
    if write!(text, "{name}").is_err() || text.is_empty() {
        return "a certificate without a name".to_owned();
    }
    on_one_line(&text)
}

/// Writes a text for people. It may come from anyone: control characters
/// would play with terminals, and length with patience.
fn on_one_line(text: &str) -> String {
    const MAX: usize = 200;
    let mut chars = text.chars();
    let text: String = chars.by_ref().take(MAX).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{}{more}", text.replace(char::is_control, "\u{fffd}"))
}

/// `emailAddress` of PKCS#9.
const EMAIL_ADDRESS: ObjectIdentifier = oid("1.2.840.113549.1.9.1");

const CERTIFICATE: &str = "certificate";

#[cfg(test)]
impl Certificate {
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns it with the second ECDSA signature of its issuer's that anybody
    /// can make out of the first: of `r` and `n - s`.
    pub(crate) fn with_other_ecdsa_signature(&self) -> Self {
        use crate::testing::wrap;
        let signature = self.signature.as_bytes().unwrap();
        let signature = p256::ecdsa::Signature::from_der(signature).unwrap();
        let (r, s) = signature.split_scalars();
        let other = p256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
        let other = [&[0], other.to_der().as_bytes()].concat();
        let algorithm = self.signature_algorithm.to_der().unwrap();
        let parts = [self.tbs(), &algorithm, &wrap(3, &other)].concat();
        Self::from_der(&wrap(0x30, &parts)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::certificate;

    fn check(edit: impl FnOnce(&mut Vec<u8>), expected: &Expect) {
        let mut der = certificate("leaf").der().to_vec();
        edit(&mut der);
        let text = match Certificate::from_der(&der) {
            Ok(certificate) => format!("{certificate:?}"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn one_certificate_and_nothing_else() {
        check(
            |der| der.push(0),
            &expect![
                "certificate: expected a certificate (X.509, DER), found something else: trailing data at end of DER message: decoded 846 bytes, 1 bytes remaining at DER byte 846"
            ],
        );
        check(
            |der| der.truncate(800),
            &expect![
                "certificate: expected a certificate (X.509, DER), found something else: ASN.1 DER message is incomplete: expected 846, actual 800 at DER byte 4"
            ],
        );
        check(
            |der| der.clear(),
            &expect![
                "certificate: expected a certificate (X.509, DER), found something else: ASN.1 DER message is incomplete: expected 1, actual 0 at DER byte 0"
            ],
        );
        check(
            |der| der[0] = 0x31,
            &expect![
                "certificate: expected a certificate (X.509, DER), found something else: unexpected ASN.1 DER tag: expected SEQUENCE, got SET"
            ],
        );
    }

    #[test]
    fn fields_are_those_that_openssl_shows() {
        let leaf = certificate("leaf");
        assert_eq!(leaf.subject(), "CN=leaf,O=ukexec tests");
        assert_eq!(leaf.issuer(), "CN=intermediate,O=ukexec tests");
        assert_eq!(leaf.serial().len(), 8);
        let validity = leaf.validity().unwrap();
        let days = (validity.end() - validity.start()) / 86_400;
        assert_eq!(days, 36_500);
        let verify = |name| leaf.verify(&certificate(name), LeastRsa::Bits2048);
        verify("intermediate").unwrap();
        assert!(verify("root").is_err());
    }

    #[test]
    fn names_are_shown_on_one_line() {
        check(
            |der| {
                let at = der.windows(4).position(|at| at == b"leaf").unwrap();
                der[at..at + 4].copy_from_slice("\u{9b}\n\x1b".as_bytes());
            },
            &expect![[
                r#"Certificate { subject: "CN=�\\0a\\1b,O=ukexec tests", issuer: "CN=intermediate,O=ukexec tests", fingerprint: "d053b43023ca064e5724988fe1ea9e9bc435f643e063a81413943141fced10bd" }"#
            ]],
        );
    }
}
