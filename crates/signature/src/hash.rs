//! Taking an image's Authenticode digests, in one pass or by going back.

use alloc::{collections::BTreeSet, format, vec, vec::Vec};
use core::ops::Range;

use serde::{Deserialize, Serialize};
use ukexec_pe::{ByteRanges, ReadAt};

use crate::digest::States;
use crate::read::wide;
use crate::{Algorithm, Digests, NewState, SignatureError};

/// A request to take digests of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRequest {
    /// The bytes to hash.
    pub ranges: ByteRanges,
    /// The algorithms to hash them by.
    pub algorithms: BTreeSet<Algorithm>,
}

/// Digests of an image, and the bytes that they cover. A [`Hasher`] makes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenDigests {
    ranges: ByteRanges,
    digests: Digests,
}

impl TakenDigests {
    /// Returns the bytes that they cover.
    pub(crate) fn ranges(&self) -> &ByteRanges {
        &self.ranges
    }

    /// Returns the digests.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }
}

/// Takes digests of an image while somebody copies it.
///
/// ```
/// use ukexec_pe::ByteRanges;
/// use ukexec_signature::{Algorithm, DigestRequest, Hasher};
///
/// let ranges = ByteRanges { ranges: vec![0..2, 4..6], padding: 2 };
/// let algorithms = [Algorithm::Sha256].into();
/// let mut hasher = Hasher::new(DigestRequest { ranges, algorithms }, Algorithm::state)?;
/// hasher.update(0, b"ab-")?;
/// hasher.update(3, b"-cd")?;
/// let taken = hasher.finish()?;
/// let sha256 = |bytes| Some(Algorithm::Sha256.digest(bytes));
/// assert_eq!(taken.digests().get(Algorithm::Sha256).map(Vec::from), sha256(b"abcd"));
/// assert_eq!(taken.digests().padded(Algorithm::Sha256).map(Vec::from), sha256(b"abcd\0\0"));
/// # Ok::<(), ukexec_signature::SignatureError>(())
/// ```
#[derive(Debug)]
pub struct Hasher {
    /// The ranges that are still to be hashed, the next one last.
    left: Vec<Range<u64>>,
    ranges: ByteRanges,
    states: States,
}

impl Hasher {
    /// Prepares to take the digests that `request` is for, by `state`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the ranges do not ascend, as in
    /// images whose sections have gaps or overlap; [`digests_of`] takes
    /// the digests of those.
    pub fn new(request: DigestRequest, state: NewState) -> Result<Self, SignatureError> {
        let DigestRequest { ranges, algorithms } = request;
        let mut end = 0;
        for range in &ranges.ranges {
            if range.start < end || range.end < range.start {
                return Err(out_of_order(end, range.start));
            }
            end = range.end;
        }
        Ok(Self {
            left: ranges.ranges.iter().rev().cloned().collect(),
            ranges,
            states: States::new(algorithms, state),
        })
    }

    /// Takes the bytes of the file at `file_offset`. Bytes that are not
    /// covered may be left out.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if covered bytes before these did not come.
    pub fn update(&mut self, file_offset: u64, bytes: &[u8]) -> Result<(), SignatureError> {
        let end = file_offset.saturating_add(wide(bytes.len()));
        while let Some(range) = self.left.last_mut() {
            if range.start >= end {
                break;
            }
            if range.start < range.end {
                let hashed = range.start..range.end.min(end);
                let bytes = within(file_offset, bytes, &hashed)
                    .ok_or_else(|| out_of_order(range.start, file_offset))?;
                self.states.update(bytes);
                range.start = hashed.end;
            }
            if range.start == range.end {
                self.left.pop();
            }
        }
        Ok(())
    }

    /// Returns the digests.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if covered bytes did not come.
    pub fn finish(self) -> Result<TakenDigests, SignatureError> {
        if let Some(missing) = self.left.iter().rev().find(|range| !range.is_empty()) {
            return Err(out_of_order(missing.start, u64::MAX));
        }
        Ok(TakenDigests {
            digests: self.states.finish(self.ranges.padding),
            ranges: self.ranges,
        })
    }
}

/// Reads the bytes of `image` that `ranges` cover, in any order, and returns their
/// digests, taken by `state`.
///
/// # Errors
///
/// Errors of the image's medium.
pub fn digests_of<R: ReadAt + ?Sized>(
    image: &R,
    ranges: &ByteRanges,
    algorithms: impl IntoIterator<Item = Algorithm>,
    state: NewState,
) -> Result<Digests, R::Error> {
    let mut states = States::new(algorithms, state);
    let mut buf = vec![0; CHUNK];
    for range in &ranges.ranges {
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end.saturating_sub(at)).ok();
            let chunk = match left.and_then(|left| buf.get_mut(..left)) {
                Some(last) => last,
                None => &mut buf,
            };
            image.read_at(at, chunk)?;
            states.update(chunk);
            at = at.saturating_add(wide(chunk.len()));
        }
    }
    Ok(states.finish(ranges.padding))
}

/// Bytes to be hashed did not come, or not in order.
fn out_of_order(expected: u64, found: u64) -> SignatureError {
    SignatureError::new(format!(
        "taking the digest: expected the bytes at {expected:#x}, found those at \
         {found:#x}"
    ))
}

/// Returns those of `bytes`, which lie at `offset`, that `range` names.
fn within<'a>(offset: u64, bytes: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    let start = usize::try_from(range.start.checked_sub(offset)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(offset)?).ok()?;
    bytes.get(start..end)
}

const CHUNK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(ranges: &[Range<u64>], chunks: &[(usize, usize)], expected: &Expect) {
        let image = b"0123456789";
        let ranges = ByteRanges {
            ranges: ranges.to_vec(),
            padding: 0,
        };
        let algorithms = [Algorithm::Sha256];
        let request = DigestRequest {
            ranges: ranges.clone(),
            algorithms: algorithms.into(),
        };
        let taken = Hasher::new(request, Algorithm::state).and_then(|mut hasher| {
            for &(start, end) in chunks {
                hasher.update(start as u64, &image[start..end])?;
            }
            hasher.finish()
        });
        let text = match taken {
            Ok(taken) => {
                let of = digests_of(&image[..], &ranges, algorithms, Algorithm::state).unwrap();
                assert_eq!((taken.ranges(), taken.digests()), (&ranges, &of));
                "as when read".to_owned()
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn hashes_what_is_covered() {
        check(&[1..3, 5..9], &[(0, 10)], &expect!["as when read"]);
        check(
            &[1..3, 5..9],
            &[(0, 2), (2, 6), (6, 10)],
            &expect!["as when read"],
        );
        check(&[1..3, 5..9], &[(1, 3), (4, 9)], &expect!["as when read"]);
        check(&[0..0, 2..2, 4..5], &[(0, 10)], &expect!["as when read"]);
        check(&[], &[], &expect!["as when read"]);
        // Bytes that come twice are hashed once.
        check(&[1..3, 5..9], &[(0, 6), (4, 10)], &expect!["as when read"]);
    }

    #[test]
    fn gaps_are_errors() {
        check(
            &[1..3, 5..9],
            &[(2, 10)],
            &expect!["taking the digest: expected the bytes at 0x1, found those at 0x2"],
        );
        check(
            &[1..3, 5..9],
            &[(0, 6), (7, 10)],
            &expect!["taking the digest: expected the bytes at 0x6, found those at 0x7"],
        );
        check(
            &[1..3, 5..9],
            &[(0, 8)],
            &expect![
                "taking the digest: expected the bytes at 0x8, found those at 0xffffffffffffffff"
            ],
        );
        check(
            &[1..3, 5..9],
            &[],
            &expect![
                "taking the digest: expected the bytes at 0x1, found those at 0xffffffffffffffff"
            ],
        );
        check(
            &[5..9, 1..3],
            &[],
            &expect!["taking the digest: expected the bytes at 0x9, found those at 0x1"],
        );
        check(
            &[1..5, 4..6],
            &[],
            &expect!["taking the digest: expected the bytes at 0x5, found those at 0x4"],
        );
    }

    #[test]
    fn all_of_the_padding_is_hashed() {
        let algorithms = [Algorithm::Sha256];
        for padding in [1, 7, 63, 64, 65, 1000] {
            let ranges = ByteRanges {
                ranges: std::iter::once(0..3).collect(),
                padding,
            };
            let digests = digests_of(&b"abc"[..], &ranges, algorithms, Algorithm::state).unwrap();
            let mut padded = b"abc".to_vec();
            padded.resize(3 + padding as usize, 0);
            let expected = Algorithm::Sha256.digest(&padded);
            assert_eq!(digests.padded(Algorithm::Sha256), Some(&expected[..]));
        }
    }

    #[test]
    fn digests_are_shown_in_hexadecimal() {
        let image: &[u8] = b"abc";
        let ranges = ByteRanges::from(0..3);
        let all = [
            Algorithm::Sha1,
            Algorithm::Sha256,
            Algorithm::Sha384,
            Algorithm::Sha512,
        ];
        let digests = digests_of(image, &ranges, all, Algorithm::state).unwrap();
        expect![[r#"
            SHA-1 a9993e364706816aba3e25717850c26c9cd0d89d
            SHA-256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
            SHA-384 cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7
            SHA-512 ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"#]].assert_eq(&digests.to_string().replace(", ", "\n"));
    }
}
