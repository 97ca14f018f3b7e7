//! Digests of many bytes, as fast as this machine can take them.
//!
//! `ring` has assembly for the processors that most machines have. On others the portable
//! implementation is no slower. Signatures are not verified by `ring`: it takes digests, and
//! nothing else.

use ukexec_signature::{Algorithm, DigestState};

/// Begins to take a digest, by the fastest implementation there is.
///
/// ```
/// use ukexec_loader::{Algorithm, digest_state};
///
/// let mut state = digest_state(Algorithm::Sha256);
/// state.update(b"ab");
/// state.update(b"c");
/// assert_eq!(state.finish(), Algorithm::Sha256.digest(b"abc"));
/// ```
#[must_use]
pub fn digest_state(algorithm: Algorithm) -> Box<dyn DigestState> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if let Some(state) = Assembly::new(algorithm) {
        return Box::new(state);
    }
    algorithm.state()
}

/// A digest by `ring`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
struct Assembly(ring::digest::Context);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Assembly {
    fn new(algorithm: Algorithm) -> Option<Self> {
        let algorithm = match algorithm {
            // Lists of old revocations alone name it, and it has no assembly there.
            Algorithm::Sha1 => return None,
            Algorithm::Sha256 => &ring::digest::SHA256,
            Algorithm::Sha384 => &ring::digest::SHA384,
            Algorithm::Sha512 => &ring::digest::SHA512,
        };
        Some(Self(ring::digest::Context::new(algorithm)))
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl DigestState for Assembly {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn box_clone(&self) -> Box<dyn DigestState> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digests_are_those_of_the_portable_implementation(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
            fork in 0..5_usize,
        ) {
            for algorithm in [
                Algorithm::Sha1,
                Algorithm::Sha256,
                Algorithm::Sha384,
                Algorithm::Sha512,
            ] {
                let mut state = digest_state(algorithm);
                let mut forked = None;
                for (index, part) in parts.iter().enumerate() {
                    if index == fork {
                        forked = Some(state.box_clone());
                    }
                    state.update(part);
                }
                prop_assert_eq!(state.finish(), algorithm.digest(&parts.concat()));
                if let Some(forked) = forked {
                    prop_assert_eq!(forked.finish(), algorithm.digest(&parts[..fork].concat()));
                }
            }
        }
    }
}
