//! riscv64: where initrd and device tree may lie. The kernel is entered as it is.
//!
//! Spec: Linux `Documentation/arch/riscv/boot.rst`. `riscv_kexec_relocate` enters the kernel
//! with the hart in `a0` and the device tree in `a1`. It finds the tree among the segments, by
//! its magic (`machine_kexec_prepare`), and refuses a load without one.

use core::ops::Range;

use crate::place::{MIB_2, Rules};

pub(crate) const RULES: Rules = Rules {
    elf_machine: 243,
    // Linux puts 2 MiB there, and an older one needs to lie at a multiple of it.
    has_text_offset: false,
    window,
    initrd_why: "above the last 2 MiB of the kernel, which it maps as a whole",
    trampoline: None,
};

/// A kernel disables an initrd that shares its last 2 MiB: "overlaps in-use memory region". One
/// before Linux 6.4 cannot read what lies below it, the device tree included.
fn window(kernel: &Range<u64>) -> Range<u64> {
    let start = kernel.end.checked_next_multiple_of(MIB_2);
    start.unwrap_or(u64::MAX)..u64::MAX
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use ukexec_boot::Arch;

    use super::*;
    use crate::testing::{RISCV64, RISCV64_TREE, memory, notes, wishes};
    use crate::{DeviceTree, lay_out};

    #[test]
    fn layouts() {
        let tree = DeviceTree::read(RISCV64_TREE).unwrap();
        let mut wishes = wishes(Arch::Riscv64, &tree);
        wishes.kernel.text_offset = MIB_2;
        wishes.kernel.memory_len += 0x1234;
        let layout = lay_out(&wishes, &memory(RISCV64)).unwrap();
        expect![[r#"
            kernel      0x0082200000..0x0084302000 0x1f00000 bytes, at a multiple of 2 MiB
            initrd      0x0084400000..0x0085713000 0x1312d00 bytes, above the last 2 MiB of the kernel, which it maps as a whole
            device tree 0x0085800000..0x0085802000    0x11c6 bytes, at a multiple of 2 MiB, as it must not cross one
            entry       0x0082200000"#]].assert_eq(&layout.to_string());
        let notes = notes(0xfdde_3600..0xfdde_3798);
        wishes.crash = Some(&notes);
        let layout = lay_out(&wishes, &memory(RISCV64)).unwrap();
        expect![[r#"
            kernel      0x00dbc00000..0x00ddd02000 0x1f00000 bytes, at a multiple of 2 MiB
            initrd      0x00dde00000..0x00df113000 0x1312d00 bytes, above the last 2 MiB of the kernel, which it maps as a whole
            elfcorehdr  0x00df120000..0x00df121000     0x120 bytes, at a multiple of 64 KiB, the largest page
            device tree 0x00df200000..0x00df202000    0x1239 bytes, at a multiple of 2 MiB, as it must not cross one
            entry       0x00dbc00000"#]].assert_eq(&layout.to_string());
    }

    #[test]
    fn the_initrd_lies_above_the_kernel() {
        assert_eq!(window(&(0x8020_0000..0x8220_0000)).start, 0x8220_0000);
        assert_eq!(window(&(0x8020_0000..0x8220_1000)).start, 0x8240_0000);
        assert!(window(&(0..u64::MAX)).is_empty());
    }
}
