//! Machines and kernels for tests. The memory maps are made up, in the form that Linux prints.

use core::ops::Range;

use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};

use crate::{CrashNotes, DeviceTree, KernelHeader, MemoryMap, Seeds, Wishes};
use ukexec_boot::Arch;

/// An arm64 machine of 2 GiB without UEFI, with a crash region.
pub(crate) const ARM64: &str = "\
09000000-09000fff : pl011@9000000
  09000000-09000fff : 9000000.pl011 pl011@9000000
40000000-bfffffff : System RAM
  40210000-4215ffff : Kernel code
  42160000-4254ffff : reserved
  42550000-4297ffff : Kernel data
  48000000-480fffff : reserved
  9ee00000-bedfffff : Crash kernel
  bf800000-bf9fffff : reserved
4010000000-401fffffff : PCI ECAM
";

/// An arm64 machine of 2 GiB with UEFI, whose memory is in pieces.
pub(crate) const ARM64_UEFI: &str = "\
40000000-b81fffff : System RAM
  40000000-400fffff : reserved
  40210000-4215ffff : Kernel code
  42160000-4254ffff : reserved
  42550000-4297ffff : Kernel data
b8200000-b82dffff : reserved
b82e0000-bbfdffff : System RAM
bbfe0000-bc1dffff : reserved
bc1e0000-bfffffff : System RAM
";

/// A riscv64 machine of 2 GiB with OpenSBI, with a crash region.
pub(crate) const RISCV64: &str = "\
10000000-100000ff : serial
80000000-8007ffff : Reserved
80080000-ffffffff : System RAM
  80200000-81bfffff : Kernel image
    80202000-80bfffff : Kernel code
    81400000-817fffff : Kernel rodata
    81a00000-81bfffff : Kernel data
  d0000000-efffffff : Crash kernel
  ff600000-ff7fffff : Reserved
";

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
