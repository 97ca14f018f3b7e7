//! The report of one stage that was run by itself.

use std::io;

use serde::Serialize;
use ukexec_boot::identify;
use ukexec_pe::counted;
use ukexec_unfold::{PeBytes, Stage, StageReport};

use super::SCHEMA;
use super::page::Page;
use super::part::{Cmdline, InitrdPart, KernelPart, initrd_rows};
use super::size::Size;

/// The report of `ukexec parser run`, with the fields of `docs/json.md`.
#[derive(Debug, Serialize)]
pub struct ParserRunReport {
    schema: u32,
    /// The answer of the match program; absent where there is none.
    #[serde(rename = "match")]
    matches: Option<bool>,
    stage: StageReport,
    /// Absent where a parser of a container leaves it to the next level.
    kernel: Option<KernelPart>,
    initrd: Option<InitrdPart>,
    cmdline: Option<Cmdline>,
    warnings: Vec<String>,
}

impl ParserRunReport {
    /// Reports the result of `stage`.
    ///
    /// # Errors
    ///
    /// A part cannot be read.
    pub fn new(stage: &Stage) -> io::Result<Self> {
        let initrd = |rope| InitrdPart::new(rope, false);
        let kernel = |kernel| {
            let identity = identify(&PeBytes(kernel));
            KernelPart::new(kernel, &identity, true, false)
        };
        Ok(Self {
            schema: SCHEMA,
            matches: stage.matches,
            stage: stage.report.clone(),
            kernel: stage.kernel.as_ref().map(kernel).transpose()?,
            initrd: stage.initrd.as_ref().map(initrd).transpose()?,
            cmdline: match &stage.cmdline {
                Some(line) => Some(Cmdline::new(line, false)?),
                None => None,
            },
            warnings: stage.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    /// Returns things worth a look that stopped nothing.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Adds the result of the stage.
    pub fn rows(&self, page: &mut Page) {
        let StageReport {
            layer,
            parser,
            insns,
            ..
        } = &self.stage;
        let insns = counted(*insns, "instruction");
        page.title(layer, format!("stage 1 by {parser}, {insns}"));
        match self.matches {
            None => {}
            Some(true) => page.row("match", "yes: chosen for such images"),
            Some(false) => page.row("match", "no: not chosen for such images"),
        }
        match &self.kernel {
            Some(kernel) => kernel.rows(None, page),
            None => page.row("kernel", "not handed over"),
        }
        match &self.initrd {
            Some(initrd) if initrd.part.size == 0 => page.row("initrd", "none from here on"),
            Some(initrd) => initrd_rows(Some(initrd), [].into_iter(), page),
            None => page.row("initrd", "not handed over"),
        }
        match &self.cmdline {
            Some(cmdline) => cmdline.rows(page),
            None => page.row("cmdline", "not handed over"),
        }
        let filled = self.stage.filled.iter().enumerate();
        for (number, size) in filled {
            page.row(
                format!("buffer {number}"),
                format!("{}, for the next level", Size(*size)),
            );
        }
    }
}
