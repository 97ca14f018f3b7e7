//! The signatures of an image, or of another file: whether they count.
//!
//! Spec: UEFI 2.10, section 32.5.3.3, for what the lists mean.

use crate::authenticode::{ImageSignature, algorithms_of};
use crate::chain::{Effort, chain};
use crate::digest::Hex;
use crate::error::digest_missing;
use crate::pkcs7::SignedData;
use crate::signers;
use crate::table::certificate_table;
use crate::verdict::Good;
use crate::{Algorithm, Digests, SignatureError, Trust, Verdict};
use alloc::{collections::BTreeSet, format, string::String, string::ToString};

/// Checks beyond those of firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checks {
    /// Refuse certificates that are not valid at this time, in seconds since
    /// 1970. Firmware does not know the time, and accepts them.
    pub check_dates: Option<u64>,
}

/// Verifies an image whose digests are `digests` and whose certificate table,
/// if it has one, is `table`.
///
/// The digests must be by every algorithm that [`algorithms_of`] and
/// [`Trust::algorithms`] name; an image of which one is missing is not good.
pub(crate) fn verify_signatures(
    table: Option<&[u8]>,
    digests: &Digests,
    trust: &Trust,
    checks: Checks,
) -> Verdict {
    if let Err(error) = check_digests(digests, trust) {
        return Verdict::bad(&error);
    }
    if let Some(revocation) = trust.revokes_image(digests) {
        return Verdict::Revoked {
            revocation,
            certificate: None,
        };
    }
    let signatures = match table.map(certificate_table).transpose() {
        Err(error) => return Verdict::bad(&error),
        Ok(signatures) => signatures,
    };
    let revoked = signers::revoked(signatures.iter().flatten().copied(), &[], trust);
    if let Ok(Some(verdict)) = revoked {
        return verdict;
    }
    let mut effort = Effort::default();
    let signed = signatures.map_or(Verdict::Unsigned, |signatures| {
        let verify = |bytes| verify(bytes, digests, trust, checks, &mut effort);
        Verdict::combine(signatures.into_iter().map(verify))
    });
    let verdict = match trust.allows_image(digests, &list_algorithms(table)) {
        Some(origin) if !signed.is_good() => Verdict::Allowed { origin },
        _ => signed,
    };
    verdict.unless_in_doubt(effort.check().and(revoked.map(drop)))
}

/// Returns by which digests a list may allow an image: firmware takes those of an
/// image's signatures that it can read, and SHA-256 of one without signatures.
fn list_algorithms(table: Option<&[u8]>) -> BTreeSet<Algorithm> {
    match table {
        Some(table) => algorithms_of(table),
        None => [Algorithm::Sha256].into(),
    }
}

/// Checks that nothing that is revoked by digest can slip through.
fn check_digests(digests: &Digests, trust: &Trust) -> Result<(), SignatureError> {
    let mut needed = trust.algorithms().into_iter();
    match needed.find(|algorithm| digests.get(*algorithm).is_none()) {
        Some(algorithm) => Err(digest_missing(algorithm)),
        None => Ok(()),
    }
}

/// Verifies one signature of an image.
fn verify(
    bytes: &[u8],
    digests: &Digests,
    trust: &Trust,
    checks: Checks,
    effort: &mut Effort,
) -> Result<Good, SignatureError> {
    let signature = ImageSignature::read(bytes)?;
    let ImageSignature {
        algorithm, digest, ..
    } = signature;
    let found = digests.get(algorithm);
    let found = found.ok_or_else(|| digest_missing(algorithm))?;
    if found != digest {
        return Err(SignatureError::new(format!(
            "the signature is for an image with {algorithm} digest {}, and this image has {}: it \
             was changed after it was signed",
            Hex(digest),
            Hex(found)
        )));
    }
    let signed = &signature.signed;
    let content_digest = signed.signer.algorithm.digest(signature.content);
    let digest = (algorithm, Hex(digest).to_string());
    signer(signed, &content_digest, &[], trust, checks, effort, digest)
}

/// Verifies a signature of content with `content_digest`, and looks for a
/// chain. The signer's certificate is embedded or among `others`. `digest` is
/// what the verdict will show.
pub(crate) fn signer(
    signed: &SignedData<'_>,
    content_digest: &[u8],
    others: &[&crate::Certificate],
    trust: &Trust,
    checks: Checks,
    effort: &mut Effort,
    (algorithm, digest): (Algorithm, String),
) -> Result<Good, SignatureError> {
    let info = &signed.signer;
    let embedded = signed.envelope.certificates.iter();
    let mut rejection = SignatureError::new(format!(
        "the certificate of its signer ({}) is neither with it nor trusted",
        info.id
    ))
    .untrusted();
    for certificate in embedded.chain(others.iter().copied()) {
        if !certificate.is(&info.id) {
            continue;
        }
        effort.verification()?;
        let least = trust.least_rsa(certificate);
        if let Err(cause) = info.verify(content_digest, certificate, least) {
            rejection = cause;
            continue;
        }
        let (chain, anchor) = chain(
            certificate,
            &signed.envelope.certificates,
            trust,
            checks.check_dates,
            effort,
        )
        .map_err(SignatureError::untrusted)?;
        return Ok(Good {
            signer: certificate.subject(),
            chain: chain.into_iter().map(Into::into).collect(),
            anchor: anchor.clone(),
            algorithm,
            digest,
        });
    }
    Err(rejection)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::Origin;
    use crate::testing::{self, SHA256, X509, certificate, file, list, taken_apart, verified};

    fn check(image: &str, allowed: &[&str], expected: &Expect) {
        check_with(
            image,
            &testing::trust(allowed, &[]),
            Checks::default(),
            expected,
        );
    }

    fn check_with(image: &str, trust: &Trust, checks: Checks, expected: &Expect) {
        let image = file(&format!("images/{image}.efi"));
        let verdict = verified(&image, trust, checks);
        expected.assert_eq(&verdict.to_string());
    }

    #[test]
    fn the_signer_or_any_issuer_may_be_trusted() {
        check(
            "own",
            &["own"],
            &expect!["good: signed by CN=own,O=ukexec tests, who is trusted by db"],
        );
        check(
            "chain",
            &["leaf"],
            &expect!["good: signed by CN=leaf,O=ukexec tests, who is trusted by db"],
        );
        check(
            "chain",
            &["intermediate"],
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=intermediate,O=ukexec tests, who is trusted by db"
            ],
        );
        check(
            "chain",
            &["root"],
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
        check(
            "whole-chain",
            &["root"],
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
        check(
            "no-chain",
            &["intermediate"],
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=intermediate,O=ukexec tests, who is trusted by db"
            ],
        );
    }

    #[test]
    fn algorithms() {
        check(
            "p256",
            &["root"],
            &expect![
                "good: signed by CN=p256,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
        check(
            "p384-sha384",
            &["p384"],
            &expect!["good: signed by CN=p384,O=ukexec tests, who is trusted by db"],
        );
        check(
            "rsa4096-sha512",
            &["rsa4096"],
            &expect!["good: signed by CN=rsa4096,O=ukexec tests, who is trusted by db"],
        );
        check(
            "rsa8192",
            &["rsa8192"],
            &expect!["good: signed by CN=rsa8192,O=ukexec tests, who is trusted by db"],
        );
        check(
            "pss-certificate",
            &["root"],
            &expect![
                "good: signed by CN=pss,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
    }

    #[test]
    fn one_good_signature_is_enough() {
        check(
            "twice",
            &["own"],
            &expect!["good: signed by CN=own,O=ukexec tests, who is trusted by db"],
        );
        check(
            "twice",
            &["root"],
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
        check(
            "twice",
            &["p384"],
            &expect![
                "untrusted: signature 1: signed by CN=leaf,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=intermediate,O=ukexec tests: its issuer, CN=root,O=ukexec tests, is neither trusted nor with the signature); signature 2: signed by CN=own,O=ukexec tests, and no chain leads from there to a trusted certificate"
            ],
        );
    }

    #[test]
    fn nobody_trusted() {
        check(
            "own",
            &[],
            &expect![
                "untrusted: signed by CN=own,O=ukexec tests, and no chain leads from there to a trusted certificate"
            ],
        );
        check(
            "own",
            &["root", "leaf"],
            &expect![
                "untrusted: signed by CN=own,O=ukexec tests, and no chain leads from there to a trusted certificate"
            ],
        );
        check("unsigned", &["own"], &expect!["unsigned"]);
        // Firmware does not search its list for what the image leaves out.
        check(
            "no-chain",
            &["root"],
            &expect![
                "untrusted: signed by CN=leaf,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=leaf,O=ukexec tests: its issuer, CN=intermediate,O=ukexec tests, is neither trusted nor with the signature)"
            ],
        );
    }

    #[test]
    fn issuers_that_must_not_issue() {
        check(
            "below-leaf",
            &["root"],
            &expect![
                "untrusted: signed by CN=below-leaf,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=leaf,O=ukexec tests: it is not for issuing certificates (no CA bit))"
            ],
        );
        check(
            "below-leaf",
            &["leaf"],
            &expect![
                "untrusted: signed by CN=below-leaf,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=leaf,O=ukexec tests: it is not for issuing certificates (no CA bit); CN=intermediate,O=ukexec tests: its issuer, CN=root,O=ukexec tests, is neither trusted nor with the signature)"
            ],
        );
        check(
            "below-no-sign",
            &["root"],
            &expect![
                "untrusted: signed by CN=below-no-sign,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=no-sign,O=ukexec tests: its key usage has no certificate signing)"
            ],
        );
        check(
            "too-long",
            &["short-root"],
            &expect![
                "untrusted: signed by CN=below-too-long,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=short-root,O=ukexec tests: its path length allows no chain as long as this)"
            ],
        );
        check(
            "too-long",
            &["too-long"],
            &expect![
                "good: signed by CN=below-too-long,O=ukexec tests, vouched for by CN=too-long,O=ukexec tests, who is trusted by db"
            ],
        );
        check(
            "critical",
            &["root"],
            &expect![
                "untrusted: signed by CN=critical,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=critical,O=ukexec tests: it has a critical extension that is not understood)"
            ],
        );
        check(
            "modules",
            &["modules"],
            &expect![
                "untrusted: signed by CN=modules,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=modules,O=ukexec tests: it is for signing kernel modules alone)"
            ],
        );
    }

    #[test]
    fn weak_algorithms() {
        check(
            "sha1-digest",
            &["own"],
            &expect![
                "bad signature: digest algorithm: expected SHA-256, SHA-384 or SHA-512, found SHA-1, which is too weak to be accepted"
            ],
        );
        check(
            "sha1-certificate",
            &["root"],
            &expect![
                "untrusted: signed by CN=sha1,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=sha1,O=ukexec tests: signature algorithm: expected SHA-256, SHA-384 or SHA-512, found SHA-1 with RSA, which is too weak to be accepted)"
            ],
        );
        // Trusted itself, its signature does not matter.
        check(
            "sha1-certificate",
            &["sha1"],
            &expect!["good: signed by CN=sha1,O=ukexec tests, who is trusted by db"],
        );
        check(
            "rsa1024",
            &["rsa1024"],
            &expect![
                "bad signature: public key: expected an RSA key of 2048 to 8192 bits, or of 1024 whose certificate is in db, found one of 1024 bits, which is too weak to be accepted"
            ],
        );
        check(
            "p521",
            &["p521"],
            &expect![
                "bad signature: public key: expected RSA of 2048 to 8192 bits, P-256 or P-384, found an elliptic curve 1.3.132.0.35"
            ],
        );
    }

    #[test]
    fn dates_matter_when_asked() {
        check(
            "expired",
            &["root"],
            &expect![
                "good: signed by CN=expired,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
        let at = |now| Checks {
            check_dates: Some(now),
        };
        let trust = testing::trust(&["root"], &[]);
        check_with(
            "expired",
            &trust,
            at(2_000_000_000),
            &expect![
                "untrusted: signed by CN=expired,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=expired,O=ukexec tests: it has expired)"
            ],
        );
        check_with(
            "chain",
            &trust,
            at(2_000_000_000),
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
        check_with(
            "chain",
            &trust,
            at(1_000_000_000),
            &expect![
                "untrusted: signed by CN=leaf,O=ukexec tests, and no chain leads from there to a trusted certificate (CN=leaf,O=ukexec tests: it is not valid yet; CN=intermediate,O=ukexec tests: it is not valid yet; CN=root,O=ukexec tests: it is not valid yet)"
            ],
        );
    }

    #[test]
    fn revoked_certificates() {
        let revoked = |image, revoked: &[&str], expected| {
            let trust = testing::trust(&["own", "root"], revoked);
            check_with(image, &trust, Checks::default(), expected);
        };
        revoked(
            "own",
            &["own"],
            &expect![
                "revoked: the certificate of CN=own,O=ukexec tests: dbx holds the certificate"
            ],
        );
        revoked(
            "chain",
            &["leaf"],
            &expect![
                "revoked: the certificate of CN=leaf,O=ukexec tests: dbx holds the certificate"
            ],
        );
        revoked(
            "chain",
            &["intermediate"],
            &expect![
                "revoked: the certificate of CN=intermediate,O=ukexec tests: dbx holds the certificate"
            ],
        );
        revoked(
            "chain",
            &["root"],
            &expect![
                "revoked: the certificate of CN=root,O=ukexec tests: dbx holds the certificate"
            ],
        );
        // The issuer is not with the image, and revokes it none the less.
        revoked(
            "no-chain",
            &["intermediate"],
            &expect![
                "revoked: the certificate of CN=intermediate,O=ukexec tests: dbx holds the certificate"
            ],
        );
        // A good signature does not make up for a revoked one.
        revoked(
            "twice",
            &["leaf"],
            &expect![
                "revoked: the certificate of CN=leaf,O=ukexec tests: dbx holds the certificate"
            ],
        );
        revoked(
            "twice",
            &["own"],
            &expect![
                "revoked: the certificate of CN=own,O=ukexec tests: dbx holds the certificate"
            ],
        );
        revoked(
            "chain",
            &["p384"],
            &expect![
                "good: signed by CN=leaf,O=ukexec tests, vouched for by CN=root,O=ukexec tests, who is trusted by db"
            ],
        );
    }

    #[test]
    fn digests_in_lists() {
        let image = file("images/own.efi");
        let (_, digests) = taken_apart(&image).unwrap();
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        let mut trust = Trust::default();
        trust.add_allowed_list(&Origin::new("db"), &list).unwrap();
        check_with(
            "own",
            &trust,
            Checks::default(),
            &expect!["good: the digest of the image is listed in db"],
        );
        // Signing padded it: what was signed is another file than this.
        check_with("unsigned", &trust, Checks::default(), &expect!["unsigned"]);
        check_with(
            "p256",
            &trust,
            Checks::default(),
            &expect!["good: the digest of the image is listed in db"],
        );
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
        check_with(
            "own",
            &trust,
            Checks::default(),
            &expect!["revoked: the image: dbx holds the image's SHA-256 digest"],
        );
        check_with(
            "unsigned",
            &trust,
            Checks::default(),
            &expect!["revoked: the image: dbx holds the image's SHA-256 digest"],
        );
    }

    #[test]
    fn an_image_that_is_not_signed_is_listed_by_its_unpadded_digest() {
        let image = file("images/unsigned.efi");
        assert_eq!(image.len() % 8, 3);
        let (_, digests) = taken_apart(&image).unwrap();
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        let mut trust = Trust::default();
        trust.add_allowed_list(&Origin::new("db"), &list).unwrap();
        check_with(
            "unsigned",
            &trust,
            Checks::default(),
            &expect!["good: the digest of the image is listed in db"],
        );
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
        check_with(
            "unsigned",
            &trust,
            Checks::default(),
            &expect!["revoked: the image: dbx holds the image's SHA-256 digest"],
        );
    }

    /// Its issuer's signature, and what lies behind it, do not make a
    /// certificate another.
    #[test]
    fn a_revoked_certificate_is_known_by_what_was_signed() {
        let mut own = certificate("own").der().to_vec();
        *own.last_mut().unwrap() ^= 1;
        own.extend([0; 3]);
        let mut trust = testing::trust(&["own"], &[]);
        let dbx = Origin::new("dbx");
        trust.add_revoked_list(&dbx, &list(X509, &own)).unwrap();
        check_with(
            "own",
            &trust,
            Checks::default(),
            &expect![
                "revoked: the certificate of CN=own,O=ukexec tests: dbx holds the certificate"
            ],
        );
    }

    #[test]
    fn a_digest_that_was_not_taken_is_not_passed_over() {
        let image = file("images/own.efi");
        let (table, digests) = taken_apart(&image).unwrap();
        let mut trust = testing::trust(&["own"], &[]);
        let verdict = verify_signatures(table, &Digests::default(), &trust, Checks::default());
        expect!["bad signature: the SHA-256 digest of the image is needed and was not taken"]
            .assert_eq(&verdict.to_string());
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
        let verdict = verify_signatures(table, &Digests::default(), &trust, Checks::default());
        expect!["bad signature: the SHA-256 digest of the image is needed and was not taken"]
            .assert_eq(&verdict.to_string());
    }

    #[test]
    fn changed_images() {
        let changed = |at: usize, expected: Expect| {
            let mut image = file("images/own.efi");
            image[at] ^= 1;
            let trust = testing::trust(&["own"], &[]);
            let verdict = verified(&image, &trust, Checks::default());
            expected.assert_eq(&verdict.to_string());
        };
        changed(
            0x10,
            expect![
                "bad signature: the signature is for an image with SHA-256 digest 45e78a66c3c09eb06b78fdaead8847de07ba76d24a660eff29ecbe6feac337a8, and this image has 8dd5bbec8422bbbb8c2f3d2520f05cfb22db71e548905a9440e67d0ee1eca1ca: it was changed after it was signed"
            ],
        ); // in a header
        changed(
            0x400,
            expect![
                "bad signature: the signature is for an image with SHA-256 digest 45e78a66c3c09eb06b78fdaead8847de07ba76d24a660eff29ecbe6feac337a8, and this image has 8b6252aa8ed03e33c50a2c1c6fb05fbdb70a6de829296150549265dabf767f68: it was changed after it was signed"
            ],
        ); // in a section
        changed(
            0x602,
            expect![
                "bad signature: the signature is for an image with SHA-256 digest 45e78a66c3c09eb06b78fdaead8847de07ba76d24a660eff29ecbe6feac337a8, and this image has 73cac0ac5ee56ae338a58e2364216824422edac84ae82787e49a4a6c814b8307: it was changed after it was signed"
            ],
        ); // behind the sections
        changed(
            0x606,
            expect![
                "bad signature: the signature is for an image with SHA-256 digest 45e78a66c3c09eb06b78fdaead8847de07ba76d24a660eff29ecbe6feac337a8, and this image has c9715fd72ecb0965f81c901e20f5e6bf3bf173e9b5fd964f933deb029a867e4d: it was changed after it was signed"
            ],
        ); // in the padding
        changed(
            0x98,
            expect!["good: signed by CN=own,O=ukexec tests, who is trusted by db"],
        ); // the checksum, which does not count
        changed(
            0x608,
            expect!["good: signed by CN=own,O=ukexec tests, who is trusted by db"],
        ); // dwLength
        changed(
            0x60c,
            expect!["good: signed by CN=own,O=ukexec tests, who is trusted by db"],
        ); // wRevision, which nobody reads
        changed(
            0x60e,
            expect!["bad signature: there is no signature of a kind that is known"],
        ); // wCertificateType
    }
}
