//! PE32+ images, as UEFI firmware runs them: kernels, unified kernel images,
//! boot loaders.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

mod authenticode;
mod checksum;
mod edit;
mod error;
mod headers;
mod image;
mod read;
mod section;
#[cfg(test)]
mod testing;

pub use authenticode::AuthenticodeRanges;
pub use edit::{EditOptions, attach, detach};
pub use error::{FileOffset, PeError};
pub use image::{Machine, PeImage, Subsystem};
pub use read::ReadAt;
pub use section::{Rva, Section, SectionFlags, SectionName};
