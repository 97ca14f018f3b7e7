//! The signatures of an image, or of another file: whether they count.
//!
//! Spec: UEFI 2.10, section 32.5.3.3, for what the lists mean.

use alloc::{collections::BTreeSet, format, string::String, string::ToString as _, vec::Vec};

use crate::authenticode::{ImageDigest, ImageSignature, algorithms_of};
use crate::chain::{Effort, chain};
use crate::digest::Hex;
use crate::error::{digest_missing, unexpected};
use crate::pkcs7::SignedData;
use crate::signer::CertificateSummary;
use crate::signers::{self, Signers, listed};
use crate::table::signatures_in;
use crate::{Algorithm, Digests, Origin, SignatureError, Trust, Verdict};

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
    let (signatures, walked) = table.map_or((Vec::new(), Ok(())), signatures_in);
    let signers = read_signers(&signatures, walked.as_ref().err());
    let anchors: Vec<_> = trust.anchors().map(|(one, _)| one).collect();
    let mut verdict = listed(&signers, &anchors);
    // One by a digest that is not known could be of these bytes, and so could those
    // of a table that has nothing but kinds that are not known.
    let mut may_fit = signatures.is_empty() && walked.is_ok();
    for (number, bytes) in (1..).zip(&signatures) {
        let fit = ImageSignature::fits(bytes, digests);
        verdict.signers_of(number).for_each(|it| it.fits = fit);
        may_fit |= fit.unwrap_or_else(|| ImageDigest::find(bytes).is_some());
    }
    if !may_fit {
        verdict = verdict.misfits();
    }
    if let Err(error) = check_digests(digests, trust) {
        return verdict.refused(&error);
    }
    if let Some(revocation) = trust.revokes_image(digests) {
        return verdict.revoked(&revocation, None);
    }
    if let Err(error) = walked {
        return verdict.refused(&error.malformed());
    }
    let revoked = signers::revoked(&signers, &[], trust);
    if let Ok(Some(revoked)) = &revoked {
        return verdict.by_revoked(revoked);
    }
    let mut effort = Effort::default();
    let verified = signatures
        .iter()
        .map(|bytes| verify(bytes, digests, trust, checks, &mut effort));
    let verified: Vec<_> = verified.collect();
    let verdict = match table {
        Some(_) => verdict.combined(verified),
        None => Verdict::unsigned(),
    };
    let verdict = match trust.allows_image(digests, &list_algorithms(table)) {
        Some(origin) if !verdict.is_good() => verdict.allowed(origin),
        _ => verdict,
    };
    verdict.unless_in_doubt(effort.check().and(revoked.map(drop)))
}

/// Returns a verdict that lists the signers in a certificate table, and says nothing
/// of them but that they cannot be read.
pub(crate) fn list_signatures(table: &[u8]) -> Verdict {
    let (signatures, walked) = signatures_in(table);
    let signers = read_signers(&signatures, walked.as_ref().err());
    let verdict = listed(&signers, &[]);
    match walked {
        Ok(()) => verdict,
        Err(error) => verdict.refused(&error.malformed()),
    }
}

/// Reads who made each of `signatures`, and one that nobody can read if the table has
/// a `fault` behind them.
fn read_signers<'a>(
    signatures: &[&'a [u8]],
    fault: Option<&SignatureError>,
) -> Vec<Result<Signers<'a>, SignatureError>> {
    let cut = fault.map(|fault| Err(SignatureError::new(fault.to_string())));
    let signatures = signatures.iter().map(|one| Signers::read(one));
    signatures.chain(cut).collect()
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
    check_fits(bytes, digests)?;
    let signature = ImageSignature::read(bytes).map_err(SignatureError::malformed)?;
    let ImageSignature {
        algorithm, digest, ..
    } = signature;
    match digests.get(algorithm) {
        None => return Err(digest_missing(algorithm)),
        Some(found) if found != digest => return Err(changed(algorithm, found, digest)),
        Some(_) => {}
    }
    let signed = &signature.signed;
    let content_digest = signed.signer.algorithm.digest(signature.content);
    signer(signed, &content_digest, &[], trust, checks, effort)
}

/// Checks that the digest in a signature is the image's, also of a signature that does
/// not count for another reason.
fn check_fits(bytes: &[u8], digests: &Digests) -> Result<(), SignatureError> {
    let Some(signed) = ImageDigest::find(bytes) else {
        return Ok(());
    };
    match signed.algorithm().map(|it| (it, digests.get(it))) {
        Ok((algorithm, Some(found))) if found != signed.digest => {
            Err(changed(algorithm, found, signed.digest))
        }
        _ => Ok(()),
    }
}

fn changed(algorithm: Algorithm, found: &[u8], signed: &[u8]) -> SignatureError {
    let (found, signed) = (short(found), short(signed));
    unexpected(
        format_args!("the image was changed after signing: {algorithm}"),
        signed,
        found,
    )
}

/// Returns the beginning of a digest, by which people compare two.
fn short(digest: &[u8]) -> String {
    const LEN: usize = 6;
    format!("{}…", Hex(digest.get(..LEN).unwrap_or(digest))) // or it is shorter
}

/// A chain that leads from a signer to a trusted certificate.
pub(crate) struct Good {
    /// From the signer's certificate to the trusted one, which may be the same.
    pub(crate) chain: Vec<CertificateSummary>,
    /// Where the trusted certificate comes from.
    pub(crate) anchor: Origin,
}

/// Verifies a signature of content with `content_digest`, and looks for a
/// chain. The signer's certificate is embedded or among `others`.
pub(crate) fn signer(
    signed: &SignedData<'_>,
    content_digest: &[u8],
    others: &[&crate::Certificate],
    trust: &Trust,
    checks: Checks,
    effort: &mut Effort,
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
            chain: chain.into_iter().map(Into::into).collect(),
            anchor: anchor.clone(),
        });
    }
    Err(rejection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use crate::testing::{
        self, SHA256, X509, certificate, file, good, list, no_chain, said, taken_apart, verified,
        vouched,
    };

    fn check(image: &str, allowed: &[&str], expected: &str) {
        let trust = testing::trust(allowed, &[]);
        check_with(image, &trust, Checks::default(), expected);
    }

    fn check_with(image: &str, trust: &Trust, checks: Checks, expected: &str) {
        let bytes = file(&format!("images/{image}.efi"));
        let verdict = verified(&bytes, trust, checks);
        assert_eq!(said(&verdict), expected, "{image}");
    }

    #[test]
    fn the_signer_or_any_issuer_may_be_trusted() {
        for (image, trusted, expected) in [
            ("own", "own", good("own")),
            ("chain", "leaf", good("leaf")),
            ("chain", "intermediate", vouched("leaf", "intermediate")),
            ("chain", "root", vouched("leaf", "root")),
            ("whole-chain", "root", vouched("leaf", "root")),
            ("no-chain", "intermediate", vouched("leaf", "intermediate")),
        ] {
            check(image, &[trusted], &expected);
        }
    }

    #[test]
    fn algorithms() {
        for (image, trusted, expected) in [
            ("p256", "root", vouched("p256", "root")),
            ("p384-sha384", "p384", good("p384")),
            ("rsa4096-sha512", "rsa4096", good("rsa4096")),
            ("rsa8192", "rsa8192", good("rsa8192")),
            ("pss-certificate", "root", vouched("pss", "root")),
        ] {
            check(image, &[trusted], &expected);
        }
    }

    #[test]
    fn one_good_signature_is_enough() {
        check("twice", &["own"], &good("own"));
        check("twice", &["root"], &vouched("leaf", "root"));
        check(
            "twice",
            &["p384"],
            "untrusted: signature 1: nobody trusted vouches for CN=leaf (CN=intermediate: its \
             issuer, CN=root, is neither trusted nor with the signature); signature 2: nobody \
             trusted vouches for CN=own",
        );
    }

    #[test]
    fn nobody_trusted() {
        check("own", &[], &no_chain("own", ""));
        check("own", &["root", "leaf"], &no_chain("own", ""));
        check("unsigned", &["own"], "unsigned");
        // Firmware does not search its list for what the image leaves out.
        let left_out = " (its issuer, CN=intermediate, is neither trusted nor with the signature)";
        check("no-chain", &["root"], &no_chain("leaf", left_out));
    }

    #[test]
    fn issuers_that_must_not_issue() {
        for (image, trusted, signer, reasons) in [
            (
                "below-leaf",
                "root",
                "below-leaf",
                " (CN=leaf: it is not for issuing certificates (no CA bit))",
            ),
            (
                "below-leaf",
                "leaf",
                "below-leaf",
                " (CN=leaf: it is not for issuing certificates (no CA bit); CN=intermediate: its \
                 issuer, CN=root, is neither trusted nor with the signature)",
            ),
            (
                "below-no-sign",
                "root",
                "below-no-sign",
                " (CN=no-sign: its key usage has no certificate signing)",
            ),
            (
                "too-long",
                "short-root",
                "below-too-long",
                " (CN=short-root: its path length allows no chain as long as this)",
            ),
            (
                "critical",
                "root",
                "critical",
                " (it has a critical extension that is not understood)",
            ),
            (
                "modules",
                "modules",
                "modules",
                " (it is for signing kernel modules alone)",
            ),
        ] {
            check(image, &[trusted], &no_chain(signer, reasons));
        }
        let verdict = vouched("below-too-long", "too-long");
        check("too-long", &["too-long"], &verdict);
    }

    #[test]
    fn weak_algorithms() {
        let weak = "expected SHA-256, SHA-384 or SHA-512, found SHA-1";
        let too_weak = "which is too weak to be accepted";
        let digest = format!("unsupported signature: digest algorithm: {weak}, {too_weak}");
        check("sha1-digest", &["own"], &digest);
        let reasons = format!(" (signature algorithm: {weak} with RSA, {too_weak})");
        check("sha1-certificate", &["root"], &no_chain("sha1", &reasons));
        // Trusted itself, its signature does not matter.
        check("sha1-certificate", &["sha1"], &good("sha1"));
        check(
            "rsa1024",
            &["rsa1024"],
            "unsupported signature: public key: expected an RSA key of 2048 to 8192 bits, or of 1024 \
             whose certificate is in db, found one of 1024 bits, which is too weak to be accepted",
        );
        check(
            "p521",
            &["p521"],
            "unsupported signature: public key: expected RSA of 2048 to 8192 bits, P-256 or P-384, found \
             an elliptic curve 1.3.132.0.35",
        );
    }

    #[test]
    fn dates_matter_when_asked() {
        check("expired", &["root"], &vouched("expired", "root"));
        let trust = testing::trust(&["root"], &[]);
        let check_at = |image, now, expected: &str| {
            let check_dates = Some(now);
            check_with(image, &trust, Checks { check_dates }, expected);
        };
        let expired = no_chain("expired", " (it has expired)");
        check_at("expired", 2_000_000_000, &expired);
        check_at("chain", 2_000_000_000, &vouched("leaf", "root"));
        let early = " (it is not valid yet; CN=intermediate: it is not valid yet; \
                     CN=root: it is not valid yet)";
        check_at("chain", 1_000_000_000, &no_chain("leaf", early));
    }

    #[test]
    fn revoked_certificates() {
        for (image, revoked) in [
            ("own", "own"),
            ("chain", "leaf"),
            ("chain", "intermediate"),
            ("chain", "root"),
            // The issuer is not with the image, and revokes it none the less.
            ("no-chain", "intermediate"),
            // A good signature does not make up for a revoked one.
            ("twice", "leaf"),
            ("twice", "own"),
        ] {
            let trust = testing::trust(&["own", "root"], &[revoked]);
            let expected = testing::revoked(revoked);
            check_with(image, &trust, Checks::default(), &expected);
        }
        let trust = testing::trust(&["own", "root"], &["p384"]);
        check_with("chain", &trust, Checks::default(), &vouched("leaf", "root"));
    }

    const LISTED: &str = "good, the digest of the image is listed in db";
    const REVOKED: &str = "revoked: the image: dbx holds the image's SHA-256 digest";

    /// Returns trust in an image by its digest, and the list that it comes from.
    fn listed(image: &str) -> (Trust, Vec<u8>) {
        let image = file(image);
        let (_, digests) = taken_apart(&image).unwrap();
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        let mut trust = Trust::default();
        trust.add_allowed_list(&Origin::new("db"), &list).unwrap();
        (trust, list)
    }

    #[test]
    fn digests_in_lists() {
        let (mut trust, list) = listed("images/own.efi");
        check_with("own", &trust, Checks::default(), LISTED);
        // Signing padded it: what was signed is another file than this.
        check_with("unsigned", &trust, Checks::default(), "unsigned");
        check_with("p256", &trust, Checks::default(), LISTED);
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
        check_with("own", &trust, Checks::default(), REVOKED);
        check_with("unsigned", &trust, Checks::default(), REVOKED);
    }

    #[test]
    fn an_image_that_is_not_signed_is_listed_by_its_unpadded_digest() {
        assert_eq!(file("images/unsigned.efi").len() % 8, 3);
        let (mut trust, list) = listed("images/unsigned.efi");
        check_with("unsigned", &trust, Checks::default(), LISTED);
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
        check_with("unsigned", &trust, Checks::default(), REVOKED);
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
        let expected = testing::revoked("own");
        check_with("own", &trust, Checks::default(), &expected);
    }

    #[test]
    fn a_digest_that_was_not_taken_is_not_passed_over() {
        let image = file("images/own.efi");
        let (table, digests) = taken_apart(&image).unwrap();
        let mut trust = testing::trust(&["own"], &[]);
        let check = |trust: &Trust| {
            let verdict = verify_signatures(table, &Digests::default(), trust, Checks::default());
            let expected =
                "bad signature: the SHA-256 digest of the image is needed and was not taken";
            assert_eq!(verdict.to_string(), expected);
        };
        check(&trust);
        let list = list(SHA256, digests.get(Algorithm::Sha256).unwrap());
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
        check(&trust);
    }

    #[test]
    fn what_no_signature_fits_is_seen_without_a_key() {
        let misfits = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut image = file("images/own.efi");
            edit(&mut image);
            verified(&image, &Trust::default(), Checks::default()).is_misfit()
        };
        let table = 0xe8;
        let number =
            |image: &[u8], at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        let longer = |image: &mut Vec<u8>, entry: &[u8]| {
            let len = number(image, table + 4) + u32::try_from(entry.len()).unwrap();
            image[table + 4..table + 8].copy_from_slice(&len.to_le_bytes());
            image.extend(entry);
        };
        let change = |image: &mut Vec<u8>| image[0x210] ^= 1;
        let inside = |image: &[u8]| usize::try_from(number(image, table)).unwrap() + 8;
        assert!(!misfits(&|_| ()));
        assert!(misfits(&change));
        // A second entry excuses nothing: one that is cut, and one without a signature.
        let cut = [0xa0, 0x86, 1, 0, 0, 2, 2, 0];
        let empty = [16, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for entry in [&cut[..], &empty] {
            assert!(misfits(&|image| {
                change(image);
                longer(image, entry);
            }));
            assert!(!misfits(&|image| longer(image, entry)), "the first fits");
        }
        // Nor does it that the signature itself is no longer one.
        assert!(misfits(&|image| {
            let at = inside(image);
            image[at] ^= 1;
        }));
        // One of another kind could be of these bytes.
        assert!(!misfits(&|image| {
            let at = inside(image);
            image[at - 2..at].copy_from_slice(&[0xf0, 0x0e]);
        }));
    }

    #[test]
    fn changed_images() {
        let of_own = "45e78a66c3c0…";
        let changed = |at: usize, expected: &str| {
            let mut image = file("images/own.efi");
            image[at] ^= 1;
            let trust = testing::trust(&["own"], &[]);
            let verdict = verified(&image, &trust, Checks::default());
            assert_eq!(said(&verdict), expected, "{at:#x}");
        };
        // In a header, in a section, behind the sections, and in the padding.
        for (at, digest) in [
            (0x10, "8dd5bbec8422…"),
            (0x400, "8b6252aa8ed0…"),
            (0x602, "73cac0ac5ee5…"),
            (0x606, "c9715fd72ecb…"),
        ] {
            let expected = format!(
                "bad signature: the image was changed after signing: SHA-256: expected {of_own}, \
                 found {digest}"
            );
            changed(at, &expected);
        }
        // The checksum, which does not count; dwLength; wRevision, which nobody reads.
        for at in [0x98, 0x608, 0x60c] {
            changed(at, &good("own"));
        }
        let unknown = "unsupported signature: there is no signature of a kind that is known";
        changed(0x60e, unknown); // wCertificateType
    }
}
