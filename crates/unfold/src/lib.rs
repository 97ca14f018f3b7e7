//! Unfolds boot images: runs, stage by stage, the parser that each image
//! carries or that fits it, until a kernel is left.
//!
//! [`unfold`] is a function of an [`Input`], [`Options`] and a [`Budget`] to
//! [`Unfolded`]; it opens no files and prints nothing. Bytes are [`Rope`]s, so
//! that what a parser hands over is named, not copied; only decompression makes
//! new bytes, in a [`Store`] that the caller supplies.
//!
//! The parser ABI is that of the kernel series "kexec: Use BPF lskel to enable
//! kexec to load PE format boot image", of its versions 5 to 7 ([`Generation`]), plus the
//! hook `ukexec_match_image` by which parsers say what they can take apart. No
//! format of images is known here: the built-in parsers are BPF objects like
//! anyone's.
//!
//! No input makes this crate panic, run past its [`Budget`] or allocate past
//! it.
//!
//! ```
//! use std::io::Write as _;
//! use ukexec_bpf::Rope;
//! use ukexec_unfold::{Budget, Input, MemoryStore, Options, built_in_parsers, unfold};
//!
//! let mut image = flate2::write::GzEncoder::new(Vec::new(), Default::default());
//! image.write_all(&[7; 8192])?;
//! let input = Input {
//!     image: Rope::from(image.finish()?),
//!     cmdline: Some(b"ro".to_vec()),
//!     append: Some(b"quiet".to_vec()),
//!     ..Input::default()
//! };
//! let options = Options {
//!     parsers: built_in_parsers(),
//!     image_name: "Image.gz".to_owned(),
//!     ..Options::default()
//! };
//! let unfolded = unfold(input, &options, &mut MemoryStore::default(), &mut Budget::default())?;
//!
//! assert_eq!(unfolded.kernel.to_vec()?, [7; 8192]);
//! assert_eq!(unfolded.cmdline.as_deref(), Some(&b"ro quiet"[..]));
//! assert_eq!(unfolded.report.layers[1].path, "Image.gz > stream payload");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Rope`]: ukexec_bpf::Rope
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod acceptance;
mod built_in;
mod choice;
mod chosen;
mod chunks;
mod cmdline;
mod command;
mod container;
mod content;
mod context;
mod costs;
mod cpio;
mod error;
mod expand;
mod gate;
mod generation;
mod handed_over;
mod host;
mod interface;
mod layer;
mod names;
mod observer;
mod one_stage;
mod options;
mod output;
mod pe_bytes;
mod pipeline;
mod plan;
mod record;
mod refusal;
mod report;
mod stage;
mod store;
mod structs;
#[cfg(test)]
mod tests;

pub use acceptance::{AcceptedParser, ParserRefusal, accept};
pub use built_in::built_in_parsers;
pub use cmdline::{LINE_MAX as CMDLINE_MAX, selector_of};
pub use error::{Leftovers, UnfoldError};
pub use expand::{ExpandedInitrd, InitrdSegment, expand_initrd};
pub use gate::{Gate, LayerAtGate, SignatureRefusal};
pub use generation::{Generation, ParserPlace};
pub use interface::{ABI, AbiHook, AbiKfunc, HOOKS, KFUNCS, interface};
pub use names::{PARSER_MAX, PARSER_SECTION};
pub use observer::Observer;
pub use one_stage::{Stage, run_stage};
pub use options::{Budget, Input, Options, ParserFile, ParserOrigin, Unfolded};
pub use pe_bytes::PeBytes;
pub use pipeline::{unfold, unfold_with};
pub use report::{
    AskedReport, HandOver, Layer, ParserInfo, ProgramReport, Report, Resource, StageReport, Warning,
};
pub use store::{MemoryStore, Output, Store};
