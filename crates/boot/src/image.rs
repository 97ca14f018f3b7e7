//! arm64, RISC-V and LoongArch: the flat image's 64-byte header.
//!
//! Spec: Linux `Documentation/arch/arm64/booting.rst`, "4. Call the kernel
//! image"; `Documentation/arch/riscv/boot-image-header.rst`;
//! `arch/loongarch/kernel/head.S`.

use crate::arch::{Arch, ByteOrder, Row};
use crate::bytes::Fields;
use crate::error::BootError;
use crate::format::KernelFormat;

/// A flat image's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flat {
    pub(crate) format: KernelFormat,
    pub(crate) arch: Arch,
    pub(crate) byte_order: ByteOrder,
    /// Bytes between a boundary in memory and the kernel.
    pub(crate) text_offset: u64,
    /// Bytes in memory; 0 is refused.
    pub(crate) image_size: u64,
    /// Bytes in a page, where the header says so.
    pub(crate) page_size: Option<u64>,
}

impl Flat {
    /// Reads the header that a magic says to be there, if one does.
    pub(crate) fn find(head: Fields<'_>, len: u64) -> Option<Result<Self, BootError>> {
        let has = |&(at, magic): &(usize, &[u8])| head.has(at, magic);
        let (row, format) = Row::flat_images().find(|(row, _)| row.magics.iter().any(has))?;
        Some(Self::read(row, format, head, len))
    }

    /// Reads the header of an image for the architecture `row`.
    pub(crate) fn read(
        row: &Row,
        format: KernelFormat,
        head: Fields<'_>,
        len: u64,
    ) -> Result<Self, BootError> {
        let read = |at| {
            let value = head.u64(at).filter(|_| len >= HEADER_LEN);
            value.ok_or_else(|| BootError::too_short(format, HEADER_LEN, len))
        };
        let flags = match row.flags_at {
            Some(at) => read(at)?,
            None => 0,
        };
        Ok(Self {
            format,
            arch: row.arch,
            // All headers are little-endian and have the kernel's order in bit 0.
            byte_order: match flags & 1 {
                0 => ByteOrder::Little,
                _ => ByteOrder::Big,
            },
            text_offset: read(0x8)?,
            image_size: read(0x10)?,
            page_size: match flags >> 1 & 3 {
                _ if !row.has_page_size => None,
                1 => Some(4 << 10),
                2 => Some(16 << 10),
                3 => Some(64 << 10),
                _unspecified => None,
            },
        })
    }
}

/// Returns whether a header says where the kernel starts and how long it is, as
/// none but that of a kernel without a magic of its own does.
pub(crate) fn has_entry(head: Fields<'_>) -> bool {
    let is_set = |at| head.u64(at).is_some_and(|value| value != 0);
    is_set(0x8) && is_set(0x10)
}

/// Length of the header.
const HEADER_LEN: u64 = 0x40;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::identify;
    use crate::testing::{self, ARM64, check, check_change, put, put_pe};

    #[test]
    fn identifies_arm64_images() {
        check(
            &testing::arm64(),
            expect![[r#"
            Image, arm64, little-endian
            version: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of arm64"))
            faults: []
        "#]],
        );
        let mut big = testing::arm64();
        put(&mut big, 0x18, &[0xf]);
        put_pe(&mut big, ARM64, 10, &[]);
        check_change(&testing::arm64(), &big, expect!["Image, arm64, big-endian"]);
        check(
            &testing::arm64()[..0x3c],
            expect![
                "Image: the header needs 0x40 bytes, the file has 0x3c; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn identifies_riscv_images() {
        check(
            &testing::riscv64(),
            expect![[r#"
            Image, riscv64, little-endian
            version: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((1023, "COMMAND_LINE_SIZE of riscv (512 in older kernels)"))
            faults: []
        "#]],
        );
        let mut old = testing::riscv64();
        put(&mut old, 0x38, &[0; 4]);
        assert_eq!(identify(&old).unwrap().arch, Some(Arch::Riscv64));
        let mut new = testing::riscv64();
        put(&mut new, 0x30, &[0; 8]);
        assert_eq!(identify(&new).unwrap().arch, Some(Arch::Riscv64));
    }
}
