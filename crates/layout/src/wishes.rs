//! The kernel and the parts that are to be laid out.

use alloc::format;
use core::ops::Range;

use serde::{Deserialize, Serialize};
use ukexec_boot::{Arch, Kernel, KernelFormat};

use crate::device_tree::DeviceTree;
use crate::elfcorehdr::CrashNotes;
use crate::error::LayoutError;

/// The kernel and the parts that are to be laid out, and how.
#[derive(Clone, Debug)]
pub struct Wishes<'a> {
    /// The kernel.
    pub kernel: KernelHeader,
    /// Bytes of the initrd, if there is one.
    pub initrd_len: Option<u64>,
    /// The kernel's command line, without a NUL.
    pub cmdline: &'a [u8],
    /// The device tree to edit: `/sys/firmware/fdt`, or another one of this machine.
    pub device_tree: &'a DeviceTree,
    /// Fresh random bytes.
    pub seeds: Seeds,
    /// The addresses that a normal kernel may be placed at; a crash kernel has its region.
    pub window: Range<u64>,
    /// Bytes in a page of the running kernel.
    pub page_size: u64,
    /// The notes that a kernel leaves when it crashes; none if no crash kernel is laid out.
    pub crash: Option<&'a CrashNotes>,
}

/// Random bytes for the next kernel. The same ones must not be used twice.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// For the address that the kernel moves itself to.
    pub kaslr: [u8; 8],
    /// For its random number generator.
    pub rng: [u8; 128],
}

/// The facts of a flat kernel's header (`Image`) that decide where it may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelHeader {
    /// The architecture: arm64 or riscv64.
    pub arch: Arch,
    /// Bytes of the file that are placed.
    pub file_len: u64,
    /// Bytes that the kernel takes in memory before it starts (`image_size`).
    pub memory_len: u64,
    /// Bytes between a 2 MiB boundary and an arm64 kernel (`text_offset`).
    pub text_offset: u64,
}

impl KernelHeader {
    /// Returns the facts of a kernel that was identified.
    ///
    /// # Errors
    ///
    /// It is not an `Image` for arm64 or riscv64, or does not say how much memory it takes.
    pub fn new(kernel: &Kernel) -> Result<Self, LayoutError> {
        let arch = kernel
            .arch
            .filter(|arch| matches!(arch, Arch::Arm64 | Arch::Riscv64));
        let (Some(arch), KernelFormat::Image) = (arch, kernel.format) else {
            let format = kernel.format;
            let arch = kernel
                .arch
                .map_or("an unknown machine".into(), |arch| format!("{arch}"));
            return Err(LayoutError::new(format!(
                "kexec_load is done for an Image for arm64 or riscv64, and the kernel is {format} \
                 for {arch}"
            )));
        };
        Self {
            arch,
            file_len: kernel.true_len,
            memory_len: kernel.memory_len().unwrap_or(0),
            text_offset: kernel.text_offset().unwrap_or(0),
        }
        .checked()
    }

    /// Returns it if it says how much memory the kernel takes.
    pub(crate) fn checked(self) -> Result<Self, LayoutError> {
        if self.memory_len == 0 {
            return Err(LayoutError::new(
                "image_size of the kernel is 0, as before Linux 3.17: nothing says how much memory \
                 it takes",
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_boot::identify;

    use super::*;

    /// Identifies an arm64 kernel of 4 KiB after an edit.
    fn check(edit: impl FnOnce(&mut [u8]), expected: Expect) {
        let mut image = vec![0; 4096];
        image[0x8..0x10].copy_from_slice(&0x8_0000_u64.to_le_bytes());
        image[0x10..0x18].copy_from_slice(&0x1800_u64.to_le_bytes());
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        edit(&mut image);
        let header = KernelHeader::new(&identify(&image).unwrap());
        expected.assert_eq(&header.map_or_else(|it| it.to_string(), |it| format!("{it:x?}")));
    }

    #[test]
    fn headers() {
        check(
            |_| (),
            expect![
                "KernelHeader { arch: Arm64, file_len: 1000, memory_len: 1800, text_offset: 80000 }"
            ],
        );
        check(
            |image| image[0x38..0x3c].copy_from_slice(b"RSC\x05"),
            expect![
                "KernelHeader { arch: Riscv64, file_len: 1000, memory_len: 1800, text_offset: 80000 }"
            ],
        );
    }

    #[test]
    fn a_kernel_that_does_not_say_its_size_is_refused() {
        check(
            |image| image[0x10..0x18].fill(0),
            expect![
                "image_size of the kernel is 0, as before Linux 3.17: nothing says how much memory it takes"
            ],
        );
    }

    #[test]
    fn other_formats_are_refused() {
        check(
            |image| {
                image[0x202..0x206].copy_from_slice(b"HdrS");
                image[0x206] = 0xf;
                image[0x207] = 2;
            },
            expect![
                "kexec_load is done for an Image for arm64 or riscv64, and the kernel is bzImage for x86"
            ],
        );
    }
}
