//! Sealed memory, mapped for a system call that reads it.

use std::ffi::c_void;
use std::ops::Range;
use std::ptr::{NonNull, null_mut};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::{KexecError, failed};
use crate::sealed::SealedFile;

/// A range of a [`SealedFile`] in this process's memory, to be read alone.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
    /// The bytes before the range, since a map begins with a page.
    before: usize,
}

impl Mapping {
    /// Maps `range`, which is in `file` and not empty.
    #[expect(unsafe_code, reason = "no crate maps a file knowing that it is sealed")]
    pub(crate) fn new(file: &SealedFile, range: &Range<u64>) -> Result<Self, KexecError> {
        let not_mapped = failed("mapping a file in memory");
        if range.end > file.len() {
            return Err(not_mapped(Errno::OVERFLOW));
        }
        let before = range.start % rustix::param::page_size() as u64;
        let start = range.start.saturating_sub(before);
        let numbers = (
            usize::try_from(range.end.saturating_sub(start)),
            usize::try_from(before),
        );
        let (Ok(len), Ok(before)) = numbers else {
            return Err(not_mapped(Errno::OVERFLOW));
        };
        // SAFETY: without an address and MAP_FIXED, the kernel chooses memory that this process
        // does not use. Nothing refers to it before it is returned.
        let mapped = unsafe {
            mmap(
                null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file,
                start,
            )
        };
        let mapped = mapped.map_err(&not_mapped)?;
        Ok(Self {
            start: NonNull::new(mapped).ok_or_else(|| not_mapped(Errno::FAULT))?,
            len,
            before,
        })
    }

    /// Returns the bytes of the range.
    #[expect(unsafe_code, reason = "the memory has no other owner than this")]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the kernel mapped `len` bytes at `start`, which can be read until `self` is
        // dropped, behind this borrow. The file has them all, and its seals keep it from getting
        // shorter and from being written by anybody: each byte is there and stays as it is.
        let mapped = unsafe { std::slice::from_raw_parts(self.start.cast().as_ptr(), self.len) };
        mapped.get(self.before..).unwrap_or_default()
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "no crate unmaps what this file mapped")]
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of a map that nobody else has, and no borrow of
        // its bytes outlives `self`. Where the call fails, the memory stays.
        let _stays = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::sealed::MemfdWriter;
    use crate::testing::line;

    fn numbered(len: usize) -> (Vec<u8>, SealedFile) {
        let bytes: Vec<u8> = (0_u8..251).cycle().take(len).collect();
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(&bytes).unwrap();
        (bytes, writer.finish().unwrap())
    }

    #[test]
    fn has_the_bytes_of_its_range() {
        let page = rustix::param::page_size();
        let (bytes, file) = numbered(3 * page + 5);
        for range in [
            0..1,
            0..bytes.len(),
            1..page,
            page..2 * page,
            page - 1..2 * page + 1,
            3 * page + 4..bytes.len(),
        ] {
            let mapping = Mapping::new(&file, &(range.start as u64..range.end as u64)).unwrap();
            assert_eq!(mapping.bytes(), &bytes[range]);
        }
    }

    #[test]
    fn outlives_its_file() {
        let (bytes, file) = numbered(70_000);
        let mapping = Mapping::new(&file, &(0..70_000)).unwrap();
        drop(file);
        assert_eq!(mapping.bytes(), bytes);
    }

    #[test]
    fn has_nothing_behind_the_end() {
        let (_, file) = numbered(10);
        let error = Mapping::new(&file, &(0..11)).unwrap_err();
        assert_eq!(
            line(&error),
            "mapping a file in memory: Value too large for defined data type (os error 75)"
        );
    }
}
