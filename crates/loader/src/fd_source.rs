//! Files as sources of ropes.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use ukexec_bpf::Source;

/// A file that can be read at any offset, and what ends with the last use of it.
#[derive(Debug)]
pub(crate) struct FdSource<T = ()> {
    file: File,
    len: u64,
    _kept: T,
}

impl FdSource {
    pub(crate) fn new(file: impl Into<File>, len: u64) -> Self {
        Self::keeping((), file.into(), len)
    }
}

impl<T> FdSource<T> {
    pub(crate) fn keeping(_kept: T, file: File, len: u64) -> Self {
        Self { file, len, _kept }
    }
}

impl<T: fmt::Debug + Send + Sync> Source for FdSource<T> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}
