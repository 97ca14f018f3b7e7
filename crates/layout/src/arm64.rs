//! arm64: where an initrd may lie, and how the kernel is entered.
//!
//! Spec: Linux `Documentation/arch/arm64/booting.rst`, "4. Call the kernel image". The
//! running kernel jumps to the entry with the MMU off, at the exception level that it had
//! itself. It sets `x0` for images of `kexec_file_load` alone; a kernel without a device tree
//! there hangs in silence.

use core::ops::Range;

use crate::place::Rules;

pub(crate) const RULES: Rules = Rules {
    elf_machine: 183,
    has_text_offset: true,
    window,
    initrd_why: "in the 32 GiB around the kernel",
    trampoline: Some(trampoline),
};

/// "It must reside within a 1 GB aligned physical memory window of up to 32 GB in size that
/// fully covers the kernel Image as well."
fn window(kernel: &Range<u64>) -> Range<u64> {
    let lowest = kernel.end.saturating_sub(32 * GIB);
    let lowest = lowest.checked_next_multiple_of(GIB).unwrap_or(0);
    let start = kernel.start & !(GIB - 1);
    lowest..start.saturating_add(32 * GIB)
}

const GIB: u64 = 1 << 30;

/// Loads the device tree's address into `x0` and the kernel's into `x4`, clears `x1` to `x3`,
/// which are "reserved for future use", and jumps. It runs without caches and needs no stack.
fn trampoline(kernel: u64, device_tree: u64) -> [u8; 48] {
    let mut bytes = [0; 48];
    let words = CODE.into_iter().flat_map(u32::to_le_bytes);
    // Literals have to be aligned to 8 bytes while the MMU is off.
    let padding = [0; 8].into_iter();
    let literals = [kernel, device_tree].into_iter().flat_map(u64::to_le_bytes);
    for (byte, value) in bytes.iter_mut().zip(words.chain(padding).chain(literals)) {
        *byte = value;
    }
    bytes
}

const CODE: [u32; 6] = [
    0x5800_0104, // ldr x4, 0x20
    0x5800_0120, // ldr x0, 0x28
    0xaa1f_03e1, // mov x1, xzr
    0xaa1f_03e2, // mov x2, xzr
    0xaa1f_03e3, // mov x3, xzr
    0xd61f_0080, // br x4
];

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_boot::Arch;

    use super::*;
    use crate::testing::{
        ARM64, ARM64_TREE, ARM64_UEFI, ARM64_UEFI_TREE, ITS_TREE, UEFI_TREE, device_tree, memory,
        notes, wishes,
    };
    use crate::{Content, DeviceTree, Wishes, lay_out};

    fn check(iomem: &str, edit: impl FnOnce(&mut Wishes<'_>), expected: Expect) {
        let tree = if iomem == ARM64 {
            ARM64_TREE
        } else {
            ARM64_UEFI_TREE
        };
        let tree = DeviceTree::read(tree).unwrap();
        let mut wishes = wishes(Arch::Arm64, &tree);
        edit(&mut wishes);
        let layout = lay_out(&wishes, &memory(iomem)).unwrap();
        assert!(layout.warnings.is_empty());
        expected.assert_eq(&layout.to_string());
    }

    #[test]
    fn layouts() {
        check(
            ARM64,
            |_| (),
            expect![[r#"
                kernel      0x0042400000..0x0044500000 0x1f00000 bytes, at a multiple of 2 MiB
                initrd      0x0040000000..0x0041313000 0x1312d00 bytes, in the 32 GiB around the kernel
                device tree 0x0041400000..0x0041402000    0x1e53 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0041313000..0x0041314000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0041313000"#]],
        );
        check(
            ARM64_UEFI,
            |_| (),
            expect![[r#"
                kernel      0x0040000000..0x0042100000 0x1f00000 bytes, at a multiple of 2 MiB
                initrd      0x0042100000..0x0043413000 0x1312d00 bytes, in the 32 GiB around the kernel
                device tree 0x0043600000..0x0043601000     0x2e1 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0043413000..0x0043414000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0043413000"#]],
        );
        check(
            ARM64,
            |it| it.initrd_len = None,
            expect![[r#"
                kernel      0x0042400000..0x0044500000 0x1f00000 bytes, at a multiple of 2 MiB
                device tree 0x0040000000..0x0040002000    0x1e1b bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0040002000..0x0040003000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0040002000"#]],
        );
        check(
            ARM64,
            |it| it.kernel.text_offset = 0x8_0000,
            expect![[r#"
                kernel      0x0042480000..0x0044580000 0x1f00000 bytes, text_offset behind a multiple of 2 MiB
                initrd      0x0040000000..0x0041313000 0x1312d00 bytes, in the 32 GiB around the kernel
                device tree 0x0041400000..0x0041402000    0x1e53 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0041313000..0x0041314000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0041313000"#]],
        );
        check(
            ARM64,
            |it| it.page_size = 64 << 10,
            expect![[r#"
                kernel      0x0042400000..0x0044500000 0x1f00000 bytes, at a multiple of 2 MiB
                initrd      0x0040000000..0x0041320000 0x1312d00 bytes, in the 32 GiB around the kernel
                device tree 0x0041400000..0x0041410000    0x1e53 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0041320000..0x0041330000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0041320000"#]],
        );
        check(
            ARM64,
            |it| it.window = 0x8000_0000..u64::MAX,
            expect![[r#"
                kernel      0x0080000000..0x0082100000 0x1f00000 bytes, at a multiple of 2 MiB
                initrd      0x0082100000..0x0083413000 0x1312d00 bytes, in the 32 GiB around the kernel
                device tree 0x0083600000..0x0083602000    0x1e53 bytes, at a multiple of 2 MiB, as it must not cross one
                trampoline  0x0083413000..0x0083414000      0x30 bytes, a page, as the call itself names no device tree to the kernel
                entry       0x0083413000"#]],
        );
    }

    #[test]
    fn a_crash_kernel() {
        let notes = notes(0xbfbd_2400..0xbfbd_25a8);
        let tree = DeviceTree::read(ARM64_TREE).unwrap();
        let mut wishes = wishes(Arch::Arm64, &tree);
        wishes.crash = Some(&notes);
        let layout = lay_out(&wishes, &memory(ARM64)).unwrap();
        expect![[r#"
            kernel      0x0099a00000..0x009bb00000 0x1f00000 bytes, at a multiple of 2 MiB
            initrd      0x009bb00000..0x009ce13000 0x1312d00 bytes, in the 32 GiB around the kernel
            elfcorehdr  0x009ce20000..0x009ce21000     0x120 bytes, at a multiple of 64 KiB, the largest page
            device tree 0x009d000000..0x009d002000    0x1ec6 bytes, at a multiple of 2 MiB, as it must not cross one
            trampoline  0x009ce13000..0x009ce14000      0x30 bytes, a page, as the call itself names no device tree to the kernel
            entry       0x009ce13000"#]].assert_eq(&layout.to_string());
    }

    #[test]
    fn interrupts_that_are_messages_get_a_warning() {
        let notes = notes(0xbfbd_2400..0xbfbd_25a8);
        for (tree, crash, expected) in [
            (ITS_TREE, None, 1),
            (ITS_TREE, Some(&notes), 0),
            (UEFI_TREE, None, 0),
        ] {
            let tree = DeviceTree::read(tree).unwrap();
            let mut wishes = wishes(Arch::Arm64, &tree);
            wishes.crash = crash;
            let layout = lay_out(&wishes, &memory(ARM64)).unwrap();
            assert_eq!(layout.warnings.len(), expected);
        }
    }

    #[test]
    fn tables_of_interrupts_are_avoided() {
        let tree = DeviceTree::read(ITS_TREE).unwrap();
        let layout = lay_out(&wishes(Arch::Arm64, &tree), &memory(ARM64)).unwrap();
        expect![[r#"
            kernel      0x0097400000..0x0099500000 0x1f00000 bytes, at a multiple of 2 MiB
            initrd      0x00960ed000..0x0097400000 0x1312d00 bytes, in the 32 GiB around the kernel
            device tree 0x00bfa00000..0x00bfa02000    0x1e89 bytes, at a multiple of 2 MiB, as it must not cross one
            trampoline  0x00bfbd8000..0x00bfbd9000      0x30 bytes, a page, as the call itself names no device tree to the kernel
            entry       0x00bfbd8000"#]].assert_eq(&layout.to_string());
    }

    #[test]
    fn the_initrd_stays_in_the_window() {
        let around = window(&(0x4020_0000..0x4220_0000));
        assert_eq!(around, 0..0x8_4000_0000);
        let around = window(&(0x10_0000_0000..0x10_0200_0000));
        assert_eq!(around, 0x8_4000_0000..0x18_0000_0000);
        assert_eq!(window(&(u64::MAX - 4096..u64::MAX)).end, u64::MAX);
    }

    #[test]
    fn the_trampoline_names_kernel_and_device_tree() {
        let tree = device_tree();
        let layout = lay_out(&wishes(Arch::Arm64, &tree), &memory(ARM64)).unwrap();
        let at = |wanted: &str| {
            let mut segments = layout.segments.iter();
            segments
                .find(|it| it.content.to_string() == wanted)
                .unwrap()
        };
        let Content::Trampoline(code) = &at("trampoline").content else {
            panic!()
        };
        // As `aarch64-linux-gnu-as` writes it.
        let words: Vec<_> = code
            .chunks(4)
            .map(|it| u32::from_le_bytes(it.try_into().unwrap()))
            .collect();
        assert_eq!(words[..6], CODE);
        let literal = |at: usize| u64::from_le_bytes(code[at..at + 8].try_into().unwrap());
        assert_eq!(literal(0x20), at("kernel").memory.start);
        assert_eq!(literal(0x28), at("device tree").memory.start);
        assert_eq!(layout.entry, at("trampoline").memory.start);
    }
}
