//! The device trees of real boards, as their files have them: a next kernel gets all of each but
//! `/chosen` and what firmware fills. `dtc` of another project reads both.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ukexec_boot::Arch;
use ukexec_layout::{Content, DeviceTree, KernelHeader, Layout, MemoryMap, Seeds, Wishes, lay_out};

const PLAIN: (&str, &[u8]) = (
    include_str!("machines/arm64-virt.iomem"),
    include_bytes!("machines/arm64-virt.dtb"),
);
const UEFI: (&str, &[u8]) = (
    include_str!("machines/arm64-virt-uefi.iomem"),
    include_bytes!("machines/arm64-virt-uefi.dtb"),
);

#[test]
fn boards() {
    let folder = env::var_os("UKEXEC_DEVICE_TREES").expect("UKEXEC_DEVICE_TREES names a folder");
    let mut paths = Vec::new();
    find(Path::new(&folder), &mut paths);
    // Names of properties there are longer than the specification allows.
    assert!(
        paths
            .iter()
            .any(|it| it.to_string_lossy().contains("tegra"))
    );
    assert!(paths.len() > 1);
    for path in &paths {
        // Shown where one fails.
        eprintln!("{}", path.display());
        let bytes = fs::read(path).unwrap();
        let original = Source::of(&bytes);
        let uefi = Source::of(&next_tree(&bytes, UEFI));
        assert_eq!(uefi.others, original.others);
        assert_eq!(uefi.memory, original.memory);
        assert_eq!(uefi.chosen, original.chosen_by(&Source::of(UEFI.1)));
        let plain = Source::of(&next_tree(&bytes, PLAIN));
        assert_eq!(plain.others, original.others);
        assert_eq!(plain.memory.len(), 1);
        assert!(plain.memory[0].starts_with("memory@40000000"));
        assert_eq!(plain.chosen, original.chosen_by(&Source::of(PLAIN.1)));
    }
    println!("{} boards", paths.len());
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, paths);
        } else if path.extension().is_some_and(|it| it == "dtb") {
            paths.push(path);
        }
    }
    paths.sort();
}

/// Returns the tree that the next kernel gets of `tree` on a machine.
fn next_tree(tree: &[u8], (iomem, running): (&str, &[u8])) -> Vec<u8> {
    let memory = MemoryMap::from_iomem(iomem).unwrap();
    let running = DeviceTree::read(running).unwrap();
    let tree = DeviceTree::read(tree).unwrap().on_machine(&running);
    let layout = layout(&tree, &memory);
    layout.check(&memory, 4096, false).unwrap();
    assert_eq!(self::layout(&tree, &memory), layout);
    let mut contents = layout.segments.into_iter().map(|it| it.content);
    contents
        .find_map(|it| match it {
            Content::DeviceTree(bytes) => Some(bytes),
            _ => None,
        })
        .unwrap()
}

fn layout(tree: &DeviceTree, memory: &MemoryMap) -> Layout {
    let wishes = Wishes {
        kernel: KernelHeader {
            arch: Arch::Arm64,
            file_len: 31 << 20,
            memory_len: 33 << 20,
            text_offset: 0,
        },
        initrd_len: None,
        cmdline: b"quiet",
        device_tree: tree,
        seeds: Seeds {
            kaslr: [1; 8],
            rng: [2; 128],
        },
        window: 0..u64::MAX,
        page_size: 4096,
        crash: None,
    };
    lay_out(&wishes, memory).unwrap()
}

/// A tree as `dtc` prints it, with sorted properties and nodes.
struct Source {
    /// The properties of `/chosen`, sorted, and behind them the nodes in it.
    chosen: Vec<String>,
    /// The memory nodes.
    memory: Vec<String>,
    /// The root's properties, and all other nodes.
    others: Vec<String>,
}

impl Source {
    fn of(tree: &[u8]) -> Self {
        let mut dtc = Command::new("dtc")
            .args(["-q", "-s", "-I", "dtb", "-O", "dts"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dtc of device-tree-compiler");
        dtc.stdin.take().unwrap().write_all(tree).unwrap();
        let output = dtc.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let mut source = Self {
            chosen: Vec::new(),
            memory: Vec::new(),
            others: Vec::new(),
        };
        let lines = text.lines().filter(|it| !it.is_empty());
        let mut lines = lines.filter(|it| !it.starts_with("/memreserve/"));
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix('\t').and_then(|it| it.strip_suffix(" {")) else {
                source.others.push(line.into());
                continue;
            };
            let node: Vec<_> = lines.by_ref().take_while(|it| *it != "\t};").collect();
            if name == "chosen" {
                source.chosen = sorted(node.into_iter().map(Into::into).collect());
            } else if node.contains(&"\t\tdevice_type = \"memory\";") {
                source.memory.push(name.to_owned() + &node.concat());
            } else {
                source.others.push(name.to_owned() + &node.concat());
            }
        }
        source
    }

    /// Returns what `/chosen` has to be for the next kernel on a machine.
    fn chosen_by(&self, running: &Self) -> Vec<String> {
        let is = |line: &str, names: &[&str]| {
            let line = line.trim();
            let name = line.split([' ', ';']).next().unwrap();
            names.iter().any(|it| name.starts_with(it))
        };
        let replaced = ["bootargs", "linux,initrd", "kaslr-seed", "rng-seed"];
        let kept = self.chosen.iter().filter(|it| !is(it, &replaced));
        let running = running.chosen.iter();
        let uefi = running.filter(|it| is(it, &["linux,uefi-"])).cloned();
        let rng = " 0x2020202".repeat(32);
        let mut chosen: Vec<_> = kept.cloned().chain(uefi).collect();
        for line in [
            "bootargs = \"quiet\";",
            "kaslr-seed = <0x1010101 0x1010101>;",
            &format!("rng-seed = <{}>;", rng.trim()),
            "linux,booted-from-kexec;",
        ] {
            chosen.push(format!("\t\t{line}"));
        }
        sorted(chosen)
    }
}

/// Sorts properties, and leaves the nodes behind them as they are.
fn sorted(lines: Vec<String>) -> Vec<String> {
    let is_property = |it: &String| {
        let line = it.trim_start_matches('\t');
        it.len() == line.len() + 2 && line.ends_with(';') && line != "};"
    };
    let (mut properties, nodes): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_property);
    properties.sort();
    properties.extend(nodes);
    properties
}
