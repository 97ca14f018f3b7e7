//! The report of the call that loads a kernel.

use serde::Serialize;
use ukexec_kexec::{ConditionVerdict, Moved, Preflight};
use ukexec_layout::PlacedSegment;
use ukexec_pe::counted;

use crate::placement::USUAL;

use super::page::{Align, Page, Style, Text};
use super::part::Part;
use super::size::Size;

/// The call: `load` of the document.
#[derive(Debug, Serialize)]
pub(crate) struct LoadReport<'a> {
    pub(crate) dry_run: bool,
    /// The name of the call, and why it is that one.
    pub(crate) syscall: &'static str,
    pub(crate) why: &'static str,
    /// Where `kexec_load(2)` enters the kernel, and what it places.
    pub(crate) entry: Option<u64>,
    /// Where the device tree is from.
    pub(crate) device_tree: Option<&'a str>,
    pub(crate) segments: Option<Vec<SegmentReport>>,
    pub(crate) panic: bool,
    pub(crate) kernel: KernelReport,
    pub(crate) initrd: Option<InitrdReport>,
    /// With its NUL.
    pub(crate) cmdline_len: usize,
    pub(crate) flags: u32,
    pub(crate) bytes_moved: Moved,
}

/// Bytes that `kexec_load(2)` places.
#[derive(Debug, Serialize)]
pub(crate) struct SegmentReport {
    pub(crate) content: String,
    pub(crate) address: u64,
    /// Bytes of it, and of the memory that it gets.
    pub(crate) size: u64,
    pub(crate) memory_size: u64,
    pub(crate) why: &'static str,
}

impl SegmentReport {
    pub(crate) fn of(segment: &PlacedSegment) -> Self {
        let PlacedSegment {
            content,
            memory,
            why,
        } = segment;
        Self {
            content: content.to_string(),
            address: memory.start,
            size: content.byte_len(),
            memory_size: memory.end.saturating_sub(memory.start),
            why,
        }
    }
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

impl LoadReport<'_> {
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
        let syscall = self.syscall;
        let entry = self.entry.map(|entry| format!("entry: {entry:#x}; "));
        let entry = entry.unwrap_or_default();
        page.row(
            "call",
            format!(
                "{syscall}({entry}kernel: {size}, {descriptor}; initrd: {initrd}; cmdline: \
                 {cmdline_len} with its NUL; flags: {flags:#x})"
            ),
        );
        if self.why != USUAL {
            page.row("why", format!("{syscall}: {}", self.why));
        }
        if let Some(from) = self.device_tree {
            page.row("tree", format!("that of {from}"));
        }
        if let Some(segments) = &self.segments {
            page.row("segments", "");
            let cells = segments.iter().map(|it| {
                let start = it.address;
                let end = start.saturating_add(it.memory_size);
                vec![
                    it.content.clone().into(),
                    format!("{start:#x}..{end:#x}").into(),
                    counted(it.size, "byte").into(),
                    it.why.into(),
                ]
            });
            let columns = [Align::Left, Align::Left, Align::Right, Align::Left];
            page.table(4, &columns, cells.collect());
        }
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
