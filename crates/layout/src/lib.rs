//! Lays out what `kexec_load(2)` places in memory: kernel, initrd, device tree and what
//! starts them.
//!
//! That call gets segments with addresses, and does little but copy them: the caller finds the
//! room, edits the device tree, and writes the code that enters the kernel as it expects.
//! [`lay_out()`] does all this from values alone, for arm64 and riscv64, and
//! [`lay_out_x86_64()`] for normal kernels of x86_64, on any machine.
//! [`Layout::check`] compares a layout with the memory of a machine, whoever made it: the call
//! itself does not look whether a segment lies in memory that is there and free.
//!
//! ```
//! use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};
//! use ukexec_boot::Arch;
//! use ukexec_layout::{DeviceTree, KernelHeader, MemoryMap, Seeds, Wishes, lay_out};
//!
//! // `/proc/iomem`, and the device tree of a machine with UEFI, which has no memory in it.
//! let memory = MemoryMap::from_iomem(
//!     "40000000-7fffffff : System RAM\n  40000000-400fffff : reserved\n  \
//!      40200000-41ffffff : Kernel code\n",
//! )?;
//! let mut tree = Model::new();
//! let firmware = DeviceTreeProperty::new("linux,uefi-system-table", 0x7f00_0018_u64).unwrap();
//! let chosen = DeviceTreeNode::builder("chosen").unwrap().property(firmware).build();
//! tree.root.add_child(chosen);
//!
//! let wishes = Wishes {
//!     kernel: KernelHeader {
//!         arch: Arch::Arm64,
//!         file_len: 30 << 20,
//!         memory_len: 32 << 20,
//!         text_offset: 0,
//!     },
//!     initrd_len: Some(20_000_000),
//!     cmdline: b"console=ttyAMA0",
//!     device_tree: &DeviceTree::read(&tree.to_dtb())?,
//!     seeds: Seeds { kaslr: [1; 8], rng: [2; 128] },
//!     window: 0..u64::MAX,
//!     page_size: 4096,
//!     crash: None,
//! };
//! let layout = lay_out(&wishes, &memory)?;
//! assert_eq!(layout.segments[0].memory, 0x4020_0000..0x4220_0000);
//! layout.check(&memory, 4096, false)?;
//! # Ok::<(), ukexec_layout::LayoutError>(())
//! ```
//!
//! No input makes it panic. Time and memory are bounded by the length of what it reads, and the
//! device tree that it writes has at most 2 MiB.
//!
//! Specifications: Linux `kernel/kexec.c`, `Documentation/arch/arm64/booting.rst`,
//! `Documentation/arch/riscv/boot.rst`, `Documentation/arch/x86/boot.rst`, `drivers/of/kexec.c`, and the Devicetree Specification
//! 0.4.

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

mod arm64;
mod device_tree;
mod elfcorehdr;
mod error;
mod fdt;
mod layout;
mod memory;
mod nodes;
mod place;
mod ranges;
mod riscv64;
mod room;
#[cfg(test)]
mod testing;
mod wishes;
mod x86_64;

pub use device_tree::DeviceTree;
pub use elfcorehdr::CrashNotes;
pub use error::LayoutError;
pub use layout::{Content, Layout, MAX_SEGMENTS, PlacedSegment};
pub use memory::MemoryMap;
pub use place::lay_out;
pub use wishes::{KernelHeader, Seeds, Wishes};
pub use x86_64::{EfiFirmware, X86Machine, X86Wishes, lay_out_x86_64};
