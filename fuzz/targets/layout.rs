//! Headers of kernels, memory maps and device trees: whatever they are, a layout that comes of
//! them passes the check, and its device tree can be edited again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_boot::identify;
use ukexec_layout::{
    Content, CrashNotes, DeviceTree, KernelHeader, Layout, MemoryMap, Seeds, Wishes, lay_out,
};

const IOMEM: &str = "40000000-13fffffff : System RAM\n  50000000-6fffffff : Crash kernel\n";
/// The tree of a machine with UEFI: a system table, and nothing else.
const TREE: &[u8] = include_bytes!("../seeds/layout/tree");

fuzz_target!(|data: &[u8]| {
    let header = data.get(..64).unwrap_or(data);
    let Some(kernel) = identify(header)
        .ok()
        .and_then(|it| KernelHeader::new(&it).ok())
    else {
        return;
    };
    let rest = &data[64..];
    // A memory map, or else a device tree.
    let iomem = std::str::from_utf8(rest).unwrap_or_default();
    let (map, device_tree) = match MemoryMap::from_iomem(iomem) {
        Ok(map) => (map, &TREE[64..]),
        Err(_) => (MemoryMap::from_iomem(IOMEM).expect("memory"), rest),
    };
    let Ok(device_tree) = DeviceTree::read(device_tree) else {
        return;
    };
    let notes = CrashNotes::default();
    // The machine's own tree, one of a file, and one of a file on a machine with any tree.
    let uefi = DeviceTree::read(&TREE[64..]).expect("a tree");
    let on_uefi = device_tree.clone().on_machine(&uefi);
    let of_file = uefi.on_machine(&device_tree);
    for (crash, device_tree) in [
        (None, &device_tree),
        (Some(&notes), &device_tree),
        (None, &on_uefi),
        (None, &of_file),
    ] {
        let wishes = Wishes {
            kernel,
            initrd_len: Some(10_000_000),
            cmdline: b"quiet",
            device_tree,
            seeds: Seeds {
                kaslr: [1; 8],
                rng: [2; 128],
            },
            window: 0..u64::MAX,
            page_size: 4096,
            crash,
        };
        let Ok(layout) = lay_out(&wishes, &map) else {
            continue;
        };
        layout
            .check(&map, 4096, crash.is_some())
            .expect("a layout passes the check");
        let wishes = Wishes {
            device_tree: &tree(&layout),
            ..wishes
        };
        lay_out(&wishes, &map).expect("the tree can be edited again");
    }
});

fn tree(layout: &Layout) -> DeviceTree {
    let mut trees = layout.segments.iter().filter_map(|it| match &it.content {
        Content::DeviceTree(bytes) => Some(&bytes[..]),
        _ => None,
    });
    let tree = trees.next().expect("a device tree");
    DeviceTree::read(tree).expect("it can be read again")
}
