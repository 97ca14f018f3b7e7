//! Files as sources of ropes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use ukexec_bpf::Source;

/// A file that can be read at any offset.
#[derive(Debug)]
pub(crate) struct FdSource {
    file: File,
    len: u64,
}

impl FdSource {
    pub(crate) fn new(file: impl Into<File>, len: u64) -> Self {
        Self {
            file: file.into(),
            len,
        }
    }
}

impl Source for FdSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}
