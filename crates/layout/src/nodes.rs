//! The parts of a device tree that its edit depends on: `/chosen`, memory, reservations, and the
//! interrupt controller.
//!
//! Spec: Devicetree Specification 0.4, "3. Device Node Requirements"; Linux `drivers/of/fdt.c`
//! and `of_reserved_mem.c`, whose reading of unusual trees this is.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::LayoutError;
use crate::fdt::{Flattened, Node, Property};
use crate::ranges::len;

/// The nodes of a tree.
pub(crate) struct Found<'a> {
    nodes: Vec<Node<'a>>,
    /// Which of them is `/chosen`.
    chosen: Option<usize>,
    pub(crate) cells: Cells,
}

impl<'a> Found<'a> {
    pub(crate) fn read(tree: &Flattened<'a>) -> Result<Self, LayoutError> {
        let nodes = tree.nodes()?;
        // Linux takes the first node of that name.
        let chosen = nodes.iter().position(|it| it.is_at("chosen"));
        if nodes.iter().filter(|it| it.is_at("chosen")).count() > 1 {
            return Err(LayoutError::new("the device tree has /chosen twice"));
        }
        let cells = Cells::read(&nodes)?;
        Ok(Self {
            nodes,
            chosen,
            cells,
        })
    }

    fn chosen(&self) -> Option<&Node<'a>> {
        self.nodes.get(self.chosen?)
    }

    pub(crate) fn chosen_properties(&self) -> &[Property<'a>] {
        self.chosen().map_or(&[], |it| &it.properties)
    }

    /// Returns where `/chosen` is in the structure block, or may be put, and the nodes in it.
    pub(crate) fn place(&self) -> (Range<usize>, Range<usize>) {
        let end = self.nodes.first().map_or(0, |root| root.nodes.end);
        self.chosen().map_or((end..end, end..end), |it| {
            (it.span.clone(), it.nodes.clone())
        })
    }

    /// Removes the reservation that kept the initrd of the running kernel, in whole pages or not.
    pub(crate) fn drop_reservation(&self, tree: &mut Flattened<'_>) {
        let address = |name| match *self.chosen()?.value(name)? {
            [a, b, c, d] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
            ref value => Some(u64::from_be_bytes(value.try_into().ok()?)),
        };
        if let (Some(start), Some(end)) = (address(INITRD_START), address(INITRD_END)) {
            let size = end.saturating_sub(start);
            let pages = size.checked_next_multiple_of(PAGE).unwrap_or(size);
            let is_it = |it: &(u64, u64)| *it == (start, size) || *it == (start, pages);
            tree.reservations.retain(|it| !is_it(it));
        }
    }

    pub(crate) fn memory_nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        // This value is all that Linux looks at.
        let is_memory = |it: &&Node<'_>| it.value("device_type") == Some(b"memory\0");
        let nodes = self.nodes.iter().filter(|it| it.depth == 2);
        nodes.filter(|it| !it.is_at("chosen")).filter(is_memory)
    }

    /// Returns a range of the structure block, without the memory nodes in it.
    pub(crate) fn without_memory(&self, structure: &[u8], range: Range<usize>) -> Vec<u8> {
        let (mut left, mut at) = (Vec::new(), range.start);
        for Node { span, .. } in self.memory_nodes() {
            if range.contains(&span.start) {
                left.extend(structure.get(at..span.start).unwrap_or_default());
                at = span.end;
            }
        }
        left.extend(structure.get(at..range.end).unwrap_or_default());
        left
    }

    pub(crate) fn memory(&self) -> Vec<Range<u64>> {
        self.ranges(self.memory_nodes())
    }

    pub(crate) fn reserved(&self) -> Vec<Range<u64>> {
        let above = self.nodes.iter().find(|it| it.is_at("reserved-memory"));
        let above = above.map_or(0..0, |it| it.nodes.clone());
        let nodes = self.nodes.iter().filter(|it| it.depth == 3);
        self.ranges(nodes.filter(|it| above.contains(&it.span.start)))
    }

    /// Returns the addresses of nodes, by the root's cells: Linux asks that of those with memory.
    fn ranges<'b>(&self, nodes: impl Iterator<Item = &'b Node<'a>>) -> Vec<Range<u64>>
    where
        'a: 'b,
    {
        let nodes = nodes.filter(|it| it.is_available());
        let values = nodes.filter_map(|it| it.value("reg"));
        values.flat_map(|it| self.cells.decode(it)).collect()
    }

    /// Whether interrupts may be messages (GICv3 with ITS), whose tables stay in use.
    pub(crate) fn has_its(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| {
            let names = node.value("compatible").unwrap_or_default();
            let mut names = names.split(|&byte| byte == 0);
            names.any(|it| it == b"arm,gic-v3-its") && node.is_available()
        })
    }
}

/// How many 32-bit cells addresses and sizes have below the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cells {
    address: u8,
    size: u8,
}

impl Cells {
    fn read(nodes: &[Node<'_>]) -> Result<Self, LayoutError> {
        let root = nodes.first();
        let cells = |name: &str| match root.and_then(|root| root.value(name)) {
            None => Ok(DEFAULT_CELLS),
            Some(&[0, 0, 0, cells @ 1..=2]) => Ok(cells),
            Some(_) => Err(LayoutError::new(format!(
                "the device tree: expected 1 or 2 as {name} of the root"
            ))),
        };
        Ok(Self {
            address: cells("#address-cells")?,
            size: cells("#size-cells")?,
        })
    }

    /// Returns the ranges that a value has. As in Linux, none is empty.
    fn decode(&self, mut bytes: &[u8]) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        while let Some((start, rest)) = number(bytes, self.address)
            && let Some((len, rest)) = number(rest, self.size)
        {
            let range = start..start.saturating_add(len);
            ranges.extend((!range.is_empty()).then_some(range));
            bytes = rest;
        }
        ranges
    }

    pub(crate) fn encode<'a>(
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

fn number(bytes: &[u8], cells: u8) -> Option<(u64, &[u8])> {
    let len = usize::from(cells).checked_mul(4)?;
    let (number, rest) = bytes.split_at_checked(len)?;
    let fold = |all: u64, byte: &u8| (all << 8) | u64::from(*byte);
    Some((number.iter().fold(0, fold), rest))
}

pub(crate) const INITRD_START: &str = "linux,initrd-start";
pub(crate) const INITRD_END: &str = "linux,initrd-end";
/// The default of Linux (`OF_ROOT_NODE_ADDR_CELLS_DEFAULT`), which is not that of the
/// specification.
const DEFAULT_CELLS: u8 = 1;
/// The unit in which boot loaders reserve.
const PAGE: u64 = 4096;
