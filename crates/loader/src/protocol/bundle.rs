//! The small files that a worker needs, in one descriptor.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use ukexec_kexec::{MemfdWriter, SealedFile};
use ukexec_unfold::PARSER_MAX;

use crate::error::{Context as _, Result};
use crate::files::{self, shown};

/// A small file, in a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bundled {
    /// Its name.
    pub(crate) name: String,
    /// Which bytes of the bundle.
    pub(crate) range: Range<u64>,
}

/// Small files, one behind the other in sealed memory.
pub(crate) struct Bundle {
    writer: MemfdWriter,
}

impl Bundle {
    pub(crate) fn new() -> Result<Self> {
        let writer = MemfdWriter::new("ukexec-bundle")?;
        Ok(Self { writer })
    }

    pub(crate) fn add(&mut self, name: String, bytes: &[u8]) -> Result<Bundled> {
        let start = self.writer.len();
        self.writer.write_all(bytes)?;
        let range = start..self.writer.len();
        Ok(Bundled { name, range })
    }

    pub(crate) fn add_file(&mut self, path: &Path) -> Result<Bundled> {
        let failed = || format!("cannot read parser {}", shown(path));
        let (bytes, _) = files::read_named(path, PARSER_MAX).context(failed)?;
        self.add(shown(path), &bytes)
    }

    pub(crate) fn seal(self) -> Result<SealedFile> {
        Ok(self.writer.finish()?)
    }
}
