//! arm64, RISC-V and LoongArch: the flat image's 64-byte header.
//!
//! Spec: Linux `Documentation/arch/arm64/booting.rst`, "4. Call the kernel
//! image"; `Documentation/arch/riscv/boot-image-header.rst`;
//! `arch/loongarch/kernel/head.S`.

use crate::bytes::Fields;
use crate::error::BootError;
use crate::format::{CmdlineLimit, KernelFormat};
use crate::platform::{Arch, ByteOrder, Platform};
use crate::problem::{FileLoadErrno, KernelFault, Problem};
use alloc::vec;
use alloc::vec::Vec;

/// A flat image's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flat {
    pub(crate) format: KernelFormat,
    pub(crate) arch: Arch,
    pub(crate) byte_order: ByteOrder,
    /// Bytes in memory; 0 is refused.
    pub(crate) image_size: u64,
    flags: u64,
}

/// What more the rules of arm64 look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm64 {
    /// Bytes in a page, if it says.
    page_size: Option<u64>,
}

impl Flat {
    /// Reads an arm64 or RISC-V header, if there is one.
    pub(crate) fn read(head: Fields<'_>, len: u64) -> Option<Result<Self, BootError>> {
        let arch = if head.has(0x38, b"ARM\x64") {
            Arch::Arm64
        } else if head.has(0x38, b"RSC\x05") || head.has(0x30, b"RISCV\0\0\0") {
            // 64-bit alone has the header in use; ELF tells the 32-bit ones.
            Arch::Riscv64
        } else {
            return None;
        };
        Some(Self::fields(
            head,
            KernelFormat::Image,
            arch,
            (0x10, Some(0x18)),
            len,
        ))
    }

    /// Reads the header of a LoongArch EFI image.
    pub(crate) fn read_loongarch(head: Fields<'_>, len: u64) -> Result<Self, BootError> {
        Self::fields(
            head,
            KernelFormat::LoongArchPe,
            Arch::LoongArch64,
            (0x10, None),
            len,
        )
    }

    /// Returns whether the header of a LoongArch EFI image says where the kernel
    /// starts and how long it is, as none but a kernel's does.
    pub(crate) fn has_loongarch_entry(head: Fields<'_>) -> bool {
        let is_set = |at| head.u64(at).is_some_and(|value| value != 0);
        is_set(0x8) && is_set(0x10)
    }

    fn fields(
        head: Fields<'_>,
        format: KernelFormat,
        arch: Arch,
        (size_at, flags_at): (usize, Option<usize>),
        len: u64,
    ) -> Result<Self, BootError> {
        let read = |at| head.u64(at).filter(|_| len >= HEADER_LEN);
        let too_short = || BootError::TooShort {
            format,
            needed: HEADER_LEN,
            found: len,
        };
        let flags = match flags_at {
            Some(at) => read(at).ok_or_else(too_short)?,
            None => 0,
        };
        Ok(Self {
            format,
            arch,
            // Both headers are little-endian and have the kernel's order in bit 0.
            byte_order: if flags & 1 == 0 {
                ByteOrder::Little
            } else {
                ByteOrder::Big
            },
            image_size: read(size_at).ok_or_else(too_short)?,
            flags,
        })
    }

    /// Returns the arm64 part.
    pub(crate) fn arm64(&self) -> Arm64 {
        Arm64 {
            page_size: match self.flags >> 1 & 3 {
                1 => Some(4 << 10),
                2 => Some(16 << 10),
                3 => Some(64 << 10),
                _unspecified => None,
            },
        }
    }

    /// Returns the architecture's `COMMAND_LINE_SIZE`, less the NUL. It is a
    /// constant of the kernel's source and not in its header.
    pub(crate) fn cmdline_limit(&self) -> Option<CmdlineLimit> {
        let (bytes, source, refused) = match self.arch {
            Arch::Arm64 => (2047, "COMMAND_LINE_SIZE of arm64", false),
            Arch::Riscv64 => (
                1023,
                "COMMAND_LINE_SIZE of riscv (512 in older kernels)",
                false,
            ),
            // The running kernel puts its own words in front, and checks.
            Arch::LoongArch64 => (
                4095,
                "COMMAND_LINE_SIZE of loongarch (512 in older kernels)",
                true,
            ),
            _ => return None,
        };
        Some(CmdlineLimit {
            bytes,
            source,
            refused,
        })
    }

    /// Returns what is wrong on any machine. `len` is the image's length.
    pub(crate) fn faults(&self, len: u64) -> Vec<KernelFault> {
        // The size in memory covers the file and what is zeroed behind it; a
        // kernel before Linux 3.17 has 0 here, which is a matter of `check`.
        if self.format == KernelFormat::Image && self.image_size != 0 && self.image_size < len / 2 {
            return vec![KernelFault::SmallImageSize {
                image_size: self.image_size,
                found: len,
            }];
        }
        Vec::new()
    }

    /// Returns what the loaders of all three find.
    pub(crate) fn check_size(image_size: u64) -> Option<Problem> {
        (image_size == 0).then(|| Problem::refused(FileLoadErrno::Einval, KernelFault::NoImageSize))
    }
}

impl Arm64 {
    /// Returns what the loader finds. Which page sizes the processor knows is
    /// not to be seen from here, only which one is in use.
    pub(crate) fn check(self, platform: &Platform) -> Option<Problem> {
        match (self.page_size, platform.page_size) {
            (Some(needed), Some(running)) if needed != running => Some(Problem::may_be_refused(
                FileLoadErrno::Einval,
                KernelFault::PageSize { needed, running },
            )),
            _ => None,
        }
    }
}

/// Length of the header.
const HEADER_LEN: u64 = 0x40;
