//! Signatures appended to a file, as kernel modules and bare kernels have
//! them.
//!
//! Spec: Linux, `include/linux/module_signature.h`, `kernel/module_signature.c`
//! and `crypto/asymmetric_keys/pkcs7_verify.c`: a detached PKCS#7 signature
//! of `id-data`, without signed attributes, as `scripts/sign-file` makes it.
//! It need not carry the signer's certificate.

use alloc::{string::ToString, vec, vec::Vec};

use der::asn1::ObjectIdentifier;
use ukexec_pe::{ByteRanges, ReadAt, counted};

use crate::algorithm::oid;
use crate::chain::Effort;
use crate::digest::Hex;
use crate::error::{digest_missing, unexpected};
use crate::pkcs7::{SignedData, SignerId};
use crate::read::{read, wide};
use crate::signatures::{Checks, signer};
use crate::signer::{DigestAlgorithm, SignedDigest};
use crate::signers::{self, Signers, listed};
use crate::table::MAX_SIGNATURE_LEN;
use crate::tlv::Element;
use crate::{Certificate, Digests, NewState, SignatureError, State, Trust, Verdict, digests_of};

/// Verifies the signature that is appended to `file`. There is none in a file
/// that begins with `MZ`: signatures of PE images lie in their certificate
/// tables, and neither firmware nor Linux looks for others there.
///
/// A file that says that it is signed is not taken for one that is not: if the
/// trailer lies, or cannot be read, the verdict is [`State::Bad`]. `state` takes the digest.
pub fn verify_appended(
    file: &(impl ReadAt + ?Sized),
    trust: &Trust,
    checks: Checks,
    state: NewState,
) -> Verdict {
    judge(file, Some((trust, checks, state)))
}

/// Returns who signed a file by the signature that is appended to it, and says
/// nothing of whether that counts.
pub(crate) fn list_appended(file: &(impl ReadAt + ?Sized)) -> Verdict {
    judge(file, None)
}

/// Returns whether a signature is appended to `file`, or something that says that it
/// is one. IMA looks for it in every file, also in one that begins with `MZ`.
///
/// # Errors
///
/// The end of the file cannot be read.
pub fn has_appended(file: &(impl ReadAt + ?Sized)) -> Result<bool, SignatureError> {
    Ok(trailer_info(file)?.is_some())
}

/// Verifies the signature of `file` by somebody's trust, or just lists its signers.
fn judge(file: &(impl ReadAt + ?Sized), by: Option<(&Trust, Checks, NewState)>) -> Verdict {
    match verify_trailer(file, by) {
        Ok(Some(verdict)) => verdict,
        Ok(None) => Verdict::unsigned(),
        Err(error) => Verdict::unreadable(error),
    }
}

fn verify_trailer(
    file: &(impl ReadAt + ?Sized),
    by: Option<(&Trust, Checks, NewState)>,
) -> Result<Option<Verdict>, SignatureError> {
    if file.len() >= 2 && read(file, 0, 2)? == b"MZ" {
        return Ok(None);
    }
    let Some((signed_len, signature)) = trailer(file)? else {
        return Ok(None);
    };
    let signers = [Signers::read(&signature)];
    let Some((trust, checks, state)) = by else {
        return Ok(Some(listed(&signers, &[])));
    };
    let anchors: Vec<_> = trust.anchors().map(|(one, _)| one).collect();
    let verdict = listed(&signers, &anchors);
    let revoked = signers::revoked(&signers, &anchors, trust);
    if let Ok(Some(revoked)) = &revoked {
        return Ok(Some(verdict.by_revoked(revoked)));
    }
    let verdict = match read_signature(&signature) {
        Ok(signed) => {
            let all = ByteRanges::from(0..signed_len);
            let digests = digests_of(file, &all, [signed.signer.algorithm], state)
                .map_err(|cause| SignatureError::reading(0, signed_len, cause))?;
            verify(verdict, &digests, &signed, &anchors, trust, checks)?
        }
        Err(error) => verdict.combined(vec![Err(error.malformed())]),
    };
    Ok(Some(verdict.unless_in_doubt(revoked.map(drop))))
}

/// Returns how many bytes are signed, and the signature.
fn trailer(file: &(impl ReadAt + ?Sized)) -> Result<Option<(u64, Vec<u8>)>, SignatureError> {
    let Some((behind_signature, info)) = trailer_info(file)? else {
        return Ok(None);
    };
    let [
        algorithm,
        hash,
        id_type,
        signer_len,
        key_id_len,
        p0,
        p1,
        p2,
        l0,
        l1,
        l2,
        l3,
    ] = info;
    let refuse = |field, expected, found: u64| {
        unexpected(format_args!("appended signature, {field}"), expected, found)
    };
    if id_type != PKEY_ID_PKCS7 {
        return Err(refuse("id_type", "2 (PKCS#7)", id_type.into()));
    }
    let unused = [algorithm, hash, signer_len, key_id_len, p0, p1, p2];
    if let Some(byte) = unused.iter().find(|byte| **byte != 0) {
        let field = "algo, hash, signer_len, key_id_len or __pad";
        return Err(refuse(field, "0", (*byte).into()));
    }
    let len = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
    if usize::try_from(len).map_or(true, |len| len > MAX_SIGNATURE_LEN) {
        return Err(refuse("sig_len", "at most 64 KiB", len));
    }
    let signed_len = behind_signature
        .checked_sub(len)
        .ok_or_else(|| refuse("sig_len", "no more than the file has", len))?;
    Ok(Some((signed_len, read(file, signed_len, len)?)))
}

/// Returns where a signature ends, and the `struct module_signature` behind it.
fn trailer_info(
    file: &(impl ReadAt + ?Sized),
) -> Result<Option<(u64, [u8; INFO_LEN])>, SignatureError> {
    let Some(behind_signature) = file.len().checked_sub(TRAILER_LEN) else {
        return Ok(None);
    };
    let trailer = read(file, behind_signature, TRAILER_LEN)?;
    let info = trailer.split_first_chunk::<INFO_LEN>();
    let info = info.filter(|(_, marker)| *marker == MARKER);
    Ok(info.map(|(info, _)| (behind_signature, *info)))
}

fn verify(
    mut verdict: Verdict,
    digests: &Digests,
    signed: &SignedData<'_>,
    anchors: &[&Certificate],
    trust: &Trust,
    checks: Checks,
) -> Result<Verdict, SignatureError> {
    let algorithm = signed.signer.algorithm;
    if let Some(revocation) = trust.revokes_image(digests) {
        return Ok(verdict.revoked(&revocation, None));
    }
    let digest = digests.get(algorithm);
    let digest = digest.ok_or_else(|| digest_missing(algorithm))?;
    let mut effort = Effort::default();
    let verified = signer(signed, digest, anchors, trust, checks, &mut effort);
    // The digest is not in the signature: only who has the key can compare them.
    let fits = match &verified {
        Err(error) if error.is_wrong_key() => Some(false),
        Err(error) if error.state() != State::Untrusted => None,
        _ => Some(true),
    };
    for signer in verdict.signers_of(1) {
        signer.fits = fits.filter(|_| signer.subject.is_some());
        signer.digest = (signer.fits == Some(true)).then(|| SignedDigest {
            algorithm: DigestAlgorithm::Known(algorithm),
            value: Hex(digest).to_string(),
        });
    }
    let verdict = verdict.combined(vec![verified]);
    Ok(match fits {
        Some(false) => verdict.misfits(),
        _ => verdict,
    })
}

fn read_signature(bytes: &[u8]) -> Result<SignedData<'_>, SignatureError> {
    let (info, behind) = Element::split_first(SIGNATURE, bytes)?;
    if behind.iter().any(|byte| *byte != 0) {
        let found = counted(wide(behind.len()), "byte");
        let found = format_args!("{found} that are not all zero");
        return Err(unexpected(SIGNATURE, "nothing behind the signature", found));
    }
    let signed = SignedData::read(&info)?;
    if signed.envelope.content_type != DATA {
        let found = signed.envelope.content_type;
        return Err(unexpected(SIGNATURE, "content of type id-data", found));
    }
    let version = match signed.signer.id {
        SignerId::IssuerAndSerial { .. } => 1,
        SignerId::KeyId(_) => 3,
    };
    if signed.signer.version != version {
        let expected = "signer version 1, or 3 with a key's identifier";
        return Err(unexpected(SIGNATURE, expected, signed.signer.version));
    }
    if signed.envelope.version != version {
        let expected = "the version that its signer has";
        return Err(unexpected(SIGNATURE, expected, signed.envelope.version));
    }
    if signed.envelope.content.is_some() {
        let found = "content in the signature";
        return Err(unexpected(SIGNATURE, "a detached signature", found));
    }
    if signed.signer.attributes.is_some() {
        // The kernel refuses them: what is signed would be the digest of the
        // file among other things, not the file.
        let expected = "no signed attributes (-noattr)";
        return Err(unexpected(SIGNATURE, expected, "signed attributes"));
    }
    Ok(signed)
}

const SIGNATURE: &str = "appended signature";
const INFO_LEN: usize = 12;
const MARKER: &[u8] = b"~Module signature appended~\n";
/// `struct module_signature` and the marker.
const TRAILER_LEN: u64 = 12 + 28;
const PKEY_ID_PKCS7: u8 = 2;
const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;
    use crate::testing::{self, file, good, no_chain, revoked, said, vouched};

    fn check(name: &str, allowed: &str, expected: &str) {
        check_bytes(&file(&format!("appended/{name}")), allowed, expected);
    }

    fn check_bytes(bytes: &[u8], allowed: &str, expected: &str) {
        let trust = testing::trust(&[allowed], &[]);
        let verdict = verify_appended(bytes, &trust, Checks::default(), Algorithm::state);
        assert_eq!(said(&verdict), expected);
    }

    #[test]
    fn what_the_kernel_takes() {
        check("sign-file", "own", &good("own"));
        check("sign-file-sha512", "rsa4096", &good("rsa4096"));
        check("sign-file-p384", "p384", &good("p384"));
        check("pss", "own", &good("own"));
        check("pss-sha384", "own", &good("own"));
        check("key-id", "own", &good("own"));
        check("chain", "root", &vouched("leaf", "root"));
    }

    #[test]
    fn what_the_kernel_refuses() {
        check(
            "sign-file",
            "root",
            "untrusted: the certificate of its signer (serial number 5160f48443273b9d) is neither \
             with it nor trusted",
        );
        let alone = " (it is for signing kernel modules alone)";
        check("sign-file-modules", "modules", &no_chain("modules", alone));
        check(
            "sign-file-sha1",
            "own",
            "unsupported signature: digest algorithm: expected SHA-256, SHA-384 or SHA-512, found \
             SHA-1, which is too weak to be accepted",
        );
        for (name, reason) in [
            (
                "attributes",
                "appended signature: expected no signed attributes (-noattr), found signed \
                 attributes",
            ),
            (
                "attached",
                "appended signature: expected a detached signature, found content in the signature",
            ),
            (
                "two-signers",
                "PKCS#7 SignerInfo: expected nothing more, found SEQUENCE",
            ),
        ] {
            check(name, "own", &format!("malformed signature: {reason}"));
        }
    }

    #[test]
    fn trailers_that_lie() {
        let unused = "algo, hash, signer_len, key_id_len or __pad: expected 0, found 1";
        for (from_end, byte, reason) in [
            (40, 1, unused), // algo
            (38, 1, "id_type: expected 2 (PKCS#7), found 1"),
            (35, 1, unused), // __pad
            (
                30,
                0xff,
                "sig_len: expected no more than the file has, found 65428",
            ),
            (31, 1, "sig_len: expected at most 64 KiB, found 65940"),
            (32, 1, "sig_len: expected at most 64 KiB, found 16777620"),
        ] {
            let mut bytes = file("appended/sign-file");
            let at = bytes.len() - from_end;
            bytes[at] = byte;
            let expected = format!("malformed signature: appended signature, {reason}");
            check_bytes(&bytes, "own", &expected);
        }
        let mut bytes = file("appended/sign-file");
        *bytes.last_mut().unwrap() = b'!'; // the marker
        check_bytes(&bytes, "own", "unsigned");
    }

    #[test]
    fn short_files_have_no_signature() {
        let file = file("appended/sign-file");
        check_bytes(&[], "own", "unsigned");
        for (bytes, signed) in [(&[][..], false), (MARKER, false), (&file[1..], true)] {
            assert_eq!(has_appended(bytes).unwrap(), signed);
        }
        check_bytes(MARKER, "own", "unsigned");
        check_bytes(
            &file[file.len() - 40..],
            "own",
            "malformed signature: appended signature, sig_len: expected no more than the file has, found \
             404",
        );
    }

    fn check_revoked(file_name: &str, allowed: &str, name: &str) {
        let trust = testing::trust(&[allowed], &[name]);
        let bytes = file(&format!("appended/{file_name}"));
        let found = verify_appended(&bytes, &trust, Checks::default(), Algorithm::state);
        assert_eq!(said(&found), revoked(name));
    }

    #[test]
    fn revoked_signers() {
        check_revoked("sign-file", "own", "own");
        // Nor does it help that the signature is of a kind that is refused.
        check_revoked("sign-file-sha1", "own", "own");
    }

    #[test]
    fn any_of_several_signers_may_be_revoked() {
        check_revoked("two-signers", "own", "leaf");
    }

    /// The certificate is neither with the signature nor revoked; its issuer is.
    #[test]
    fn revoked_issuers_of_signers_who_are_trusted() {
        check_revoked("chain", "leaf", "intermediate");
    }

    #[test]
    fn pe_images_have_no_appended_signatures() {
        let mut file = file("appended/sign-file");
        file[..2].copy_from_slice(b"MZ");
        check_bytes(&file, "own", "unsigned");
        // IMA finds one all the same.
        assert!(has_appended(&*file).unwrap());
        file[1] = b'z';
        check_bytes(
            &file,
            "own",
            "bad signature: the signature does not verify with the key of CN=own: it was made by \
             another key, or over something else",
        );
    }
}
