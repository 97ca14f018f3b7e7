//! Identifies kernels, and checks what the running kernel asks of them.
//!
//! [`identify()`] looks at an image that no parser takes apart any more. It
//! answers with a [`Kernel`], or names what the image is instead. Its findings
//! are data, not `cfg`: an x86 host identifies arm64 kernels.
//! [`Kernel::check`] compares a kernel with a [`Platform`] by the rules of
//! Linux's `kexec_file_load(2)` loaders and says what that call would answer.
//!
//! ```
//! use ukexec_boot::{Platform, identify};
//!
//! // The header of an arm64 kernel that takes 2 MiB of memory.
//! let mut image = vec![0; 4096];
//! image[0x10..0x18].copy_from_slice(&0x20_0000_u64.to_le_bytes());
//! image[0x38..0x3c].copy_from_slice(b"ARM\x64");
//! let kernel = identify(&image)?;
//! assert_eq!(format!("{} for {}", kernel.format, kernel.arch.unwrap()), "Image for arm64");
//!
//! let here = Platform::from_uname("x86_64").unwrap();
//! let problems = kernel.check(&here);
//! assert!(problems.iter().any(|problem| problem.is_refusal()));
//! assert_eq!(
//!     problems[0].to_string(),
//!     "the kernel is for arm64, this machine is x86_64: give one for x86_64 \
//!      (kexec_file_load would answer ENOEXEC)",
//! );
//!
//! let error = identify(b"#!/bin/sh\nexec kexec \"$@\"\n".as_slice()).unwrap_err();
//! assert_eq!(error.to_string(), "not a kernel but text; give the image itself");
//! # Ok::<(), ukexec_boot::BootError>(())
//! ```
//!
//! No input makes it panic. It reads the headers, whatever the image's length,
//! and at most 64 KiB in all; only [`find_banner`] reads more, up to the limit that the
//! caller gives.
//!
//! Specifications: Linux `Documentation/arch/x86/boot.rst`,
//! `Documentation/arch/arm64/booting.rst`,
//! `Documentation/arch/riscv/boot-image-header.rst`, and the loaders'
//! sources: `arch/x86/kernel/kexec-bzimage64.c`,
//! `arch/{arm64,riscv}/kernel/kexec_image.c`, `arch/loongarch/kernel/kexec_efi.c`,
//! `arch/s390/kernel/{kexec_image,machine_kexec_file}.c`, `kernel/kexec_elf.c`.

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

mod arch;
mod banner;
mod bytes;
mod bzimage;
mod check;
mod elf;
mod error;
mod format;
mod identify;
mod image;
mod initrd;
mod kernel;
mod known;
mod look_alike;
mod pe_headers;
mod problem;
mod recognise;
mod s390;
#[cfg(test)]
mod testing;

pub use arch::{Arch, Platform, machine_name};
pub use banner::find_banner;
pub use bzimage::SetupHeader;
pub use error::BootError;
pub use format::KernelFormat;
pub use identify::identify;
pub use initrd::InitrdArchives;
pub use kernel::{EMPTY_INITRD, Kernel, RELEASE_MAX};
pub use look_alike::LookAlike;
pub use problem::Problem;
