//! The events of a run, with the fields of `docs/json.md`.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};
use ukexec_bpf::Place;
use ukexec_bpf::memory::{Access, Memory};
use ukexec_unfold::Resource;

/// An event: a line of JSON, or lines of text.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    Begin {
        program: &'a str,
        hook: &'a str,
    },
    Insn(Insn<'a>),
    Call {
        #[serde(flatten)]
        place: Option<Place>,
        callee: &'a str,
        args: Vec<Argument>,
    },
    Return {
        callee: &'a str,
        #[serde(flatten)]
        r0: Word,
    },
    Log {
        line: &'a str,
    },
    HandOver {
        resource: Resource,
        size: u64,
    },
    Refused {
        reason: &'a str,
    },
    End {
        program: &'a str,
        hook: &'a str,
        #[serde(serialize_with = "hex")]
        r0: u64,
    },
}

#[derive(Serialize)]
pub(crate) struct Insn<'a> {
    #[serde(flatten)]
    pub(crate) place: Option<Place>,
    #[serde(skip)]
    pub(crate) slot: u32,
    pub(crate) depth: usize,
    pub(crate) text: &'a str,
    pub(crate) note: Option<&'a str>,
    /// Those that changed.
    #[serde(serialize_with = "by_name")]
    pub(crate) registers: Vec<(u8, Word)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Accessed>,
}

/// A memory access.
#[derive(Serialize)]
pub(crate) struct Accessed {
    #[serde(flatten)]
    pub(crate) addr: Word,
    pub(crate) access: Access,
    pub(crate) len: u8,
    /// The bytes that are there now; nothing if it failed.
    #[serde(serialize_with = "bare")]
    pub(crate) content: Option<Word>,
}

impl Display for Accessed {
    /// Writes it as `read 4 at image+0x10: 0x7f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}: ", self.access, self.len, self.addr)?;
        match &self.content {
            Some(content) => content.fmt(f),
            None => f.write_str("failed"),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Argument {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) value: Word,
}

/// A value, with the place that it names, if it names one.
#[derive(Serialize)]
pub(crate) struct Word {
    #[serde(serialize_with = "hex")]
    value: u64,
    place: Option<String>,
}

impl Word {
    pub(crate) fn new(memory: &Memory, value: u64) -> Self {
        let place = memory.place(value);
        Self { value, place }
    }
}

impl Display for Word {
    /// Writes it as a person reads it: a place, a small negative number, or a
    /// number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.value.cast_signed();
        match &self.place {
            Some(place) => f.write_str(place),
            None if (-MAX_ERRNO..0).contains(&signed) => write!(f, "{signed}"),
            None => write!(f, "{:#x}", self.value),
        }
    }
}

fn hex<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

fn bare<S: Serializer>(word: &Option<Word>, serializer: S) -> Result<S::Ok, S::Error> {
    match word {
        Some(word) => hex(&word.value, serializer),
        None => serializer.serialize_none(),
    }
}

fn by_name<S: Serializer>(registers: &[(u8, Word)], serializer: S) -> Result<S::Ok, S::Error> {
    let registers = registers.iter();
    serializer.collect_map(registers.map(|(number, value)| (format!("r{number}"), value)))
}

/// Values from here to -1 are errors in Linux.
const MAX_ERRNO: i64 = 4095;
