//! The changes of a seed: bits flip, fields lie, bytes are cut, moved, and taken
//! from another seed.

use crate::fields::{Field, number};
use crate::seeds::Seed;

/// Steele and Vigna's splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns the sequence that belongs to a number; those of neighbours have
    /// nothing in common.
    pub(crate) fn of(number: u64) -> Self {
        let first = Self(number).next();
        Self(first)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    /// Returns a number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Returns `seed` with one to eight mutations, often few; `other` gives bytes.
pub(crate) fn mutate(seed: &Seed, other: &Seed, random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.bytes.clone();
    let most = *random.pick(&[1, 2, 4, 8]);
    for _ in 0..=random.below(most) {
        if bytes.is_empty() {
            break;
        }
        match random.below(32) {
            // A group first, or headers would be lost among instructions.
            0..=13 if !seed.groups.is_empty() => {
                let group = random.pick(&seed.groups);
                let field = *random.pick(group);
                lie(&mut bytes, field, seed, random);
            }
            0..=18 => {
                let width = *random.pick(&[1, 2, 4, 8]);
                let at = random.below(bytes.len()) / width * width;
                lie(&mut bytes, Field { at, width }, seed, random);
            }
            19..=24 => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            25..=27 => move_within(&mut bytes, random),
            28 | 29 => splice(&mut bytes, &other.bytes, random),
            30 => bytes.truncate(random.below(bytes.len())),
            _ => grow(&mut bytes, random),
        }
    }
    bytes
}

/// Writes another number to a field.
fn lie(bytes: &mut [u8], Field { at, width }: Field, seed: &Seed, random: &mut Random) {
    let Some(place) = bytes.get_mut(at..at + width) else {
        return;
    };
    let mut old = [0; 8];
    old[..width].copy_from_slice(place);
    let old = u64::from_le_bytes(old);
    let near = random.below(17) as u64;
    let new = match random.below(10) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.below(8 * width),
        3 => (1 << random.below(8 * width)) - 1,
        4 => old.wrapping_add(near).wrapping_sub(8),
        5 => old ^ 1 << random.below(8 * width),
        // Where files and sections end.
        6 => (seed.bytes.len() as u64).wrapping_add(near).wrapping_sub(8),
        // The value of another field.
        7 if !seed.groups.is_empty() => {
            let group = random.pick(&seed.groups);
            let Field { at, width } = *random.pick(group);
            number(&seed.bytes, at, width) as u64
        }
        8 => near,
        _ => random.next(),
    };
    place.copy_from_slice(&new.to_le_bytes()[..width]);
}

/// Copies some bytes over others of the file, often whole instructions.
fn move_within(bytes: &mut [u8], random: &mut Random) {
    let unit = *random.pick(&[1, 8, 8, 24, 64]);
    let units = bytes.len() / unit;
    if units == 0 {
        return;
    }
    let (from, to) = (random.below(units), random.below(units));
    let longest = (units - from.max(to)).min(16);
    let len = unit * (1 + random.below(longest));
    bytes.copy_within(from * unit..from * unit + len, to * unit);
}

/// Puts some bytes of another seed over those here, or between them.
fn splice(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if other.is_empty() {
        return;
    }
    let from = random.below(other.len());
    let taken = &other[from..];
    let taken = &taken[..1 + random.below(taken.len().min(4096))];
    let at = random.below(bytes.len());
    let over = if random.below(4) == 0 {
        0
    } else {
        taken.len().min(bytes.len() - at)
    };
    bytes.splice(at..at + over, taken.iter().copied());
}

/// Appends bytes.
fn grow(bytes: &mut Vec<u8>, random: &mut Random) {
    let byte = *random.pick(&[0, 0xff, b'A']);
    let len = bytes.len() + random.below(8192);
    bytes.resize(len, byte);
}
