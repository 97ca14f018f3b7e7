//! Lists of keys and digests, as `db` and `dbx` hold them.
//!
//! Specification: UEFI 2.10, section 32.4.1.

use super::key::Digest;

const X509: [u8; 16] = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072);
const SHA1: [u8; 16] = guid(0x826c_a512, 0xcf10, 0x4ac9, 0xb187_be01_4966_31bd);
const SHA224: [u8; 16] = guid(0x0b6e_5233, 0xa65c, 0x44c9, 0x9407_d9ab_83bf_c8bd);
const SHA256: [u8; 16] = guid(0xc1c4_1626, 0x504c, 0x4092, 0xaca9_41f9_3693_4328);
const SHA384: [u8; 16] = guid(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1_8ad5_6c70_1e01);
const SHA512: [u8; 16] = guid(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b_d41e_2b89_c19a);
const X509_SHA256: [u8; 16] = guid(0x3bd2_a492, 0x96c0, 0x4079, 0xb420_fcf9_8ef1_03ed);
const X509_SHA384: [u8; 16] = guid(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2_28b3_49a6_865b);
const X509_SHA512: [u8; 16] = guid(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa_2465_d2b0_fe9d);

/// A GUID as it lies in memory.
pub(crate) const fn guid(first: u32, second: u16, third: u16, rest: u64) -> [u8; 16] {
    let (a, b, c, d) = (
        first.to_le_bytes(),
        second.to_le_bytes(),
        third.to_le_bytes(),
        rest.to_be_bytes(),
    );
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

/// A list of one certificate.
pub(crate) fn certificate(der: &[u8]) -> Vec<u8> {
    list(&X509, der)
}

/// A list of one image's digest.
pub(crate) fn image(algorithm: Digest, digest: &[u8]) -> Vec<u8> {
    let kind = match algorithm {
        Digest::Md5 | Digest::Sha1 => &SHA1,
        Digest::Sha224 => &SHA224,
        Digest::Sha256 => &SHA256,
        Digest::Sha384 => &SHA384,
        Digest::Sha512 => &SHA512,
    };
    list(kind, digest)
}

/// A list of the digest of what one certificate's issuer signed, revoked since `time`: zeros mean
/// for good.
pub(crate) fn tbs(algorithm: Digest, digest: &[u8], time: [u8; 16]) -> Vec<u8> {
    let kind = match algorithm {
        Digest::Sha512 => &X509_SHA512,
        Digest::Sha384 => &X509_SHA384,
        _ => &X509_SHA256,
    };
    list(kind, &[digest, &time].concat())
}

/// A list of one entry, of nobody in particular.
fn list(kind: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let size = 16 + data.len() as u32;
    let numbers = [28 + size, 0, size].map(u32::to_le_bytes).concat();
    [kind, &*numbers, &[0; 16], data].concat()
}
