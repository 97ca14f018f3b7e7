//! Where in a program something happened.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{Program, SourceLine};

/// An instruction of a program, as an author finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The program's name.
    pub program: String,
    /// The function the instruction lies in; the program's name where that is
    /// its entry.
    pub function: String,
    /// The slot in [`Program::code`].
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
        let function = functions
            .partition_point(|(start, _)| *start <= slot)
            .checked_sub(1);
        let function = function.and_then(|index| functions.get(index));
        let lines = &program.lines;
        let line = lines
            .partition_point(|line| line.slot <= slot)
            .checked_sub(1);
        Self {
            program: program.name.clone(),
            function: function.map_or_else(|| program.name.clone(), |(_, name)| name.clone()),
            slot,
            // A record holds until the next one, but not into another function.
            line: line
                .and_then(|index| lines.get(index))
                .filter(|line| function.is_none_or(|(start, _)| *start <= line.slot))
                .cloned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "program {}", self.program)?;
        if self.function != self.program {
            write!(f, ", function {}", self.function)?;
        }
        write!(f, ", insn {}", self.slot)?;
        match &self.line {
            None => Ok(()),
            Some(line) if line.text.is_empty() => write!(f, " ({}:{})", line.file, line.line),
            Some(line) => write!(f, " ({}:{}: \"{}\")", line.file, line.line, line.text),
        }
    }
}

/// Serialises where a place is in the sources; both fields are always there.
pub(crate) fn file_and_line<S: Serializer>(
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
