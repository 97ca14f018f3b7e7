//! Reading a part of an image or of a file.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use ukexec_pe::ReadAt;

use crate::SignatureError;
use crate::error::too_long;

/// Returns `len` bytes at `at`. The caller bounds the length.
pub(crate) fn read(
    file: &(impl ReadAt + ?Sized),
    at: u64,
    len: u64,
) -> Result<Vec<u8>, SignatureError> {
    let size = usize::try_from(len);
    let size = size.map_err(|cause| SignatureError::reading(at, len, cause))?;
    let mut bytes = vec![0; size];
    let read = file.read_at(at, &mut bytes);
    read.map_err(|cause| SignatureError::reading(at, len, cause))?;
    Ok(bytes)
}

/// Returns the bytes in `range`, which `field` names in messages, if there are
/// no more than `limit`.
pub(crate) fn read_limited(
    file: &(impl ReadAt + ?Sized),
    range: Range<u64>,
    field: &str,
    limit: usize,
) -> Result<Vec<u8>, SignatureError> {
    let found = range.end.saturating_sub(range.start);
    if usize::try_from(found).is_ok_and(|len| len <= limit) {
        return read(file, range.start, found);
    }
    Err(too_long(field, limit, found))
}

/// Returns `len` as the type that file offsets have.
pub(crate) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX) // no machine has a wider `usize`
}
