//! Trees before and after an edit, by a second reader.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use dtoolkit::fdt::Fdt;
use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};

use super::*;
use crate::testing;

const SEEDS: Seeds = Seeds {
    kaslr: [0xaa; 8],
    rng: [0xbb; 128],
};

fn edit(bytes: &[u8], chosen: &Chosen<'_>) -> Result<Vec<u8>, LayoutError> {
    DeviceTree::read(bytes)?.write(chosen)
}

fn set(node: &mut DeviceTreeNode, name: &str, value: Vec<u8>) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

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
    let seed = "0xbbbbbbbb ".repeat(32);
    source.replace(seed.trim_end(), "..")
}

/// Compares an error, or the lines by which a tree differs from that of the first test.
fn check(tree: &[u8], kernel: &Chosen<'_>, expected: Expect) {
    expected.assert_eq(&match edit(tree, kernel) {
        Ok(bytes) => {
            let usual = edit(&testing::tree(|_| ()), &chosen()).unwrap();
            testing::changes(&shown(&usual), &shown(&bytes))
        }
        Err(error) => error.to_string(),
    });
}

#[test]
fn the_usual_tree() {
    let edited = edit(&testing::tree(|_| ()), &chosen()).unwrap();
    expect![[r#"
            /dts-v1/;
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
                    rng-seed = <..>;
                    linux,booted-from-kexec;
                    linux,initrd-start = <0x00 0x44000000>;
                    linux,initrd-end = <0x00 0x45000001>;
                };
            };
        "#]]
    .assert_eq(&shown(&edited));
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
                +/memreserve/ 0x49000000 0x1000;
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
                -/memreserve/ 0x44000000 0x1000001;
                -        bootargs = "console=ttyAMA0";
                -        linux,initrd-start = <0x00 0x44000000>;
                -        linux,initrd-end = <0x00 0x45000001>;
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
                -/memreserve/ 0x44000000 0x1000001;
                -        linux,initrd-start = <0x00 0x44000000>;
                -        linux,initrd-end = <0x00 0x45000001>;
                +/memreserve/ 0x110000000 0x1000;
                +        linux,elfcorehdr = <0x01 0x10000000 0x00 0x1000>;
                +        linux,usable-memory-range = <0x01 0x00 0x00 0x20000000 0x00 0x50000000 0x00 0x8000000>;
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
                -    #address-cells = <0x02>;
                -    #size-cells = <0x02>;
                -    memory@40000000 {
                -        device_type = "memory";
                -        reg = <0x00 0x00 0x00 0x00>;
                -        stdout-path = "/pl011@9000000";
                +        linux,uefi-system-table = <0x00 0xbf000018>;
            "#]],
    );
}

#[test]
fn uefi_is_that_of_the_machine() {
    let with_table = |address: u64| {
        testing::tree(|tree| {
            let node = tree.root.child_mut("chosen").unwrap();
            set(node, SYSTEM_TABLE, address.to_be_bytes().to_vec());
        })
    };
    let board = DeviceTree::read(&with_table(0xdead_0000)).unwrap();
    let running = DeviceTree::read(&with_table(0xbf00_0018)).unwrap();
    let handed_over = |tree: DeviceTree| {
        let edited = tree.write(&chosen()).unwrap();
        let found = DeviceTree::read(&edited).unwrap().uefi;
        found
            .into_iter()
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    let address = 0xbf00_0018_u64.to_be_bytes().to_vec();
    assert_eq!(handed_over(board.clone().on_machine(&running)), [address]);
    let without = testing::device_tree();
    assert!(handed_over(board.on_machine(&without)).is_empty());
}

fn node(name: &str, properties: &[(&str, &[u8])]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    for (name, value) in properties {
        set(&mut node, name, value.to_vec());
    }
    node
}

/// A board's tree, as it is in a file: with one cell, and memory for firmware to fill.
fn board() -> DeviceTree {
    let mut tree = Model::new();
    let one: &[u8] = &[0, 0, 0, 1];
    tree.root = node("", &[("#address-cells", one), ("#size-cells", one)]);
    let memory = [("device_type", &b"memory\0"[..]), ("reg", &[0; 8])];
    let mut reserved = node("reserved-memory", &[]);
    reserved.add_child(node(
        "tz@50000000",
        &[("reg", &[0x50, 0, 0, 0, 0, 0, 0x10, 0])],
    ));
    for node in [node("chosen", &[]), node("memory@0", &memory), reserved] {
        tree.root.add_child(node);
    }
    let reservation = MemoryReservation::new(0x1000, 0x1000);
    tree.memory_reservations.push(reservation);
    DeviceTree::read(&tree.to_dtb()).unwrap()
}

/// The tree of a machine whose firmware has memory for itself.
fn running(edit: impl FnOnce(&mut DeviceTreeNode)) -> DeviceTree {
    let range = |start: u64, len: u64| [start, len].map(u64::to_be_bytes).concat();
    let tree = testing::tree(|tree| {
        let memory = tree.root.child_mut("memory@40000000").unwrap();
        set(memory, "reg", range(0x4000_0000, 0x8000_0000));
        let mut reserved = node("reserved-memory", &[]);
        for (name, start, len) in [("mmode", 0x4000_0000, 0x8_0000), ("tz", 0x5000_0000, 4096)] {
            reserved.add_child(node(name, &[("reg", &range(start, len)), ("no-map", &[])]));
        }
        reserved.add_child(node("pool", &[("size", &[0; 8])]));
        tree.root.add_child(reserved);
        // The initrd's, one of the board's, and another.
        for (start, len) in [(0x4800_0000, 0x10_0000), (0x1000, 0x1000), (0x2000, 0x1000)] {
            let reservation = MemoryReservation::new(start, len);
            tree.memory_reservations.push(reservation);
        }
        edit(&mut tree.root);
    });
    DeviceTree::read(&tree).unwrap()
}

fn with_its(root: &mut DeviceTreeNode, status: &[u8]) {
    let its: &[u8] = b"vendor,its\0arm,gic-v3-its\0";
    let mut gic = node("interrupt-controller", &[("compatible", b"arm,gic-v3\0")]);
    gic.add_child(node("its", &[("compatible", its), ("status", status)]));
    root.add_child(gic);
}

fn with_uefi(root: &mut DeviceTreeNode) {
    for name in UEFI {
        set(root.child_mut("chosen").unwrap(), name, b"here".to_vec());
    }
}

fn moves(running: &DeviceTree, expected: Expect) {
    let kernel = Chosen {
        initrd: None,
        ..chosen()
    };
    let tree = board().on_machine(running).write(&kernel).unwrap();
    expected.assert_eq(&shown(&tree));
    let again = DeviceTree::read(&tree).unwrap().on_machine(running);
    assert_eq!(again.write(&kernel).unwrap(), tree);
}

#[test]
fn a_tree_of_a_file_on_a_machine() {
    moves(
        &running(|_| ()),
        expect![[r#"
            /dts-v1/;
            /memreserve/ 0x1000 0x1000;
            /memreserve/ 0x2000 0x1000;
            /memreserve/ 0x40000000 0x80000;

            / {
                #address-cells = <0x01>;
                #size-cells = <0x01>;

                memory@40000000 {
                    device_type = "memory";
                    reg = <0x40000000 0x80000000>;
                };

                chosen {
                    bootargs = "console=ttyAMA0";
                    kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
                    rng-seed = <..>;
                    linux,booted-from-kexec;
                };

                reserved-memory {
                    tz@50000000 {
                        reg = <0x50000000 0x1000>;
                    };
                };
            };
        "#]],
    );
    moves(
        &running(with_uefi),
        expect![[r#"
            /dts-v1/;

            / {
                #address-cells = <0x01>;
                #size-cells = <0x01>;

                memory@0 {
                    device_type = "memory";
                    reg = <0x00 0x00>;
                };

                chosen {
                    linux,uefi-system-table = <0x68657265>;
                    linux,uefi-mmap-start = <0x68657265>;
                    linux,uefi-mmap-size = <0x68657265>;
                    linux,uefi-mmap-desc-size = <0x68657265>;
                    linux,uefi-mmap-desc-ver = <0x68657265>;
                    linux,uefi-secure-boot = <0x68657265>;
                    bootargs = "console=ttyAMA0";
                    kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
                    rng-seed = <..>;
                    linux,booted-from-kexec;
                };

                reserved-memory {
                    tz@50000000 {
                        reg = <0x50000000 0x1000>;
                    };
                };
            };
        "#]],
    );
}

#[test]
fn trees_of_recorded_machines() {
    let check = |tree: &[u8], expected: Expect| {
        let edited = edit(tree, &chosen()).unwrap();
        expected.assert_eq(&testing::changes(&shown(tree), &shown(&edited)));
    };
    check(
        testing::ARM64_TREE,
        expect![[r#"
            -        linux,initrd-end = <0x480f8858>;
            -        linux,initrd-start = <0x48000000>;
            -        bootargs = "console=ttyAMA0 panic=-1 crashkernel=512M";
            -        kaslr-seed = <0x00 0x00>;
            +/memreserve/ 0x44000000 0x1000001;
            +        bootargs = "console=ttyAMA0";
            +        kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
            +        rng-seed = <..>;
            +        linux,booted-from-kexec;
            +        linux,initrd-start = <0x00 0x44000000>;
            +        linux,initrd-end = <0x00 0x45000001>;
        "#]],
    );
    check(
        testing::ARM64_UEFI_TREE,
        expect![[r#"
            -        bootargs = "console=ttyAMA0 panic=-1 crashkernel=512M initrd=initrd";
            +/memreserve/ 0x44000000 0x1000001;
            +        bootargs = "console=ttyAMA0";
            +        kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
            +        rng-seed = <..>;
            +        linux,booted-from-kexec;
            +        linux,initrd-start = <0x00 0x44000000>;
            +        linux,initrd-end = <0x00 0x45000001>;
        "#]],
    );
    check(
        testing::UEFI_TREE,
        expect![[r#"
            -        bootargs = "console=ttyAMA0 panic=-1  initrd=initrd";
            -        kaslr-seed = <0x00 0x00>;
            +/memreserve/ 0x44000000 0x1000001;
            +        bootargs = "console=ttyAMA0";
            +        kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
            +        rng-seed = <..>;
            +        linux,booted-from-kexec;
            +        linux,initrd-start = <0x00 0x44000000>;
            +        linux,initrd-end = <0x00 0x45000001>;
        "#]],
    );
    check(
        testing::RISCV64_TREE,
        expect![[r#"
            -        linux,initrd-end = <0x882fd685>;
            -        linux,initrd-start = <0x88200000>;
            -        bootargs = "console=ttyS0 panic=-1 crashkernel=512M";
            +/memreserve/ 0x44000000 0x1000001;
            +        bootargs = "console=ttyAMA0";
            +        kaslr-seed = <0xaaaaaaaa 0xaaaaaaaa>;
            +        rng-seed = <..>;
            +        linux,booted-from-kexec;
            +        linux,initrd-start = <0x00 0x44000000>;
            +        linux,initrd-end = <0x00 0x45000001>;
        "#]],
    );
}

#[test]
fn memory_that_the_tree_cannot_name_is_refused() {
    let running = running(|root| {
        let memory = root.child_mut("memory@40000000").unwrap();
        set(memory, "reg", vec![1; 16]);
    });
    let error = board().on_machine(&running).write(&chosen()).unwrap_err();
    expect!["the device tree: its root has one cell for 0x101010101010101"]
        .assert_eq(&error.to_string());
}

#[test]
fn tables_that_stay_in_use() {
    let warns = |edit: &dyn Fn(&mut DeviceTreeNode)| {
        let running = running(edit);
        let warning = running.warning();
        assert_eq!(board().on_machine(&running).warning(), warning);
        warning.is_some()
    };
    assert!(!warns(&|_| ()));
    assert!(warns(&|root| with_its(root, b"okay\0")));
    assert!(!warns(&|root| with_its(root, b"disabled\0")));
    assert!(!warns(&|root| {
        with_its(root, b"okay\0");
        with_uefi(root);
    }));
}

#[test]
fn damaged_trees() {
    let tree = testing::tree(|_| ());
    check(
        b"",
        &chosen(),
        expect!["the device tree: does not begin with 0xd00dfeed"],
    );
    check(
        &tree[..100],
        &chosen(),
        expect!["the device tree: ends before its totalsize"],
    );
    let edited = |at: usize, byte| {
        let mut tree = tree.clone();
        tree[at] = byte;
        tree
    };
    check(
        &edited(0, 0),
        &chosen(),
        expect!["the device tree: does not begin with 0xd00dfeed"],
    );
    check(
        &edited(0x38 + 16, 7),
        &chosen(),
        expect![
            "the device tree: 0x8 bytes into its structure block is no token, or one that reaches beyond it"
        ],
    );
    check(
        &edited(7, 0xff),
        &chosen(),
        expect!["the device tree: ends before its totalsize"],
    );
    let large = testing::tree(|tree| set(&mut tree.root, "data", vec![0; 3 << 20]));
    check(
        &large,
        &chosen(),
        expect!["the device tree has 0x300178 bytes, and kernels map 0x200000"],
    );
    check(
        &edited(23, 16),
        &chosen(),
        expect!["the device tree: version 16, compatible with 16, and version 17 is needed"],
    );
    check(
        &edited(55, 1),
        &chosen(),
        expect!["the device tree: its reservation block has no end"],
    );
    let line = Chosen {
        cmdline: b"a\0b",
        ..chosen()
    };
    check(&tree, &line, expect!["the command line has a NUL in it"]);
}

#[test]
fn nodes_begin_and_end() {
    let check = |words: &[u32], expected: Expect| {
        let tree = testing::tree(|_| ());
        let tree = Flattened::read(&tree).unwrap();
        let structure: Vec<u8> = words.iter().flat_map(|it| it.to_be_bytes()).collect();
        let bytes = fdt::write(&tree.reservations, 0, &structure, b"x\0").unwrap();
        check(&bytes, &chosen(), expected);
    };
    let name = u32::from_be_bytes(*b"n\0\0\0");
    check(
        &[4, 1, 0, 4, 2, 4, 9],
        expect![
            "the device tree has no memory node, and no UEFI that would say where memory is: take the machine's own, /sys/firmware/fdt"
        ],
    );
    check(
        &[1, 0, 2, 1, 0, 2, 9],
        expect![
            "the device tree: begins and ends of nodes do not match, 0xc bytes into its structure block"
        ],
    );
    check(
        &[1, 0, 1, name, 2, 3, 0, 0, 2, 9],
        expect![
            "the device tree: a property 0x14 bytes into its structure block is at the head of no node"
        ],
    );
    check(
        &[3, 0, 0, 9],
        expect![
            "the device tree: a property 0x0 bytes into its structure block is at the head of no node"
        ],
    );
    check(
        &[2, 9],
        expect![
            "the device tree: begins and ends of nodes do not match, 0x0 bytes into its structure block"
        ],
    );
    check(
        &[1, 0, 9],
        expect![
            "the device tree: begins and ends of nodes do not match, 0x8 bytes into its structure block"
        ],
    );
    check(
        &[1, 0, 2],
        expect![
            "the device tree: 0xc bytes into its structure block is no token, or one that reaches beyond it"
        ],
    );
    check(
        &[1, 0, 3, 0, 2, 2, 9],
        expect![
            "the device tree: 0x8 bytes into its structure block is no token, or one that reaches beyond it"
        ],
    );
    check(
        &[1, 0, 3, 100, 0, 2, 9],
        expect![
            "the device tree: 0x8 bytes into its structure block is no token, or one that reaches beyond it"
        ],
    );
}

#[test]
fn a_tree_may_be_deep_and_have_long_names() {
    let mut node = DeviceTreeNode::new("n").unwrap();
    for _ in 1..1000 {
        let mut above = DeviceTreeNode::new("n").unwrap();
        above.add_child(node);
        node = above;
    }
    // As on boards of NVIDIA.
    let name = "nvidia,pad-autocal-pull-down-offset-1v8-timeout";
    let tree = testing::tree(|tree| {
        tree.root.add_child(node);
        set(&mut tree.root, name, vec![0, 0, 0, 0xa]);
    });
    let edited = edit(&tree, &chosen()).unwrap();
    let edited = Flattened::read(&edited).unwrap();
    let nodes = edited.nodes().unwrap();
    assert_eq!(nodes[0].value(name), Some(&[0, 0, 0, 0xa][..]));
}

#[test]
fn there_is_one_chosen() {
    // Linux would take the first, and what it says.
    let twice = testing::tree(|tree| {
        tree.root
            .add_child(DeviceTreeNode::new("chosen@1").unwrap());
    });
    check(
        &twice,
        &chosen(),
        expect!["the device tree has /chosen twice"],
    );
    let other = testing::tree(|tree| {
        tree.root.remove_child("chosen");
        let mut node = DeviceTreeNode::new("chosen@0").unwrap();
        set(&mut node, "bootargs", b"old\0".to_vec());
        node.add_child(DeviceTreeNode::new("framebuffer@7e000000").unwrap());
        tree.root.add_child(node);
        tree.root
            .add_child(DeviceTreeNode::new("chosen-one").unwrap());
    });
    check(
        &other,
        &chosen(),
        expect![[r#"
                -        stdout-path = "/pl011@9000000";
                +        framebuffer@7e000000 {
                +        };
                +    chosen-one {
            "#]],
    );
    let none = testing::tree(|tree| drop(tree.root.remove_child("chosen")));
    check(
        &none,
        &chosen(),
        expect![[r#"
                -        stdout-path = "/pl011@9000000";
            "#]],
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

/// A walk that searched for the end of each name would take minutes here.
#[test]
fn many_properties_may_share_a_long_name() {
    let (count, len) = (80_000_u32, 1_u32 << 20);
    let mut structure = Vec::new();
    fdt::begin_node(&mut structure, "");
    for _ in 0..count {
        structure.extend([3, 0, 0].map(u32::to_be_bytes).as_flattened());
    }
    fdt::begin_node(&mut structure, "memory");
    let device_type = [3, 7, len].map(u32::to_be_bytes);
    structure.extend(device_type.as_flattened());
    structure.extend(b"memory\0\0");
    fdt::end_node(&mut structure);
    fdt::end_node(&mut structure);
    structure.extend(9_u32.to_be_bytes());
    let mut strings = vec![b'x'; len as usize];
    strings.extend(b"device_type\0");
    let tree = testing::tree(|_| ());
    let original = Flattened::read(&tree).unwrap();
    let long = fdt::write(&original.reservations, 0, &structure, &strings).unwrap();
    let edited = edit(&long, &chosen()).unwrap();
    assert!(edited.len() > long.len());
}

#[test]
fn a_name_without_an_end_is_refused() {
    let mut tree = testing::tree(|_| ());
    let last = tree.iter().rposition(|&byte| byte == 0).unwrap();
    tree[last] = b'x';
    check(
        &tree,
        &chosen(),
        expect![
            "the device tree: 0xd8 bytes into its structure block is no token, or one that reaches beyond it"
        ],
    );
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
            prop_assert_eq!(edit(&edited, &chosen()).unwrap(), edited);
        }
    }
}
