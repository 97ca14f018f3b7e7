//! The cases that need real images, tools and machines. Each is one line of `cargo xtask test`.

mod attach;
mod boots;
mod docs;
mod edited;
mod examples;
mod hostile;
mod hostile_parsers;
mod linux;
mod load;
mod measure;
mod outputs;
mod running;
mod signed;
mod skeletons;
mod stream;
mod uki;
mod verdicts;
mod zboot;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::materials::{self, Target};
use crate::runner::Case;
use crate::stand::Stand;
use crate::workspace;

/// Every case, the ones that take longest first.
pub(crate) fn all(ukexec: &Path) -> Vec<Case> {
    [
        zboot::CASES,
        skeletons::CASES,
        boots::CASES,
        uki::CASES,
        // What zboot's cases compress is not compressed again.
        stream::CASES,
        signed::CASES,
        verdicts::firmware::CASES,
        verdicts::killed::CASES,
        verdicts::changes::CASES,
        verdicts::lists::CASES,
        verdicts::damage::CASES,
        verdicts::signers::CASES,
        verdicts::policy::CASES,
        attach::CASES,
        outputs::CASES,
        docs::CASES,
        examples::CASES,
        linux::CASES,
        load::CASES,
        measure::CASES,
        running::CASES,
        hostile::CASES,
        hostile_parsers::CASES,
    ]
    .concat()
    .into_iter()
    .map(|named| named.on(ukexec.to_path_buf()))
    .collect()
}

/// A case and the function that it runs.
#[derive(Clone, Copy)]
struct Named {
    name: &'static str,
    run: fn(&Stand) -> Result<()>,
}

impl Named {
    const fn new(name: &'static str, run: fn(&Stand) -> Result<()>) -> Self {
        Self { name, run }
    }

    fn on(self, ukexec: PathBuf) -> Case {
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
fn stock_kernel(target: Target) -> Result<(PathBuf, Vec<u8>)> {
    let path = materials::kernel(target)?;
    let bytes = read(&path)?;
    Ok((path, bytes))
}

/// The built-in parser called `name`, in the form that is put into an image.
fn parser_object(name: &str) -> Result<PathBuf> {
    let path = workspace::root().join(format!("parsers/objects/{name}.bpf.o"));
    ensure!(path.is_file(), "there is no {}", path.display());
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Bytes that look like nothing, do not repeat soon, and are the same in every run.
fn noise(len: usize) -> Vec<u8> {
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
