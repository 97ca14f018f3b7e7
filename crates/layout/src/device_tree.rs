//! The device tree that the next kernel gets: that of the machine, with another `/chosen`.
//!
//! Spec: Devicetree Specification 0.4, "3.6 /chosen Node"; Linux
//! `Documentation/devicetree/bindings/chosen.txt` and `drivers/of/kexec.c`, whose edits these
//! are. All that UEFI left there stays (`linux,uefi-*`), and so does the console.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::LayoutError;
use crate::fdt::{self, Flattened, Property};
use crate::layout::wide;
use crate::nodes::{Cells, Found, INITRD_END, INITRD_START};
use crate::ranges::len;
use crate::wishes::Seeds;

/// A device tree, taken apart where the next kernel gets another one: around what stays of
/// `/chosen`.
///
/// ```
/// use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};
/// use ukexec_layout::DeviceTree;
///
/// let mut model = Model::new();
/// let device_type = DeviceTreeProperty::new("device_type", "memory").unwrap();
/// let memory = DeviceTreeNode::builder("memory@40000000").unwrap();
/// model.root.add_child(memory.property(device_type).build());
/// let tree = DeviceTree::read(&model.to_dtb())?;
/// assert!(DeviceTree::read(b"no tree").is_err());
/// # Ok::<(), ukexec_layout::LayoutError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTree {
    /// Start and length of each.
    reservations: Vec<(u64, u64)>,
    boot_cpuid_phys: u32,
    /// The structure block up to `/chosen`.
    before: Vec<u8>,
    /// The properties of `/chosen` that stay.
    properties: Vec<u8>,
    /// The nodes in it.
    nodes: Vec<u8>,
    /// The structure block behind `/chosen`.
    behind: Vec<u8>,
    strings: Vec<u8>,
    cells: Cells,
    /// The memory nodes, which firmware fills.
    memory_nodes: Vec<u8>,
    /// The ranges that are in them, or must be.
    memory: Vec<Range<u64>>,
    /// The ranges below `/reserved-memory` that have an address.
    reserved: Vec<Range<u64>>,
    has_its: bool,
    /// The properties in which UEFI is handed over. Those of the firmware that runs count alone.
    #[serde(skip)]
    uefi: Vec<(&'static str, Vec<u8>)>,
}

/// The values that the next kernel finds in `/chosen`.
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

impl DeviceTree {
    /// Bytes of the longest that kernels map (`MAX_FDT_SIZE` of arm64).
    pub const MAX_LEN: u64 = 2 << 20;

    /// Takes a flattened tree apart.
    ///
    /// # Errors
    ///
    /// It is damaged, or longer than the 2 MiB that kernels map.
    pub fn read(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut tree = Flattened::read(bytes)?;
        let found = Found::read(&tree)?;
        found.drop_reservation(&mut tree);
        let part = |range: Range<usize>| tree.structure.get(range).unwrap_or_default();
        let (mut properties, mut uefi) = (Vec::new(), Vec::new());
        for Property { name, value, span } in found.chosen_properties() {
            if let Some(name) = UEFI.iter().find(|it| name.is(it)) {
                uefi.push((*name, value.to_vec()));
            } else if !REPLACED.iter().any(|it| name.is(it)) {
                properties.extend(part(span.clone()));
            }
        }
        let len = wide(tree.structure.len()).saturating_add(wide(tree.strings.len()));
        check_len(len)?;
        let memory_nodes = found.memory_nodes().map(|it| part(it.span.clone()));
        let (place, nodes) = found.place();
        Ok(Self {
            before: found.without_memory(tree.structure, 0..place.start),
            properties,
            nodes: part(nodes).to_vec(),
            behind: found.without_memory(tree.structure, place.end..tree.structure.len()),
            strings: tree.strings.to_vec(),
            reservations: tree.reservations,
            boot_cpuid_phys: tree.boot_cpuid_phys,
            memory_nodes: memory_nodes.collect::<Vec<_>>().concat(),
            memory: found.memory(),
            reserved: found.reserved(),
            has_its: found.has_its(),
            cells: found.cells,
            uefi,
        })
    }

    /// Returns about how many bytes it has: those of its blocks.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        let blocks = [
            &self.before,
            &self.memory_nodes,
            &self.properties,
            &self.nodes,
            &self.behind,
            &self.strings,
        ];
        let lens = blocks.map(|block| wide(block.len()));
        let (memory, reserved) = (self.memory.len(), self.reserved.len());
        let ranges = [self.reservations.len(), memory, reserved].map(wide);
        let ranges = ranges.into_iter().fold(0, u64::saturating_add);
        let reservations = ranges.saturating_mul(16);
        lens.into_iter().fold(reservations, u64::saturating_add)
    }

    /// Puts in what the firmware of a machine says: a tree out of a file or an image has none of
    /// it, or that of another machine.
    ///
    /// `running` is the tree that the running kernel was given. Its UEFI is handed over, as the
    /// kernel's own stub does when firmware starts it. Without UEFI, its memory and all that is
    /// reserved in it are.
    #[must_use]
    pub fn on_machine(self, running: &Self) -> Self {
        let mut tree = Self {
            uefi: running.uefi.clone(),
            has_its: running.has_its,
            ..self
        };
        if running.has_uefi() {
            // Its memory map has all that is reserved; the stub removes these, too.
            tree.reservations.clear();
            return tree;
        }
        let reserved = running.reserved.iter();
        let reserved = reserved.filter(|it| !tree.reserved.contains(it));
        let reserved = reserved.map(|it| (it.start, len(it)));
        let reservations = running.reservations.iter().copied().chain(reserved);
        let known = &tree.reservations;
        let new: Vec<_> = reservations.filter(|it| !known.contains(it)).collect();
        tree.reservations.extend(new);
        if !running.memory.is_empty() {
            tree.memory.clone_from(&running.memory);
            tree.memory_nodes.clear();
        }
        tree
    }

    /// Returns what a user should know before a kernel starts with it on arm64.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        // With UEFI, the running kernel reserves them in a table that the next one finds.
        (self.has_its && !self.has_uefi()).then_some(ITS)
    }

    /// Returns whether UEFI is handed over by it.
    #[must_use]
    pub fn has_uefi(&self) -> bool {
        self.uefi.iter().any(|(name, _)| *name == SYSTEM_TABLE)
    }

    /// Returns the flattened tree with the values of `chosen`, and without unused space.
    pub(crate) fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, LayoutError> {
        if self.memory.is_empty() && self.memory_nodes.is_empty() && !self.has_uefi() {
            return Err(LayoutError::new(
                "the device tree has no memory node, and no UEFI that would say where memory is: \
                 take the machine's own, /sys/firmware/fdt",
            ));
        }
        let crash = chosen.crash.as_ref().map(|it| &it.elfcorehdr);
        let reserved = chosen.initrd.iter().chain(crash);
        let reserved = reserved.map(|range| (range.start, len(range)));
        let reservations: Vec<_> = self.reservations.iter().copied().chain(reserved).collect();

        let mut strings = self.strings.clone();
        let mut structure = [&self.before[..], &self.memory_nodes].concat();
        if self.memory_nodes.is_empty()
            && let Some(first) = self.memory.first()
        {
            fdt::begin_node(&mut structure, &format!("memory@{:x}", first.start));
            let reg = self.cells.encode(&self.memory)?;
            for (name, value) in [("device_type", &b"memory\0"[..]), ("reg", &reg)] {
                fdt::property(&mut structure, &mut strings, name, value);
            }
            fdt::end_node(&mut structure);
        }
        fdt::begin_node(&mut structure, "chosen");
        structure.extend(&self.properties);
        let uefi = self.uefi.iter();
        let uefi = uefi.map(|(name, value)| (*name, value.clone()));
        for (name, value) in uefi.chain(self.properties_of(chosen)?) {
            fdt::property(&mut structure, &mut strings, name, &value);
        }
        structure.extend(&self.nodes);
        fdt::end_node(&mut structure);
        structure.extend(&self.behind);
        check_len(wide(structure.len()).saturating_add(wide(strings.len())))?;
        let written = fdt::write(&reservations, self.boot_cpuid_phys, &structure, &strings);
        let written = written.filter(|tree| wide(tree.len()) <= DeviceTree::MAX_LEN);
        written.ok_or_else(|| LayoutError::new("the device tree has too many reservations"))
    }

    /// Returns the properties that are new in `/chosen`.
    fn properties_of(
        &self,
        chosen: &Chosen<'_>,
    ) -> Result<Vec<(&'static str, Vec<u8>)>, LayoutError> {
        let cmdline = chosen.cmdline;
        if cmdline.contains(&0) {
            return Err(LayoutError::new("the command line has a NUL in it"));
        }
        let mut new = Vec::new();
        if !cmdline.is_empty() {
            new.push(("bootargs", [cmdline, &[0]].concat()));
        }
        new.push(("kaslr-seed", chosen.seeds.kaslr.to_vec()));
        new.push(("rng-seed", chosen.seeds.rng.to_vec()));
        new.push(("linux,booted-from-kexec", Vec::new()));
        if let Some(initrd) = &chosen.initrd {
            new.push((INITRD_START, initrd.start.to_be_bytes().to_vec()));
            new.push((INITRD_END, initrd.end.to_be_bytes().to_vec()));
        }
        if let Some(CrashMemory { elfcorehdr, usable }) = &chosen.crash {
            new.push((ELFCOREHDR, self.cells.encode([elfcorehdr])?));
            // A second region, below 4 GiB, follows the one that it lies in.
            new.push((USABLE, self.cells.encode(usable.iter().rev())?));
        }
        Ok(new)
    }
}

fn check_len(len: u64) -> Result<(), LayoutError> {
    const MAX_LEN: u64 = DeviceTree::MAX_LEN;
    if len > MAX_LEN {
        return Err(LayoutError::new(format!(
            "the device tree has {len:#x} bytes, and kernels map {MAX_LEN:#x}"
        )));
    }
    Ok(())
}

const ITS: &str = "the next kernel may be overwritten: the interrupt controller (GICv3 with ITS) \
                   keeps tables in memory, and without UEFI nothing says where; the kernel is \
                   placed at the end of memory to avoid them";
const SYSTEM_TABLE: &str = "linux,uefi-system-table";
/// Linux, `drivers/firmware/efi/fdtparams.c` and `libstub/fdt.c`.
const UEFI: [&str; 6] = [
    SYSTEM_TABLE,
    "linux,uefi-mmap-start",
    "linux,uefi-mmap-size",
    "linux,uefi-mmap-desc-size",
    "linux,uefi-mmap-desc-ver",
    "linux,uefi-secure-boot",
];
const ELFCOREHDR: &str = "linux,elfcorehdr";
const USABLE: &str = "linux,usable-memory-range";
/// The running kernel found these there, and the next one must not.
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

#[cfg(test)]
mod tests;
