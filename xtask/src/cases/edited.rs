//! Images for cases to edit, byte by byte.

use anyhow::{Context, Result, anyhow};

use crate::materials::{Stub, Target, stub};
use crate::stand::Stand;
use crate::uki::{Section, objcopy};

use super::{noise, read, stock_kernel};

/// An image under the knife.
#[derive(Debug, Clone)]
pub(super) struct Edited(pub(super) Vec<u8>);

impl Edited {
    /// A UKI of stub 252 with a command line, an initrd and the stock kernel.
    pub(super) fn uki(stand: &Stand) -> Result<Self> {
        let (kernel, _) = stock_kernel(Target::X86_64)?;
        let cmdline = stand.file("cmdline", "console=ttyS0")?;
        let initrd = stand.file("initrd", noise(10_000))?;
        let image = stand.path("whole.efi");
        let section = |name, file| Section { name, file };
        objcopy(
            &stub(Target::X86_64, Stub::V252)?,
            &[
                section(".cmdline", &cmdline),
                section(".initrd", &initrd),
                section(".linux", &kernel),
            ],
            &image,
        )?;
        Ok(Self(read(&image)?))
    }

    pub(super) fn u32_at(&self, at: usize) -> Result<usize> {
        let bytes = self.0.get(at..at + 4).context("past the end")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    }

    pub(super) fn u16_at(&self, at: usize) -> Result<usize> {
        let bytes = self.0.get(at..at + 2).context("past the end")?;
        Ok(usize::from(u16::from_le_bytes(bytes.try_into()?)))
    }

    /// Where the COFF header starts, behind `PE\0\0`.
    pub(super) fn coff(&self) -> Result<usize> {
        Ok(self.u32_at(0x3c)? + 4)
    }

    /// Where the optional header starts.
    pub(super) fn optional(&self) -> Result<usize> {
        Ok(self.coff()? + 20)
    }

    /// The offsets of all section headers.
    pub(super) fn sections(&self) -> Result<Vec<usize>> {
        let coff = self.coff()?;
        let table = self.optional()? + self.u16_at(coff + 16)?;
        Ok((0..self.u16_at(coff + 2)?)
            .map(|index| table + 40 * index)
            .collect())
    }

    /// The offset of the header of the section called `name`.
    pub(super) fn section(&self, name: &str) -> Result<usize> {
        let found = self.sections_called(name)?.into_iter().next();
        found.ok_or_else(|| anyhow!("no section {name}"))
    }

    /// As [`Edited::section`], of the last one.
    pub(super) fn last_section(&self, name: &str) -> Result<usize> {
        let found = self.sections_called(name)?.into_iter().next_back();
        found.ok_or_else(|| anyhow!("no section {name}"))
    }

    fn sections_called(&self, name: &str) -> Result<Vec<usize>> {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(8, 0);
        let mut sections = self.sections()?;
        sections.retain(|&at| self.0.get(at..at + 8) == Some(&padded));
        Ok(sections)
    }

    pub(super) fn with(&self, at: usize, bytes: &[u8]) -> Result<Self> {
        let mut edited = self.clone();
        edited
            .0
            .get_mut(at..at + bytes.len())
            .context("past the end")?
            .copy_from_slice(bytes);
        Ok(edited)
    }

    pub(super) fn cut(&self, len: usize) -> Self {
        Self(self.0.get(..len).unwrap_or(&self.0).to_vec())
    }
}
