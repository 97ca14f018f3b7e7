//! A parser as loaded: the one value that plain objects and light skeletons
//! become. Everything in it is linked, nothing is verified.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::{Insn, SourceLines};

/// A loaded BPF object: maps, programs, and what they call.
#[derive(Clone, Debug)]
pub struct Parser {
    /// The object's `license` section, as text; empty if it has none.
    pub license: String,
    /// In the order of the object's `.maps` section, then data sections.
    pub maps: Vec<Map>,
    /// Programs that attach to a hook, in file order.
    pub programs: Vec<Program>,
    /// Kfuncs the programs name, by the index that instructions carry.
    pub kfuncs: Vec<Kfunc>,
    /// Which of [`crate::Interface::types`] it is bound to.
    pub types: usize,
    /// Notes on the object that stop nothing.
    pub warnings: Vec<String>,
}

impl Parser {
    /// Returns whether Linux takes its licence for compatible with the GPL, as it
    /// wants of programs that call [some helpers](crate::Helper::is_gpl_only) or any
    /// kfunc (`license_is_gpl_compatible`).
    #[must_use]
    pub fn is_gpl_compatible(&self) -> bool {
        GPL_COMPATIBLE.contains(&self.license.as_str())
    }
}

/// The licences that Linux takes for compatible with the GPL
/// (`license_is_gpl_compatible`).
const GPL_COMPATIBLE: [&str; 6] = [
    "GPL",
    "GPL v2",
    "GPL and additional rights",
    "Dual BSD/GPL",
    "Dual MIT/GPL",
    "Dual MPL/GPL",
];

/// A map, or a data section (which libbpf makes an array of one value).
#[derive(Clone, Debug, Serialize)]
pub struct Map {
    /// The variable's name, or the section's.
    pub name: String,
    /// Its type.
    pub kind: MapKind,
    /// Bytes of a key; 0 for ring buffers, queues and stacks.
    pub key_size: u32,
    /// Bytes of a value; 0 for ring buffers.
    pub value_size: u32,
    /// Entries; for a ring buffer its size in bytes, as the object says it.
    pub max_entries: u32,
    /// The first value of a data section; `None` starts as zeros.
    #[serde(skip)]
    pub initial: Option<Bytes>,
    /// Programs may not write it (`.rodata`, or frozen with `BPF_F_RDONLY_PROG`).
    pub read_only: bool,
}

impl Map {
    /// Returns the map that a data section becomes: an array of one value.
    pub(crate) fn of_data(
        name: String,
        value_size: u32,
        initial: Option<Bytes>,
        read_only: bool,
    ) -> Self {
        Self {
            name,
            kind: MapKind::Array,
            key_size: 4,
            value_size,
            max_entries: 1,
            initial,
            read_only,
        }
    }
}

/// The map types a parser may use (Linux `enum bpf_map_type`).
///
/// A parser runs on one CPU, so that the per-CPU forms have one value for each
/// key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH` (1).
    Hash,
    /// `BPF_MAP_TYPE_ARRAY` (2).
    Array,
    /// `BPF_MAP_TYPE_PERCPU_HASH` (5).
    PerCpuHash,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY` (6).
    PerCpuArray,
    /// `BPF_MAP_TYPE_LRU_HASH` (9) and `BPF_MAP_TYPE_LRU_PERCPU_HASH` (10):
    /// when it is full, a new entry replaces the oldest.
    LruHash {
        /// Whether it is the per-CPU form.
        per_cpu: bool,
    },
    /// `BPF_MAP_TYPE_QUEUE` (22): the value pushed first is popped first.
    Queue,
    /// `BPF_MAP_TYPE_STACK` (23): the value pushed last is popped first.
    Stack,
    /// `BPF_MAP_TYPE_RINGBUF` (27).
    RingBuffer,
}

impl MapKind {
    /// The number that Linux gives each kind, and the words for it in messages.
    const ALL: [(u32, Self, &str); 9] = [
        (1, Self::Hash, "hash"),
        (2, Self::Array, "array"),
        (5, Self::PerCpuHash, "per-CPU hash"),
        (6, Self::PerCpuArray, "per-CPU array"),
        (9, Self::LruHash { per_cpu: false }, "LRU hash"),
        (10, Self::LruHash { per_cpu: true }, "per-CPU LRU hash"),
        (22, Self::Queue, "queue"),
        (23, Self::Stack, "stack"),
        (27, Self::RingBuffer, "ring buffer"),
    ];

    /// Returns the kind that Linux gives this number, if it is offered here.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        Some(all.find(|(known, ..)| *known == number)?.1)
    }

    /// Returns whether keys are hashed.
    pub(crate) fn is_hash(self) -> bool {
        matches!(self, Self::Hash | Self::PerCpuHash | Self::LruHash { .. })
    }

    /// Returns whether keys are the numbers from 0 on.
    pub(crate) fn is_array(self) -> bool {
        matches!(self, Self::Array | Self::PerCpuArray)
    }

    /// Returns whether each CPU has values of its own.
    pub(crate) fn is_per_cpu(self) -> bool {
        matches!(
            self,
            Self::PerCpuHash | Self::PerCpuArray | Self::LruHash { per_cpu: true }
        )
    }
}

impl fmt::Display for MapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = Self::ALL.iter().find(|(_, kind, _)| kind == self);
        f.write_str(row.map_or("", |(.., words)| words))
    }
}

impl Serialize for MapKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A program that attaches to one hook, with every function it calls.
#[derive(Clone, Debug)]
pub struct Program {
    /// The function's name.
    pub name: String,
    /// The ELF section it came from, such as `fentry.s/bpf_handle_pefile`.
    pub section: String,
    /// How it attaches.
    pub attach: AttachKind,
    /// The hook it attaches to, one of [`crate::Interface::hooks`].
    pub hook: String,
    /// The entry function, then each function it reaches, one behind the other.
    /// All relocations are applied; pseudo sources are those of [`crate::insn`].
    pub code: Vec<Insn>,
    /// Where each function begins in `code`, ascending, with its name; the
    /// first is the entry at 0.
    pub functions: Vec<(u32, String)>,
    /// Source lines from `.BTF.ext`.
    pub lines: SourceLines,
    /// The subjects of CO-RE relocations, ascending by slot.
    pub relocated: Vec<Relocated>,
    /// Instructions that the host's types made meaningless, ascending by slot.
    pub poisoned: Vec<Poisoned>,
}

impl Program {
    /// Returns a program without code.
    pub(crate) fn new(name: String, section: String, attach: AttachKind, hook: String) -> Self {
        Self {
            name,
            section,
            attach,
            hook,
            code: Vec::new(),
            functions: Vec::new(),
            lines: SourceLines::default(),
            relocated: Vec::new(),
            poisoned: Vec::new(),
        }
    }
}

/// An instruction that a CO-RE relocation fitted to the host's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocated {
    /// The instruction slot in [`Program::code`].
    pub slot: u32,
    /// Its subject, such as `struct kexec_context.image_sz`.
    pub field: Arc<str>,
}

/// A call of [`crate::insn::POISON`] and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poisoned {
    /// The instruction slot in [`Program::code`].
    pub slot: u32,
    /// The program's wish and the host's types, in words.
    pub reason: Arc<str>,
}

/// How a program attaches to its hook (Linux `enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachKind {
    /// `fentry/` or `fentry.s/`: its return value is ignored.
    Fentry,
    /// `fmod_ret/` or `fmod_ret.s/`: its return value is the hook's.
    FmodRet,
}

/// A kernel function that the parser names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kfunc {
    /// The name without a CO-RE flavour suffix (`___x`).
    pub name: String,
    /// The answer of [`crate::Interface::kfunc`] to the name; `None` is a weak one that
    /// this host lacks: NULL to `if (kfunc)`, and a trap when called.
    pub host: Option<u32>,
}
