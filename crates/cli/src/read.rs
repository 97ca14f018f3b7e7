//! Files that are read whole, none of them without end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Returns what is in `path`, if that is no more than `limit` bytes.
pub(crate) fn whole(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("expected at most {limit} bytes, found more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(whole(&path, 5).unwrap(), b"12345");
        let error = whole(&path, 4).unwrap_err().to_string();
        assert_eq!(error, "expected at most 4 bytes, found more");
        whole(Path::new("/dev/zero"), 1 << 20).unwrap_err();
    }
}
