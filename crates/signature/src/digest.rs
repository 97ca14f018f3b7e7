//! Digests of images, as Authenticode and the kernel use them.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-1: for looking images up in revocation lists, and nothing else.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms, the shortest digest first.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        usize::from(self.short_len())
    }

    /// Returns the length of a digest in bytes, which fits every number.
    pub(crate) const fn short_len(self) -> u8 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Returns the digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        self.digest_of_parts(&[bytes])
    }

    /// Returns the digest of `parts`, one behind the other.
    pub(crate) fn digest_of_parts(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut state = State::new(self);
        for part in parts {
            state.update(part);
        }
        state.finish()
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
            Self::Sha384 => 4,
            Self::Sha512 => 8,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// A set of digest algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlgorithmSet(u8);

impl AlgorithmSet {
    /// Returns whether `algorithm` is in the set.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    /// Puts `algorithm` into the set.
    pub fn insert(&mut self, algorithm: Algorithm) {
        self.0 |= algorithm.bit();
    }

    /// Returns what is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns what is in the set, the shortest digest first.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(move |algorithm| self.contains(*algorithm))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        let mut set = Self::default();
        for algorithm in algorithms {
            set.insert(algorithm);
        }
        set
    }
}

/// Digests of the same bytes, at most one for each algorithm.
///
/// An image that is not signed may have a length that is no multiple of 8.
/// Signing would pad it, so that it has two digests: the one that firmware
/// takes, and the padded one that some tools list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    taken: Vec<(Algorithm, Vec<u8>)>,
    /// Empty where there is nothing to pad.
    padded: Vec<(Algorithm, Vec<u8>)>,
}

impl Digests {
    /// Returns these digests, with those of the same bytes padded beside them.
    pub(crate) fn with_padded(self, padded: Self) -> Self {
        Self {
            taken: self.taken,
            padded: padded.taken,
        }
    }

    /// Returns the digest by `algorithm`, if it was taken: of the bytes alone.
    pub fn get(&self, algorithm: Algorithm) -> Option<&[u8]> {
        find(&self.taken, algorithm)
    }

    /// Returns the digest by `algorithm` of the padded bytes, if it was taken
    /// and there is something to pad.
    pub fn padded(&self, algorithm: Algorithm) -> Option<&[u8]> {
        find(&self.padded, algorithm)
    }

    /// Returns all digests of the bytes alone, with their algorithms.
    pub fn iter(&self) -> impl Iterator<Item = (Algorithm, &[u8])> {
        self.taken
            .iter()
            .map(|(algorithm, digest)| (*algorithm, digest.as_slice()))
    }

    /// Serialises the digests of the bytes alone as reports have them: in hex, by
    /// the names of their algorithms. For `#[serde(serialize_with = "…")]`.
    ///
    /// # Errors
    ///
    /// Those of `serializer`.
    pub fn serialize_by_name<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, digest)| (name, Hex(digest))))
    }
}

impl FromIterator<(Algorithm, Vec<u8>)> for Digests {
    fn from_iter<I: IntoIterator<Item = (Algorithm, Vec<u8>)>>(digests: I) -> Self {
        Self {
            taken: digests.into_iter().collect(),
            padded: Vec::new(),
        }
    }
}

fn find(digests: &[(Algorithm, Vec<u8>)], algorithm: Algorithm) -> Option<&[u8]> {
    let found = digests.iter().find(|(which, _)| *which == algorithm);
    found.map(|(_, digest)| digest.as_slice())
}

impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (algorithm, digest)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{algorithm} {}", Hex(digest))?;
        }
        Ok(())
    }
}

/// Bytes as people read them: hexadecimal, in lower case.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A digest that is being taken.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl State {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
            Self::Sha384(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(state) => state.finalize().to_vec(),
            Self::Sha256(state) => state.finalize().to_vec(),
            Self::Sha384(state) => state.finalize().to_vec(),
            Self::Sha512(state) => state.finalize().to_vec(),
        }
    }
}
