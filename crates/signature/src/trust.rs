//! Trusted and revoked certificates and images.
//!
//! Revocation wins over trust. The caller sees to that: before anything counts, it
//! asks [`Trust::revokes_image`] and [`Trust::revokes_certificate`].

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::fmt;

use serde::Serialize;

use crate::key::LeastRsa;
use crate::sbat::SbatLevel;
use crate::signature_list::EfiTime;
use crate::{Algorithm, Certificate, Digests, SignatureError};

/// The list or file that an entry comes from: `db`, `MokListRT`, `trust.pem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin(String);

impl Origin {
    /// Names an origin.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Trusted and revoked certificates and images. There are none to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    pub(crate) allowed: Vec<(Certificate, Origin)>,
    pub(crate) allowed_images: Vec<(Hash, Origin)>,
    pub(crate) revoked: Vec<(Certificate, Origin)>,
    pub(crate) revoked_images: Vec<(Hash, Origin)>,
    pub(crate) revoked_tbs: Vec<(Hash, Option<EfiTime>, Origin)>,
    sbat_level: Option<SbatLevel>,
    pub(crate) notes: Vec<Note>,
    pub(crate) unread_revocations: Vec<Note>,
    /// Those of `allowed` that are in the firmware's own list.
    pub(crate) firmware: Vec<Certificate>,
}

impl Trust {
    /// Returns the trusted certificates.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = (&Certificate, &Origin)> {
        self.allowed.iter().map(|(one, origin)| (one, origin))
    }

    /// Returns the revoked certificates that are known as a whole. Certificates that
    /// one of them issued are revoked as well.
    pub(crate) fn revoked_certificates(&self) -> impl Iterator<Item = (&Certificate, &Origin)> {
        self.revoked.iter().map(|(one, origin)| (one, origin))
    }

    /// Returns why `certificate` is revoked, if it is: by a list that holds it,
    /// or the hash of its `TBSCertificate`. Its issuer's signature does not
    /// matter: of some kinds, anyone can make a second one that is valid.
    ///
    /// Such a hash may come with a time. By the specification, what was signed
    /// before it, as a trusted timestamp shows, stays good. Timestamps are not
    /// looked at here, and without one the certificate counts as revoked, so
    /// it always does. Linux takes the hashes in this way, too.
    pub fn revokes_certificate(&self, certificate: &Certificate) -> Option<Revocation> {
        let is_same = |one: &Certificate| one.tbs() == certificate.tbs();
        let whole = self.revoked.iter().find(|(one, _)| is_same(one));
        if let Some((_, origin)) = whole {
            return Some(Revocation::new(origin, RevokedBy::Certificate));
        }
        let algorithms = self.revoked_tbs.iter().map(|(hash, ..)| hash.algorithm);
        let algorithms: BTreeSet<Algorithm> = algorithms.collect();
        let tbs: Digests = algorithms
            .into_iter()
            .map(|algorithm| (algorithm, algorithm.digest(certificate.tbs())))
            .collect();
        let (hash, time, origin) = self
            .revoked_tbs
            .iter()
            .find(|(hash, ..)| hash.is_in(&tbs))?;
        let by = RevokedBy::TbsHash {
            algorithm: hash.algorithm,
            time_of_revocation: *time,
        };
        Some(Revocation::new(origin, by))
    }

    /// Returns why an image with these digests is revoked, if it is. Its padded
    /// digest revokes it as well.
    pub fn revokes_image(&self, digests: &Digests) -> Option<Revocation> {
        let mut entries = self.revoked_images.iter();
        let (hash, origin) =
            entries.find(|(hash, _)| hash.is_in(digests) || hash.is_padded_in(digests))?;
        Some(Revocation::new(
            origin,
            RevokedBy::ImageHash(hash.algorithm),
        ))
    }

    /// Returns what allows an image with these digests, by one of `algorithms`,
    /// without a valid signature. Firmware does not pad, so its padded digest
    /// allows nothing.
    pub(crate) fn allows_image(
        &self,
        digests: &Digests,
        algorithms: &BTreeSet<Algorithm>,
    ) -> Option<Origin> {
        let mut entries = self.allowed_images.iter();
        let (_, origin) = entries
            .find(|(hash, _)| algorithms.contains(&hash.algorithm) && hash.is_in(digests))?;
        Some(origin.clone())
    }

    /// Returns whether anything at all is revoked.
    pub(crate) fn revokes_anything(&self) -> bool {
        !(self.revoked.is_empty()
            && self.revoked_tbs.is_empty()
            && self.revoked_images.is_empty()
            && self.unread_revocations.is_empty())
    }

    /// Returns which digests of an image it takes to look the image up in the
    /// lists. Without one of them entries are overlooked.
    pub(crate) fn algorithms(&self) -> BTreeSet<Algorithm> {
        let hashes = self.revoked_images.iter().chain(&self.allowed_images);
        hashes.map(|(hash, _)| hash.algorithm).collect()
    }

    /// Returns whether nothing is trusted, so that no signature can be good.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.allowed_images.is_empty()
    }

    /// Returns the oldest generations of components that may still run.
    pub(crate) fn sbat_level(&self) -> Option<&SbatLevel> {
        self.sbat_level.as_ref()
    }

    /// Returns notes on entries that were passed over, in the order of the entries.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the entries of revocation lists that cannot be read. Any image could
    /// be the one that they revoke, and no verdict says so: a caller who requires
    /// good ones refuses all images where there is such an entry.
    pub fn unread_revocations(&self) -> &[Note] {
        &self.unread_revocations
    }

    /// Returns how short the RSA key in `certificate` may be: the firmware
    /// boots images by a short one in its own `db`, so that refusing it here
    /// would protect from nothing. Other lists and files are no reason to.
    pub(crate) fn least_rsa(&self, certificate: &Certificate) -> LeastRsa {
        if self.firmware.contains(certificate) {
            LeastRsa::Bits1024
        } else {
            LeastRsa::Bits2048
        }
    }

    /// Sets the oldest generations of components that may still run, from the text
    /// of `SbatLevelRT`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if a line has no generation. Nothing is set then.
    pub(crate) fn set_sbat_level(&mut self, text: &[u8]) -> Result<(), SignatureError> {
        let level = SbatLevel::parse(text).map_err(|cause| {
            SignatureError::new("the SBAT level of SbatLevelRT is damaged").because(cause)
        })?;
        self.sbat_level = Some(level);
        Ok(())
    }

    pub(crate) fn allow_certificate(&mut self, certificate: Certificate, origin: &Origin) {
        self.allowed.push((certificate, origin.clone()));
    }

    /// Takes over everything that `other` has, but for its SBAT level.
    pub(crate) fn append(&mut self, other: Self) {
        self.allowed.extend(other.allowed);
        self.allowed_images.extend(other.allowed_images);
        self.revoked.extend(other.revoked);
        self.revoked_images.extend(other.revoked_images);
        self.revoked_tbs.extend(other.revoked_tbs);
        self.notes.extend(other.notes);
        self.unread_revocations.extend(other.unread_revocations);
        self.firmware.extend(other.firmware);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}

/// Which entry of a revocation list an image or a certificate is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// The list.
    pub origin: Origin,
    /// The thing that the entry names.
    pub by: RevokedBy,
}

impl Revocation {
    /// Makes one of an entry in `origin`.
    fn new(origin: &Origin, by: RevokedBy) -> Self {
        let origin = origin.clone();
        Self { origin, by }
    }
}

/// Goes on from "the image is revoked: ".
impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match self.by {
            RevokedBy::Certificate => write!(f, "{origin} holds the certificate"),
            RevokedBy::ImageHash(algorithm) => {
                write!(f, "{origin} holds the image's {algorithm} digest")
            }
            RevokedBy::TbsHash {
                algorithm,
                time_of_revocation,
            } => {
                write!(f, "{origin} holds the certificate's {algorithm} hash")?;
                match time_of_revocation {
                    Some(time) => write!(f, ", revoked since {time}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The thing that an entry of a revocation list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum RevokedBy {
    /// A certificate as a whole.
    Certificate,
    /// A certificate, by the hash of its `TBSCertificate`.
    TbsHash {
        /// How it is hashed.
        algorithm: Algorithm,
        /// From when on it is revoked, where the entry says so.
        time_of_revocation: Option<EfiTime>,
    },
    /// An image, by its digest.
    ImageHash(Algorithm),
}

/// Something that was passed over, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The list or file that it is from.
    pub origin: Origin,
    /// The text.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// A digest of an image or of a `TBSCertificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hash {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

impl Hash {
    /// Returns `None` for all zeros: shim writes that where a list would
    /// otherwise be empty, and no bytes are known to hash to it.
    pub(crate) fn new(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        digest.iter().any(|byte| *byte != 0).then(|| Self {
            algorithm,
            digest: digest.to_vec(),
        })
    }

    fn is_in(&self, digests: &Digests) -> bool {
        digests.get(self.algorithm) == Some(&self.digest)
    }

    fn is_padded_in(&self, digests: &Digests) -> bool {
        digests.padded(self.algorithm) == Some(&self.digest)
    }
}
