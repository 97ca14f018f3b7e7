//! The report of a call of `kexec_file_load(2)`.

use std::fmt;

use serde::Serialize;
use ukexec_kexec::Moved;

use super::page::Page;
use super::size::Size;

/// The call of `kexec_file_load(2)`: `load` of the document.
#[derive(Debug, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) dry_run: bool,
    pub(crate) panic: bool,
    pub(crate) kernel: KernelReport,
    pub(crate) initrd: Option<InitrdReport>,
    /// With its NUL.
    pub(crate) cmdline_len: usize,
    pub(crate) flags: u32,
    pub(crate) bytes_moved: Moved,
}

#[derive(Debug, Serialize)]
pub(crate) struct KernelReport {
    pub(crate) size: u64,
    pub(crate) descriptor: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct InitrdReport {
    pub(crate) size: u64,
    pub(crate) descriptor: String,
    /// It stands for none.
    pub(crate) empty_archive: bool,
}

impl LoadReport {
    /// Returns the report for people.
    pub(crate) fn page(&self) -> Page {
        Page::of_lines(&self.to_string())
    }
}

impl fmt::Display for LoadReport {
    /// Writes the number of bytes that were moved; for a dry run also the
    /// arguments of the call.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moved {
            in_kernel,
            through_user,
        } = self.bytes_moved;
        let (in_kernel, through_user) = (Size(in_kernel), Size(through_user));
        writeln!(
            f,
            "moved      {in_kernel} in the kernel, {through_user} through this process"
        )?;
        if !self.dry_run {
            return Ok(());
        }
        let KernelReport { size, descriptor } = &self.kernel;
        let initrd = match &self.initrd {
            Some(initrd) if initrd.empty_archive => {
                format!("{} bytes, empty archive", initrd.size)
            }
            Some(initrd) => format!("{} bytes, {}", initrd.size, initrd.descriptor),
            None => "none".to_owned(),
        };
        let (cmdline_len, flags) = (self.cmdline_len, self.flags);
        writeln!(
            f,
            "would call kexec_file_load(kernel: {size} bytes, {descriptor}; initrd: {initrd}; \
             cmdline: {cmdline_len} bytes with its NUL; flags: {flags:#x})"
        )
    }
}
