//! Those who signed an image, as reports show them.

use alloc::{format, string::String, string::ToString, vec::Vec};
use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;

use der::DateTime;
use serde::Serialize;

use crate::digest::Hex;
use crate::{Algorithm, Certificate, Origin, State};

/// A signer that a signature names, and whether the signature counts.
///
/// All of it but `state`, `fits` and what goes with them is what the signature says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Signer {
    /// The number of the signature, from 1. It has one signer; if it names more,
    /// it does not count.
    pub signature: usize,
    /// Whether it lies inside that signature, where neither firmware nor this crate
    /// looks at it.
    pub nested: bool,
    /// Whether it counts.
    pub state: State,
    /// Why it does not count, in words.
    pub reason: Option<String>,
    /// Whose key signed. `None`: the certificate is neither with the signature nor
    /// trusted.
    pub subject: Option<String>,
    /// Who issued the certificate.
    pub issuer: Option<String>,
    /// The serial number of the certificate, in hexadecimal.
    pub serial: Option<String>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: Option<String>,
    /// The mail address in it.
    pub email: Option<String>,
    /// When the certificate is valid, in seconds since 1970.
    pub validity: Option<RangeInclusive<u64>>,
    /// How it is signed, such as `RSA 2048, SHA-256`.
    pub algorithm: Option<String>,
    /// The digest of the image that is signed.
    pub digest: Option<SignedDigest>,
    /// Whether that is the digest of this image. `None`: nobody compared them.
    pub fits: Option<bool>,
    /// When it was signed, in seconds since 1970. Nobody proves that.
    pub signed_at: Option<u64>,
    /// From the signer's certificate to the trusted one, which may be the
    /// same, if it is good.
    pub chain: Vec<CertificateSummary>,
    /// Where the trusted certificate comes from.
    pub anchor: Option<Origin>,
}

/// A digest that somebody signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedDigest {
    /// How it was taken.
    pub algorithm: DigestAlgorithm,
    /// It, in hexadecimal.
    pub value: String,
}

/// The name of a digest's algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DigestAlgorithm {
    /// One that is known here.
    Known(Algorithm),
    /// The object identifier of another.
    Other(String),
}

/// The facts about a certificate that people want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateSummary {
    /// Whose key it holds.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// The first mail address of the subject, in its name or its alternative names.
    pub email: Option<String>,
    /// When it is valid, in seconds since 1970. `None`: its dates cannot be
    /// read.
    pub validity: Option<RangeInclusive<u64>>,
}

/// A certificate that comes with signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnclosedCertificate {
    /// The facts about it.
    #[serde(flatten)]
    pub summary: CertificateSummary,
    /// The numbers of the signatures that it comes with, from 1.
    pub signatures: Vec<usize>,
}

impl From<&Certificate> for CertificateSummary {
    fn from(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: Hex(certificate.serial()).to_string(),
            fingerprint: certificate.fingerprint(),
            email: certificate.email(),
            validity: certificate.validity(),
        }
    }
}

impl Signer {
    /// Returns one of signature `number` of whom nothing is known yet.
    pub(crate) fn unknown(number: usize) -> Self {
        Self {
            signature: number,
            nested: false,
            state: State::Unverified,
            reason: None,
            subject: None,
            issuer: None,
            serial: None,
            fingerprint: None,
            email: None,
            validity: None,
            algorithm: None,
            digest: None,
            fits: None,
            signed_at: None,
            chain: Vec::new(),
            anchor: None,
        }
    }

    /// Returns the first and the last day on which the certificate is valid.
    #[must_use]
    pub fn dates(&self) -> Option<String> {
        let validity = self.validity.as_ref()?;
        let (start, end) = (day(*validity.start())?, day(*validity.end())?);
        Some(format!("{start} to {end}"))
    }

    /// Returns the day on which the signer says that he signed.
    #[must_use]
    pub fn signing_day(&self) -> Option<String> {
        day(self.signed_at?)
    }

    /// Writes that it is good, and why.
    pub(crate) fn fmt_good(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("good, by ")?;
        f.write_str(self.subject.as_deref().unwrap_or("an unknown signer"))?;
        let (Some(anchor), Some(last)) = (&self.anchor, self.chain.last()) else {
            return Ok(());
        };
        match self.chain.len() {
            1 => write!(f, ", trusted through {anchor}"),
            _ => write!(f, ", trusted through {} ({anchor})", last.subject),
        }
    }
}

/// Returns the day of a time in seconds since 1970, as `2026-01-31`. Dates in
/// certificates have four digits of a year.
fn day(seconds: u64) -> Option<String> {
    let time = DateTime::from_unix_duration(Duration::from_secs(seconds)).ok()?;
    Some(format!(
        "{:04}-{:02}-{:02}",
        time.year(),
        time.month(),
        time.day()
    ))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_pe::PeImage;

    use crate::testing::{entry, file, signature_of, taken_apart, trust, verified, wrap};
    use crate::tlv::Element;
    use crate::{Checks, DigestAlgorithm, Trust, Verdict, list_signers};

    /// Writes down what a verdict lists.
    fn written(verdict: &Verdict) -> String {
        let signers = verdict.signers().iter().map(|it| {
            let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
            let digest = it.digest.as_ref().map(|it| match &it.algorithm {
                DigestAlgorithm::Known(algorithm) => algorithm.to_string(),
                DigestAlgorithm::Other(name) => name.clone(),
            });
            format!(
                "{}{} {}: {}, by {} of {}, {}, {}, {}, {}, fits: {:?}\n",
                if it.nested { "nested " } else { "" },
                it.signature,
                it.state,
                it.reason.as_deref().unwrap_or("-"),
                known(&it.subject),
                known(&it.issuer),
                known(&it.algorithm),
                known(&digest),
                known(&it.dates()),
                known(&it.fingerprint.clone().map(|it| it[..8].to_owned())),
                it.fits,
            )
        });
        let signers: String = signers.collect();
        let certificates = verdict.certificates().iter();
        let certificates = certificates.map(|it| {
            let numbers = it.signatures.iter().map(ToString::to_string);
            let numbers: Vec<String> = numbers.collect();
            format!("{} ({})", it.summary.subject, numbers.join(" "))
        });
        let certificates: Vec<String> = certificates.collect();
        let text = format!("{verdict}\n{signers}with it: {}\n", certificates.join(", "));
        text.replace(",O=ukexec tests", "")
    }

    fn list(image: &[u8]) -> Verdict {
        let pe = PeImage::parse(image);
        list_signers(image, Some(pe.as_ref()))
    }

    fn check(image: &str, expected: &Expect) {
        expected.assert_eq(&written(&list(&file(&format!("images/{image}.efi")))));
    }

    /// Returns `own.efi` with another certificate table.
    fn with_table(table: &[u8]) -> Vec<u8> {
        let mut image = file("images/own.efi");
        let start = PeImage::parse(&image)
            .unwrap()
            .certificates()
            .unwrap()
            .start as usize;
        image.truncate(start);
        image.extend(table);
        let len = u32::try_from(table.len()).unwrap();
        image[SIZE..SIZE + 4].copy_from_slice(&len.to_le_bytes());
        image
    }

    /// The size in data directory 4.
    const SIZE: usize = 0x40 + 24 + 112 + 4 * 8 + 4;

    #[test]
    fn no_key_is_needed_to_know_who_signed() {
        check(
            "twice",
            &expect![[r#"
                not verified, by CN=leaf and CN=own
                1 not verified: -, by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: None
                2 not verified: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: None
                with it: CN=leaf (1), CN=intermediate (1), CN=own (2)
            "#]],
        );
        check(
            "p384-sha384",
            &expect![[r#"
                not verified, by CN=p384
                1 not verified: -, by CN=p384 of CN=p384, ECDSA P-384, SHA-384, SHA-384, 2026-11-22 to 2126-10-29, 8f95f616, fits: None
                with it: CN=p384 (1)
            "#]],
        );
        check(
            "pss-certificate",
            &expect![[r#"
                not verified, by CN=pss
                1 not verified: -, by CN=pss of CN=root, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, 60688932, fits: None
                with it: CN=pss (1)
            "#]],
        );
        check(
            "rsa1024",
            &expect![[r#"
                not verified, by CN=rsa1024
                1 not verified: -, by CN=rsa1024 of CN=rsa1024, RSA 1024, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, 29a661d7, fits: None
                with it: CN=rsa1024 (1)
            "#]],
        );
        check(
            "p521",
            &expect![[r#"
                not verified, by CN=p521
                1 not verified: -, by CN=p521 of CN=p521, ECDSA P-521, SHA-512, SHA-512, 2026-11-22 to 2126-10-29, 1a36f1ad, fits: None
                with it: CN=p521 (1)
            "#]],
        );
        check(
            "sha1-digest",
            &expect![[r#"
                not verified, by CN=own
                1 not verified: -, by CN=own of CN=own, RSA 2048, SHA-1, SHA-1, 2026-11-22 to 2126-10-29, f319d954, fits: None
                with it: CN=own (1)
            "#]],
        );
        check(
            "no-chain",
            &expect![[r#"
                not verified, by CN=leaf
                1 not verified: -, by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: None
                with it: CN=leaf (1)
            "#]],
        );
        check(
            "unsigned",
            &expect![[r#"
            unsigned
            with it: 
        "#]],
        );
    }

    #[test]
    fn a_verdict_lists_who_signed_and_whether_that_counts() {
        let check = |change: usize, trust: &Trust, expected: Expect| {
            let mut image = file("images/twice.efi");
            image[0x400] ^= u8::from(change == 1);
            expected.assert_eq(&written(&verified(&image, trust, Checks::default())));
        };
        check(
            0,
            &trust(&["own"], &[]),
            expect![[r#"
                good, by CN=own, trusted through db
                1 untrusted: nobody trusted vouches for CN=leaf (CN=intermediate: its issuer, CN=root, is neither trusted nor with the signature), by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: Some(true)
                2 good: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: Some(true)
                with it: CN=leaf (1), CN=intermediate (1), CN=own (2)
            "#]],
        );
        check(
            0,
            &trust(&["own"], &["leaf"]),
            expect![[r#"
                revoked: the certificate of CN=leaf: dbx holds the certificate
                1 revoked: CN=leaf: dbx holds the certificate, by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: Some(true)
                2 not verified: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: Some(true)
                with it: CN=leaf (1), CN=intermediate (1), CN=own (2)
            "#]],
        );
        check(
            0,
            &Trust::default(),
            expect![[r#"
                untrusted: signature 1: nobody trusted vouches for CN=leaf (CN=intermediate: its issuer, CN=root, is neither trusted nor with the signature); signature 2: nobody trusted vouches for CN=own
                1 untrusted: nobody trusted vouches for CN=leaf (CN=intermediate: its issuer, CN=root, is neither trusted nor with the signature), by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: Some(true)
                2 untrusted: nobody trusted vouches for CN=own, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: Some(true)
                with it: CN=leaf (1), CN=intermediate (1), CN=own (2)
            "#]],
        );
        check(
            1,
            &Trust::default(),
            expect![[r#"
                bad signature: signature 1: the image was changed after signing: SHA-256: expected 45e78a66c3c0…, found 8b6252aa8ed0…; signature 2: the image was changed after signing: SHA-256: expected 45e78a66c3c0…, found 8b6252aa8ed0…
                1 bad: the image was changed after signing: SHA-256: expected 45e78a66c3c0…, found 8b6252aa8ed0…, by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: Some(false)
                2 bad: the image was changed after signing: SHA-256: expected 45e78a66c3c0…, found 8b6252aa8ed0…, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: Some(false)
                with it: CN=leaf (1), CN=intermediate (1), CN=own (2)
            "#]],
        );
    }

    #[test]
    fn signers_who_are_not_one_are_listed() {
        let appended = file("appended/two-signers");
        expect![[r#"
            not verified
            1 not verified: -, by ? of CN=own, RSA, SHA-256, ?, ?, ?, fits: None
            1 not verified: -, by ? of CN=intermediate, RSA, SHA-256, ?, ?, ?, fits: None
            with it: 
        "#]]
        .assert_eq(&written(&list_signers(&appended[..], None)));
        let appended = file("appended/key-id");
        expect![[r#"
            not verified
            1 not verified: -, by ? of ?, RSA, SHA-256, ?, ?, ?, fits: None
            with it: 
        "#]]
        .assert_eq(&written(&list_signers(&appended[..], None)));
    }

    #[test]
    fn nested_signatures_are_listed() {
        let inner = signature_of("chain");
        let inner = Element::first("test", &inner).unwrap().raw.to_vec();
        let oid = wrap(6, &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 4, 1]);
        let attribute = wrap(0x30, &[oid, wrap(0x31, &inner)].concat());
        let outer = crate::forms::edited(|fields| fields.extend(wrap(0xa1, &attribute)));
        let image = with_table(&entry(&outer));
        let found = verified(&image, &trust(&["own"], &[]), Checks::default());
        expect![[r#"
            good, by CN=own, trusted through db
            1 good: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: Some(true)
            nested 1 not verified: -, by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: None
            with it: CN=own (1)
        "#]].assert_eq(&written(&found));
    }

    #[test]
    fn tables_that_are_cut_keep_their_signers() {
        let mut image = file("images/twice.efi");
        image[SIZE] -= 8;
        expect![[r#"
            malformed signature: certificate table, dwLength at offset 0x990 of the table: expected a length that, rounded up to 8, lies inside the table, found 0x5ec
            1 not verified: -, by CN=leaf of CN=intermediate, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, fc12a12a, fits: None
            2 not verified: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: None
            with it: CN=leaf (1), CN=intermediate (1), CN=own (2)
        "#]].assert_eq(&written(&list(&image)));
        let found = verified(&image, &trust(&["own"], &[]), Checks::default());
        assert_eq!(found.signers(), list(&image).signers());
        let table = taken_apart(&file("images/own.efi"))
            .unwrap()
            .0
            .unwrap()
            .to_vec();
        let cut = [&table[..], &table[..table.len() / 2]].concat();
        expect![[r#"
            malformed signature: certificate table, dwLength at offset 0x5f0 of the table: expected a length that, rounded up to 8, lies inside the table, found 0x5ec
            1 not verified: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: None
            2 malformed: certificate table, dwLength at offset 0x5f0 of the table: expected a length that, rounded up to 8, lies inside the table, found 0x5ec, by ? of ?, ?, ?, ?, ?, fits: None
            with it: CN=own (1)
        "#]].assert_eq(&written(&list(&with_table(&cut))));
        let found = list(&with_table(&table.repeat(2)));
        assert!(written(&found).ends_with("with it: CN=own (1 2)\n"));
        let junk = [&table[..], &entry(b"junk")].concat();
        expect![[r#"
            not verified, by CN=own
            1 not verified: -, by CN=own of CN=own, RSA 2048, SHA-256, SHA-256, 2026-11-22 to 2126-10-29, f319d954, fits: None
            2 malformed: signers of the signature, who may be revoked: expected a DER element, found something else: ASN.1 DER message is incomplete: expected 119, actual 4 at DER byte 0, by ? of ?, ?, ?, ?, ?, fits: None
            with it: CN=own (1)
        "#]].assert_eq(&written(&list(&with_table(&junk))));
    }
}
