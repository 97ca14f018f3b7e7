//! Public keys, and verifying with them.
//!
//! Keys come from the maker of the image: their sizes are bounded, so that no
//! verification takes long.

use alloc::{borrow::ToOwned, string::String, string::ToString};
use core::fmt;

use der::asn1::{ObjectIdentifier, UintRef};
use der::oid::AssociatedOid;
use der::{Decode as _, Encode as _};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::SignatureScheme;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::algorithm::{EC_PUBLIC_KEY, RSA_ENCRYPTION, RSASSA_PSS, Scheme, oid, split};
use crate::error::{not_der, unexpected, weak};
use crate::tlv::Element;
use crate::{Algorithm, SignatureError};

/// The shortest RSA key that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeastRsa {
    Bits2048,
    /// Only for a key whose certificate is in the machine's own `db`: its
    /// firmware boots images by it all the same.
    Bits1024,
}

/// A public key of a kind that may sign here.
#[derive(Clone, Debug)]
pub(crate) enum PublicKey {
    /// `pss_only`: made for no other scheme.
    Rsa {
        key: RsaPublicKey,
        pss_only: bool,
    },
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl LeastRsa {
    const fn bits(self) -> u32 {
        match self {
            Self::Bits2048 => 2048,
            Self::Bits1024 => 1024,
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Bits2048 => {
                "an RSA key of 2048 to 8192 bits, or of 1024 whose certificate is in db"
            }
            Self::Bits1024 => "an RSA key of 1024 to 8192 bits",
        }
    }
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo`.
    pub(crate) fn read(
        info: &x509_cert::spki::SubjectPublicKeyInfoOwned,
        least: LeastRsa,
    ) -> Result<Self, SignatureError> {
        let identifier = info.algorithm.to_der().map_err(refuse)?;
        let (kind, parameters) = split(&Element::only(KEY, &identifier)?, KEY)?;
        // Bits that are no whole bytes are read as none, and nothing is no key.
        let key = info.subject_public_key.as_bytes().unwrap_or_default();
        match kind {
            RSA_ENCRYPTION => rsa_key(key, false, least),
            RSASSA_PSS => rsa_key(key, true, least),
            EC_PUBLIC_KEY => {
                let curve = parameters.map(|parameters| parameters.oid("a named curve"));
                ec_key(curve.transpose()?, key)
            }
            other => Err(unsupported(other)),
        }
    }

    /// Checks that `signature` was made by this key for `digest`.
    ///
    /// # Errors
    ///
    /// The fault, in words.
    pub(crate) fn verify(
        &self,
        scheme: Scheme,
        algorithm: Algorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), &'static str> {
        if scheme.algorithm().is_some_and(|named| named != algorithm) {
            return Err("its algorithm goes with another digest");
        }
        match algorithm {
            Algorithm::Sha1 => Err("SHA-1 is too weak"),
            Algorithm::Sha256 => self.verify_by::<Sha256>(scheme, digest, signature),
            Algorithm::Sha384 => self.verify_by::<Sha384>(scheme, digest, signature),
            Algorithm::Sha512 => self.verify_by::<Sha512>(scheme, digest, signature),
        }
    }

    fn verify_by<D: Digest + AssociatedOid>(
        &self,
        scheme: Scheme,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), &'static str>
    where
        Pss<D>: SignatureScheme,
    {
        let verified = match (self, scheme) {
            (Self::Rsa { pss_only: true, .. }, Scheme::RsaPkcs1(_)) => {
                return Err("the key is for RSASSA-PSS alone");
            }
            (Self::Rsa { key, .. }, Scheme::RsaPkcs1(_)) => {
                let padding = Pkcs1v15Sign::new::<D>();
                key.verify(padding, digest, signature).is_ok()
            }
            (Self::Rsa { key, .. }, Scheme::RsaPss { salt_len, .. }) => {
                let padding = Pss::<D>::new_with_salt(salt_len);
                key.verify(padding, digest, signature).is_ok()
            }
            (Self::P256(key), Scheme::Ecdsa(_)) => p256::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            (Self::P384(key), Scheme::Ecdsa(_)) => p384::ecdsa::DerSignature::from_bytes(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            _ => return Err("it is of another kind than the key"),
        };
        if verified {
            Ok(())
        } else {
            Err("it was made by another key, or over something else")
        }
    }
}

/// Returns the size in bits of an RSA key, or the name of an elliptic curve, of keys
/// that do not count as well.
pub(crate) fn key_size(info: &x509_cert::spki::SubjectPublicKeyInfoOwned) -> Option<String> {
    let identifier = info.algorithm.to_der().ok()?;
    let (kind, parameters) = split(&Element::only(KEY, &identifier).ok()?, KEY).ok()?;
    if kind == EC_PUBLIC_KEY {
        let curve = parameters?.oid("a named curve").ok()?;
        let known = CURVES.iter().find(|(oid, _)| *oid == curve);
        return Some(known.map_or_else(|| curve.to_string(), |(_, name)| (*name).to_owned()));
    }
    let key = info.subject_public_key.as_bytes()?;
    let mut numbers = Element::only(KEY, key).ok()?.sequence(KEY).ok()?;
    let modulus = numbers.required("a modulus").ok()?;
    let modulus = UintRef::from_der(modulus.raw).ok()?;
    let (first, rest) = modulus.as_bytes().split_first()?;
    let bits = rest.len().checked_mul(8)?;
    let bits = bits.checked_add(usize::try_from(first.checked_ilog2()?).ok()?)?;
    Some(bits.checked_add(1)?.to_string())
}

/// Reads an `RSAPublicKey`.
///
/// Spec: RFC 8017, appendix A.1.1.
fn rsa_key(key: &[u8], pss_only: bool, least: LeastRsa) -> Result<PublicKey, SignatureError> {
    let mut numbers = Element::only(KEY, key)?.sequence(KEY)?;
    let modulus = uint(&numbers.required("a modulus")?)?;
    let exponent = uint(&numbers.required("an exponent")?)?;
    numbers.finish()?;
    let bits = modulus.bits();
    if bits < least.bits() {
        let found = format_args!("one of {bits} bits");
        return Err(weak(KEY, least.expected(), found));
    }
    if bits > MAX_RSA_BITS {
        return Err(unsupported(format_args!("an RSA key of {bits} bits")));
    }
    // This bounds the exponent, and does not take even numbers.
    let key = RsaPublicKey::new(modulus, exponent)
        .map_err(|cause| unsupported(format_args!("an RSA key that cannot be used ({cause})")))?;
    Ok(PublicKey::Rsa { key, pss_only })
}

fn uint(element: &Element<'_>) -> Result<BoxedUint, SignatureError> {
    let number = UintRef::from_der(element.raw).map_err(refuse)?;
    Ok(BoxedUint::from_be_slice_vartime(number.as_bytes()))
}

/// Reads an `ECPoint` on a named curve.
fn ec_key(curve: Option<ObjectIdentifier>, point: &[u8]) -> Result<PublicKey, SignatureError> {
    let no_point = |_| unsupported("a point that is not on its curve");
    match curve {
        Some(SECP256R1) => p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map(PublicKey::P256)
            .map_err(no_point),
        Some(SECP384R1) => p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map(PublicKey::P384)
            .map_err(no_point),
        Some(other) => Err(unsupported(format_args!("an elliptic curve {other}"))),
        None => Err(unsupported("an elliptic curve without a name")),
    }
}

fn unsupported(found: impl fmt::Display) -> SignatureError {
    unexpected(KEY, "RSA of 2048 to 8192 bits, P-256 or P-384", found).unsupported()
}

fn refuse(cause: der::Error) -> SignatureError {
    not_der(KEY, "a key", &cause)
}

const KEY: &str = "public key";
/// More than anyone is seen to use. Verifying with such a key takes milliseconds.
const MAX_RSA_BITS: u32 = 8192;
const SECP256R1: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = oid("1.3.132.0.34");
const CURVES: [(ObjectIdentifier, &str); 3] = [
    (SECP256R1, "P-256"),
    (SECP384R1, "P-384"),
    (oid("1.3.132.0.35"), "P-521"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::wrap;

    /// Reads an `RSAPublicKey`: an odd modulus of `bits`.
    fn read(bits: u32, exponent: &[u8]) -> Result<PublicKey, SignatureError> {
        let mut modulus = vec![0xff; bits.div_ceil(8) as usize];
        modulus[0] >>= bits.next_multiple_of(8) - bits;
        if modulus[0] > 0x7f {
            modulus.insert(0, 0);
        }
        let key = wrap(0x30, &[wrap(2, &modulus), wrap(2, exponent)].concat());
        rsa_key(&key, false, LeastRsa::Bits2048)
    }

    #[test]
    fn sizes_of_rsa_keys_are_bounded() {
        for bits in [2048, 2049, 4096, 4097, 8191, 8192] {
            read(bits, &[1, 0, 1]).unwrap();
        }
        for bits in [2047, 8193, 16384] {
            let error = read(bits, &[1, 0, 1]).unwrap_err().to_string();
            assert!(error.contains(&format!("of {bits} bits")), "{error}");
        }
        read(8192, &[1, 0xff, 0xff, 0xff, 0xff]).unwrap();
        read(8192, &[2, 0, 0, 0, 1]).unwrap_err();
        read(8192, &[1, 0, 0]).unwrap_err();
    }

    /// As many as one image may ask for, with the largest exponent.
    #[test]
    fn the_longest_keys_do_not_take_long() {
        let modulus = [&[0][..], &[0xff; 1024]].concat();
        let exponent = [1, 0xff, 0xff, 0xff, 0xff];
        let key = wrap(0x30, &[wrap(2, &modulus), wrap(2, &exponent)].concat());
        let begin = std::time::Instant::now();
        for _ in 0..256 {
            let key = rsa_key(&key, false, LeastRsa::Bits2048).unwrap();
            let scheme = Scheme::RsaPkcs1(None);
            let verified = key.verify(scheme, Algorithm::Sha256, &[0; 32], &[0x55; 1024]);
            assert!(verified.is_err());
        }
        let elapsed = begin.elapsed();
        assert!(elapsed < std::time::Duration::from_secs(10), "{elapsed:?}");
    }
}
