//! The signers that signatures themselves name: who they are, for reports, and
//! whether they are revoked.
//!
//! Revocation is looked up before any signature is evaluated, and for every one: an image
//! that somebody revoked has signed is not to run, even if that signature is
//! of a kind that is not accepted here, or of another image. So no more of it
//! is read than leads to its signers' certificates.
//!
//! Spec: UEFI 2.10, 32.5.3.3: an image is refused if any of its signatures is
//! by a certificate in `dbx`, or one that vouches for it.

use alloc::{string::String, string::ToString, vec, vec::Vec};

use crate::algorithm::{digest_name, scheme_name};
use crate::attributes::{nested, signing_time};
use crate::authenticode::ImageDigest;
use crate::certificate::shown_name;
use crate::chain::Effort;
use crate::digest::Hex;
use crate::error::unexpected;
use crate::pkcs7::SignerId;
use crate::signer::{
    CertificateSummary, DigestAlgorithm, EnclosedCertificate, SignedDigest, Signer,
};
use crate::tlv::{Element, Elements};
use crate::{Certificate, Revocation, SignatureError, State, Trust, Verdict};

/// A certificate that is revoked, and the signature that it leads from.
pub(crate) struct Revoked {
    pub(crate) signature: usize,
    pub(crate) revocation: Revocation,
    pub(crate) subject: String,
}

/// Returns who is revoked, if any of these `signatures` is by somebody who is, or was
/// issued by one. Signers' certificates come with the signature or are among
/// `others`.
///
/// # Errors
///
/// [`SignatureError`] if signers of one are not known, so that they could be
/// revoked. Firmware forbids such images where there is a `dbx`.
pub(crate) fn revoked(
    signatures: &[Result<Signers<'_>, SignatureError>],
    others: &[&Certificate],
    trust: &Trust,
) -> Result<Option<Revoked>, SignatureError> {
    let mut unknown = Ok(None);
    if !trust.revokes_anything() {
        return unknown;
    }
    let mut effort = Effort::default();
    for (signature, signers) in (1..).zip(signatures) {
        let found = match signers {
            Ok(signers) => signers.revoked(others, trust, &mut effort),
            Err(error) => Err(SignatureError::new(error.to_string())),
        };
        match found {
            Ok(Some((revocation, subject))) => {
                return Ok(Some(Revoked {
                    signature,
                    revocation,
                    subject,
                }));
            }
            Ok(None) => {}
            Err(error) => unknown = unknown.and(Err(error)),
        }
    }
    unknown
}

/// Returns a verdict that lists the signers of `signatures`, whether or not they
/// count, and says nothing of them. Their certificates come with the signature or are
/// among `others`.
pub(crate) fn listed(
    signatures: &[Result<Signers<'_>, SignatureError>],
    others: &[&Certificate],
) -> Verdict {
    let mut listed = Vec::new();
    let mut enclosed = Enclosed(Vec::new());
    for (number, signers) in (1..).zip(signatures) {
        match signers {
            Ok(signers) => {
                enclosed.add(number, &signers.certificates);
                listed.extend(signers.listed(number, others, &enclosed));
            }
            Err(error) => listed.push(Signer {
                state: State::Malformed,
                reason: Some(error.to_string()),
                ..Signer::unknown(number)
            }),
        }
    }
    let certificates = enclosed.0.into_iter().map(|(_, described)| described);
    Verdict::unverified(listed, certificates.collect())
}

/// The certificates that come with signatures, each described once.
struct Enclosed<'a>(Vec<(&'a Certificate, EnclosedCertificate)>);

impl<'a> Enclosed<'a> {
    /// Adds those that come with signature `number`.
    fn add(&mut self, number: usize, certificates: &'a [Certificate]) {
        for one in certificates {
            match self.0.iter_mut().find(|(known, _)| *known == one) {
                Some((_, described)) => described.signatures.push(number),
                None => {
                    let described = EnclosedCertificate {
                        summary: one.into(),
                        signatures: vec![number],
                    };
                    self.0.push((one, described));
                }
            }
        }
    }

    /// Returns the facts about `certificate`, one of them or another.
    fn summary(&self, certificate: &Certificate) -> CertificateSummary {
        let known = self.0.iter().find(|(known, _)| *known == certificate);
        known.map_or_else(
            || certificate.into(),
            |(_, described)| described.summary.clone(),
        )
    }
}

/// The signers of one `SignedData`, and the certificates that come with it.
pub(crate) struct Signers<'a> {
    infos: Vec<Info<'a>>,
    certificates: Vec<Certificate>,
    digest: Option<SignedDigest>,
}

/// A `SignerInfo`, as far as it says who signed, and how.
struct Info<'a> {
    id: SignerId<'a>,
    digest: Option<String>,
    scheme: Option<String>,
    signed_at: Option<u64>,
    /// Signatures that it holds.
    nested: Option<Elements<'a>>,
}

impl<'a> Signers<'a> {
    /// Reads them, even if anything else is wrong with the signature.
    pub(crate) fn read(signature: &'a [u8]) -> Result<Self, SignatureError> {
        let mut info = Element::first(FIELD, signature)?.sequence(FIELD)?;
        info.required("a type")?;
        let signed = Element::first(FIELD, info.required("a SignedData")?.content())?;
        let mut parts = signed.sequence(FIELD)?;
        for field in ["a version", "digest algorithms", "the content"] {
            parts.required(field)?;
        }
        let mut certificates = Vec::new();
        if let Some(set) = parts.context(0)? {
            let mut set = set.inside(FIELD)?;
            while let Some(element) = set.next()? {
                // One that cannot be read is no signer's, or the signer is
                // not found.
                certificates.extend(Certificate::from_der(element.raw));
            }
        }
        parts.context(1)?;
        let mut infos = parts.required("signers")?.set(FIELD)?;
        let mut read = vec![Info::read(&infos.required("a signer")?)?];
        while let Some(info) = infos.next()? {
            read.push(Info::read(&info)?);
        }
        Ok(Self {
            infos: read,
            certificates,
            digest: ImageDigest::find(signature).map(SignedDigest::from),
        })
    }

    /// Lists the signers of signature `number`, and those nested in it.
    fn listed(
        &self,
        number: usize,
        others: &[&Certificate],
        enclosed: &Enclosed<'_>,
    ) -> Vec<Signer> {
        let mut listed = Vec::new();
        for info in self.infos.iter().take(MAX_LISTED) {
            listed.push(self.signer(number, info, others, enclosed));
            let mut nested = info.nested.clone();
            while let Some(Ok(Some(inner))) = nested.as_mut().map(Elements::next) {
                let Ok(inner) = Signers::read(inner.raw) else {
                    continue;
                };
                listed.extend(inner.infos.iter().take(MAX_LISTED).map(|info| Signer {
                    nested: true,
                    ..inner.signer(number, info, others, enclosed)
                }));
                if listed.len() >= MAX_LISTED {
                    break;
                }
            }
        }
        listed.truncate(MAX_LISTED);
        listed
    }

    /// Returns one of the signers as reports show it.
    fn signer(
        &self,
        number: usize,
        info: &Info<'_>,
        others: &[&Certificate],
        enclosed: &Enclosed<'_>,
    ) -> Signer {
        let mut certificates = self.certificates.iter().chain(others.iter().copied());
        let certificate = certificates.find(|one| one.is(&info.id));
        let summary = certificate.map(|it| enclosed.summary(it));
        let size = certificate.and_then(Certificate::key_size);
        let scheme = [info.scheme.clone(), size].into_iter().flatten();
        let scheme = Some(scheme.collect::<Vec<_>>().join(" "));
        let parts = [scheme.filter(|it| !it.is_empty()), info.digest.clone()];
        let algorithm = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let mut signer = Signer {
            algorithm: (!algorithm.is_empty()).then_some(algorithm),
            digest: self.digest.clone(),
            signed_at: info.signed_at,
            ..Signer::unknown(number)
        };
        match (summary, &info.id) {
            (Some(summary), _) => {
                signer.subject = Some(summary.subject);
                signer.issuer = Some(summary.issuer);
                signer.serial = Some(summary.serial);
                signer.fingerprint = Some(summary.fingerprint);
                signer.email = summary.email;
                signer.validity = summary.validity;
            }
            (None, SignerId::IssuerAndSerial { issuer, serial }) => {
                signer.issuer = shown_name(issuer);
                let serial = Element::only(FIELD, serial);
                signer.serial = serial.ok().map(|it| Hex(it.content()).to_string());
            }
            (None, SignerId::KeyId(_)) => {}
        }
        signer
    }

    /// Returns the verdict if any of them is revoked, or any issuer of their
    /// certificates. An issuer need not come with the signature.
    fn revoked(
        &self,
        others: &[&Certificate],
        trust: &Trust,
        effort: &mut Effort,
    ) -> Result<Option<(Revocation, String)>, SignatureError> {
        let embedded = self.certificates.iter();
        let revoked = trust.revoked_certificates().map(|(one, _)| one);
        let signers: Vec<&Certificate> = embedded
            .chain(revoked)
            .chain(others.iter().copied())
            .collect();
        let anchors = trust.anchors().map(|(one, _)| one);
        let issuers: Vec<&Certificate> = signers.iter().copied().chain(anchors).collect();

        let mut found: Vec<&Certificate> = Vec::new();
        for signer in &signers {
            if self.infos.iter().any(|info| signer.is(&info.id)) && !found.contains(signer) {
                found.push(signer);
            }
        }
        let mut next = 0_usize;
        while let Some(&certificate) = found.get(next) {
            next = next.saturating_add(1);
            if let Some(revocation) = trust.revokes_certificate(certificate) {
                return Ok(Some((revocation, certificate.subject())));
            }
            for issuer in &issuers {
                if certificate.names(issuer)
                    && !found.contains(issuer)
                    && may_have_issued(issuer, certificate, trust, effort)?
                {
                    found.push(issuer);
                }
            }
        }
        let is_there = |id: &&SignerId<'_>| signers.iter().any(|one| one.is(id));
        let mut ids = self.infos.iter().map(|info| &info.id);
        match ids.find(|id| !is_there(id)) {
            Some(id) => {
                let found = format_args!("none for one of them ({id})");
                Err(unexpected(FIELD, "their certificates with it", found))
            }
            None => Ok(None),
        }
    }
}

/// Returns whether the key in `issuer` signed `certificate`, or may have: keys and
/// algorithms that are not accepted can still be revoked.
fn may_have_issued(
    issuer: &Certificate,
    certificate: &Certificate,
    trust: &Trust,
    effort: &mut Effort,
) -> Result<bool, SignatureError> {
    effort.verification()?;
    let verified = certificate.verify(issuer, trust.least_rsa(issuer));
    Ok(!verified.is_err_and(|error| error.is_wrong_key()))
}

impl<'a> Info<'a> {
    /// Reads who a `SignerInfo` says its signer is; anything else as far as it can be
    /// read.
    fn read(info: &Element<'a>) -> Result<Self, SignatureError> {
        let mut parts = info.sequence(FIELD)?;
        parts.required("a version")?;
        let id = parts.required("the signer's certificate")?;
        let id = if id.is_context(0, false) {
            SignerId::KeyId(id.content())
        } else {
            let mut parts = id.sequence(FIELD)?;
            let issuer = parts.required("an issuer")?.raw;
            let serial = parts.required("a serial number")?.raw;
            SignerId::IssuerAndSerial { issuer, serial }
        };
        let mut next = || parts.next().ok().flatten();
        let digest = next();
        let mut scheme = next();
        let mut attributes = None;
        if scheme.is_some_and(|it| it.is_context(0, true)) {
            attributes = scheme;
            scheme = next();
        }
        next(); // the signature
        Ok(Self {
            id,
            digest: digest.as_ref().and_then(digest_name),
            scheme: scheme.as_ref().and_then(scheme_name),
            signed_at: attributes.as_ref().and_then(signing_time),
            nested: next().as_ref().and_then(nested),
        })
    }
}

impl From<ImageDigest<'_>> for SignedDigest {
    fn from(image: ImageDigest<'_>) -> Self {
        Self {
            algorithm: match image.algorithm() {
                Ok(algorithm) => DigestAlgorithm::Known(algorithm),
                // Without a name it is shown without one.
                Err(_) => {
                    DigestAlgorithm::Other(digest_name(&image.identifier).unwrap_or_default())
                }
            },
            value: Hex(image.digest).to_string(),
        }
    }
}

/// Signers of one signature that are listed, those nested in it among them. It has
/// one; if it names more, it does not count.
const MAX_LISTED: usize = 4;

const FIELD: &str = "signers of the signature, who may be revoked";

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::signatures::verify_signatures;
    use crate::testing::{SHA256, entry, file, list, signature_of, taken_apart, trust};
    use crate::{Algorithm, Checks, Origin};

    /// Verifies an image that `own` signed, and somebody else by `second`.
    fn with_second(second: &[u8], revoked: &[&str]) -> String {
        let image = file("images/own.efi");
        let (own, digests) = taken_apart(&image).unwrap();
        let trusted = trust(&["own"], revoked);
        let second = entry(second);
        let of = |table: [&[u8]; 2]| {
            let table = table.concat();
            verify_signatures(Some(&table), &digests, &trusted, Checks::default()).to_string()
        };
        let own = own.unwrap();
        let verdict = of([own, &second]);
        assert_eq!(of([&second, own]), verdict, "the order does not matter");
        verdict
    }

    const GOOD: &str = "good, by CN=own,O=ukexec tests, trusted through db";

    fn check_second(second: &[u8], revoked: &str) {
        assert_eq!(with_second(second, &[]), GOOD);
        assert_eq!(with_second(second, &["expired"]), GOOD, "{revoked}");
        assert_eq!(
            with_second(second, &["expired", revoked]),
            format!(
                "revoked: the certificate of CN={revoked},O=ukexec tests: dbx holds the certificate"
            )
        );
    }

    #[test]
    fn keys_that_are_not_accepted_are_revoked_all_the_same() {
        for (image, revoked) in [
            ("rsa1024", "rsa1024"),
            ("p521", "p521"),
            ("sha1-certificate", "sha1"),
            // Nobody here verifies that root signed it.
            ("sha1-certificate", "root"),
        ] {
            check_second(&signature_of(image), revoked);
        }
    }

    #[test]
    fn signatures_that_are_not_accepted_are_by_who_they_say() {
        /// Puts `new` in the place of `old`, wherever it is.
        fn replaced(old: &[u8], new: &[u8]) -> Vec<u8> {
            let mut signature = signature_of("chain");
            let mut count = 0;
            for at in 0..signature.len() - old.len() {
                if signature[at..].starts_with(old) {
                    signature[at..at + new.len()].copy_from_slice(new);
                    count += 1;
                }
            }
            assert_ne!(count, 0);
            signature
        }
        let sha256 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
        let mut broken = signature_of("chain");
        *broken.last_mut().unwrap() ^= 1;
        for second in [
            // SPC_PE_IMAGE_DATAOBJ, as old versions of pesign write it
            replaced(b"\x82\x37\x02\x01\x0f", b"\x82\x37\x02\x01\x15"),
            // a SignedData of version 3, and one of content that is not Authenticode's
            replaced(b"\x02\x01\x01\x31", b"\x02\x01\x03\x31"),
            replaced(b"\x82\x37\x02\x01\x04", b"\x82\x37\x02\x01\x05"),
            // a digest that nobody knows
            replaced(sha256, b"\x60\x86\x48\x01\x65\x03\x04\x02\x7f"),
            // a signature that does not verify, and one with something behind it
            broken,
            [&signature_of("chain")[..], b"behind"].concat(),
        ] {
            check_second(&second, "leaf");
            check_second(&second, "intermediate");
        }
        check_second(&signature_of("chain"), "root");
    }

    #[test]
    fn a_signer_who_is_not_known_could_be_revoked() {
        let check = |second: &[u8], expected: Expect| {
            assert_eq!(with_second(second, &[]), GOOD);
            expected.assert_eq(&with_second(second, &["expired"]));
        };
        check(
            b"junk",
            expect![
                "bad signature: signers of the signature, who may be revoked: expected a DER element, found something else: ASN.1 DER message is incomplete: expected 119, actual 4 at DER byte 0"
            ],
        );
        let whole = signature_of("chain");
        check(
            &whole[..whole.len() - 1],
            expect![
                "bad signature: signers of the signature, who may be revoked: expected a DER element, found something else: ASN.1 DER message is incomplete: expected 2439, actual 2438 at DER byte 0"
            ],
        );
        // Without certificates; its signer is trusted, and not embedded.
        let appended = file("appended/sign-file");
        check(
            &appended[25..appended.len() - 40],
            expect![
                "bad signature: signers of the signature, who may be revoked: expected their certificates with it, found none for one of them (serial number 5160f48443273b9d)"
            ],
        );
        // An image that is listed by its digest is not good either.
        let mut trusted = trust(&[], &["expired"]);
        let image = file("images/own.efi");
        let (_, digests) = taken_apart(&image).unwrap();
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        trusted.add_allowed_list(&Origin::new("db"), &list).unwrap();
        let table = [entry(&signature_of("own")), entry(b"junk")].concat();
        let verdict = verify_signatures(Some(&table), &digests, &trusted, Checks::default());
        expect!["bad signature: signers of the signature, who may be revoked: expected a DER element, found something else: ASN.1 DER message is incomplete: expected 119, actual 4 at DER byte 0"].assert_eq(&verdict.to_string());
    }
}
