//! The report of an image that was taken apart, as far as that went.

use std::iter;

use serde::Serialize;
use ukexec_pe::counted;
use ukexec_stub::{ExtraFile, Profile};
use ukexec_unfold::StageReport;

use super::companion::{self, CompanionReport};
use super::expanded::ExpandedReport;
use super::layers::{self, LayerReport};
use super::measurements::MeasureReport;
use super::page::{Page, Text};
use super::part::{Cmdline, InitrdPart, KernelPart, initrd_rows};
use super::signature::SignatureReport;
use super::size::Size;

/// The report of `inspect`, `unfold` and `load`, with the fields of `docs/json.md`.
/// Of an image that was not taken apart, it has what is known.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImageReport {
    pub(crate) schema: u32,
    pub(crate) image: ImageFile,
    pub(crate) kernel: Option<KernelPart>,
    pub(crate) initrd: Option<InitrdPart>,
    pub(crate) cmdline: Option<Cmdline>,
    pub(crate) profiles: Vec<Profile>,
    /// The program in front of the image.
    pub(crate) stub: Option<Program>,
    pub(crate) signatures: Vec<SignatureReport>,
    pub(crate) warnings: Vec<String>,
    pub(crate) layers: Vec<LayerReport>,
    pub(crate) stages: Vec<StageReport>,
    /// Files that a load puts behind the initrd; not for `unfold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<Vec<ExtraFile>>,
    /// Files beside the image; not for `unfold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) companions: Option<Vec<CompanionReport>>,
    /// The initrd before and after it was unpacked; for `load --expand-initrd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expanded: Option<ExpandedReport>,
    /// For `inspect --measure`.
    #[serde(flatten)]
    pub(crate) measured: Option<MeasureReport>,
    /// Why it is not measured, if it should be.
    #[serde(skip)]
    pub(crate) unmeasured: Option<&'static str>,
    #[serde(skip)]
    pub(crate) scope: Scope,
}

/// The image as the caller named it, and its own words about it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImageFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) kind: Option<String>,
    pub(crate) arch: Option<String>,
    /// The operating system, from `.osrel`.
    pub(crate) os: Option<String>,
    /// The kernel's release, from `.uname`.
    pub(crate) uname: Option<String>,
}

/// A program and its version.
#[derive(Debug, Serialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// How much of a report people see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope {
    /// Layers and the map of the file.
    pub(crate) layers: bool,
    /// Every section.
    pub(crate) sections: bool,
    /// Stages.
    pub(crate) stages: bool,
}

impl ImageReport {
    /// Returns the report for people.
    pub(crate) fn page(&self) -> Page {
        let mut page = Page::default();
        self.title(&mut page);
        self.parts(&mut page);
        profiles(&self.profiles, &mut page);
        companion::rows(self.companions.as_deref().unwrap_or_default(), &mut page);
        let is_image = self.kernel.is_some() || self.layers.iter().any(|it| it.pe.is_some());
        for signature in &self.signatures {
            if !is_image && signature.is_unsigned() {
                continue;
            }
            signature.rows(&mut page, self.scope.layers);
        }
        if self.scope.layers {
            self.layers(&mut page);
        }
        if self.scope.stages {
            self.stages.iter().for_each(|it| stage(it, &mut page));
        }
        if let Some(measured) = &self.measured {
            measured.rows(&mut page);
        }
        if let Some(unmeasured) = self.unmeasured {
            page.row("note", unmeasured);
        }
        page
    }

    fn title(&self, page: &mut Page) {
        let (Some(layer), image) = (self.layers.first(), &self.image) else {
            return page.title(self.image.path.as_str(), Size(self.image.size).to_string());
        };
        let mut facts = layer.facts();
        let stub = self.stub.as_ref();
        let stub = stub.map(|Program { name, version }| format!("{name} {version}"));
        for fact in stub.into_iter().chain(image.os.clone()) {
            // A boot loader is called so already.
            if !facts.iter().any(|known| known.contains(&fact)) {
                facts.push(fact);
            }
        }
        page.title(layer.path.as_str(), facts.join(", "));
    }

    /// Adds kernel, initrd and command line; of an image that was not unfolded, those
    /// that are known.
    fn parts(&self, page: &mut Page) {
        match (&self.kernel, &self.image.uname) {
            (Some(kernel), _) => kernel.rows(self.image.arch.as_deref(), page),
            (None, Some(release)) => {
                page.row(
                    "boots",
                    format!("Linux {release} by .uname; no kernel is known"),
                );
            }
            (None, None) if self.layers.first().is_some_and(|it| it.pe.is_some()) => {
                page.row("boots", "no kernel is known");
            }
            (None, None) => {}
        }
        let is_unfolded = self.kernel.is_some();
        if is_unfolded || self.initrd.is_some() {
            let extra = self.extra.iter().flatten().map(|file| file.path);
            initrd_rows(self.initrd.as_ref(), extra, page);
            if let Some(expanded) = &self.expanded {
                expanded.rows(page);
            }
        }
        match &self.cmdline {
            Some(cmdline) => cmdline.rows(page),
            None if is_unfolded => page.row("cmdline", "none"),
            None => {}
        }
    }

    fn layers(&self, page: &mut Page) {
        layers::rows(&self.layers, self.kernel.is_some(), page);
        let outermost = self.layers.first().and_then(|layer| layer.pe.as_ref());
        if let Some(pe) = outermost {
            pe.map(self.image.size, page);
        }
        if self.scope.sections {
            for layer in &self.layers {
                if let Some(pe) = &layer.pe {
                    pe.rows(&layer.path, layer.size, page);
                }
            }
        } else if let Some(pe) = outermost {
            pe.folded_rows(self.image.size, page);
        }
    }
}

/// Returns number, ID and title of a profile.
pub(crate) fn profile_name(profile: &Profile) -> String {
    let id = profile.id.iter().map(|id| format!(" {id}"));
    let title = profile.title.iter().map(|title| format!(" \"{title}\""));
    iter::once(profile.number.to_string())
        .chain(id)
        .chain(title)
        .collect()
}

/// Adds the profiles: in one line, or where command lines differ, in one each.
fn profiles(profiles: &[Profile], page: &mut Page) {
    let texts = profiles.iter().map(|profile| {
        let mut text = profile_name(profile);
        match profile.cmdline.as_deref() {
            Some("") => text.push_str(", no command line"),
            Some(line) => text.push_str(&format!(", command line: {line}")),
            None => {}
        }
        text
    });
    let texts: Vec<String> = texts.collect();
    if profiles.iter().all(|profile| profile.cmdline.is_none()) {
        if !texts.is_empty() {
            page.row("profiles", texts.join("  "));
        }
        return;
    }
    let labels = ["profiles"].into_iter().chain(iter::repeat(""));
    for (label, text) in labels.zip(texts) {
        page.whole(label, text);
    }
}

/// Adds a stage, and the lines that its parser printed.
fn stage(stage: &StageReport, page: &mut Page) {
    let StageReport {
        layer,
        parser,
        abi,
        insns,
        ..
    } = stage;
    let handed_over = stage.handed_over.iter();
    let handed_over = handed_over.map(|it| format!("{} {}", it.resource, Size(it.size)));
    let profile = stage.profile.map(|number| format!("profile {number}"));
    let found: Vec<String> = handed_over.chain(profile).collect();
    let found = found.join(", ");
    let insns = counted(*insns, "instruction");
    page.row(
        format!("stage {}", stage.number),
        format!("{layer}: {parser} ({abi}), {insns}: {found}"),
    );
    // Parsers lay tables out with tabs.
    for line in &stage.log {
        page.row("", Text::from(format!("| {}", line.replace('\t', "    "))));
    }
}
