//! Signatures: images, appended ones, certificates, tables. Any input gets a verdict, and
//! nothing is good unless it is signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ukexec_pe::PeImage;
use ukexec_signature::{
    Algorithm, Certificate, Checks, DigestSource, Hasher, ImageVerdict, State, Trust,
    UnverifiedImage, certificate_table, digests_needed, digests_of, list_signers, verify_appended,
    verify_image,
};

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let mut trust = Trust::default();
    for certificate in [
        &include_bytes!("../../crates/signature/testdata/signed/certificates/root.der")[..],
        include_bytes!("../../crates/signature/testdata/signed/certificates/p384.der"),
    ] {
        trust
            .add_file("trusted", certificate)
            .expect("a certificate");
    }
    trust
});

fuzz_target!(|data: &[u8]| {
    let checks = Checks {
        check_dates: Some(2_000_000_000),
    };
    if let Ok(certificate) = Certificate::from_der(data) {
        let again = Certificate::from_der(certificate.der()).expect("it was read before");
        assert_eq!(format!("{certificate:?}"), format!("{again:?}"));
        assert!(
            data.windows(certificate.tbs().len())
                .any(|at| at == certificate.tbs())
        );
    }
    let verdict = image(&with_table(data), checks);
    assert!(verdict.is_none_or(|found| !found.verdict.is_good()));
    if let Ok(signatures) = certificate_table(data) {
        let len: usize = signatures.iter().map(|signature| signature.len()).sum();
        assert!(len < data.len() || data.is_empty());
    }
    let verdict = verify_appended(data, &TRUST, checks, Algorithm::state);
    assert!(!verdict.to_string().contains('\n'));
    image(data, checks);
});

/// Returns an image that nobody signed, with `table` as its certificate table.
fn with_table(table: &[u8]) -> Vec<u8> {
    let mut image =
        include_bytes!("../../crates/signature/testdata/signed/images/own.efi").to_vec();
    let at = 0x40 + 24 + 112 + 4 * 8; // data directory 4
    let start = u32::from_le_bytes(image[at..at + 4].try_into().expect("four bytes"));
    image.truncate(start as usize);
    image[0x400] ^= 1; // in a section
    image[at + 4..at + 8].copy_from_slice(&(table.len() as u32).to_le_bytes());
    image.extend(table);
    image
}

/// Verifies an image, by digests that were taken while it was copied and by those
/// that are taken now.
fn image(data: &[u8], checks: Checks) -> Option<ImageVerdict> {
    let pe = PeImage::parse(data).ok()?;
    let verify = |digests| {
        let image = UnverifiedImage {
            bytes: data,
            pe: Some(Ok(&pe)),
            digests,
            state: Algorithm::state,
        };
        verify_image(&image, &TRUST, checks).expect("it does not change")
    };
    let found = verify(DigestSource::Image);
    let is_unsigned = found.verdict.state() == State::Unsigned;
    let listed = list_signers(data, Some(Ok(&pe)));
    assert!(
        !listed.is_good() && (listed.state() == State::Unsigned) == pe.certificates().is_none()
    );
    assert!(pe.certificates().is_some() || is_unsigned);
    let Some(request) = digests_needed(&pe, data, &TRUST) else {
        assert!(!found.verdict.is_good());
        return Some(found);
    };
    let algorithms = request.algorithms.iter().copied();
    let digests = digests_of(data, &request.ranges, algorithms, Algorithm::state);
    let digests = digests.expect("they lie inside");
    assert_eq!(digests, found.digests);
    if let Ok(mut hasher) = Hasher::new(request, Algorithm::state) {
        for (index, chunk) in data.chunks(1000).enumerate() {
            hasher.update(index as u64 * 1000, chunk).expect("in order");
        }
        let taken = hasher.finish().expect("all of it");
        assert_eq!(verify(DigestSource::Taken(&taken)), found);
    }
    Some(found)
}
