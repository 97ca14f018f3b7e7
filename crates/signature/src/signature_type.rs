//! Types of signatures in EFI signature lists.
//!
//! Spec: UEFI 2.10, 32.4.1 "Signature Database".

use core::fmt;

use SignatureType::{ImageHash, TbsHash, X509};

use crate::Algorithm::{Sha1, Sha256, Sha384, Sha512};
use crate::{Algorithm, Guid};

/// The type of a list's signatures: `SignatureType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureType {
    /// A certificate, in DER.
    X509,
    /// An Authenticode digest of an image.
    ImageHash(Algorithm),
    /// A hash of a certificate's `TBSCertificate`, and a time of revocation.
    TbsHash(Algorithm),
    /// Anything else.
    Unknown(Guid),
}

impl From<Guid> for SignatureType {
    fn from(guid: Guid) -> Self {
        let specified = SPECIFIED.iter().find(|(one, ..)| *one == guid);
        let used = specified.and_then(|(_, _, used)| *used);
        used.unwrap_or(Self::Unknown(guid)) // of no use here
    }
}

impl SignatureType {
    /// Returns the GUID that stands for it.
    #[must_use]
    pub fn guid(self) -> Guid {
        if let Self::Unknown(guid) = self {
            return guid;
        }
        let specified = SPECIFIED.iter().find(|(_, _, used)| *used == Some(self));
        // SHA-1 hashes of certificates have no GUID.
        specified.map_or(Guid([0; 16]), |(guid, ..)| *guid)
    }

    /// Returns the specification's name for it, whether or not it is of use here.
    pub(crate) fn name(self) -> Option<&'static str> {
        let guid = self.guid();
        let specified = SPECIFIED.iter().find(|(one, ..)| *one == guid);
        specified.map(|(_, name, _)| *name)
    }

    /// Returns how many bytes each signature takes, with its owner, if the
    /// type alone says so.
    pub(crate) fn signature_size(self) -> Option<usize> {
        match self {
            ImageHash(algorithm) => Some(OWNER_LEN.saturating_add(algorithm.digest_len())),
            TbsHash(algorithm) => {
                let owner_and_time = OWNER_LEN.saturating_add(EFI_TIME_LEN);
                Some(owner_and_time.saturating_add(algorithm.digest_len()))
            }
            X509 | Self::Unknown(_) => None,
        }
    }
}

/// Writes the specification's name, or the GUID where there is none.
impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.guid()),
        }
    }
}

/// The length of `SignatureOwner`.
pub(crate) const OWNER_LEN: usize = 16;

/// The length of an `EFI_TIME`.
const EFI_TIME_LEN: usize = 16;

/// The types of the specification, and those among them that are of use here.
pub(crate) const SPECIFIED: [(Guid, &str, Option<SignatureType>); 14] = [
    (CERT_X509, "EFI_CERT_X509_GUID", Some(X509)),
    (CERT_SHA1, "EFI_CERT_SHA1_GUID", Some(ImageHash(Sha1))),
    (CERT_SHA256, "EFI_CERT_SHA256_GUID", Some(ImageHash(Sha256))),
    (CERT_SHA384, "EFI_CERT_SHA384_GUID", Some(ImageHash(Sha384))),
    (CERT_SHA512, "EFI_CERT_SHA512_GUID", Some(ImageHash(Sha512))),
    (
        TBS_SHA256,
        "EFI_CERT_X509_SHA256_GUID",
        Some(TbsHash(Sha256)),
    ),
    (
        TBS_SHA384,
        "EFI_CERT_X509_SHA384_GUID",
        Some(TbsHash(Sha384)),
    ),
    (
        TBS_SHA512,
        "EFI_CERT_X509_SHA512_GUID",
        Some(TbsHash(Sha512)),
    ),
    (CERT_SHA224, "EFI_CERT_SHA224_GUID", None),
    (RSA2048, "EFI_CERT_RSA2048_GUID", None),
    (RSA2048_SHA256, "EFI_CERT_RSA2048_SHA256_GUID", None),
    (RSA2048_SHA1, "EFI_CERT_RSA2048_SHA1_GUID", None),
    (TYPE_PKCS7, "EFI_CERT_TYPE_PKCS7_GUID", None),
    (EXTERNAL, "EFI_CERT_EXTERNAL_MANAGEMENT_GUID", None),
];

const CERT_X509: Guid = Guid::new(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072);
const CERT_SHA1: Guid = Guid::new(0x826c_a512, 0xcf10, 0x4ac9, 0xb187_be01_4966_31bd);
const CERT_SHA256: Guid = Guid::new(0xc1c4_1626, 0x504c, 0x4092, 0xaca9_41f9_3693_4328);
const CERT_SHA384: Guid = Guid::new(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1_8ad5_6c70_1e01);
const CERT_SHA512: Guid = Guid::new(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b_d41e_2b89_c19a);
const TBS_SHA256: Guid = Guid::new(0x3bd2_a492, 0x96c0, 0x4079, 0xb420_fcf9_8ef1_03ed);
const TBS_SHA384: Guid = Guid::new(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2_28b3_49a6_865b);
const TBS_SHA512: Guid = Guid::new(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa_2465_d2b0_fe9d);
const CERT_SHA224: Guid = Guid::new(0x0b6e_5233, 0xa65c, 0x44c9, 0x9407_d9ab_83bf_c8bd);
const RSA2048: Guid = Guid::new(0x3c57_66e8, 0x269c, 0x4e34, 0xaa14_ed77_6e85_b3b6);
const RSA2048_SHA256: Guid = Guid::new(0xe2b3_6190, 0x879b, 0x4a3d, 0xad8d_f2e7_bba3_2784);
const RSA2048_SHA1: Guid = Guid::new(0x67f8_444f, 0x8743, 0x48f1, 0xa328_1eaa_b873_6080);
pub(crate) const TYPE_PKCS7: Guid = Guid::new(0x4aaf_d29d, 0x68df, 0x49ee, 0x8aa9_347d_3756_65a7);
const EXTERNAL: Guid = Guid::new(0x452e_8ced, 0xdfff, 0x4b8c, 0xae01_5118_862e_682c);
