//! Signatures of boot images, as UEFI firmware and the kernel check them.
//!
//! - [`Hasher`] takes an image's digests while it is copied, [`digests_of`]
//!   from where it lies; [`algorithms_of`] its certificate table says which.
//! - [`verify_image`] makes a [`Verdict`] of the table and the digests.
//! - [`verify_appended`] does so for files whose signature is appended to
//!   them, as kernel modules have it.
//! - [`Trust`] says who is trusted and what is revoked; [`machine_trust`]
//!   reads the machine's own lists.
//! - [`check_sbat`] compares the generations of an image's components.
//!
//! Everything here but what is trusted comes from whoever made the image. No
//! input makes this crate panic. Time and memory are bounded by the length of
//! the certificate table, of which [`MAX_TABLE_LEN`] bytes are read, and by a
//! number of public key operations that does not depend on the input.
//!
//! Left out: time stamps, so that a certificate is revoked for signatures of
//! any age; SHA-1, but for finding images in revocation lists; BER.
//!
//! Spec: "Windows Authenticode Portable Executable Signature Format"; PKCS#7
//! (RFC 2315) and CMS (RFC 5652); X.509 (RFC 5280); UEFI 2.10, section 32.
//!
//! ```
//! use ukexec_pe::PeImage;
//! use ukexec_signature::{
//!     Checks, Trust, algorithms_of, digests_of, verify_image,
//! };
//!
//! # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/signed");
//! # let image = std::fs::read(format!("{dir}/images/own.efi"))?;
//! # let own = std::fs::read(format!("{dir}/certificates/own.der"))?;
//! let mut trust = Trust::default();
//! trust.add_file("own.der", &own)?;
//!
//! let view = PeImage::parse(&image)?;
//! let table = view.certificates().map(|table| &image[table.start as usize..table.end as usize]);
//! let algorithms = table.map(algorithms_of).unwrap_or_default().union(trust.algorithms());
//! let digests = digests_of(&image, &view.authenticode_ranges()?, algorithms)?;
//!
//! let verdict = verify_image(table, &digests, &trust, Checks::default());
//! assert!(verdict.is_good(), "{verdict}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

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
mod key;
mod name;
mod name_constraints;
mod pkcs7;
#[cfg(test)]
mod properties;
mod sbat;
mod signature_list;
mod signature_type;
mod signatures;
mod signers;
mod table;
mod tbs;
#[cfg(test)]
mod testing;
mod tlv;
mod trust;
mod trust_file;
mod verdict;

pub use appended::{AppendedVerdict, verify_appended};
pub use authenticode::algorithms_of;
pub use certificate::Certificate;
pub use digest::{Algorithm, AlgorithmSet, Digests};
pub use efivars::{SecureBoot, machine_trust, secure_boot};
pub use error::SignatureError;
pub use guid::Guid;
pub use hash::{Hasher, digests_of};

pub use sbat::{SbatLevel, SbatLevelError, SbatRevocation, check_sbat};
pub use signature_list::{
    EfiTime, Signature, SignatureData, SignatureList, SignatureListError, signature_lists,
};
pub use signature_type::SignatureType;
pub use signatures::{Checks, verify_image};
pub use table::{MAX_SIGNATURE_LEN, MAX_SIGNATURES, MAX_TABLE_LEN, certificate_table};
pub use trust::{Note, Origin, Revocation, RevokedBy, Trust};
pub use trust_file::TrustError;
pub use verdict::{CertificateSummary, Good, Verdict};
