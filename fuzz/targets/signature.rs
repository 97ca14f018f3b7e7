//! Signatures: images, appended ones, certificates, tables. Whatever comes, there is a verdict, and
//! nothing is good unless it is signed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ukexec_pe::PeImage;
use ukexec_signature::{
    Algorithm, Certificate, Checks, Digests, Hasher, Trust, Verdict, algorithms_of,
    certificate_table, digests_of, verify_appended, verify_image,
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
    let verdict = verify_image(Some(data), &Digests::default(), &TRUST, checks);
    assert!(!verdict.is_good() && !verdict.to_string().contains('\n'));
    if let Ok(signatures) = certificate_table(data) {
        let len: usize = signatures.iter().map(|signature| signature.len()).sum();
        assert!(len < data.len() || data.is_empty());
    }
    if let Ok(Some(found)) = verify_appended(data, &TRUST, checks) {
        assert!(found.signed_len < data.len() as u64);
        assert_ne!(found.verdict, Verdict::Unsigned);
    }
    image(data, checks);
});

fn image(data: &[u8], checks: Checks) {
    let Ok(view) = PeImage::parse(data) else {
        return;
    };
    let Ok(ranges) = view.authenticode_ranges() else {
        return;
    };
    let table = view
        .certificates()
        .and_then(|table| data.get(table.start as usize..table.end as usize));
    let mut algorithms = table.map(algorithms_of).unwrap_or_default();
    algorithms.insert(Algorithm::Sha256);
    let digests = digests_of(data, &ranges, algorithms).expect("ranges lie inside");
    if let Ok(mut hasher) = Hasher::new(&ranges, algorithms) {
        for (index, chunk) in data.chunks(1000).enumerate() {
            hasher.update(index as u64 * 1000, chunk).expect("in order");
        }
        assert_eq!(hasher.finish().expect("all of it"), digests);
    }
    let verdict = verify_image(table, &digests, &TRUST, checks);
    assert!(table.is_some() || verdict == Verdict::Unsigned);
}
