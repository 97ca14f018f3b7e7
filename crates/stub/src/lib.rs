//! The work of systemd-stub on a unified kernel image (UKI), for those who boot one
//! without it.
//!
//! - [`Uki`] finds the sections that count: those of a profile, and those of the
//!   base that it does not replace.
//! - [`Profile::list`] is what an image offers to choose from.
//! - [`CompanionFolder`] and [`image_folder`] say which files beside an image count.
//! - [`Archive`] packs them, and [`Uki::extra_files`], for the initrd, below `/.extra/`;
//!   [`join_initrds`] joins its parts.
//! - [`Addon`] is what a PE file beside the image adds to it. [`addons_text`], [`with_text`]
//!   and [`MangledLine`] make one command line of texts.
//! - [`Smbios`] is the machine's own text, and [`Hardware`] chooses device trees by it.
//! - [`Measurements`] are what a measured boot extends PCRs of a TPM with, and what
//!   IMA measures when the same is loaded with kexec.
//! - [`Measurements::compare`] says whether the registers of a TPM are as after such a
//!   boot: [`ObservedPcrs`] reads values, and firmware's [`EventLog`].
//!
//! Bytes are read through [`ReadAt`](ukexec_pe::ReadAt); the headers are those that
//! the caller has read, and so is the number of the profile, if a parser chose it.
//! No input makes this crate panic. Time is bounded by what is measured and by the
//! section table, memory by the table and 1 MiB; for a log, and for SMBIOS structures, both
//! by their length.
//!
//! Left out: the image's own command line, which parsers make, and the words `console=`
//! that the stub makes up; hardware IDs that are made of a display's EDID; the boot secret
//! and the initrd of another boot loader.
//!
//! Spec: UAPI group, "Unified Kernel Image (UKI)"; systemd-stub(7).
//!
//! ```
//! use ukexec_pe::{EditOptions, PeImage, attach};
//! use ukexec_signature::{Algorithm, Hex};
//! use ukexec_stub::{Agreement, Boot, Measurements, ObservedPcrs, Uki};
//!
//! # let mut image = vec![0; 0x400];
//! # let fields: [(usize, &[u8]); 15] = [
//! #     (0, b"MZ"), (0x3c, &[0x40]), (0x40, b"PE\0\0\x64\x86\x01"), (0x54, &[0xf0]),
//! #     (0x58, b"\x0b\x02"), (0x79, &[0x10]), (0x7d, &[2]), (0x91, &[0x20]), (0x95, &[2]),
//! #     (0x9c, &[10]), (0xc4, &[16]), (0x148, b".linux"), (0x150, b"\x06\0\0\0\0\x10"),
//! #     (0x159, &[2, 0, 0, 0, 2]), (0x200, b"kernel"),
//! # ];
//! # for (at, bytes) in fields {
//! #     image[at..at + bytes.len()].copy_from_slice(bytes);
//! # }
//! let image = attach(&image, ".osrel", b"NAME=Example\n", EditOptions::default())?;
//! let pe = PeImage::parse(&image)?;
//! let uki = Uki::new(&image, &pe, 0)?;
//! assert_eq!(uki.os_name().as_deref(), Some("Example"));
//!
//! let files = uki.extra_files()?;
//! assert_eq!(files[0].path, "/.extra/os-release");
//! let archive = files[0].pack(&files[0].content)?;
//! assert_eq!(archive.len(), 3);
//! let initrd = b"initrd";
//!
//! let mut measurements = Measurements::default();
//! measurements.add_boot("example.efi", &uki, &Boot::<&[u8]>::default())?;
//! measurements.add_load(b"quiet", &b"kernel"[..], Some(&initrd[..]), Algorithm::state)?;
//! let pcr11 = measurements.pcr11.as_ref().ok_or("there is no stub")?;
//! assert_eq!(pcr11.phases.len(), 4);
//!
//! let value = Hex(pcr11.phases[0].value.get(Algorithm::Sha256).ok_or("no such bank")?);
//! let mut observed = ObservedPcrs::default();
//! observed.add(format!("11:sha256={value}\n").as_bytes())?;
//! let compared = measurements.compare(&observed, &[]);
//! let equal = compared.iter().find(|it| it.verdict == Agreement::Equal);
//! assert_eq!(equal.and_then(|it| it.phase.as_deref()), Some("enter-initrd"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod addon;
mod archive;
mod assignments;
mod cmdline;
mod companion;
mod compare;
mod device_tree;
mod error;
mod event_log;
mod extra;
mod hardware;
mod measure;
mod observed;
mod os_release;
mod profile;
mod register;
mod section;
mod smbios;
#[cfg(test)]
mod testing;
mod uki;

pub use addon::Addon;
pub use archive::{Archive, ArchivePart, PackedArchive, join_initrds, pack_entry_files};
pub use cmdline::{
    MangledLine, addons_text, load_options, section_cmdline, takes_load_options, with_text,
};
pub use companion::{
    ADDON_FOLDERS, COMPANION_ARCHIVES, CompanionFolder, CompanionKind, image_folder,
};
pub use compare::{Agreement, PcrComparison};
pub use device_tree::is_same_tree;
pub use error::StubError;
pub use event_log::EventLog;
pub use extra::ExtraFile;
pub use hardware::Hardware;
pub use measure::{Boot, Measurements};
pub use observed::ObservedPcrs;
pub use os_release::{OsRelease, os_id};
pub use profile::Profile;
pub use register::{BootPhase, MeasuredEvent, MeasuredEvents, PCR_BANKS, Register};
pub use section::section_text;
pub use smbios::Smbios;
pub use uki::{Uki, is_resource, may_repeat, repeated_resources};
