//! Things that the tests of this crate share: the files in `testdata/signed`, and
//! trust in some of them.

use ukexec_pe::PeImage;

use crate::authenticode::algorithms_of;
use crate::{
    Algorithm, Certificate, Checks, DigestSource, Digests, Origin, Trust, UnverifiedImage, Verdict,
    certificate_table, digests_of, verify_image,
};

/// Returns a file of `testdata/signed`.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/signed/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn certificate(name: &str) -> Certificate {
    Certificate::from_der(&file(&format!("certificates/{name}.der"))).unwrap()
}

/// Returns trust in `allowed` certificates, with `revoked` ones revoked.
pub(crate) fn trust(allowed: &[&str], revoked: &[&str]) -> Trust {
    let mut trust = Trust::default();
    for name in allowed {
        let list = list(X509, certificate(name).der());
        trust.add_allowed_list(&Origin::new("db"), &list).unwrap();
    }
    for name in revoked {
        let list = list(X509, certificate(name).der());
        trust.add_revoked_list(&Origin::new("dbx"), &list).unwrap();
    }
    trust
}

/// Returns a signature list with one entry.
///
/// Spec: UEFI 2.10, section 32.4.1.
pub(crate) fn list(signature_type: [u8; 16], data: &[u8]) -> Vec<u8> {
    let signature_size = u32::try_from(16 + data.len()).unwrap();
    let mut list = signature_type.to_vec();
    for field in [28 + signature_size, 0, signature_size] {
        list.extend(field.to_le_bytes());
    }
    list.extend([0; 16]); // the owner
    list.extend(data);
    list
}

/// `EFI_CERT_X509_GUID`.
pub(crate) const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// `EFI_CERT_SHA256_GUID`.
pub(crate) const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];

/// Returns an image's certificate table, and its digests for `table`.
pub(crate) fn taken_apart(image: &[u8]) -> Option<(Option<&[u8]>, Digests)> {
    let view = PeImage::parse(image).ok()?;
    let ranges = view.authenticode_ranges().ok()?;
    let table = view
        .certificates()
        .map(|table| &image[table.start as usize..table.end as usize]);
    let mut algorithms = table.map(algorithms_of).unwrap_or_default();
    algorithms.insert(Algorithm::Sha256);
    Some((
        table,
        digests_of(image, &ranges, algorithms, Algorithm::state).unwrap(),
    ))
}

/// Verifies an image, whose headers may be damaged.
pub(crate) fn verified(image: &[u8], trust: &Trust, checks: Checks) -> Verdict {
    let pe = PeImage::parse(image);
    let image = UnverifiedImage {
        bytes: image,
        pe: Some(pe.as_ref()),
        digests: DigestSource::Image,
        state: Algorithm::state,
    };
    verify_image(&image, trust, checks).unwrap().verdict
}

/// Returns a verdict as text, without the organisation that all signers are of.
pub(crate) fn said(verdict: &Verdict) -> String {
    verdict.to_string().replace(",O=ukexec tests", "")
}

/// Returns the text that is [`said`] of an image by a signer who is trusted.
pub(crate) fn good(signer: &str) -> String {
    format!("good, by CN={signer}, trusted through db")
}

/// Returns the text that is [`said`] of an image by a signer whose issuer is trusted.
pub(crate) fn vouched(signer: &str, by: &str) -> String {
    format!("good, by CN={signer}, trusted through CN={by} (db)")
}

/// Returns the text that is [`said`] of an image by a signer whom nobody vouches for.
pub(crate) fn no_chain(signer: &str, reasons: &str) -> String {
    format!("untrusted: nobody trusted vouches for CN={signer}{reasons}")
}

/// Returns the text that is [`said`] of an image by somebody who is revoked.
pub(crate) fn revoked(name: &str) -> String {
    format!("revoked: the certificate of CN={name}: dbx holds the certificate")
}

/// A table of one entry around `content`.
pub(crate) fn entry(content: &[u8]) -> Vec<u8> {
    let mut table = u32::try_from(8 + content.len())
        .unwrap()
        .to_le_bytes()
        .to_vec();
    table.extend([0, 2, 2, 0]);
    table.extend(content);
    table.resize(table.len().next_multiple_of(8), 0);
    table
}

/// Returns the content of the one entry of a table.
pub(crate) fn content(table: &[u8]) -> Vec<u8> {
    certificate_table(table).unwrap()[0].to_vec()
}

/// Returns the signature of a test image.
pub(crate) fn signature_of(image: &str) -> Vec<u8> {
    let image = file(&format!("images/{image}.efi"));
    content(taken_apart(&image).unwrap().0.unwrap())
}

/// Wraps `content` in a tag.
pub(crate) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut der = vec![tag, 0x84];
    match content.len() {
        0..=0x7f => der = vec![tag, len[3]],
        0x80..=0xff => der = vec![tag, 0x81, len[3]],
        0x100..=0xffff => der = vec![tag, 0x82, len[2], len[3]],
        _ => der.extend(len),
    }
    der.extend(content);
    der
}
