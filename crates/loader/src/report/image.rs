//! The report of an image that was taken apart.

use std::fmt;

use serde::Serialize;
use ukexec_stub::ExtraFile;
use ukexec_unfold::{Layer, StageReport};

use super::layers::{layer, line, stage};
use super::measurements::MeasureReport;
use super::page::Page;
use super::part::{self, Cmdline, KernelPart, Part};
use super::signature::SignatureReport;
use super::size::Size;

/// The report of `inspect`, `unfold` and `load`, with the fields of `docs/json.md`.
#[derive(Debug, Serialize)]
pub(crate) struct ImageReport {
    pub(crate) schema: u32,
    pub(crate) image: ImageFile,
    pub(crate) layers: Vec<Layer>,
    pub(crate) stages: Vec<StageReport>,
    pub(crate) kernel: KernelPart,
    pub(crate) initrd: Option<Part>,
    pub(crate) cmdline: Option<Cmdline>,
    pub(crate) signatures: Vec<SignatureReport>,
    pub(crate) warnings: Vec<String>,
    /// For `inspect`, which alone shows people the layers.
    #[serde(flatten)]
    pub(crate) inspection: Option<Inspection>,
    /// For `load`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<Vec<ExtraFile>>,
    /// For `inspect --measure`.
    #[serde(flatten)]
    pub(crate) measured: Option<MeasureReport>,
}

/// The image as the caller named it.
#[derive(Debug, Serialize)]
pub(crate) struct ImageFile {
    pub(crate) path: String,
    pub(crate) size: u64,
}

/// The part of a report that only `inspect` has.
#[derive(Debug, Serialize)]
pub(crate) struct Inspection {
    /// The operating system that the image names.
    pub(crate) os: Option<String>,
}

impl ImageReport {
    /// Returns the report for people.
    pub(crate) fn page(&self) -> Page {
        let mut page = Page::of_lines(&self.to_string());
        if let Some(measured) = &self.measured {
            measured.rows(&mut page);
        }
        page
    }
}

impl fmt::Display for ImageReport {
    /// Writes the report for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut report = String::new();
        if self.inspection.is_some() {
            self.layers
                .iter()
                .for_each(|it| report.push_str(&layer(it)));
            report.push('\n');
        }
        self.stages
            .iter()
            .for_each(|it| report.push_str(&stage(it)));
        if let Some(Inspection { os: Some(os) }) = &self.inspection {
            line(&mut report, format_args!("os         {os}"));
        }
        let (initrd, cmdline) = (self.initrd.as_ref(), self.cmdline.as_ref());
        part::lines(&self.kernel, initrd, cmdline, &mut report);
        for signature in &self.signatures {
            signature.lines(&mut report);
        }
        for file in self.extra.iter().flatten() {
            let (path, section, size) = (file.path, file.section, Size(file.size.into()));
            line(
                &mut report,
                format_args!("extra      {path} ({section}), {size}"),
            );
        }
        f.write_str(&report)
    }
}
