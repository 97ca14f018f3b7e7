//! Identifies kernels and tells what the running kernel asks of them.
//!
//! [`identify()`] looks at an image that no parser takes apart any more. It
//! answers with a [`Kernel`], or says what the image is instead. What it finds
//! is data, not `cfg`: an x86 host identifies arm64 kernels.
//! [`Kernel::check`] compares a kernel with a [`Platform`] by the rules of
//! Linux's `kexec_file_load(2)` loaders and says what that call would answer.
//!
//! ```
//! use ukexec_boot::{BootError, identify};
//!
//! let error = identify(b"#!/bin/sh\nexec kexec \"$@\"\n".as_slice()).unwrap_err();
//! assert!(matches!(error, BootError::NotAKernel(_)));
//! assert_eq!(error.to_string(), "not a kernel but text; give the image itself");
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

mod banner;
mod bytes;
mod bzimage;
mod check;
mod elf;
mod error;
mod format;
mod identify;
mod image;
mod kernel;
mod known;
mod look_alike;
mod platform;
mod problem;
mod recognise;
mod s390;
#[cfg(test)]
mod samples;

pub use banner::find_banner;
pub use error::BootError;
pub use format::{CmdlineLimit, KernelFormat};
pub use identify::identify;
pub use kernel::{EMPTY_INITRD, Kernel};
pub use look_alike::LookAlike;
pub use platform::{Arch, ByteOrder, Platform};
pub use problem::{FileLoadErrno, KernelFault, Problem, Severity};
