//! The report: what was found and done, the same for the same input.

use std::fmt;

use serde::Serialize;

use crate::{ParserOrigin, UnfoldError};

/// How an unfolding went, or how far it came. It holds no times and no addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Every image met, from the outermost to the kernel.
    pub layers: Vec<Layer>,
    /// Every stage that ran, in order.
    pub stages: Vec<StageReport>,
    /// Notes on what stopped nothing.
    pub warnings: Vec<Warning>,
}

/// One image. A [`Gate`](crate::Gate) sees its headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Layer {
    /// Where it lies, such as `uki.efi > .linux > zboot payload`.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// The fault in its headers, if it begins with `MZ` and is no sound
    /// PE.
    pub pe_fault: Option<String>,
    /// The parser that takes it apart; `None` for the kernel, and for what parsers of a container
    /// let be.
    pub parser: Option<ParserInfo>,
    /// The parsers that were asked whether they fit, in order, or tried and let the image be or
    /// broke off. Their instructions and lines draw on the budget like a stage.
    pub asked: Vec<AskedReport>,
}

/// A parser that was asked whether an image is its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AskedReport {
    /// The parser.
    pub parser: ParserInfo,
    /// The answer of its match programs.
    pub fits: bool,
    /// Instructions that they ran.
    pub insns: u64,
    /// The lines that they printed.
    pub log: Vec<String>,
    /// Why calls that they made failed: the last few, oldest first. That is no
    /// fault; whether a payload can be decompressed may be what they look for.
    #[serde(skip)]
    pub refusals: Vec<String>,
    /// Why a parser broke off that was to take the image apart and leaves that to others: one of
    /// a container, or of ABI v7. Its `insns` are those of the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Whether it sent DONE.
    #[serde(skip)]
    pub(crate) done: bool,
}

impl AskedReport {
    /// Returns the error of a parser that alone was to take the image apart, and let it be.
    pub(crate) fn let_it_be(&self) -> UnfoldError {
        let failed = self
            .refusals
            .iter()
            .map(|reason| format!("failed: {reason}"));
        let printed = self.log.iter().map(|line| format!("printed: {line}"));
        let mut notes: Vec<String> = failed.chain(printed).collect();
        if self.log.is_empty() {
            notes.push("the parser printed nothing".to_owned());
        }
        UnfoldError::new(format!("the parser {}", self.letting_it_be())).noted(notes)
    }

    /// Returns that it lets the image be, and why that is so.
    pub(crate) fn letting_it_be(&self) -> &'static str {
        match self.done {
            true => "lets the image be: it sent DONE and handed nothing over",
            false => "lets the image be: it did not send DONE",
        }
    }
}

/// Which parser it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ParserInfo {
    /// Its file name, or `.bpf` where it lies in the image.
    pub name: String,
    /// Its slot in that file, if it is a container: `2`, or `nested.1` in the one for the layer
    /// inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Who brought it.
    pub origin: ParserOrigin,
}

impl ParserInfo {
    pub(crate) fn new(name: &str, origin: ParserOrigin) -> Self {
        Self {
            name: name.to_owned(),
            slot: None,
            origin,
        }
    }

    /// Returns its name, and its slot in a container.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.slot {
            Some(slot) => format!("{} slot {slot}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for ParserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.full_name(), self.origin)
    }
}

/// One stage: what a parser did with one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StageReport {
    /// Its number, from 1.
    #[serde(rename = "stage")]
    pub number: u32,
    /// Path of the layer it took apart.
    pub layer: String,
    /// The parser.
    pub parser: ParserInfo,
    /// The version of the parser ABI that its hooks belong to, such as `v5`.
    pub abi: &'static str,
    /// The programs that ran, in order.
    pub programs: Vec<ProgramReport>,
    /// Instructions that all of them ran.
    pub insns: u64,
    /// The hand-overs that counted: the last of each resource, in the
    /// order kernel, initrd, command line.
    pub handed_over: Vec<HandOver>,
    /// Lengths in bytes of the buffers that it filled for the next level of its container, in
    /// order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<u64>,
    /// The number of the profile that the parser says it chose; `None` where it
    /// says nothing, since the image or the format has no profiles.
    pub profile: Option<u32>,
    /// The lines that the parser printed.
    pub log: Vec<String>,
}

impl StageReport {
    /// Returns the error of a stage behind which there is no kernel.
    pub(crate) fn without_kernel(&self) -> UnfoldError {
        let text = without_kernel(&self.handed_over);
        UnfoldError::new(text).noted(last_lines(&self.log).collect())
    }
}

/// Returns that there is no kernel among what was handed over.
pub(crate) fn without_kernel(handed_over: &[HandOver]) -> String {
    let rest = handed_over.iter().map(|it| it.resource.to_string());
    let rest = rest.collect::<Vec<_>>().join(" and ");
    let text = "no kernel was handed over";
    match rest.is_empty() {
        true => text.to_owned(),
        false => format!("{text}; only {rest}"),
    }
}

/// Returns the last lines that a parser printed, as notes.
pub(crate) fn last_lines(log: &[String]) -> impl Iterator<Item = String> {
    const LINES: usize = 5;
    let from = log.len().saturating_sub(LINES);
    let printed = log.iter().skip(from);
    printed.map(|line| format!("printed: {line}"))
}

/// One program's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProgramReport {
    /// The function's name.
    pub name: String,
    /// The hook it ran for.
    pub hook: &'static str,
    /// Instructions it ran, and what it was charged for bytes copied.
    pub insns: u64,
}

/// A resource as it was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HandOver {
    /// The resource.
    pub resource: Resource,
    /// Its length in bytes; of a command line that before the first NUL. An
    /// initrd of 0 bytes says that there shall be none.
    pub size: u64,
}

/// The things that a parser can hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// The next image.
    Kernel,
    /// The initial RAM disk.
    Initrd,
    /// The kernel's command line.
    #[serde(rename = "command line")]
    Cmdline,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Cmdline => "command line",
        })
    }
}

/// Something worth a look that stopped nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Path of the layer it is about.
    pub(crate) layer: String,
    /// The stage it happened in, from 1; `None` outside of stages.
    pub(crate) stage: Option<u32>,
    pub(crate) text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.layer)?;
        if let Some(stage) = self.stage {
            write!(f, "stage {stage}: ")?;
        }
        f.write_str(&self.text)
    }
}
