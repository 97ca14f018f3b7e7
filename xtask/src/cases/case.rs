//! A case, and what most of them start from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::materials::{self, Target};
use crate::runner::Case;
use crate::stand::Stand;
use crate::workspace;

/// A case and the function that it runs.
#[derive(Clone, Copy)]
pub(super) struct Named {
    name: &'static str,
    run: fn(&Stand) -> Result<()>,
}

impl Named {
    pub(super) const fn new(name: &'static str, run: fn(&Stand) -> Result<()>) -> Self {
        Self { name, run }
    }

    pub(super) fn on(self, ukexec: PathBuf) -> Case {
        let Self { name, run } = self;
        Case::new(name, move || {
            let stand = Stand::new(&ukexec, name)?;
            run(&stand).with_context(|| {
                format!("what it was run on is in {}", stand.path("").display())
            })?;
            stand.clear()
        })
    }
}

/// Debian's kernel for `target`, with its bytes.
pub(super) fn stock_kernel(target: Target) -> Result<(PathBuf, Vec<u8>)> {
    let path = materials::kernel(target)?;
    let bytes = read(&path)?;
    Ok((path, bytes))
}

/// The built-in parser called `name`, in the form that is put into an image.
pub(super) fn parser_object(name: &str) -> Result<PathBuf> {
    let path = workspace::root().join(format!("crates/unfold/parsers/{name}.bpf.o"));
    ensure!(path.is_file(), "there is no {}", path.display());
    Ok(path)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Bytes that look like nothing, do not repeat soon, and are the same in every run.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
