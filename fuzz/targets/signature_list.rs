//! EFI signature lists and other files with certificates: what is read of them
//! is what is there, and revokes what it names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_signature::{
    Certificate, Digests, Origin, SignatureData, SignatureType, Trust, signature_lists,
};

fuzz_target!(|data: &[u8]| {
    let _added = Trust::default().add_file("input", data);
    let mut trust = Trust::default();
    let origin = Origin::new("input");
    let Ok(lists) = signature_lists(data) else {
        assert!(trust.add_revoked_list(&origin, data).is_err());
        assert!(
            trust == Trust::default(),
            "a damaged list was taken in part"
        );
        return;
    };
    trust.add_revoked_list(&origin, data).expect("it parses");
    let mut end = 0;
    for list in &lists {
        let at = list.at();
        assert_eq!(at, end);
        assert_eq!(data[at..at + 16], list.signature_type().guid().0);
        let size = data[at + 16..at + 20].try_into().expect("four bytes");
        end = at + u32::from_le_bytes(size) as usize;
        for signature in list.signatures() {
            check(&trust, list.signature_type(), signature);
        }
    }
    assert_eq!(end, data.len());
});

/// Every entry revokes what it names, but for digests of zeros.
fn check(trust: &Trust, signature_type: SignatureType, data: SignatureData<'_>) {
    match data {
        SignatureData::X509(der) => {
            assert_eq!(signature_type, SignatureType::X509);
            if let Ok(certificate) = Certificate::from_der(der) {
                assert!(trust.revokes_certificate(&certificate).is_some());
            }
        }
        SignatureData::ImageHash(algorithm, digest) => {
            assert_eq!(digest.len(), algorithm.digest_len());
            let digests: Digests = [(algorithm, digest.to_vec())].into_iter().collect();
            let is_zero = digest.iter().all(|byte| *byte == 0);
            assert_eq!(trust.revokes_image(&digests).is_none(), is_zero);
        }
        SignatureData::TbsHash {
            algorithm, hash, ..
        } => assert_eq!(hash.len(), algorithm.digest_len()),
        SignatureData::Unknown(_) => {
            assert!(matches!(signature_type, SignatureType::Unknown(_)));
        }
    }
}
