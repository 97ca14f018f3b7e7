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
//!
//! ```
//! use ukexec_bpf::memory::Memory;
//! use ukexec_bpf::{AttachKind, BpfError, Host, Insn, Meter, Parser, Program, Vm};
//!
//! /// A host that offers no kfunc and hears no line.
//! struct Silent;
//!
//! impl Host for Silent {
//!     fn call(&mut self, _: u32, _: [u64; 5], _: &mut Memory, _: &mut Meter) -> Result<u64, BpfError> {
//!         Ok(0)
//!     }
//!
//!     fn log(&mut self, _: &str) {}
//! }
//!
//! // r0 = *(u8 *)(r1 + 1); exit
//! let code = [[0x71, 0x10, 1, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
//! let program = Program {
//!     name: "second".to_owned(),
//!     section: "fentry/hook".to_owned(),
//!     attach: AttachKind::Fentry,
//!     hook: "hook".to_owned(),
//!     code: code.map(Insn::from_le_bytes).to_vec(),
//!     functions: vec![(0, "second".to_owned())],
//!     lines: Default::default(),
//!     poisoned: Vec::new(),
//!     relocated: Vec::new(),
//! };
//! let parser = Parser {
//!     license: "GPL".to_owned(),
//!     maps: Vec::new(),
//!     programs: vec![program],
//!     kfuncs: Vec::new(),
//!     types: 0,
//!     warnings: Vec::new(),
//! };
//! let verified = parser.verify()?;
//!
//! let mut meter = Meter::default();
//! let mut vm = Vm::new(&verified, &mut meter)?;
//! let image = vm.memory().add_bytes("image", b"MZ".to_vec(), false)?;
//! let r0 = vm.call(0, [image, 2, 0, 0, 0], &mut Silent, &mut meter)?;
//! assert_eq!(r0, u64::from(b'Z'));
//!
//! // Behind the image is nothing.
//! assert!(vm.call(0, [image + 1, 1, 0, 0, 0], &mut Silent, &mut meter).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
// Where sums and products saturate in this crate, they cannot reach an end
// (fields of 32 bits, slots below `MAX_INSNS`), or the end passes every cap and
// every length that they are compared with. Differences saturate where nothing
// is left.

mod bounds;
pub mod btf;
mod code;
mod costs;
mod denied;
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
mod similar;
mod source_lines;
mod verify;

pub use costs::{Meter, pay};
pub use error::BpfError;
pub use guest::helper::Helper;
pub use guest::helpers::{HELPERS, KFUNCS, REFUSED, Refused};
pub use guest::host::Host;
pub use guest::interface::{ChooseTypes, HookDecl, HostTypes, Interface, KfuncDecl};
pub use guest::{memory, trace};
pub use insn::Insn;
pub use load::{container, limits, skeleton};
pub use parser::{AttachKind, Kfunc, Map, MapKind, Parser, Poisoned, Program, Relocated};
pub use place::Place;
pub use rope::{Piece, Rope, RopeError, Source, SourceId};
pub use run::Vm;
pub use run::verified::VerifiedParser;
pub use similar::did_you_mean;
pub use source_lines::{SourceLine, SourceLines};
