//! Machines and kernels for tests. The memory maps of arm64 and riscv64 are recorded ones; that of
//! x86_64 is made up, in the form that Linux prints.

use core::ops::Range;

use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};

use crate::{CrashNotes, DeviceTree, KernelHeader, MemoryMap, Seeds, Wishes};
use ukexec_boot::Arch;

/// An arm64 machine of 2 GiB without UEFI, with a crash region.
pub(crate) const ARM64: &str = include_str!("../tests/machines/arm64-virt.iomem");
pub(crate) const ARM64_TREE: &[u8] = include_bytes!("../tests/machines/arm64-virt.dtb");
/// That with UEFI and ACPI, whose memory is in pieces.
pub(crate) const ARM64_UEFI: &str = include_str!("../tests/machines/arm64-virt-uefi.iomem");
pub(crate) const ARM64_UEFI_TREE: &[u8] = include_bytes!("../tests/machines/arm64-virt-uefi.dtb");
/// A riscv64 machine of 2 GiB with OpenSBI, with a crash region.
pub(crate) const RISCV64: &str = include_str!("../tests/machines/riscv64-virt.iomem");
pub(crate) const RISCV64_TREE: &[u8] = include_bytes!("../tests/machines/riscv64-virt.dtb");
/// The tree of an arm64 machine without UEFI whose interrupts are messages.
pub(crate) const ITS_TREE: &[u8] = include_bytes!("../tests/machines/arm64-virt-its.dtb");
/// That of one with UEFI and without ACPI.
pub(crate) const UEFI_TREE: &[u8] = include_bytes!("../tests/machines/arm64-virt-uefi-dt.dtb");

/// An x86_64 machine of 2 GiB.
pub(crate) const X86_64: &str = "\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
0009fc00-0009ffff : Reserved
000f0000-000fffff : System ROM
00100000-7ffdffff : System RAM
  01000000-01ffffff : Kernel code
  02000000-029fffff : Kernel rodata
  02a00000-02bfffff : Kernel data
  03000000-033fffff : Kernel bss
  5f000000-6effffff : Crash kernel
7ffe0000-7fffffff : Reserved
";

/// A tree of the shape that QEMU's `virt` machines have, with what a first boot leaves in it.
pub(crate) fn tree(edit: impl FnOnce(&mut Model)) -> Vec<u8> {
    let mut tree = Model::new();
    let cells = |name: &str| DeviceTreeProperty::new(name, 2_u32).unwrap();
    tree.root.add_property(cells("#address-cells"));
    tree.root.add_property(cells("#size-cells"));
    let memory = DeviceTreeNode::builder("memory@40000000")
        .unwrap()
        .property(DeviceTreeProperty::new("device_type", "memory").unwrap())
        .property(DeviceTreeProperty::new("reg", [0_u8; 16]).unwrap());
    tree.root.add_child(memory.build());
    let chosen = DeviceTreeNode::builder("chosen")
        .unwrap()
        .property(DeviceTreeProperty::new("stdout-path", "/pl011@9000000").unwrap())
        .property(DeviceTreeProperty::new("bootargs", "the first kernel's").unwrap())
        .property(DeviceTreeProperty::new("linux,initrd-start", 0x4800_0000_u32).unwrap())
        .property(DeviceTreeProperty::new("linux,initrd-end", 0x4810_0000_u32).unwrap())
        .property(DeviceTreeProperty::new("kaslr-seed", [0_u8; 8]).unwrap());
    tree.root.add_child(chosen.build());
    edit(&mut tree);
    tree.to_dtb()
}

/// The usual one, taken apart.
pub(crate) fn device_tree() -> DeviceTree {
    DeviceTree::read(&tree(|_| ())).unwrap()
}

/// A kernel of 31 MiB that takes 33 MiB in memory.
pub(crate) fn header(arch: Arch) -> KernelHeader {
    KernelHeader {
        arch,
        file_len: 31 << 20,
        memory_len: 33 << 20,
        text_offset: 0,
    }
}

/// A normal load with an initrd of 20 MB.
pub(crate) fn wishes(arch: Arch, tree: &DeviceTree) -> Wishes<'_> {
    Wishes {
        kernel: header(arch),
        initrd_len: Some(20_000_000),
        cmdline: b"console=ttyAMA0",
        device_tree: tree,
        seeds: Seeds {
            kaslr: [0xaa; 8],
            rng: [0xbb; 128],
        },
        window: 0..u64::MAX,
        page_size: 4096,
        crash: None,
    }
}

/// Returns the notes of a machine with one processor.
pub(crate) fn notes(cpu: Range<u64>) -> CrashNotes {
    CrashNotes {
        cpus: Vec::from([cpu]),
        vmcoreinfo: Some(0x4100_1000..0x4100_2000),
    }
}

pub(crate) fn memory(iomem: &str) -> MemoryMap {
    MemoryMap::from_iomem(iomem).unwrap()
}

/// Returns the lines of `usual` that `text` has not, and those that it has beside them.
pub(crate) fn changes(usual: &str, text: &str) -> String {
    let without = |one: &str, other: &str, sign| {
        let has = |line: &&str| !other.lines().any(|it| it == *line);
        let lines = one
            .lines()
            .filter(has)
            .map(|line| format!("{sign}{line}\n"));
        lines.collect::<String>()
    };
    without(usual, text, '-') + &without(text, usual, '+')
}
