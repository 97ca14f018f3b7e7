//! The flattened form of a device tree: its blocks, and a walk over the nodes and properties.
//!
//! Spec: Devicetree Specification 0.4, "5. Flattened Devicetree (DTB) Format". Names may have any
//! length and any letters, as in libfdt and Linux: those of real boards are longer than the 31
//! that the specification allows.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::LayoutError;

/// A flattened tree whose blocks lie inside it.
pub(crate) struct Flattened<'a> {
    /// Start and length of each reservation.
    pub(crate) reservations: Vec<(u64, u64)>,
    pub(crate) structure: &'a [u8],
    /// Names, each with its NUL, down to the last byte.
    pub(crate) strings: &'a [u8],
    pub(crate) boot_cpuid_phys: u32,
}

/// A node, and where in the structure block it is.
pub(crate) struct Node<'a> {
    /// The root has depth 1.
    pub(crate) depth: usize,
    pub(crate) name: &'a [u8],
    pub(crate) properties: Vec<Property<'a>>,
    pub(crate) span: Range<usize>,
    /// The nodes in it.
    pub(crate) nodes: Range<usize>,
}

pub(crate) struct Property<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) value: &'a [u8],
    /// Where in the structure block it is.
    pub(crate) span: Range<usize>,
}

/// A step of a walk, and where it stands in the structure block.
struct Step<'a> {
    token: Token<'a>,
    span: Range<usize>,
}

enum Token<'a> {
    BeginNode(&'a [u8]),
    /// Name and value.
    Property(Name<'a>, &'a [u8]),
    EndNode,
    End,
}

/// The name of a property: names may share their ends, so that it is looked for in the strings
/// block from its start on, and never searched for its end. A hostile tree has one long name for
/// each of its properties.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a>(&'a [u8]);

impl Name<'_> {
    pub(crate) fn is(self, name: &str) -> bool {
        let rest = self.0.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

impl<'a> Node<'a> {
    /// Returns the value of a property.
    pub(crate) fn value(&self, name: &str) -> Option<&'a [u8]> {
        let mut properties = self.properties.iter();
        let found = properties.find(|it| it.name.is(name));
        found.map(|it| it.value)
    }

    /// Whether it is `/NAME`, whatever follows an `@` in its own name.
    pub(crate) fn is_at(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name.as_bytes());
        self.depth == 2 && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'@')))
    }

    /// Spec: Devicetree Specification 0.4, "2.3.4 status".
    pub(crate) fn is_available(&self) -> bool {
        matches!(self.value("status"), None | Some(b"okay\0" | b"ok\0"))
    }
}

impl<'a> Flattened<'a> {
    /// Reads the header and the places of the blocks. Bytes behind the tree are left out.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        let damaged = |what: &str| LayoutError::new(format!("the device tree: {what}"));
        let field = |index: usize| u32_at(bytes, index.saturating_mul(4));
        if field(0) != Some(MAGIC) {
            return Err(damaged("does not begin with 0xd00dfeed"));
        }
        let len = field(1).and_then(|len| usize::try_from(len).ok());
        let bytes = len.and_then(|len| bytes.get(..len));
        let bytes = bytes.ok_or_else(|| damaged("ends before its totalsize"))?;
        let field = |index: usize| u32_at(bytes, index.saturating_mul(4)).unwrap_or(0);
        if field(5) < VERSION || field(6) > VERSION {
            let (version, compatible) = (field(5), field(6));
            return Err(damaged(&format!(
                "version {version}, compatible with {compatible}, and version 17 is needed"
            )));
        }
        let block = |name: &str, start: u32, len: Option<u32>| {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let rest = bytes.get(start..);
            let block = match len.map(usize::try_from) {
                Some(len) => rest.and_then(|it| it.get(..len.ok()?)),
                None => rest,
            };
            block.ok_or_else(|| damaged(&format!("its {name} block reaches beyond it")))
        };
        let reservations = block("reservation", field(4), None)?;
        let strings = block("strings", field(3), Some(field(8)))?;
        let names_len = strings.iter().rposition(|&byte| byte == 0);
        let names_len = names_len.map_or(0, |last| last.saturating_add(1));
        Ok(Self {
            reservations: reservations_in(reservations)
                .ok_or_else(|| damaged("its reservation block has no end"))?,
            structure: block("structure", field(2), Some(field(9)))?,
            strings: strings.get(..names_len).unwrap_or_default(),
            boot_cpuid_phys: field(7),
        })
    }

    /// Returns all nodes, the root first, each in front of those in it.
    pub(crate) fn nodes(&self) -> Result<Vec<Node<'a>>, LayoutError> {
        let mut nodes: Vec<Node<'a>> = Vec::new();
        let (mut open, mut at, mut is_head) = (Vec::new(), 0, false);
        loop {
            let Step { token, span } = self.step(at)?;
            let place = at;
            at = span.end;
            match token {
                Token::BeginNode(name) if nodes.is_empty() || !open.is_empty() => {
                    open.push(nodes.len());
                    nodes.push(Node {
                        depth: open.len(),
                        name,
                        properties: Vec::new(),
                        nodes: span.end..span.end,
                        span,
                    });
                    is_head = true;
                }
                Token::Property(name, value) => {
                    let node = nodes.last_mut().filter(|_| is_head);
                    let node = node.ok_or_else(|| stray(place))?;
                    node.nodes = span.end..span.end;
                    node.properties.push(Property { name, value, span });
                }
                Token::EndNode => {
                    let node = open.pop().and_then(|index: usize| nodes.get_mut(index));
                    let node = node.ok_or_else(|| unbalanced(place))?;
                    node.nodes.end = span.start;
                    node.span.end = span.end;
                    is_head = false;
                }
                Token::End if open.is_empty() && !nodes.is_empty() => return Ok(nodes),
                Token::BeginNode(_) | Token::End => return Err(unbalanced(place)),
            }
        }
    }

    /// Returns the step at `at` of the structure block.
    fn step(&self, at: usize) -> Result<Step<'a>, LayoutError> {
        let damaged = || {
            LayoutError::new(format!(
                "the device tree: {at:#x} bytes into its structure block is no token, or one that \
                 reaches beyond it"
            ))
        };
        self.token(at).ok_or_else(damaged)
    }

    fn token(&self, at: usize) -> Option<Step<'a>> {
        let mut start = at;
        while u32_at(self.structure, start)? == NOP {
            start = start.checked_add(4)?;
        }
        let behind = start.checked_add(4)?;
        let (token, end) = match u32_at(self.structure, start)? {
            BEGIN_NODE => {
                let name = until_nul(self.structure.get(behind..)?)?;
                (
                    Token::BeginNode(name),
                    behind.checked_add(name.len())?.checked_add(1)?,
                )
            }
            PROPERTY => {
                let number = |at| usize::try_from(u32_at(self.structure, at)?).ok();
                let name_at = number(behind.checked_add(4)?)?;
                let name = self.strings.get(name_at..).filter(|it| !it.is_empty())?;
                let value_at = behind.checked_add(8)?;
                let end = value_at.checked_add(number(behind)?)?;
                let value = self.structure.get(value_at..end)?;
                (Token::Property(Name(name), value), end)
            }
            END_NODE => (Token::EndNode, behind),
            END => (Token::End, behind),
            _ => return None,
        };
        let span = start..end.checked_next_multiple_of(4)?;
        Some(Step { token, span })
    }
}

/// Writes a tree of these blocks.
pub(crate) fn write(
    reservations: &[(u64, u64)],
    boot_cpuid_phys: u32,
    structure: &[u8],
    strings: &[u8],
) -> Option<Vec<u8>> {
    let len = |it: &[u8]| u32::try_from(it.len()).ok();
    let all = reservations.iter().chain(&[(0, 0)]);
    let all = all.flat_map(|(start, len)| [start.to_be_bytes(), len.to_be_bytes()]);
    let reservations: Vec<u8> = all.flatten().collect();
    let structure_at = HEADER_LEN.checked_add(len(&reservations)?)?;
    let strings_at = structure_at.checked_add(len(structure)?)?;
    let total = strings_at.checked_add(len(strings)?)?;
    let header = [
        MAGIC,
        total,
        structure_at,
        strings_at,
        HEADER_LEN,
        VERSION,
        COMPATIBLE,
        boot_cpuid_phys,
        len(strings)?,
        len(structure)?,
    ];
    let header = header.map(u32::to_be_bytes);
    Some([header.as_flattened(), &reservations, structure, strings].concat())
}

/// Writes a property whose name is in `strings`, or is put there.
pub(crate) fn property(structure: &mut Vec<u8>, strings: &mut Vec<u8>, name: &str, value: &[u8]) {
    let name = [name.as_bytes(), &[0]].concat();
    let known = strings.windows(name.len()).position(|it| it == name);
    let at = known.unwrap_or_else(|| {
        let at = strings.len();
        strings.extend(&name);
        at
    });
    let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    let head = [PROPERTY, number(value.len()), number(at)];
    structure.extend(head.map(u32::to_be_bytes).as_flattened());
    structure.extend(value);
    pad(structure);
}

/// Writes the begin of a node.
pub(crate) fn begin_node(structure: &mut Vec<u8>, name: &str) {
    structure.extend(BEGIN_NODE.to_be_bytes());
    structure.extend(name.as_bytes());
    structure.push(0);
    pad(structure);
}

pub(crate) fn end_node(structure: &mut Vec<u8>) {
    structure.extend(END_NODE.to_be_bytes());
}

fn stray(at: usize) -> LayoutError {
    LayoutError::new(format!(
        "the device tree: a property {at:#x} bytes into its structure block is at the head of no \
         node"
    ))
}

fn unbalanced(at: usize) -> LayoutError {
    LayoutError::new(format!(
        "the device tree: begins and ends of nodes do not match, {at:#x} bytes into its structure \
         block"
    ))
}

fn pad(structure: &mut Vec<u8>) {
    structure.resize(structure.len().next_multiple_of(4), 0);
}

fn reservations_in(mut bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut reservations = Vec::new();
    loop {
        let (start, rest) = bytes.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        match (u64::from_be_bytes(*start), u64::from_be_bytes(*len)) {
            (0, 0) => return Some(reservations),
            reservation => reservations.push(reservation),
        }
        bytes = rest;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    let len = bytes.iter().position(|&byte| byte == 0)?;
    bytes.get(..len)
}

const MAGIC: u32 = 0xd00d_feed;
const HEADER_LEN: u32 = 40;
const VERSION: u32 = 17;
/// The oldest version that readers of what is written may know.
const COMPATIBLE: u32 = 16;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
