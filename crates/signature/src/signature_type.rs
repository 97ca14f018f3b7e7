//! Types of signatures in EFI signature lists.
//!
//! Spec: UEFI 2.10, 32.4.1 "Signature Database".

use std::fmt;

use crate::{Algorithm, Guid};

/// What the signatures of a list are: `SignatureType`.
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
        let known = KNOWN.iter().find(|(known, ..)| *known == guid);
        known.map_or(Self::Unknown(guid), |(_, _, known)| *known)
    }
}

impl SignatureType {
    /// Returns the GUID that stands for it.
    #[must_use]
    pub fn guid(self) -> Guid {
        if let Self::Unknown(guid) = self {
            return guid;
        }
        let known = KNOWN.iter().find(|(_, _, known)| *known == self);
        // SHA-1 hashes of certificates have no GUID.
        known.map_or(Guid([0; 16]), |(guid, ..)| *guid)
    }

    /// Returns whether the specification has it, whether or not use is made of
    /// it here.
    pub(crate) fn is_specified(self) -> bool {
        let unsupported = || UNSUPPORTED.iter().any(|(guid, _)| *guid == self.guid());
        !matches!(self, Self::Unknown(_)) || unsupported()
    }

    /// Returns how many bytes each signature takes, with its owner, if the
    /// type alone says so.
    pub(crate) fn signature_size(self) -> Option<u32> {
        let data = match self {
            Self::ImageHash(algorithm) => hash_len(algorithm),
            Self::TbsHash(algorithm) => hash_len(algorithm).saturating_add(EFI_TIME_LEN),
            Self::X509 | Self::Unknown(_) => return None,
        };
        Some(data.saturating_add(OWNER_LEN))
    }
}

/// Writes the specification's name, or the GUID where it has none.
impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guid = self.guid();
        let known = KNOWN.iter().map(|(guid, name, _)| (guid, name));
        let mut named = known.chain(UNSUPPORTED.iter().map(|(guid, name)| (guid, name)));
        match named.find(|(named, _)| **named == guid) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{guid}"),
        }
    }
}

fn hash_len(algorithm: Algorithm) -> u32 {
    u32::from(algorithm.short_len())
}

/// `SignatureOwner`.
pub(crate) const OWNER_LEN: u32 = 16;

/// An `EFI_TIME`.
const EFI_TIME_LEN: u32 = 16;

/// Types that use is made of.
pub(crate) const KNOWN: &[(Guid, &str, SignatureType)] = &[
    (
        Guid::new(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072),
        "EFI_CERT_X509_GUID",
        SignatureType::X509,
    ),
    (
        Guid::new(0x826c_a512, 0xcf10, 0x4ac9, 0xb187_be01_4966_31bd),
        "EFI_CERT_SHA1_GUID",
        SignatureType::ImageHash(Algorithm::Sha1),
    ),
    (
        Guid::new(0xc1c4_1626, 0x504c, 0x4092, 0xaca9_41f9_3693_4328),
        "EFI_CERT_SHA256_GUID",
        SignatureType::ImageHash(Algorithm::Sha256),
    ),
    (
        Guid::new(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1_8ad5_6c70_1e01),
        "EFI_CERT_SHA384_GUID",
        SignatureType::ImageHash(Algorithm::Sha384),
    ),
    (
        Guid::new(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b_d41e_2b89_c19a),
        "EFI_CERT_SHA512_GUID",
        SignatureType::ImageHash(Algorithm::Sha512),
    ),
    (
        Guid::new(0x3bd2_a492, 0x96c0, 0x4079, 0xb420_fcf9_8ef1_03ed),
        "EFI_CERT_X509_SHA256_GUID",
        SignatureType::TbsHash(Algorithm::Sha256),
    ),
    (
        Guid::new(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2_28b3_49a6_865b),
        "EFI_CERT_X509_SHA384_GUID",
        SignatureType::TbsHash(Algorithm::Sha384),
    ),
    (
        Guid::new(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa_2465_d2b0_fe9d),
        "EFI_CERT_X509_SHA512_GUID",
        SignatureType::TbsHash(Algorithm::Sha512),
    ),
];

/// Types of the specification that no verification here can use.
pub(crate) const UNSUPPORTED: &[(Guid, &str)] = &[
    (
        Guid::new(0x3c57_66e8, 0x269c, 0x4e34, 0xaa14_ed77_6e85_b3b6),
        "EFI_CERT_RSA2048_GUID",
    ),
    (
        Guid::new(0xe2b3_6190, 0x879b, 0x4a3d, 0xad8d_f2e7_bba3_2784),
        "EFI_CERT_RSA2048_SHA256_GUID",
    ),
    (
        Guid::new(0x67f8_444f, 0x8743, 0x48f1, 0xa328_1eaa_b873_6080),
        "EFI_CERT_RSA2048_SHA1_GUID",
    ),
    (
        Guid::new(0x0b6e_5233, 0xa65c, 0x44c9, 0x9407_d9ab_83bf_c8bd),
        "EFI_CERT_SHA224_GUID",
    ),
    (
        Guid::new(0x4aaf_d29d, 0x68df, 0x49ee, 0x8aa9_347d_3756_65a7),
        "EFI_CERT_TYPE_PKCS7_GUID",
    ),
    (
        Guid::new(0x452e_8ced, 0xdfff, 0x4b8c, 0xae01_5118_862e_682c),
        "EFI_CERT_EXTERNAL_MANAGEMENT_GUID",
    ),
];
