//! Signatures of boot images, as UEFI firmware and the kernel check them.
//!
//! Spec: "Windows Authenticode Portable Executable Signature Format"; PKCS#7
//! (RFC 2315) and CMS (RFC 5652); X.509 (RFC 5280); UEFI 2.10, section 32.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod certificate;
mod digest;
mod efivars;
mod error;
mod guid;
mod sbat;
mod signature_list;
mod signature_type;
mod trust;
mod trust_file;

pub use certificate::Certificate;
pub use digest::{Algorithm, AlgorithmSet, Digests};
pub use efivars::{SecureBoot, machine_trust, secure_boot};
pub use error::SignatureError;
pub use guid::Guid;
pub use sbat::{SbatLevel, SbatLevelError, SbatRevocation, sbat_check};
pub use signature_list::{
    EfiTime, Signature, SignatureData, SignatureList, SignatureListError, signature_lists,
};
pub use signature_type::SignatureType;
pub use trust::{Note, Origin, Revocation, RevokedBy, Trust};
pub use trust_file::TrustError;
