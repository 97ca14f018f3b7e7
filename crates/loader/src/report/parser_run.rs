//! The report of one stage that was run by itself.

use std::{fmt, io};

use serde::Serialize;
use ukexec_boot::identify;
use ukexec_unfold::{PeBytes, Stage, StageReport};

use super::SCHEMA;
use super::part::{Cmdline, KernelIdentity, KernelPart, Part};
use super::size::Size;

/// The report of `ukexec parser run`, with the fields of `docs/json.md`.
#[derive(Debug, Serialize)]
pub struct ParserRunReport {
    schema: u32,
    /// The answer of the match program; absent where there is none.
    #[serde(rename = "match")]
    matches: Option<bool>,
    stage: StageReport,
    kernel: KernelPart,
    initrd: Option<Part>,
    cmdline: Option<Cmdline>,
    warnings: Vec<String>,
}

impl ParserRunReport {
    /// Reports the result of `stage`.
    ///
    /// # Errors
    ///
    /// None today: no digest is taken, so that no byte is read.
    pub fn new(stage: &Stage) -> io::Result<Self> {
        let part = |rope| Part::new(rope, false);
        Ok(Self {
            schema: SCHEMA,
            matches: stage.matches,
            stage: stage.report.clone(),
            kernel: KernelPart {
                part: part(&stage.kernel)?,
                identity: KernelIdentity::new(&identify(&PeBytes(&stage.kernel))),
            },
            initrd: stage.initrd.as_ref().map(part).transpose()?,
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
}

impl fmt::Display for ParserRunReport {
    /// Writes the result of the stage.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.matches {
            None => Ok(()),
            Some(true) => writeln!(f, "match      yes: chosen for such images"),
            Some(false) => writeln!(f, "match      no: not chosen for such images"),
        }?;
        let KernelPart { part, identity } = &self.kernel;
        writeln!(f, "kernel     {}, {identity}", Size(part.size))?;
        match &self.initrd {
            Some(Part { size: 0, .. }) => writeln!(f, "initrd     none from here on"),
            Some(part) => writeln!(f, "initrd     {}", Size(part.size)),
            None => writeln!(f, "initrd     not handed over"),
        }?;
        match &self.cmdline {
            Some(cmdline) => writeln!(f, "cmdline    {cmdline}"),
            None => writeln!(f, "cmdline    not handed over"),
        }?;
        writeln!(f, "insns      {}", self.stage.insns)
    }
}
