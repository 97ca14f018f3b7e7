//! Unified kernel images, made by the tools that distributions make theirs with.
//!
//! Specification: UAPI group, "Unified Kernel Image (UKI)". Nothing here writes a PE file itself:
//! what the tests unfold comes from `objcopy` or `ukify`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::command::Tool;
use crate::materials;
use crate::setup::PYTHON;

/// Sections of an image start at multiples of this in memory.
const SECTION_ALIGNMENT: u64 = 0x1000;

/// A section to put into an image: its name and the file that holds its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    pub(crate) file: &'a Path,
}

/// Adds `sections`, in this order, to a copy of `stub` with `objcopy`, each behind the other.
///
/// # Errors
///
/// `objdump` or `objcopy` fails.
pub(crate) fn objcopy(stub: &Path, sections: &[Section<'_>], out: &Path) -> Result<()> {
    let mut address = end_in_memory(stub)?;
    let mut tool = Tool::new("objcopy");
    for Section { name, file } in sections {
        address = address.next_multiple_of(SECTION_ALIGNMENT);
        tool = tool
            .arg("--add-section")
            .arg(format!("{name}={}", file.display()))
            .arg("--change-section-vma")
            .arg(format!("{name}={address:#x}"));
        address += file
            .metadata()
            .with_context(|| format!("cannot read {}", file.display()))?
            .len();
    }
    tool.arg(stub).arg(out).run()
}

/// Where the last section of an image ends in memory, by `objdump`.
fn end_in_memory(image: &Path) -> Result<u64> {
    let listing = Tool::new("objdump").arg("-h").arg(image).text()?;
    // A section's line: index, name, size, VMA, LMA, file offset, alignment.
    listing
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.first()?.parse::<u32>().ok()?;
            let number = |at: usize| u64::from_str_radix(fields.get(at)?, 16).ok();
            Some(number(2)? + number(3)?)
        })
        .max()
        .ok_or_else(|| anyhow!("objdump finds no sections in {}", image.display()))
}

/// A call of `ukify build`.
#[derive(Debug)]
pub(crate) struct Ukify {
    tool: Tool,
}

impl Ukify {
    /// Starts an image on `stub`.
    ///
    /// # Errors
    ///
    /// `ukify` cannot be fetched.
    pub(crate) fn on(stub: &Path) -> Result<Self> {
        Ok(Self::by(&materials::ukify()?, stub))
    }

    /// Starts an image on `stub` by the program `ukify`.
    pub(crate) fn by(ukify: &Path, stub: &Path) -> Self {
        let tool = Tool::new(PYTHON).arg(ukify).arg("build");
        Self {
            tool: tool.arg("--stub").arg(stub),
        }
    }

    /// Gives it a kernel. `uname` spares `ukify` from looking for a version inside.
    pub(crate) fn linux(self, kernel: &Path, uname: &str) -> Self {
        self.file("--linux", kernel).text("--uname", uname)
    }

    /// Adds an option that takes a file.
    pub(crate) fn file(mut self, option: &str, file: &Path) -> Self {
        self.tool = self.tool.arg(option).arg(file);
        self
    }

    /// Adds an option that takes text.
    pub(crate) fn text(mut self, option: &str, text: &str) -> Self {
        self.tool = self.tool.arg(option).arg(text);
        self
    }

    /// Makes the image.
    ///
    /// # Errors
    ///
    /// `ukify` fails.
    pub(crate) fn build(self, out: &Path) -> Result<PathBuf> {
        self.tool.arg("--output").arg(out).run()?;
        Ok(out.to_path_buf())
    }
}

/// The text that `ukify inspect` prints about an image.
///
/// # Errors
///
/// `ukify` cannot be fetched or cannot read the image.
pub(crate) fn ukify_inspect(image: &Path) -> Result<String> {
    Tool::new(PYTHON)
        .arg(materials::ukify()?)
        .arg("inspect")
        .arg(image)
        .text()
}
