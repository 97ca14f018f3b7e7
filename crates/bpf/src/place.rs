//! Where in the code something happened.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::bounds::at_most;
use crate::{Program, SourceLine};

/// An instruction, as an author finds it: in a linked program, or in a section
/// of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The program's name; `None` where every program that reaches the
    /// instruction is meant.
    pub program: Option<String>,
    /// The section of the object; `None` of a linked program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The function the instruction lies in; the program's name where that is
    /// its entry.
    pub function: String,
    /// The instruction slot: in [`Program::code`], or from the section's start,
    /// as `llvm-objdump -d` numbers it.
    #[serde(rename = "insn")]
    pub slot: u32,
    /// The source line, where the object has line information.
    #[serde(flatten, serialize_with = "file_and_line")]
    pub line: Option<SourceLine>,
}

impl Place {
    /// Returns where slot `slot` of `program` is.
    #[must_use]
    pub fn new(program: &Program, slot: u32) -> Self {
        let functions = &program.functions;
        let begun = functions.partition_point(|(start, _)| *start <= slot);
        let function = at_most(functions, begun).last();
        let mut place = Self::in_program(&program.name, slot);
        if let Some((_, name)) = function {
            place.function.clone_from(name);
        }
        // A record holds until the next one, but not into another function.
        let holds = |line: &SourceLine| function.is_none_or(|(start, _)| *start <= line.slot);
        place.line = program.lines.at(slot).filter(holds);
        place
    }

    /// Returns where slot `slot` is in a program of which only the name is
    /// known.
    pub(crate) fn in_program(name: &str, slot: u32) -> Self {
        Self {
            program: Some(name.to_owned()),
            section: None,
            function: name.to_owned(),
            slot,
            line: None,
        }
    }
}

impl fmt::Display for Place {
    /// Writes it as `zboot.bpf.c:63 in read_header (program parse_pe), insn 8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(SourceLine { file, line, .. }) = &self.line {
            write!(f, "{file}:{line} in ")?;
        }
        f.write_str(&self.function)?;
        let program = self.program.as_ref().filter(|name| **name != self.function);
        let section = self.section.as_ref();
        match (program, section) {
            (Some(program), _) => write!(f, " (program {program})")?,
            (None, Some(section)) => write!(f, " (section {section})")?,
            (None, None) => {}
        }
        write!(f, ", insn {}", self.slot)
    }
}

/// Serialises the place in the sources; both fields are always there.
fn file_and_line<S: Serializer>(
    line: &Option<SourceLine>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct FileAndLine<'a> {
        file: Option<&'a str>,
        line: Option<u32>,
    }
    let file = line.as_ref().map(|line| &*line.file);
    let line = line.as_ref().map(|line| line.line);
    FileAndLine { file, line }.serialize(serializer)
}
