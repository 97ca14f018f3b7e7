//! Layers: each image that was met, from the outermost to the kernel.

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;
use ukexec_boot::{BootError, Kernel, machine_name};
use ukexec_bpf::Rope;
use ukexec_pe::{PeImage, UncheckedPe};
use ukexec_unfold::{AskedReport, Layer, ParserInfo, ParserOrigin, PeBytes};

use super::page::{COLUMN, Labelled, Page, Style, Text};
use super::sections::{Details, PeReport};
use super::size::Size;

/// An image that was met.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LayerReport {
    /// Where it lies, such as `debian.efi > .linux`.
    pub(crate) path: String,
    pub(crate) size: u64,
    /// In words.
    pub(crate) kind: String,
    pub(crate) arch: Option<String>,
    /// Its headers, if it is a PE; those of one with a fault as far as they can be
    /// read.
    pub(crate) pe: Option<PeReport>,
    /// The fault in its headers, if it begins with `MZ` and is no sound PE.
    pub(crate) pe_fault: Option<String>,
    /// The parser that takes it apart; `None` for the kernel.
    parser: Option<ParserInfo>,
    pub(crate) asked: Vec<AskedReport>,
}

impl LayerReport {
    /// Reports `image`, which has the headers `pe` and is what `identity` says.
    pub(crate) fn new(
        path: &str,
        image: &Rope,
        pe: Option<&PeImage>,
        identity: &Result<Kernel, BootError>,
        details: Details,
    ) -> io::Result<Self> {
        let (headers, fault) = match pe {
            Some(pe) => (Some(UncheckedPe::from(pe.clone())), None),
            None => match UncheckedPe::parse(&PeBytes(image)) {
                Ok(damaged) => (Some(damaged), PeImage::parse(&PeBytes(image)).err()),
                Err(_) => (None, None),
            },
        };
        let arch = match identity {
            Ok(kernel) => kernel.arch.map(|arch| arch.to_string()),
            Err(_) => {
                let machine = headers.as_ref().map(UncheckedPe::machine);
                machine.and_then(machine_name).map(str::to_owned)
            }
        };
        let pe = headers.map(|headers| PeReport::new(&headers, image, details));
        Ok(Self {
            path: path.to_owned(),
            size: image.len(),
            kind: kind(identity),
            arch,
            pe: pe.transpose()?,
            pe_fault: fault.map(|fault| fault.to_string()),
            parser: None,
            asked: Vec::new(),
        })
    }

    /// Adds what the unfolding says of the layer.
    pub(crate) fn add(&mut self, layer: Layer) {
        self.pe_fault = layer.pe_fault.or(self.pe_fault.take());
        self.parser = layer.parser;
        self.asked = layer.asked;
    }

    /// Returns kind, architecture and size.
    pub(crate) fn facts(&self) -> Vec<String> {
        let kind = [self.kind.clone()].into_iter();
        let size = Size(self.size).to_string();
        kind.chain(self.arch.clone()).chain([size]).collect()
    }

    /// Returns what is unusual about it: headers with a fault, and a parser that did
    /// not come with ukexec.
    fn oddities(&self) -> Vec<String> {
        let is_foreign = |parser: &&ParserInfo| parser.origin != ParserOrigin::BuiltIn;
        let parser = self.parser.as_ref().filter(is_foreign);
        let parser = parser.map(|parser| format!("unfolded by {parser}"));
        // A warning is about that of the kernel.
        let fault = self.pe_fault.as_ref().filter(|_| self.parser.is_some());
        let fault = fault.map(|fault| format!("no sound PE32+ file: {fault}"));
        let is_kernel = self.parser.is_none() && self.asked.iter().all(|it| it.fault.is_none());
        let left = self.asked.iter().filter(|_| is_kernel);
        let left = left.map(|asked| &asked.parser);
        let left = left.filter(|parser| parser.slot.is_some());
        let left: BTreeSet<String> = left
            .map(|parser| format!("left as it is by {}", parser.name))
            .collect();
        parser.into_iter().chain(fault).chain(left).collect()
    }
}

/// Returns the kind of an image in words.
fn kind(identity: &Result<Kernel, BootError>) -> String {
    match identity {
        Ok(kernel) if kernel.is_cut() => format!("damaged kernel ({})", kernel.format),
        Ok(kernel) => format!("kernel ({})", kernel.format),
        Err(error) => match error.look_alike() {
            Some(look_alike) => look_alike.kind().to_owned(),
            None if error.is_read() => "unreadable".to_owned(),
            None => "damaged kernel or program".to_owned(),
        },
    }
}

/// Adds the layers as a tree, where there is more to it than an image and, in one
/// that `is_unfolded`, its kernel.
pub(crate) fn rows(layers: &[LayerReport], is_unfolded: bool, page: &mut Page) {
    let plain = if is_unfolded { 2 } else { 1 };
    if layers.len() <= plain && layers.iter().all(|layer| layer.oddities().is_empty()) {
        return;
    }
    // The layers around the one at hand: what a container let be is around nothing.
    let mut around: Vec<&str> = Vec::new();
    for layer in layers {
        let inside = |outer: &str| layer.path.strip_prefix(outer)?.strip_prefix(" > ");
        while around.last().is_some_and(|outer| inside(outer).is_none()) {
            around.pop();
        }
        let depth = around.len();
        let name = around.last().and_then(|outer| inside(outer));
        let facts = layer.facts().join(", ");
        let mut text = Text::styled(Style::Strong, name.unwrap_or(&layer.path))
            .and(Style::Plain, format!("  {facts}"));
        for oddity in layer.oddities() {
            text = text.and(Style::Plain, ", ").and(Style::Warn, oddity);
        }
        let column = COLUMN + 2 * depth;
        let (indent, label) = match depth {
            0 => (2, Text::from("layers")),
            _ => (column, Text::default()),
        };
        page.line(Labelled {
            indent,
            label,
            column,
            text,
            whole: false,
        });
        around.push(&layer.path);
    }
}
