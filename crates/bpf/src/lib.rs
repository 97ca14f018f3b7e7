//! BPF for parsers of boot images: objects become a [`Parser`], a [`Parser`]
//! is verified, and a [`VerifiedParser`] runs in an interpreter that lets it
//! see nothing but what its host handed in.
//!
//! The instruction set is RFC 9669; object files, BTF and CO-RE are as clang
//! and libbpf write and read them. This crate knows no file format of boot
//! images and nothing of kexec: a host declares its types, hooks and kfuncs
//! in an [`Interface`] and answers calls through [`Host`].
//!
//! No input makes this crate panic, run past its [`Meter`] or allocate past
//! it.
#![forbid(unsafe_code)]
// Where sums and products saturate in this crate, they cannot reach an end
// (fields of 32 bits, slots below `MAX_INSNS`), or the end passes every cap and
// every length that they are compared with. Differences saturate where nothing
// is left.

mod bounds;
pub mod btf;
mod code;
mod costs;
pub mod disasm;
mod error;
mod guest;
mod helper_names;
pub mod insn;
mod load;
mod ops;
mod parser;
mod place;
mod rope;
mod run;
mod verify;

pub use costs::Meter;
pub use error::BpfError;
pub use guest::fault::{Fault, RunError};
pub use guest::helper::Helper;
pub use guest::helpers::{HELPERS, KFUNCS, REFUSED, Refused};
pub use guest::host::Host;
pub use guest::interface::{HookDecl, Interface, KfuncDecl};
pub use guest::{memory, trace};
pub use insn::Insn;
pub use load::{limits, skeleton};
pub use parser::{
    AttachKind, Kfunc, Map, MapKind, Parser, Poisoned, Program, Relocated, SourceLine,
};
pub use place::Place;
pub use rope::{Piece, Rope, RopeError, RopeReader, Source, SourceId};
pub use run::Vm;
pub use run::verified::VerifiedParser;
pub use verify::{Reject, VerifyError};
