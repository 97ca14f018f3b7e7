//! The events of a run, with the fields of `docs/json.md`.

use std::fmt::{self, Display};
use std::rc::Rc;

use serde::{Serialize, Serializer};
use ukexec_bpf::Place;
use ukexec_bpf::memory::{Access, Memory};
use ukexec_bpf::trace::Call;
use ukexec_kexec::errno_name;
use ukexec_unfold::Resource;

use super::names::parameters_of;

/// An event: a line of JSON, or lines of text.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Begin {
        program: String,
        hook: &'static str,
    },
    Insn(Insn),
    Call {
        #[serde(flatten, serialize_with = "place_of")]
        facts: Rc<Facts>,
        callee: String,
        args: Vec<Argument>,
    },
    Return {
        callee: String,
        #[serde(flatten)]
        r0: Word,
    },
    Log {
        line: String,
    },
    HandOver {
        resource: Resource,
        size: u64,
    },
    Refused {
        reason: String,
    },
    End {
        program: String,
        hook: &'static str,
        #[serde(serialize_with = "hex")]
        r0: u64,
    },
    /// The trace ends before the run, or begins behind its begin.
    Limit {
        bytes: u64,
        #[serde(skip)]
        begins: bool,
    },
}

#[derive(Serialize)]
pub(crate) struct Insn {
    #[serde(flatten, serialize_with = "all_of")]
    pub(crate) facts: Rc<Facts>,
    pub(crate) depth: usize,
    /// Those that changed.
    #[serde(serialize_with = "by_name")]
    pub(crate) registers: Vec<(u8, Word)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Accessed>,
}

/// The facts about an instruction that hold in every run.
#[derive(Serialize)]
pub(crate) struct Facts {
    #[serde(flatten)]
    pub(crate) place: Option<Place>,
    #[serde(skip)]
    pub(crate) slot: u32,
    pub(crate) text: String,
    /// The field that it is about.
    pub(crate) note: Option<String>,
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

#[derive(Debug, Serialize)]
pub(crate) struct Argument {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) value: Word,
}

impl Argument {
    /// Returns those of `call`, as far as its callee takes them.
    pub(crate) fn all(call: &Call<'_>) -> Vec<Self> {
        let named = parameters_of(call.callee).into_iter().zip(call.args);
        let argument = |(name, value)| Self {
            name,
            value: Word::new(call.memory, value),
        };
        named.map(argument).collect()
    }
}

/// A value, with the place that it names, if it names one.
#[derive(Debug, Serialize)]
pub(crate) struct Word {
    #[serde(serialize_with = "hex")]
    pub(crate) value: u64,
    place: Option<String>,
}

impl Word {
    pub(crate) fn new(memory: &Memory, value: u64) -> Self {
        let place = memory.place(value);
        Self { value, place }
    }

    /// Returns it as the answer of a call: an error by its name.
    pub(crate) fn answer(&self) -> String {
        errno(self.value).unwrap_or_else(|| self.to_string())
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

/// Returns the error of Linux that `r0` is, as `-EFAULT`.
pub(crate) fn errno(r0: u64) -> Option<String> {
    let number = r0.cast_signed();
    if !(-MAX_ERRNO..0).contains(&number) {
        return None;
    }
    let name = i32::try_from(-number).ok().and_then(errno_name);
    Some(name.map_or_else(|| number.to_string(), |name| format!("-{name}")))
}

fn all_of<S: Serializer>(facts: &Rc<Facts>, serializer: S) -> Result<S::Ok, S::Error> {
    facts.as_ref().serialize(serializer)
}

fn place_of<S: Serializer>(facts: &Rc<Facts>, serializer: S) -> Result<S::Ok, S::Error> {
    facts.place.serialize(serializer)
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
