//! The device tree that the next kernel gets: that of the machine, with another `/chosen`.
//!
//! Spec: Devicetree Specification 0.4, "3.6 /chosen Node"; Linux
//! `Documentation/devicetree/bindings/chosen.txt` and `drivers/of/kexec.c`, whose edits these
//! are. All that UEFI left there stays (`linux,uefi-*`), and so does the console.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node as _, Property as _};

use crate::error::LayoutError;
use crate::layout::wide;
use crate::ranges::len;
use crate::wishes::Seeds;

/// What the next kernel finds in `/chosen`.
pub(crate) struct Chosen<'a> {
    pub(crate) cmdline: &'a [u8],
    pub(crate) initrd: Option<Range<u64>>,
    pub(crate) seeds: &'a Seeds,
    pub(crate) crash: Option<CrashMemory<'a>>,
}

/// The memory of a crash kernel.
pub(crate) struct CrashMemory<'a> {
    pub(crate) elfcorehdr: Range<u64>,
    /// All that it may use; the region that it lies in is the last.
    pub(crate) usable: &'a [Range<u64>],
}

/// Returns the tree with another `/chosen`, and without unused space.
pub(crate) fn edit(bytes: &[u8], chosen: &Chosen<'_>) -> Result<Vec<u8>, LayoutError> {
    let mut tree = parse(bytes)?;
    let node = tree.root.remove_child("chosen");
    let mut node = node.unwrap_or_else(|| DeviceTreeNode::new_unchecked("chosen"));
    let has_uefi = node.property("linux,uefi-system-table").is_some();
    if !has_uefi && !has_memory(&tree.root) {
        return Err(LayoutError::new(
            "the device tree has no memory node, and no UEFI that would say where memory is: take \
             the machine's own, /sys/firmware/fdt",
        ));
    }
    drop_reservation(&mut tree, &node);
    for name in REPLACED {
        node.remove_property(name);
    }
    let cmdline = chosen.cmdline;
    if cmdline.contains(&0) {
        return Err(LayoutError::new("the command line has a NUL in it"));
    }
    if !cmdline.is_empty() {
        set(&mut node, "bootargs", [cmdline, &[0]].concat());
    }
    set(&mut node, "kaslr-seed", chosen.seeds.kaslr.to_vec());
    set(&mut node, "rng-seed", chosen.seeds.rng.to_vec());
    set(&mut node, "linux,booted-from-kexec", Vec::new());
    if let Some(initrd) = &chosen.initrd {
        set(&mut node, INITRD_START, initrd.start.to_be_bytes().to_vec());
        set(&mut node, INITRD_END, initrd.end.to_be_bytes().to_vec());
        reserve(&mut tree, initrd);
    }
    if let Some(CrashMemory { elfcorehdr, usable }) = &chosen.crash {
        let cells = Cells::of(&tree.root)?;
        set(&mut node, ELFCOREHDR, cells.encode([elfcorehdr])?);
        // A second region, below 4 GiB, follows the one that it lies in.
        set(&mut node, USABLE, cells.encode(usable.iter().rev())?);
        reserve(&mut tree, elfcorehdr);
    }
    tree.root.add_child(node);
    write(&tree, bytes)
}

fn parse(bytes: &[u8]) -> Result<DeviceTree, LayoutError> {
    // Padding may follow the tree, in a section of an image.
    let len = bytes.get(4..8).and_then(|it| it.first_chunk().copied());
    let len = len.and_then(|it| usize::try_from(u32::from_be_bytes(it)).ok());
    let bytes = len.and_then(|len| bytes.get(..len)).unwrap_or(bytes);
    if wide(bytes.len()) > MAX_LEN {
        return Err(too_large(bytes.len()));
    }
    let fdt = Fdt::new(bytes)
        .map_err(|cause| LayoutError::caused("the device tree is damaged", cause))?;
    if is_deeper(&fdt.root(), MAX_DEPTH) {
        return Err(LayoutError::new(format!(
            "the device tree has nodes in more than {MAX_DEPTH} others"
        )));
    }
    Ok(DeviceTree::from_fdt(&fdt))
}

fn write(tree: &DeviceTree, original: &[u8]) -> Result<Vec<u8>, LayoutError> {
    let mut bytes = tree.to_dtb();
    // `boot_cpuid_phys` is the one field of the header that the model does not have.
    if let (Some(to), Some(from)) = (bytes.get_mut(BOOT_CPU), original.get(BOOT_CPU)) {
        to.copy_from_slice(from);
    }
    if wide(bytes.len()) > MAX_LEN {
        return Err(too_large(bytes.len()));
    }
    Ok(bytes)
}

fn too_large(len: usize) -> LayoutError {
    LayoutError::new(format!(
        "the device tree has {len:#x} bytes, and kernels map {MAX_LEN:#x}"
    ))
}

fn is_deeper(node: &FdtNode<'_>, left: u32) -> bool {
    match left.checked_sub(1) {
        Some(left) => node.children().any(|child| is_deeper(&child, left)),
        None => true,
    }
}

/// "device_type: Value shall be 'memory'" is all that Linux looks at.
fn has_memory(root: &DeviceTreeNode) -> bool {
    root.children().any(|node| {
        let kind = node.property("device_type");
        kind.is_some_and(|kind| kind.value() == b"memory\0")
    })
}

/// Removes the reservation that kept the initrd of the running kernel, in whole pages or not.
fn drop_reservation(tree: &mut DeviceTree, chosen: &DeviceTreeNode) {
    let address = |name| {
        let property = chosen.property(name)?;
        match *property.value() {
            [a, b, c, d] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
            ref value => Some(u64::from_be_bytes(value.try_into().ok()?)),
        }
    };
    let (Some(start), Some(end)) = (address(INITRD_START), address(INITRD_END)) else {
        return;
    };
    let size = end.saturating_sub(start);
    tree.memory_reservations.retain(|it| {
        let is_size = it.size() == size || Some(it.size()) == size.checked_next_multiple_of(PAGE);
        it.address() != start || !is_size
    });
}

fn reserve(tree: &mut DeviceTree, range: &Range<u64>) {
    let reservation = MemoryReservation::new(range.start, len(range));
    tree.memory_reservations.push(reservation);
}

fn set(node: &mut DeviceTreeNode, name: &str, value: Vec<u8>) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

/// How many 32-bit cells addresses and sizes have below the root.
struct Cells {
    address: u32,
    size: u32,
}

impl Cells {
    fn of(root: &DeviceTreeNode) -> Result<Self, LayoutError> {
        let cells = |name: &str, default| {
            let property = root.property(name);
            match property.map_or(Ok(default), |it| it.value_as::<u32>()) {
                Ok(cells @ 1..=2) => Ok(cells),
                _ => Err(LayoutError::new(format!(
                    "the device tree: expected 1 or 2 as {name} of the root"
                ))),
            }
        };
        Ok(Self {
            address: cells("#address-cells", 2)?,
            size: cells("#size-cells", 1)?,
        })
    }

    fn encode<'a>(
        &self,
        ranges: impl IntoIterator<Item = &'a Range<u64>>,
    ) -> Result<Vec<u8>, LayoutError> {
        let mut bytes = Vec::new();
        for range in ranges {
            for (value, cells) in [(range.start, self.address), (len(range), self.size)] {
                match u32::try_from(value) {
                    Ok(value) if cells == 1 => bytes.extend(value.to_be_bytes()),
                    _ if cells == 2 => bytes.extend(value.to_be_bytes()),
                    _ => {
                        return Err(LayoutError::new(format!(
                            "the device tree: its root has one cell for {value:#x}"
                        )));
                    }
                }
            }
        }
        Ok(bytes)
    }
}

const INITRD_START: &str = "linux,initrd-start";
const INITRD_END: &str = "linux,initrd-end";
const ELFCOREHDR: &str = "linux,elfcorehdr";
const USABLE: &str = "linux,usable-memory-range";
/// What the running kernel found there, and the next one must not.
const REPLACED: [&str; 11] = [
    "bootargs",
    INITRD_START,
    INITRD_END,
    "kaslr-seed",
    "rng-seed",
    "linux,booted-from-kexec",
    ELFCOREHDR,
    USABLE,
    // Buffers that a call of `kexec_file_load` handed over.
    "linux,ima-kexec-buffer",
    "linux,kho-fdt",
    "linux,kho-scratch",
];
/// `MAX_FDT_SIZE`.
const MAX_LEN: u64 = 2 << 20;
/// `FDT_MAX_DEPTH` of Linux: it reads no tree that is deeper.
const MAX_DEPTH: u32 = 64;
/// The unit in which boot loaders reserve.
const PAGE: u64 = 4096;
const BOOT_CPU: Range<usize> = 28..32;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    const SEEDS: Seeds = Seeds {
        kaslr: [0xaa; 8],
        rng: [0xbb; 128],
    };

    fn chosen() -> Chosen<'static> {
        Chosen {
            cmdline: b"console=ttyAMA0",
            initrd: Some(0x4400_0000..0x4500_0001),
            seeds: &SEEDS,
            crash: None,
        }
    }

    /// Returns a tree as its source, without what no edit changes.
    fn shown(bytes: &[u8]) -> String {
        let source = Fdt::new(bytes).unwrap().to_string();
        let seed = "bb ".repeat(128);
        source.replace(seed.trim_end(), "..")
    }

    fn check(tree: &[u8], chosen: &Chosen<'_>, expected: Expect) {
        expected.assert_eq(&match edit(tree, chosen) {
            Ok(bytes) => shown(&bytes),
            Err(error) => {
                let cause = error.source().map(|it| format!(": {it}"));
                error.to_string() + &cause.unwrap_or_default()
            }
        });
    }

    #[test]
    fn a_normal_kernel() {
        let tree = testing::tree(|tree| {
            for (start, len) in [(0x4800_0000, 0x10_0000), (0x4900_0000, 0x1000)] {
                tree.memory_reservations
                    .push(MemoryReservation::new(start, len));
            }
        });
        check(
            &tree,
            &chosen(),
            expect![[r#"
            /dts-v1/;
            /memreserve/ 0x49000000 0x1000;
            /memreserve/ 0x44000000 0x1000001;

            / {
                #address-cells = <0x02>;
                #size-cells = <0x02>;

                memory@40000000 {
                    device_type = "memory";
                    reg = <0x00 0x00 0x00 0x00>;
                };

                chosen {
                    stdout-path = "/pl011@9000000";
                    bootargs = "console=ttyAMA0";
                    kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
                    rng-seed = <0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb>;
                    linux,booted-from-kexec;
                    linux,initrd-start = <0x00 0x44000000>;
                    linux,initrd-end = <0x00 0x45000001>;
                };
            };
        "#]],
        );
    }

    #[test]
    fn nothing_of_the_first_boot_is_left() {
        let tree = testing::tree(|tree| {
            let node = tree.root.child_mut("chosen").unwrap();
            for name in REPLACED {
                set(node, name, b"old".to_vec());
            }
        });
        let chosen = Chosen {
            cmdline: b"",
            initrd: None,
            ..chosen()
        };
        check(
            &tree,
            &chosen,
            expect![[r#"
            /dts-v1/;

            / {
                #address-cells = <0x02>;
                #size-cells = <0x02>;

                memory@40000000 {
                    device_type = "memory";
                    reg = <0x00 0x00 0x00 0x00>;
                };

                chosen {
                    stdout-path = "/pl011@9000000";
                    kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
                    rng-seed = <0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb>;
                    linux,booted-from-kexec;
                };
            };
        "#]],
        );
    }

    #[test]
    fn a_crash_kernel() {
        let usable = [0x5000_0000..0x5800_0000, 0x1_0000_0000..0x1_2000_0000];
        let crash = CrashMemory {
            elfcorehdr: 0x1_1000_0000..0x1_1000_1000,
            usable: &usable,
        };
        let chosen = Chosen {
            initrd: None,
            crash: Some(crash),
            ..chosen()
        };
        check(
            &testing::tree(|_| ()),
            &chosen,
            expect![[r#"
            /dts-v1/;
            /memreserve/ 0x110000000 0x1000;

            / {
                #address-cells = <0x02>;
                #size-cells = <0x02>;

                memory@40000000 {
                    device_type = "memory";
                    reg = <0x00 0x00 0x00 0x00>;
                };

                chosen {
                    stdout-path = "/pl011@9000000";
                    bootargs = "console=ttyAMA0";
                    kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
                    rng-seed = <0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb>;
                    linux,booted-from-kexec;
                    linux,elfcorehdr = <0x01 0x10000000 0x00 0x1000>;
                    linux,usable-memory-range = <0x01 0x00 0x00 0x20000000 0x00 0x50000000 0x00 0x8000000>;
                };
            };
        "#]],
        );
        let narrow = testing::tree(|tree| set(&mut tree.root, "#address-cells", vec![0, 0, 0, 1]));
        check(
            &narrow,
            &chosen,
            expect!["the device tree: its root has one cell for 0x110000000"],
        );
        let odd = testing::tree(|tree| set(&mut tree.root, "#size-cells", vec![0, 0, 0, 3]));
        check(
            &odd,
            &chosen,
            expect!["the device tree: expected 1 or 2 as #size-cells of the root"],
        );
    }

    #[test]
    fn a_tree_of_uefi_has_no_memory() {
        let bare = testing::tree(|tree| drop(tree.root.remove_child("memory@40000000")));
        check(
            &bare,
            &chosen(),
            expect![
                "the device tree has no memory node, and no UEFI that would say where memory is: take the machine's own, /sys/firmware/fdt"
            ],
        );
        let uefi = testing::tree(|tree| {
            let mut node = DeviceTreeNode::new("chosen").unwrap();
            set(
                &mut node,
                "linux,uefi-system-table",
                0xbf00_0018_u64.to_be_bytes().to_vec(),
            );
            tree.root = DeviceTreeNode::new("").unwrap();
            tree.root.add_child(node);
        });
        check(
            &uefi,
            &chosen(),
            expect![[r#"
            /dts-v1/;
            /memreserve/ 0x44000000 0x1000001;

            / {
                chosen {
                    linux,uefi-system-table = <0x00 0xbf000018>;
                    bootargs = "console=ttyAMA0";
                    kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
                    rng-seed = <0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb 0xbbbbbbbb>;
                    linux,booted-from-kexec;
                    linux,initrd-start = <0x00 0x44000000>;
                    linux,initrd-end = <0x00 0x45000001>;
                };
            };
        "#]],
        );
    }

    #[test]
    fn damaged_trees() {
        let tree = testing::tree(|_| ());
        check(
            b"",
            &chosen(),
            expect!["the device tree is damaged: Invalid FDT length at offset 0"],
        );
        check(
            &tree[..100],
            &chosen(),
            expect!["the device tree is damaged: Invalid FDT length at offset 4"],
        );
        let edited = |at: usize, byte| {
            let mut tree = tree.clone();
            tree[at] = byte;
            tree
        };
        check(
            &edited(0, 0),
            &chosen(),
            expect!["the device tree is damaged: Invalid FDT magic number at offset 0"],
        );
        check(
            &edited(0x38 + 16, 7),
            &chosen(),
            expect!["the device tree is damaged: Invalid FDT length at offset 117440816"],
        );
        check(
            &edited(7, 0xff),
            &chosen(),
            expect!["the device tree is damaged: Invalid FDT length at offset 4"],
        );
        let mut large = vec![0; 3 << 20];
        large[..8].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed, 0, 0x28, 0, 0]);
        check(
            &large,
            &chosen(),
            expect!["the device tree has 0x280000 bytes, and kernels map 0x200000"],
        );
        let line = Chosen {
            cmdline: b"a\0b",
            ..chosen()
        };
        check(&tree, &line, expect!["the command line has a NUL in it"]);
    }

    #[test]
    fn a_tree_may_be_deep_and_no_deeper() {
        let deep = |depth: usize| {
            let mut node = DeviceTreeNode::new("n").unwrap();
            for _ in 1..depth {
                let mut above = DeviceTreeNode::new("n").unwrap();
                above.add_child(node);
                node = above;
            }
            testing::tree(|tree| tree.root.add_child(node))
        };
        assert!(edit(&deep(63), &chosen()).is_ok());
        check(
            &deep(64),
            &chosen(),
            expect!["the device tree has nodes in more than 64 others"],
        );
        check(
            &deep(5000),
            &chosen(),
            expect!["the device tree has nodes in more than 64 others"],
        );
    }

    #[test]
    fn padding_goes_and_the_boot_processor_stays() {
        let mut tree = testing::tree(|_| ());
        tree[31] = 3;
        let tight = edit(&tree, &chosen()).unwrap();
        tree.resize(5 << 20, 0);
        let edited = edit(&tree, &chosen()).unwrap();
        assert_eq!(edited, tight);
        assert_eq!(edited[31], 3);
        // An edited tree can be edited again, and stays as it is.
        assert_eq!(edit(&edited, &chosen()).unwrap(), edited);
    }

    proptest! {
        #[test]
        fn takes_any_edit_of_a_tree(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut tree = testing::tree(|_| ());
            for (at, byte) in edits {
                let at = at.index(tree.len());
                tree[at] = byte;
            }
            if let Ok(edited) = edit(&tree, &chosen()) {
                prop_assert!(edit(&edited, &chosen()).is_ok());
            }
        }
    }
}
