//! PE32+ images, as UEFI firmware runs them: kernels, unified kernel images,
//! boot loaders.
//!
//! - [`PeImage`] is the view of an image: its headers, checked once. Its
//!   owner need not check anything again.
//! - [`PeImage::authenticode_ranges`] says which bytes its signatures cover.
//! - [`attach`] and [`detach`] add, replace and remove a section.
//!
//! Every offset and size in a file may lie. No input makes this crate panic;
//! looking at an image takes time and memory in proportion to its section
//! table, and editing it in proportion to image and content.
//!
//! Left out: 32-bit images, object files, everything that only Windows reads
//! (imports, exports, resources), and applying relocations.
//!
//! Spec: [PE format](https://learn.microsoft.com/windows/win32/debug/pe-format).
//!
//! ```
//! use ukexec_pe::{EditOptions, PeImage, attach, detach};
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
//! let view = PeImage::parse(&image)?;
//! assert!(view.is_efi_application());
//! let linux = view.section(".linux").map(|section| section.content());
//! assert_eq!(linux, Some(0x200..0x206));
//!
//! let with_parser = attach(&image, ".bpf", b"\x7fELF", EditOptions::default())?;
//! assert_eq!(PeImage::parse(&with_parser)?.sections().len(), 2);
//! assert_eq!(detach(&with_parser, ".bpf", EditOptions::default())?, image);
//! # Ok::<(), ukexec_pe::PeError>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

extern crate alloc;

mod authenticode;
mod byte_ranges;
mod checksum;
mod edit;
mod error;
mod headers;
mod image;
#[cfg(test)]
mod properties;
mod read;
mod section;
#[cfg(test)]
mod testing;
mod unchecked;
mod words;

pub use byte_ranges::ByteRanges;
pub use edit::{EditOptions, attach, detach};
pub use error::PeError;
pub use image::{Machine, PeImage, Subsystem};
pub use read::{PastEnd, ReadAt};
pub use section::{Section, SectionName};
pub use unchecked::UncheckedPe;
pub use words::counted;
