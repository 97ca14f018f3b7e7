//! Digests of images, as Authenticode and the kernel use them.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::read::wide;

/// A digest algorithm. Those with shorter digests come first.
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
    /// Returns the length of a digest in bytes.
    pub const fn digest_len(self) -> usize {
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
        let mut state = self.state();
        for part in parts {
            state.update(part);
        }
        state.finish()
    }

    /// Begins to take a digest, portably: this is the [`NewState`] of those who have
    /// no faster one.
    pub fn state(self) -> Box<dyn DigestState> {
        match self {
            Self::Sha1 => Box::new(Portable(Sha1::new())),
            Self::Sha256 => Box::new(Portable(Sha256::new())),
            Self::Sha384 => Box::new(Portable(Sha384::new())),
            Self::Sha512 => Box::new(Portable(Sha512::new())),
        }
    }
}

/// A digest that is being taken, by an implementation that the caller chooses.
pub trait DigestState: Send {
    /// Adds `bytes` behind those so far.
    fn update(&mut self, bytes: &[u8]);

    /// Returns a second one of the bytes so far.
    fn box_clone(&self) -> Box<dyn DigestState>;

    /// Returns the digest: [`Algorithm::digest_len`] bytes.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// Begins to take a digest of many bytes. [`Algorithm::state`] is portable.
pub type NewState = fn(Algorithm) -> Box<dyn DigestState>;

/// A digest by RustCrypto.
struct Portable<D>(D);

impl<D: Digest + Clone + Send + 'static> DigestState for Portable<D> {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn box_clone(&self) -> Box<dyn DigestState> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
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

/// Digests of the same bytes, at most one for each algorithm.
///
/// An image that is not signed may have a length that is no multiple of 8.
/// Signing would pad it, so that it has two digests: the one that firmware
/// takes, and the padded one that some tools list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    taken: BTreeMap<Algorithm, Vec<u8>>,
    /// Empty where there is nothing to pad.
    padded: BTreeMap<Algorithm, Vec<u8>>,
}

impl Digests {
    /// Returns the digest by `algorithm`, if it was taken: of the bytes alone.
    pub fn get(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.taken.get(&algorithm).map(Vec::as_slice)
    }

    /// Returns the digest by `algorithm` of the padded bytes, if it was taken
    /// and there is something to pad.
    pub fn padded(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.padded.get(&algorithm).map(Vec::as_slice)
    }

    /// Returns all digests of the bytes alone, with their algorithms.
    pub fn iter(&self) -> impl Iterator<Item = (Algorithm, &[u8])> {
        let taken = self.taken.iter();
        taken.map(|(algorithm, digest)| (*algorithm, digest.as_slice()))
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
            padded: BTreeMap::new(),
        }
    }
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

/// Digests that are being taken of the same bytes.
pub(crate) struct States(BTreeMap<Algorithm, Box<dyn DigestState>>);

impl States {
    pub(crate) fn new(algorithms: impl IntoIterator<Item = Algorithm>, state: NewState) -> Self {
        let algorithms = algorithms.into_iter();
        Self(algorithms.map(|one| (one, state(one))).collect())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for state in self.0.values_mut() {
            state.update(bytes);
        }
    }

    /// Returns the digests; where `padding` is not 0, also those with as many zeros
    /// behind the bytes.
    pub(crate) fn finish(self, padding: u64) -> Digests {
        let digests = |states: Self| -> BTreeMap<_, _> {
            let states = states.0.into_iter();
            states.map(|(one, state)| (one, state.finish())).collect()
        };
        if padding == 0 {
            return Digests {
                taken: digests(self),
                padded: BTreeMap::new(),
            };
        }
        let states = self.0.iter();
        let mut padded = Self(
            states
                .map(|(one, state)| (*one, state.box_clone()))
                .collect(),
        );
        let zeros = [0; 64];
        let mut left = padding;
        while left > 0 {
            let last = usize::try_from(left)
                .ok()
                .and_then(|left| zeros.get(..left));
            let part = last.unwrap_or(&zeros); // or there are more to come
            padded.update(part);
            left = left.saturating_sub(wide(part.len()));
        }
        Digests {
            taken: digests(self),
            padded: digests(padded),
        }
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
