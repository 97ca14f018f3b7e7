//! Taking EFI signature lists into trust and revocation.

use alloc::{format, string::String, string::ToString, vec::Vec};

use crate::signature_list::{SignatureData, SignatureList, signature_lists};
use crate::trust::{Hash, Note};
use crate::{Algorithm, Certificate, Origin, SignatureError, Trust};

impl Trust {
    /// Trusts the certificates and images in `lists`, EFI signature lists as
    /// `db` holds them.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] for a size that cannot be right. Nothing is
    /// trusted then.
    pub(crate) fn add_allowed_list(
        &mut self,
        origin: &Origin,
        lists: &[u8],
    ) -> Result<(), SignatureError> {
        for list in lists_of(origin, lists)? {
            let mut ignored = Ignored::default();
            for signature in list.signatures() {
                match signature {
                    SignatureData::X509(bytes) => match Certificate::first(bytes) {
                        Ok(certificate) => self.allow_certificate(certificate, origin),
                        Err(error) => ignored.unreadable(&error),
                    },
                    // SHA-1 can be forged: it may forbid, and not allow.
                    SignatureData::ImageHash(Algorithm::Sha1, _) => ignored.count("SHA-1 digest"),
                    SignatureData::ImageHash(algorithm, digest) => {
                        if let Some(hash) = Hash::new(algorithm, digest) {
                            self.allowed_images.push((hash, origin.clone()));
                        }
                    }
                    SignatureData::TbsHash { .. } => ignored.count("certificate's hash"),
                    SignatureData::Unknown(_) => ignored.count("entry"),
                }
            }
            self.notes.extend(ignored.note(&list, origin));
        }
        Ok(())
    }

    /// Trusts what is in `lists` as [`Self::add_allowed_list`] does, and as the
    /// firmware's own `db`.
    pub(crate) fn add_firmware_list(
        &mut self,
        origin: &Origin,
        lists: &[u8],
    ) -> Result<(), SignatureError> {
        let before = self.allowed.len();
        self.add_allowed_list(origin, lists)?;
        let added = self.allowed.iter().skip(before);
        self.firmware.extend(added.map(|(one, _)| one.clone()));
        Ok(())
    }

    /// Revokes the certificates and images in `lists`, EFI signature lists as
    /// `dbx` holds them.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] for a size that cannot be right. Nothing is
    /// revoked then: a caller that goes on does so without the list.
    pub fn add_revoked_list(
        &mut self,
        origin: &Origin,
        lists: &[u8],
    ) -> Result<(), SignatureError> {
        for list in lists_of(origin, lists)? {
            let mut ignored = Ignored::default();
            let mut unread = Ignored::default();
            for signature in list.signatures() {
                match signature {
                    SignatureData::X509(bytes) => match Certificate::first(bytes) {
                        Ok(certificate) => self.revoked.push((certificate, origin.clone())),
                        Err(error) => unread.unreadable(&error),
                    },
                    SignatureData::ImageHash(algorithm, digest) => {
                        if let Some(hash) = Hash::new(algorithm, digest) {
                            self.revoked_images.push((hash, origin.clone()));
                        }
                    }
                    SignatureData::TbsHash {
                        algorithm,
                        hash,
                        time_of_revocation,
                    } => {
                        if let Some(hash) = Hash::new(algorithm, hash) {
                            let entry = (hash, time_of_revocation, origin.clone());
                            self.revoked_tbs.push(entry);
                        }
                    }
                    SignatureData::Unknown(_) => ignored.count("entry"),
                }
            }
            self.notes.extend(ignored.note(&list, origin));
            self.unread_revocations.extend(unread.note(&list, origin));
        }
        Ok(())
    }
}

/// Returns the EFI signature lists that `origin` holds.
fn lists_of<'a>(
    origin: &Origin,
    lists: &'a [u8],
) -> Result<Vec<SignatureList<'a>>, SignatureError> {
    signature_lists(lists).map_err(|cause| {
        let text = format!("the EFI signature lists of {origin} are damaged");
        SignatureError::new(text).because(cause)
    })
}

/// The entries of one list that are passed over.
#[derive(Default)]
struct Ignored {
    count: usize,
    what: &'static str,
    because: Option<String>,
}

impl Ignored {
    fn count(&mut self, what: &'static str) {
        self.count = self.count.saturating_add(1);
        self.what = what;
    }

    fn unreadable(&mut self, error: &SignatureError) {
        self.count("certificate");
        self.because = Some(error.to_string());
    }

    fn note(self, list: &SignatureList<'_>, origin: &Origin) -> Option<Note> {
        let times = match self.count {
            0 => return None,
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        let because = self.because.as_deref();
        let text = format!(
            "{} in the list of {} at offset {:#x} passed over{times}: {}",
            self.what,
            list.signature_type(),
            list.at(),
            because.unwrap_or("no use is made of it here")
        );
        let origin = origin.clone();
        Some(Note { origin, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digests;
    use crate::key::LeastRsa;
    use crate::testing::{X509, list};
    use expect_test::{Expect, expect};
    use sha2::Digest as _;
    use ukexec_pe::PeImage;

    const IMAGE: &[u8] = include_bytes!("../testdata/trust/uki.efi");
    const ONE: &[u8] = include_bytes!("../testdata/trust/one.der");
    const TWO: &[u8] = include_bytes!("../testdata/trust/two.der");
    const CERTIFICATES: &[u8] = include_bytes!("../testdata/trust/certificates.esl");
    const IMAGE_HASH: &[u8] = include_bytes!("../testdata/trust/image-hash.esl");
    const TBS_HASHES: &[u8] = include_bytes!("../testdata/trust/tbs-hashes.esl");
    const TBS_SHA512: &[u8] = include_bytes!("../testdata/trust/tbs-sha512.esl");
    const TBS_TIMED: &[u8] = include_bytes!("../testdata/trust/tbs-timed.esl");

    fn allowed(lists: &[u8]) -> Trust {
        let mut trust = Trust::default();
        trust.add_allowed_list(&Origin::new("db"), lists).unwrap();
        trust
    }

    fn revoked(lists: &[u8]) -> Trust {
        let mut trust = Trust::default();
        trust.add_revoked_list(&Origin::new("dbx"), lists).unwrap();
        trust
    }

    fn certificate(der: &[u8]) -> Certificate {
        Certificate::from_der(der).unwrap()
    }

    fn digests() -> Digests {
        let covered = PeImage::parse(IMAGE)
            .unwrap()
            .authenticode_ranges()
            .unwrap();
        let mut state = sha2::Sha256::new();
        for range in covered.ranges {
            state.update(&IMAGE[range.start as usize..range.end as usize]);
        }
        state.update(vec![0; covered.padding as usize]);
        [(Algorithm::Sha256, state.finalize().to_vec())]
            .into_iter()
            .collect()
    }

    /// Checks what the lists say of certificate `der`, when it is in none and
    /// when it is in `dbx`.
    fn check(lists: &[u8], der: &[u8], expected: Expect) {
        let revocation = revoked(lists).revokes_certificate(&certificate(der));
        let said = revocation.map_or("not revoked".to_owned(), |it| it.to_string());
        expected.assert_eq(&said);
    }

    #[test]
    fn trusts_the_certificates_of_lists() {
        let trust = allowed(CERTIFICATES);
        let anchors: Vec<_> = trust
            .anchors()
            .map(|(one, from)| (one.der(), from.to_string()))
            .collect();
        assert_eq!(anchors, [(ONE, "db".to_owned()), (TWO, "db".to_owned())]);
        assert_eq!(trust.revokes_certificate(&certificate(ONE)), None);
        assert!(!trust.is_empty());
        assert_eq!(trust.notes(), []);
    }

    #[test]
    fn allows_the_image_that_efitools_hashed() {
        let trust = allowed(IMAGE_HASH);
        assert_eq!(trust.algorithms(), [Algorithm::Sha256].into());
        let sha256 = [Algorithm::Sha256].into();
        let allows = |digests: &Digests| trust.allows_image(digests, &sha256);
        assert_eq!(allows(&digests()), Some(Origin::new("db")));
        let sha384 = [Algorithm::Sha384].into();
        assert_eq!(trust.allows_image(&digests(), &sha384), None);
        assert_eq!(trust.revokes_image(&digests()), None);
        assert!(!trust.is_empty());
        let other = [(Algorithm::Sha256, vec![1; 32])].into_iter().collect();
        assert_eq!(allows(&other), None);
        assert_eq!(allows(&Digests::default()), None);
    }

    #[test]
    fn revokes_the_image_that_efitools_hashed() {
        let trust = revoked(IMAGE_HASH);
        assert_eq!(trust.allows_image(&digests(), &trust.algorithms()), None);
        let said = trust.revokes_image(&digests()).unwrap().to_string();
        expect!["dbx holds the image's SHA-256 digest"].assert_eq(&said);
        assert!(trust.is_empty());
    }

    #[test]
    fn revokes_certificates() {
        check(CERTIFICATES, TWO, expect!["dbx holds the certificate"]);
        check(IMAGE_HASH, TWO, expect!["not revoked"]);
    }

    #[test]
    fn revokes_certificates_by_the_hashes_that_efitools_took() {
        check(
            TBS_HASHES,
            ONE,
            expect!["dbx holds the certificate's SHA-256 hash"],
        );
        check(
            &TBS_HASHES[92..],
            ONE,
            expect!["dbx holds the certificate's SHA-384 hash"],
        );
        check(
            TBS_SHA512,
            ONE,
            expect!["dbx holds the certificate's SHA-512 hash"],
        );
        check(TBS_HASHES, TWO, expect!["not revoked"]);
    }

    #[test]
    fn a_time_of_revocation_is_shown_and_revokes_at_once() {
        check(
            TBS_TIMED,
            TWO,
            expect!["dbx holds the certificate's SHA-256 hash, revoked since 2020-02-03 04:05:06"],
        );
        check(TBS_TIMED, ONE, expect!["not revoked"]);
    }

    #[test]
    fn sha1_revokes_and_does_not_allow() {
        let digest = vec![7; 20];
        let mut list = crate::SignatureType::ImageHash(Algorithm::Sha1)
            .guid()
            .0
            .to_vec();
        for size in [28u32 + 36, 0, 36] {
            list.extend(size.to_le_bytes());
        }
        list.extend([0; 16]);
        list.extend(&digest);
        let digests: Digests = [(Algorithm::Sha1, digest)].into_iter().collect();
        let said = revoked(&list).revokes_image(&digests).unwrap().to_string();
        expect!["dbx holds the image's SHA-1 digest"].assert_eq(&said);

        let trust = allowed(&list);
        assert_eq!(trust.allows_image(&digests, &trust.algorithms()), None);
        assert!(trust.is_empty() && trust.algorithms().is_empty());
        expect!["db: SHA-1 digest in the list of EFI_CERT_SHA1_GUID at offset 0x0 passed over: no use is made of it here"].assert_eq(&notes(&trust));
    }

    #[test]
    fn notes_what_it_passes_over() {
        let mut damaged = CERTIFICATES.to_vec();
        damaged[28 + 16] = 0x31;
        let trust = allowed(&damaged);
        assert_eq!(trust.anchors().count(), 1);
        expect!["db: certificate in the list of EFI_CERT_X509_GUID at offset 0x0 passed over: certificate: expected a certificate (X.509, DER), found something else: unexpected ASN.1 DER tag: expected SEQUENCE, got SET"].assert_eq(&notes(&trust));
        expect![[r#"
            db: certificate's hash in the list of EFI_CERT_X509_SHA256_GUID at offset 0x0 passed over: no use is made of it here
            db: certificate's hash in the list of EFI_CERT_X509_SHA384_GUID at offset 0x5c passed over: no use is made of it here"#]].assert_eq(&notes(&allowed(TBS_HASHES)));

        let mut unknown = IMAGE_HASH.to_vec();
        unknown[0] ^= 1;
        let mut twice = unknown.repeat(2);
        twice.truncate(76 + 48);
        twice[16] = 76 + 48;
        expect!["dbx: entry in the list of c1c41627-504c-4092-aca9-41f936934328 at offset 0x0 passed over (2 times): no use is made of it here"].assert_eq(&notes(&revoked(&twice)));
    }

    #[test]
    fn an_entry_that_cannot_be_read_may_revoke_anything() {
        let mut damaged = CERTIFICATES.to_vec();
        damaged[28 + 16] = 0x31;
        let trust = revoked(&damaged);
        assert_eq!(trust.revoked_certificates().count(), 1);
        assert_eq!(trust.notes(), []);
        let [note] = trust.unread_revocations() else {
            panic!("{trust:?}");
        };
        expect!["dbx: certificate in the list of EFI_CERT_X509_GUID at offset 0x0 passed over: certificate: expected a certificate (X.509, DER), found something else: unexpected ASN.1 DER tag: expected SEQUENCE, got SET"].assert_eq(&note.to_string());
        assert_eq!(allowed(&damaged).unread_revocations(), []);
        assert_eq!(revoked(CERTIFICATES).unread_revocations(), []);
    }

    #[test]
    fn reads_certificates_as_firmware_does() {
        let long_serial = include_bytes!("../testdata/trust/long-serial.der");
        let large = include_bytes!("../testdata/trust/large.der");
        for (der, behind) in [
            (ONE, &[0; 3][..]),
            (ONE, b"anything"),
            (ONE, TWO),
            (long_serial, b""),
            (large, b""),
        ] {
            let list = list(X509, &[der, behind].concat());
            check(&list, der, expect!["dbx holds the certificate"]);
            let trust = allowed(&list);
            let anchors = trust.anchors().map(|(one, _)| one.der());
            assert_eq!(anchors.collect::<Vec<_>>(), [der]);
            assert_eq!(trust.notes(), []);
        }
    }

    #[test]
    fn a_certificate_is_the_same_with_another_signature_of_its_issuer() {
        let other = certificate(ONE).with_other_ecdsa_signature();
        other.verify(&certificate(ONE), LeastRsa::Bits2048).unwrap();
        assert_ne!(other.der(), ONE);
        check(
            CERTIFICATES,
            other.der(),
            expect!["dbx holds the certificate"],
        );
        check(
            &list(X509, other.der()),
            ONE,
            expect!["dbx holds the certificate"],
        );
        check(
            TBS_HASHES,
            other.der(),
            expect!["dbx holds the certificate's SHA-256 hash"],
        );
    }

    fn notes(trust: &Trust) -> String {
        let notes: Vec<_> = trust.notes().iter().map(ToString::to_string).collect();
        notes.join("\n")
    }

    #[test]
    fn a_digest_of_zeros_is_no_entry() {
        let mut zeros = IMAGE_HASH.to_vec();
        zeros[44..].fill(0);
        assert!(allowed(&zeros).is_empty());
        assert!(revoked(&zeros).algorithms().is_empty());
    }

    #[test]
    fn nothing_is_taken_from_a_damaged_list() {
        let mut trust = Trust::default();
        let cut = &CERTIFICATES[..CERTIFICATES.len() - 1];
        assert!(trust.add_allowed_list(&Origin::new("db"), cut).is_err());
        assert!(trust.add_revoked_list(&Origin::new("dbx"), cut).is_err());
        assert!(trust.set_sbat_level(b"shim").is_err());
        assert_eq!(trust, Trust::default());
    }
}
