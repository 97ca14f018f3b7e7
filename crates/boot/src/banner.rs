//! Looking for what a kernel calls itself.

use alloc::string::String;
use memchr::memmem::Finder;
use ukexec_pe::ReadAt;

use crate::bytes::{Fields, read};
use crate::error::BootError;

/// Searches the first `limit` bytes of an uncompressed kernel for its banner
/// (`Linux version 6.12.1 (...)`) and returns what follows `Linux version `, up
/// to the line's end.
///
/// It reads all these bytes, a chunk at a time; [`identify`](crate::identify())
/// does not.
///
/// # Errors
///
/// The image cannot be read.
pub fn find_banner(
    image: &(impl ReadAt + ?Sized),
    limit: u64,
) -> Result<Option<String>, BootError> {
    let finder = Finder::new(BANNER);
    let end = image.len().min(limit);
    let mut at = 0;
    while at < end {
        // Chunks overlap, so that none cuts a banner in two.
        let chunk = read(image, at, CHUNK.saturating_add(OVERLAP))?;
        let mut from = 0;
        while let Some(found) = finder.find(Fields(&chunk).from(from)) {
            let text = from.saturating_add(found).saturating_add(BANNER.len());
            if let Some(version) = version(Fields(&chunk).from(text)) {
                return Ok(Some(version));
            }
            from = text;
        }
        at = at.saturating_add(CHUNK_LEN);
    }
    Ok(None)
}

/// The kernel has the words in a format string, too: a digit must follow.
fn version(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.get(..OVERLAP).unwrap_or(bytes); // or there are fewer
    let line = bytes.split(|&byte| byte == b'\n' || byte == 0).next()?;
    // Other bytes may follow the words where they are no banner.
    let is_banner = line.first()?.is_ascii_digit() && !line.iter().any(u8::is_ascii_control);
    is_banner.then(|| Fields(line).text(0, OVERLAP))?
}

const BANNER: &[u8] = b"Linux version ";
/// Small enough to stay in a processor's cache, and to be allocated where the last was.
const CHUNK: usize = 64 << 10;
const CHUNK_LEN: u64 = 64 << 10;
/// More than a banner's length.
const OVERLAP: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn find(image: &[u8]) -> Option<String> {
        find_banner(image, u64::MAX).unwrap()
    }

    #[test]
    fn finds_the_banner_behind_its_format() {
        let image = b"\0%s version %s (x)\0Linux version %s\0\0Linux version 6.12.1 (a@b) #1\n\0";
        assert_eq!(find(image).as_deref(), Some("6.12.1 (a@b) #1"));
    }

    #[test]
    fn finds_it_wherever_chunks_meet() {
        for at in [
            0,
            CHUNK - BANNER.len() / 2,
            CHUNK - 1,
            CHUNK,
            2 * CHUNK + OVERLAP - 3,
        ] {
            let mut image = vec![0; at];
            image.extend_from_slice(b"Linux version 6.1 (x)\n");
            image.resize(3 * CHUNK, 0);
            assert_eq!(find(&image).as_deref(), Some("6.1 (x)"), "at {at}");
        }
    }

    #[test]
    fn looks_no_further_than_it_may() {
        let mut image = vec![0; 2 * CHUNK];
        image.extend_from_slice(b"Linux version 6.1\n");
        assert_eq!(find_banner(&image, CHUNK_LEN).unwrap(), None);
        assert_eq!(find(b""), None);
        assert_eq!(find(b"Linux version 6.1\x01\n"), None);
    }

    #[test]
    fn a_banner_may_have_any_letters() {
        let banner = "Linux version 6.1 (jürgen@höst)\n";
        assert_eq!(
            find(banner.as_bytes()).as_deref(),
            Some("6.1 (jürgen@höst)")
        );
        let latin = find(b"Linux version 6.1 (j\xfcrgen)\n");
        assert_eq!(latin.as_deref(), Some("6.1 (j\u{fffd}rgen)"));
    }
}
