//! Signatures of boot images, as UEFI firmware and the kernel check them.
//!
//! - [`verify_image`] gives the whole [`Verdict`] of an image.
//! - [`list_signers`] returns who signed, without a key.
//! - [`digests_needed`] names the bytes to hash for that, and a [`Hasher`] takes
//!   the digests while the caller copies the image.
//! - [`verify_appended`] is for other files, which carry their signature at their
//!   end, as kernel modules do.
//! - [`Trust`] holds trusted and revoked certificates and digests;
//!   [`machine_trust`] reads the machine's own lists.
//!
//! All input but trust and revocation comes from the maker of the image. No input
//! makes this crate panic. Time and memory are bounded by the length of
//! the certificate table, of which 1 MiB is read, and by a number of public key
//! operations that does not depend on the input.
//!
//! Left out: time stamps, so that a certificate is revoked for signatures of
//! any age; SHA-1, but for finding images in revocation lists; BER.
//!
//! Spec: "Windows Authenticode Portable Executable Signature Format"; PKCS#7
//! (RFC 2315) and CMS (RFC 5652); X.509 (RFC 5280); UEFI 2.10, section 32.
//!
//! ```
//! use ukexec_pe::PeImage;
//! use ukexec_signature::{Algorithm, Checks, DigestSource, Trust, UnverifiedImage, verify_image};
//!
//! # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/signed");
//! # let image = std::fs::read(format!("{dir}/images/own.efi"))?;
//! # let own = std::fs::read(format!("{dir}/certificates/own.der"))?;
//! let mut trust = Trust::default();
//! trust.add_file("own.der", &own)?;
//!
//! let pe = PeImage::parse(&image)?;
//! let image = UnverifiedImage {
//!     bytes: &image,
//!     pe: Some(Ok(&pe)),
//!     digests: DigestSource::Image,
//!     state: Algorithm::state,
//! };
//! let verdict = verify_image(&image, &trust, Checks::default())?.verdict;
//! assert!(verdict.is_good(), "{verdict}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

extern crate alloc;

mod algorithm;
mod appended;
mod attributes;
mod authenticode;
mod certificate;
mod chain;
mod digest;
mod efivars;
mod error;
mod extensions;
#[cfg(test)]
mod forms;
mod guid;
mod hash;
mod image;
mod key;
mod name;
mod name_constraints;
mod name_forms;
mod pkcs7;
#[cfg(test)]
mod properties;
mod read;
mod sbat;
mod signature_list;
mod signature_type;
mod signatures;
mod signer;
mod signers;
mod state;
mod table;
mod tbs;
#[cfg(test)]
mod testing;
mod tlv;
mod trust;
mod trust_file;
mod trust_lists;
mod verdict;

pub use appended::{has_appended, verify_appended};
pub use certificate::Certificate;
pub use digest::{Algorithm, DigestState, Digests, Hex, NewState};
pub use efivars::{SecureBoot, machine_trust, secure_boot};
pub use error::SignatureError;
pub use guid::Guid;
pub use hash::{DigestRequest, Hasher, TakenDigests, digests_of};
pub use image::{
    DigestSource, ImageVerdict, UnverifiedImage, digests_needed, list_signers, revoked_by_sbat,
    verify_image,
};
pub use signature_list::{EfiTime, SignatureData, SignatureList, signature_lists};
pub use signature_type::SignatureType;
pub use signatures::Checks;
pub use signer::{CertificateSummary, DigestAlgorithm, EnclosedCertificate, SignedDigest, Signer};
pub use state::State;
pub use table::certificate_table;
pub use trust::{Note, Origin, Revocation, RevokedBy, Trust};
pub use verdict::Verdict;
