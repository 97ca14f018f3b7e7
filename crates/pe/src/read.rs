//! Reading bytes by position, and little-endian fields out of them.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::{error, fmt};

use crate::PeError;
use crate::headers::Field;

/// Bytes that can be read at any position, without a cursor: a slice, a file,
/// a list of pieces.
///
/// The bytes must not change while an image is looked at; a caller that cannot
/// promise this takes a snapshot first.
pub trait ReadAt {
    /// Why the medium could not be read.
    type Error: error::Error + Send + Sync + 'static;

    /// Returns the length in bytes.
    fn len(&self) -> u64;

    /// Returns whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills all of `buf` from the bytes at `offset`.
    ///
    /// # Errors
    ///
    /// Those of the medium, and one where the span passes the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Self::Error>;
}

/// Bytes in memory end before the span that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastEnd;

impl fmt::Display for PastEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unexpected end of file")
    }
}

impl error::Error for PastEnd {}

impl ReadAt for [u8] {
    type Error = PastEnd;

    fn len(&self) -> u64 {
        wide(<[u8]>::len(self))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), PastEnd> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buf.len()))
            .ok_or(PastEnd)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    type Error = PastEnd;

    fn len(&self) -> u64 {
        wide(self.as_slice().len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), PastEnd> {
        self.as_slice().read_at(offset, buf)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    type Error = T::Error;

    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), T::Error> {
        (**self).read_at(offset, buf)
    }
}

/// A file whose front has been read, so that most headers need no read of
/// their own.
pub(crate) struct Front<'a> {
    /// Reads a span that lies inside the file.
    read: &'a dyn Fn(u64, u64) -> Result<Vec<u8>, PeError>,
    pub(crate) len: u64,
    front: Vec<u8>,
}

impl<'a> Front<'a> {
    /// A page: the headers of every image seen fit, but those with 90 sections.
    const LEN: u64 = 4096;

    /// Reads the front of a file of `len` bytes.
    pub(crate) fn new(
        len: u64,
        read: &'a dyn Fn(u64, u64) -> Result<Vec<u8>, PeError>,
    ) -> Result<Self, PeError> {
        let front = read(0, len.min(Self::LEN))?;
        Ok(Self { read, len, front })
    }

    /// Returns `len` bytes at `at` as one header.
    pub(crate) fn block(&self, field: &str, at: u64, len: u64) -> Result<Block<'_>, PeError> {
        let end = at.saturating_add(len);
        if end > self.len {
            return Err(PeError::truncated(field, at, len, self.len));
        }
        let bytes = match slice(&self.front, at..end) {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned((self.read)(at, len)?),
        };
        Ok(Block {
            bytes,
            at,
            file_len: self.len,
        })
    }
}

/// Reads a span that lies inside the file.
pub(crate) fn read(image: &(impl ReadAt + ?Sized), at: u64, len: u64) -> Result<Vec<u8>, PeError> {
    let count = usize::try_from(len).map_err(|no_room| PeError::read(at, len, no_room))?;
    let mut bytes = vec![0; count];
    let read = image.read_at(at, &mut bytes);
    read.map_err(|cause| PeError::read(at, len, cause))?;
    Ok(bytes)
}

/// The bytes of one header.
pub(crate) struct Block<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) at: u64,
    pub(crate) file_len: u64,
}

impl Block<'_> {
    pub(crate) fn bytes<const N: usize>(&self, field: Field) -> Result<[u8; N], PeError> {
        array_at(&self.bytes, field.1).ok_or_else(|| {
            PeError::truncated(field.0, field.behind(self.at), wide(N), self.file_len)
        })
    }

    pub(crate) fn u16(&self, field: Field) -> Result<u16, PeError> {
        self.bytes(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&self, field: Field) -> Result<u32, PeError> {
        self.bytes(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&self, field: Field) -> Result<u64, PeError> {
        self.bytes(field).map(u64::from_le_bytes)
    }

    /// Returns that `field` has a value that no PE32+ image has.
    pub(crate) fn mismatch(&self, field: Field, expected: &str, found: impl Into<u64>) -> PeError {
        PeError::mismatch(field.0, field.behind(self.at), expected, found)
    }

    /// Returns the `len` bytes at `start`, which `field` asks for.
    pub(crate) fn inside(&self, field: Field, start: u64, len: u64) -> Result<Range<u64>, PeError> {
        let target = start..start.saturating_add(len);
        if target.end <= self.file_len {
            return Ok(target);
        }
        let at = field.behind(self.at);
        Err(PeError::past_end(field.0, at, &target, self.file_len))
    }
}

/// Returns the `N` bytes at `at`, or `None` if they pass the end.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Returns the little-endian number at `at`, or `None` if it passes the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// Returns `len` as the type that all file offsets have here.
pub(crate) fn wide(len: usize) -> u64 {
    // No machine that Rust compiles for has a wider `usize`.
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Returns how many bytes `range` has.
pub(crate) fn len_of(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// Returns the bytes in `range`, or `None` if they pass the end.
pub(crate) fn slice(bytes: &[u8], range: Range<u64>) -> Option<&[u8]> {
    bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_inside_and_refuses_outside() {
        let bytes = b"0123456789".to_vec();
        let mut buf = [0; 4];
        ReadAt::read_at(&&bytes, 6, &mut buf).unwrap();
        assert_eq!(&buf, b"6789");
        for offset in [7, 10, 11, u64::MAX] {
            assert_eq!(bytes.read_at(offset, &mut buf), Err(PastEnd), "at {offset}");
        }
        bytes.read_at(10, &mut []).unwrap();
        assert!(!ReadAt::is_empty(&bytes));
        assert!(ReadAt::is_empty(&b""[..]));
    }
}
