//! Maps, for the life of one [`crate::Vm`].
//!
//! A program holds a map by its handle, an address without memory behind it.
//! The values of an array are one region, those of a hash one region each, so
//! that a deleted value is never mistaken for one that is there.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "sizes are products of u32 in u64, and indexes were checked"
    )
)]

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::guest::memory::{Memory, too_wide};
use crate::{BpfError, Map, MapKind, Parser};

/// Returns how many bytes the values of array `map` take: each starts at a
/// multiple of 8, as in Linux.
pub(crate) fn array_len(map: &Map) -> u64 {
    u64::from(map.value_size).next_multiple_of(8) * (u64::from(map.max_entries) - 1)
        + u64::from(map.value_size)
}

/// The maps of a parser, by their number.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    maps: Vec<Live>,
}

/// A map that exists.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) name: Arc<str>,
    /// The name of the regions of a hash's values.
    pub(crate) value_name: Arc<str>,
    pub(crate) handle: u64,
    pub(crate) kind: MapKind,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) read_only: bool,
    pub(crate) contents: Contents,
}

/// The content of a map.
#[derive(Debug)]
pub(crate) enum Contents {
    /// The address of the values.
    Array(u64),
    Hash(Hash),
    /// The values that were pushed, the oldest first.
    Queue(VecDeque<Box<[u8]>>),
    Ring(Ring),
}

/// The entries of a hash.
#[derive(Debug, Default)]
pub(crate) struct Hash {
    entries: BTreeMap<Arc<[u8]>, Entry>,
    /// The keys by their entries' age, for an LRU hash.
    ages: BTreeMap<u64, Arc<[u8]>>,
    next_age: u64,
}

/// A key, and the address of its value.
pub(crate) type Element = (Arc<[u8]>, u64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The address of the value.
    place: u64,
    age: u64,
}

impl Hash {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the address of the value at `key`.
    pub(crate) fn place(&self, key: &[u8]) -> Option<u64> {
        self.entries.get(key).map(|entry| entry.place)
    }

    /// Adds an entry that is not there. `ages` says whether entries grow old.
    pub(crate) fn insert(&mut self, key: &[u8], place: u64, ages: bool) {
        let key: Arc<[u8]> = key.into();
        let age = self.next_age;
        self.next_age += 1;
        if ages {
            self.ages.insert(age, Arc::clone(&key));
        }
        self.entries.insert(key, Entry { place, age });
    }

    /// Removes the entry at `key`, and returns the address of its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<u64> {
        let entry = self.entries.remove(key)?;
        self.ages.remove(&entry.age);
        Some(entry.place)
    }

    /// Returns the key of the oldest entry, if entries grow old.
    pub(crate) fn oldest(&self) -> Option<Arc<[u8]>> {
        self.ages.values().next().map(Arc::clone)
    }

    /// Returns the entry behind `key`, or the first.
    pub(crate) fn after(&self, key: Option<&[u8]>) -> Option<Element> {
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.entries.range::<[u8], _>((start, Bound::Unbounded));
        let (key, entry) = behind.next()?;
        Some((Arc::clone(key), entry.place))
    }
}

/// How full a ring buffer is. Nobody reads it, so what was reserved stays used.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) size: u64,
    pub(crate) used: u64,
    /// The records so far.
    pub(crate) records: u64,
}

impl Ring {
    /// Takes the room of a record of `len` bytes. Returns whether there was.
    pub(crate) fn take(&mut self, len: u64) -> bool {
        let needed = (len + 8).next_multiple_of(8);
        let fits = self.used + needed <= self.size;
        if fits {
            self.used += needed;
            self.records += 1;
        }
        fits
    }
}

impl Maps {
    /// Makes the maps of `parser`.
    pub(crate) fn new(parser: &Parser, memory: &mut Memory) -> Result<Self, BpfError> {
        let mut maps = Self::default();
        for map in &parser.maps {
            let live = Live::new(map, memory).map_err(|error| {
                match error.is_unreadable() || error.is_out_of_memory() {
                    true => error,
                    false => BpfError::new(format!("map {}: {error}", map.name)),
                }
            })?;
            maps.maps.push(live);
        }
        Ok(maps)
    }

    /// Returns map number `index`.
    pub(crate) fn by_index(&self, index: u64) -> Option<&Live> {
        self.maps.get(index as usize)
    }

    /// Returns the address of byte `offset` of the values of array `index`.
    pub(crate) fn value(&self, index: u32, offset: u64) -> u64 {
        match self.maps.get(index as usize).map(|map| &map.contents) {
            Some(Contents::Array(values)) => values + offset,
            _ => 0,
        }
    }

    /// Returns the map that `handle` names.
    pub(crate) fn by_handle(&mut self, handle: u64) -> Option<&mut Live> {
        let found = self.maps.binary_search_by_key(&handle, |map| map.handle);
        self.maps.get_mut(found.ok()?)
    }
}

impl Live {
    fn new(map: &Map, memory: &mut Memory) -> Result<Self, BpfError> {
        let name: Arc<str> = map.name.as_str().into();
        let contents = match map.kind {
            MapKind::RingBuffer => Contents::Ring(Ring {
                // Rounded up to a power of two, at least a page.
                size: u64::from(map.max_entries).next_power_of_two().max(4096),
                used: 0,
                records: 0,
            }),
            MapKind::Queue | MapKind::Stack => Contents::Queue(VecDeque::new()),
            MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash { .. } => {
                Contents::Hash(Hash::default())
            }
            MapKind::Array | MapKind::PerCpuArray => {
                Contents::Array(new_array(map, &name, memory)?)
            }
        };
        Ok(Self {
            handle: memory.add_handle(format!("map {name}").into())?,
            value_name: format!("value of {name}").into(),
            name,
            kind: map.kind,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            read_only: map.read_only,
            contents,
        })
    }

    /// Returns the address of the value at `key` (which has the right length),
    /// or NULL.
    pub(crate) fn lookup(&self, key: &[u8]) -> u64 {
        match &self.contents {
            Contents::Array(values) => self
                .array_index(key)
                .map_or(0, |index| values + self.stride() * index),
            Contents::Hash(hash) => hash.place(key).unwrap_or(0),
            Contents::Queue(_) | Contents::Ring(_) => 0,
        }
    }

    /// Returns the index that `key` of an array names, if there is one.
    pub(crate) fn array_index(&self, key: &[u8]) -> Option<u64> {
        let index = u32::from_le_bytes(*key.first_chunk()?);
        (index < self.max_entries).then_some(index.into())
    }

    fn stride(&self) -> u64 {
        u64::from(self.value_size).next_multiple_of(8)
    }
}

fn new_array(map: &Map, name: &Arc<str>, memory: &mut Memory) -> Result<u64, BpfError> {
    let len = array_len(map);
    memory.account.ask(len)?;
    let len = usize::try_from(len)
        .map_err(|_too_long| too_wide(&format!("the {len} bytes of {name}"), u32::MAX.into()))?;
    let mut values = vec![0; len];
    if let Some(initial) = &map.initial
        && let Some(start) = values.get_mut(..initial.len())
    {
        start.copy_from_slice(initial);
    }
    // The variables of a section are one value of a map, and need no index.
    let (name, apart) = match name.starts_with('.') {
        true => (Arc::clone(name), 0),
        false => (
            format!("map {name}").into(),
            map.value_size.next_multiple_of(8),
        ),
    };
    memory.add_array(name, values, !map.read_only, apart)
}
