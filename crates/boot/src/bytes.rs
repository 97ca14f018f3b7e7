//! Fields of a header, read without trusting its length.

use ukexec_pe::ReadAt;

use crate::error::BootError;

/// The first bytes of something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the bytes from `at` on.
    pub(crate) fn from(self, at: usize) -> &'a [u8] {
        self.0.get(at..).unwrap_or_default()
    }

    /// Returns whether `magic` stands at `at`.
    pub(crate) fn has(self, at: usize, magic: &[u8]) -> bool {
        self.from(at).starts_with(magic)
    }

    /// Returns the text at `at` up to a NUL or the end, at most `max` bytes, if
    /// all of it is printable ASCII and it is not empty.
    pub(crate) fn text(self, at: usize, max: usize) -> Option<String> {
        let bytes = self.from(at);
        let bytes = bytes.get(..max).unwrap_or(bytes);
        let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(bytes).ok()?.trim_end();
        let printable = text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic());
        (printable && !text.is_empty()).then(|| text.to_owned())
    }

    pub(crate) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(crate) fn u16(self, at: usize) -> Option<u16> {
        self.from(at).first_chunk().copied().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(self, at: usize) -> Option<u32> {
        self.from(at).first_chunk().copied().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(self, at: usize) -> Option<u64> {
        self.from(at).first_chunk().copied().map(u64::from_le_bytes)
    }

    pub(crate) fn u64_be(self, at: usize) -> Option<u64> {
        self.from(at).first_chunk().copied().map(u64::from_be_bytes)
    }
}

/// Reads the bytes at `at`, at most `max`, fewer where the image ends.
pub(crate) fn read(
    image: &(impl ReadAt + ?Sized),
    at: u64,
    max: usize,
) -> Result<Vec<u8>, BootError> {
    let left = usize::try_from(image.len().saturating_sub(at)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(max)];
    if !bytes.is_empty() {
        image
            .read_at(at, &mut bytes)
            .map_err(|cause| BootError::Read { at, cause })?;
    }
    Ok(bytes)
}
