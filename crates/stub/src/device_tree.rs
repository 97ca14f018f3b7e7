//! Device trees: the name of the machine in one, and whether two say the same of a
//! machine.
//!
//! Spec: Devicetree Specification 0.4, 5 "Flattened Devicetree (DTB) Format". A comparison
//! leaves out the nodes that firmware and boot loaders change: `/chosen`, and memory.

use std::collections::BTreeMap;
use std::io;

use ukexec_pe::ReadAt;

const MAGIC: u32 = 0xd00d_feed;
pub(crate) const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
pub(crate) const PROP: u32 = 3;
pub(crate) const NOP: u32 = 4;
const END: u32 = 9;

/// A tree with deeper nodes is none; Linux takes no deeper one.
const DEPTH_MAX: usize = 64;

/// Returns whether both are device trees with the same nodes and properties, in any
/// order, but for those that differ from boot to boot.
#[must_use]
pub fn is_same_tree(one: &[u8], other: &[u8]) -> bool {
    let properties = properties(one);
    properties.is_some() && properties == self::properties(other)
}

/// Returns the properties of a tree by their paths, and an empty one for each node.
fn properties(tree: &[u8]) -> Option<BTreeMap<Vec<u8>, &[u8]>> {
    let field = |index: usize| {
        let (word, _) = tree.get(index.checked_mul(4)?..)?.split_first_chunk()?;
        Some(u32::from_be_bytes(*word))
    };
    let at = |index| tree.get(usize::try_from(field(index)?).ok()?..);
    if field(0)? != MAGIC {
        return None;
    }
    let (mut nodes, names) = (at(2)?, at(3)?);
    let mut found = BTreeMap::new();
    let mut path: Vec<&[u8]> = Vec::new();
    loop {
        match word(&mut nodes)? {
            NOP => {}
            BEGIN_NODE => {
                let name = text(nodes)?;
                let len = u32::try_from(name.len().checked_add(1)?).ok()?;
                (_, nodes) = padded(nodes, len)?;
                path.push(name);
                if path.len() > DEPTH_MAX {
                    return None;
                }
                if counts(&path) {
                    found.insert([&path.join(&b'/'), &b"/"[..]].concat(), &[][..]);
                }
            }
            PROP => {
                let len = word(&mut nodes)?;
                let name = usize::try_from(word(&mut nodes)?).ok()?;
                let (value, behind) = padded(nodes, len)?;
                let name = text(names.get(name..)?)?;
                nodes = behind;
                if counts(&path) {
                    found.insert([&path.join(&b'/'), &b"/"[..], name].concat(), value);
                }
            }
            END_NODE => {
                path.pop()?;
            }
            END => return path.is_empty().then_some(found),
            _ => return None,
        }
    }
}

/// Returns whether the node at `path` is the same at each boot.
fn counts(path: &[&[u8]]) -> bool {
    // The root has no name.
    path.get(1).is_none_or(|top| {
        let name = top.split(|byte| *byte == b'@').next().unwrap_or(top);
        !matches!(name, b"chosen" | b"memory")
    })
}

/// Returns the text in front of the first NUL.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    bytes.get(..end)
}

/// So many bytes of a device tree's nodes are looked at: properties of the root come first.
const NODES_MAX: u64 = 4096;

/// Returns the first string of the property `compatible` of a device tree's root.
pub(crate) fn compatible(tree: &(impl ReadAt + ?Sized)) -> io::Result<Option<Vec<u8>>> {
    let Some(header) = read(tree, 0)? else {
        return Ok(None);
    };
    let header: [u8; 40] = header;
    let [
        magic,
        total,
        nodes_at,
        names_at,
        _,
        _,
        _,
        _,
        names_len,
        nodes_len,
    ] = words(&header, u32::from_be_bytes);
    let [total, nodes_at, names_at, names_len, nodes_len] =
        [total, nodes_at, names_at, names_len, nodes_len].map(u64::from);
    if magic != MAGIC
        || total > tree.len()
        || names_at.saturating_add(names_len) > total
        || nodes_at.saturating_add(nodes_len) > names_at
        || !nodes_at.is_multiple_of(4)
    {
        return Ok(None);
    }
    let len = usize::try_from(nodes_len.min(NODES_MAX)).map_err(io::Error::other)?;
    let mut nodes = vec![0; len];
    tree.read_at(nodes_at, &mut nodes)
        .map_err(io::Error::other)?;
    let mut nodes = nodes.as_slice();
    loop {
        match word(&mut nodes) {
            Some(NOP) => {}
            // The root has no name.
            Some(BEGIN_NODE) if word(&mut nodes) == Some(0) => {}
            Some(PROP) => {
                let (Some(len), Some(name)) = (word(&mut nodes), word(&mut nodes)) else {
                    return Ok(None);
                };
                let Some((value, behind)) = padded(nodes, len) else {
                    return Ok(None);
                };
                nodes = behind;
                let name = u64::from(name);
                if name.saturating_add(11) > names_len {
                    continue;
                }
                let name = read(tree, names_at.saturating_add(name))?;
                if name == Some(*b"compatible\0") {
                    let first = value.split_last().filter(|(last, _)| **last == 0);
                    let first = first.and_then(|(_, it)| it.split(|byte| *byte == 0).next());
                    return Ok(first.map(<[u8]>::to_vec));
                }
            }
            _ => return Ok(None),
        }
    }
}

/// Takes a number off the front of `bytes`.
fn word(bytes: &mut &[u8]) -> Option<u32> {
    let (word, behind) = bytes.split_first_chunk()?;
    *bytes = behind;
    Some(u32::from_be_bytes(*word))
}

/// Splits `bytes` behind the first `len`, and behind the padding up to a multiple of 4.
fn padded(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(len).ok()?;
    let behind = bytes.get(len.checked_next_multiple_of(4)?..)?;
    Some((bytes.get(..len)?, behind))
}

/// Returns the `N` bytes at `offset`, if they are there.
pub(crate) fn read<const N: usize>(
    bytes: &(impl ReadAt + ?Sized),
    offset: u64,
) -> io::Result<Option<[u8; N]>> {
    let mut buf = [0; N];
    let len = u64::try_from(N).map_err(io::Error::other)?;
    if offset.checked_add(len).is_none_or(|end| end > bytes.len()) {
        return Ok(None);
    }
    bytes.read_at(offset, &mut buf).map_err(io::Error::other)?;
    Ok(Some(buf))
}

/// Returns the numbers that `bytes` begin with; zeros behind the last.
pub(crate) fn words<const N: usize>(bytes: &[u8], read: fn([u8; 4]) -> u32) -> [u32; N] {
    let mut words = bytes.as_chunks().0.iter().copied().map(read);
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    enum Token {
        Begin(&'static str),
        Prop(&'static str, &'static [u8]),
        End,
        Nop,
    }
    use Token::{Begin, End, Nop, Prop};

    /// Returns a tree without a map of reserved memory.
    fn tree(tokens: &[Token]) -> Vec<u8> {
        let (mut nodes, mut names) = (Vec::new(), Vec::new());
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        for token in tokens {
            match token {
                Begin(name) => {
                    nodes.extend([&1_u32.to_be_bytes()[..], name.as_bytes(), b"\0"].concat());
                    pad(&mut nodes);
                }
                Prop(name, value) => {
                    let head = [3, value.len() as u32, names.len() as u32];
                    nodes.extend(head.into_iter().flat_map(u32::to_be_bytes));
                    nodes.extend(*value);
                    pad(&mut nodes);
                    names.extend([name.as_bytes(), b"\0"].concat());
                }
                End => nodes.extend(2_u32.to_be_bytes()),
                Nop => nodes.extend(4_u32.to_be_bytes()),
            }
        }
        nodes.extend(9_u32.to_be_bytes());
        let names_at = 40 + nodes.len() as u32;
        let total = names_at + names.len() as u32;
        let header = [
            MAGIC,
            total,
            40,
            names_at,
            0,
            17,
            16,
            0,
            names.len() as u32,
            nodes.len() as u32,
        ];
        let header: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
        [header, nodes, names].concat()
    }

    #[test]
    fn order_and_the_nodes_of_a_boot_make_no_difference() {
        let bare = tree(&[
            Begin(""),
            Prop("model", b"x\0"),
            Begin("soc"),
            Prop("a", b"1"),
            End,
            End,
        ]);
        let booted = tree(&[
            Begin(""),
            Begin("soc"),
            Nop,
            Prop("a", b"1"),
            End,
            Begin("chosen"),
            Prop("bootargs", b"quiet\0"),
            End,
            Begin("memory@40000000"),
            Prop("reg", b"\0\0\0\x40"),
            End,
            Prop("model", b"x\0"),
            End,
        ]);
        assert!(is_same_tree(&bare, &booted));
        for other in [
            &[
                Begin(""),
                Prop("model", b"y\0"),
                Begin("soc"),
                Prop("a", b"1"),
                End,
                End,
            ][..],
            &[Begin(""), Prop("model", b"x\0"), Begin("soc"), End, End],
            &[
                Begin(""),
                Prop("model", b"x\0"),
                Begin("soc"),
                Prop("a", b"1"),
                End,
                Begin("b"),
                End,
                End,
            ],
            &[
                Begin(""),
                Prop("model", b"x\0"),
                Begin("soc"),
                Prop("a", b"1"),
                End,
            ],
        ] {
            assert!(!is_same_tree(&bare, &tree(other)));
        }
        assert!(!is_same_tree(b"", b""));
        assert!(!is_same_tree(&bare[..bare.len() - 1], &bare));
    }

    #[test]
    fn a_tree_is_not_too_deep() {
        let deep = |depth| {
            let begin = (0..depth).map(|_| Begin("n"));
            let end = (0..depth).map(|_| End);
            let tree = tree(&begin.chain(end).collect::<Vec<_>>());
            is_same_tree(&tree, &tree)
        };
        assert!(deep(64));
        assert!(!deep(65));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_tree_or_none(
            edits in prop::collection::vec((0_usize..200, any::<u8>()), 0..8),
        ) {
            let mut bytes = tree(&[Begin(""), Prop("model", b"x\0"), Begin("soc"), Prop("a", b"1"), End, End]);
            for (at, byte) in edits {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let _any = is_same_tree(&bytes, &bytes);
        }
    }
}
