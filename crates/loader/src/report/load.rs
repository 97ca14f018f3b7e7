//! The report of a call of `kexec_file_load(2)`.

use serde::Serialize;
use ukexec_kexec::{ConditionVerdict, Moved, Preflight};
use ukexec_pe::counted;

use super::page::{Align, Page, Style, Text};
use super::part::Part;
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
    #[serde(flatten)]
    pub(crate) part: Part,
    pub(crate) descriptor: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct InitrdReport {
    #[serde(flatten)]
    pub(crate) part: Part,
    pub(crate) descriptor: String,
    /// It stands for none.
    pub(crate) empty_archive: bool,
}

impl LoadReport {
    /// Adds the arguments of the call, and the number of bytes moved for them if
    /// that was asked for.
    pub(crate) fn rows(&self, page: &mut Page, verbose: bool) {
        let KernelReport { part, descriptor } = &self.kernel;
        let initrd = match &self.initrd {
            Some(initrd) if initrd.empty_archive => {
                format!("{}, an empty archive", counted(initrd.part.size, "byte"))
            }
            Some(initrd) => {
                let size = counted(initrd.part.size, "byte");
                format!("{size}, {}", initrd.descriptor)
            }
            None => "none".to_owned(),
        };
        let (size, flags) = (counted(part.size, "byte"), self.flags);
        let cmdline_len = counted(self.cmdline_len as u64, "byte");
        page.row(
            "call",
            format!(
                "kexec_file_load(kernel: {size}, {descriptor}; initrd: {initrd}; cmdline: \
                 {cmdline_len} with its NUL; flags: {flags:#x})"
            ),
        );
        part.digest_row(page);
        if let Some(initrd) = &self.initrd {
            initrd.part.digest_row(page);
        }
        if verbose {
            let Moved {
                in_kernel,
                through_user,
            } = self.bytes_moved;
            let (in_kernel, through_user) = (Size(in_kernel), Size(through_user));
            page.row(
                "moved",
                format!("{in_kernel} in the kernel, {through_user} through this process"),
            );
        }
    }
}

/// Adds a row for each condition of a load.
pub(crate) fn preflight_rows(preflight: &Preflight, page: &mut Page) {
    let cells = preflight.conditions().iter().map(|it| {
        let verdict = Text::styled(style(it.verdict), it.verdict.name());
        vec![it.id.name().into(), verdict, it.to_string().into()]
    });
    page.row("preflight", "");
    page.table(4, &[Align::Left, Align::Left, Align::Left], cells.collect());
}

/// Returns the style of a verdict.
pub(crate) fn style(verdict: ConditionVerdict) -> Style {
    match verdict {
        ConditionVerdict::Ok => Style::Good,
        ConditionVerdict::Warning | ConditionVerdict::Unknown => Style::Warn,
        ConditionVerdict::Refused => Style::Bad,
    }
}
