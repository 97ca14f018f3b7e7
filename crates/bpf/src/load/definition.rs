//! Definitions of maps as libbpf's `__uint()`, `__type()` and `__ulong()`
//! write them: a struct whose members' types say it all.

use super::limits::MAX_VALUE_BYTES;
use crate::bounds::size;
use crate::btf::{Btf, Kind, Linkage, Member, TypeId};
use crate::{BpfError, Map, MapKind};

/// The most bytes of a hash map's key (Linux `MAX_BPF_STACK`).
const MAX_KEY_BYTES: u32 = 512;

/// Map flags (Linux `uapi/linux/bpf.h`) that change nothing here: how the
/// kernel allocates, and what user space may do.
const HARMLESS_FLAGS: u32 = NO_PREALLOC | NUMA_NODE | ZERO_SEED | RDONLY | WRONLY;
const NO_PREALLOC: u32 = 1;
const NO_COMMON_LRU: u32 = 1 << 1;
const NUMA_NODE: u32 = 1 << 2;
const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
const ZERO_SEED: u32 = 1 << 6;
const RDONLY_PROG: u32 = 1 << 7;
const MMAPABLE: u32 = 1 << 10;

/// The types of maps that are offered, for messages.
const OFFERED: &str = "hash (1), array (2), percpu_hash (5), percpu_array (6), lru_hash (9), \
     lru_percpu_hash (10), queue (22), stack (23), ringbuf (27)";

/// Reads the definition of the map variable `var`, which lies at `offset` of a
/// section of `section_size` bytes.
pub(super) fn read(
    btf: &Btf,
    var: TypeId,
    offset: u64,
    section_size: u64,
) -> Result<Map, BpfError> {
    let variable = btf.get(var);
    let name = btf.text(variable.name).into_owned();
    let definition = Definition::read(btf, &variable.kind, offset, section_size);
    definition
        .map_err(|error| error.of(format!("map {name}")))?
        .into_map(name)
}

#[derive(Debug, Default)]
pub(super) struct Definition {
    pub(super) kind: Option<u32>,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

impl Definition {
    fn read(btf: &Btf, variable: &Kind, offset: u64, section_size: u64) -> Result<Self, BpfError> {
        const NO_STRUCT: &str =
            "its definition is not a struct of __uint(), __type() and __ulong() members";
        let Kind::Var { ty, linkage } = *variable else {
            return Err(BpfError::new(NO_STRUCT));
        };
        if linkage != Linkage::Global {
            let text = "a map must be a global variable, this one is static";
            return Err(BpfError::new(text));
        }
        let ty = btf.resolve(ty);
        let is_struct = matches!(btf.get(ty).kind, Kind::Composite { is_union, .. } if !is_union);
        let Some(size) = btf.size(ty).filter(|_| is_struct) else {
            return Err(BpfError::new(NO_STRUCT));
        };
        let end = offset.checked_add(size);
        if end.is_none_or(|end| end > section_size) {
            let text = "its definition passes the end of section .maps";
            return Err(BpfError::new(text));
        }
        let mut found = Self::default();
        for member in btf.members(ty) {
            found.read_member(btf, member)?;
        }
        Ok(found)
    }

    fn read_member(&mut self, btf: &Btf, member: &Member) -> Result<(), BpfError> {
        let number = || number(btf, member);
        let size = || pointee_size(btf, member);
        let zero = |field, expected| {
            let found = number()?;
            check(field, found, found == 0, expected)
        };
        match btf.name(member.name) {
            b"type" => self.kind = Some(number()?),
            b"max_entries" => self.max_entries = number()?,
            b"map_flags" => self.flags = number()?,
            b"key_size" => self.key_size = same("key_size", self.key_size, number()?)?,
            b"value_size" => self.value_size = same("value_size", self.value_size, number()?)?,
            b"key" => self.key_size = same("key", self.key_size, size()?)?,
            b"value" => self.value_size = same("value", self.value_size, size()?)?,
            // Where memory lies is no concern here.
            b"numa_node" => {}
            b"pinning" => zero("pinning", "0: parsers leave nothing behind")?,
            b"map_extra" => zero("map_extra", "0")?,
            _ => {
                let field = btf.text(member.name);
                return Err(BpfError::new(format!("{field} is not offered")));
            }
        }
        Ok(())
    }

    /// Returns the map called `name` that is defined so.
    pub(super) fn into_map(self, name: String) -> Result<Map, BpfError> {
        let kind = self.check();
        let kind = kind.map_err(|error| error.of(format!("map {name}")))?;
        Ok(Map {
            name,
            kind,
            key_size: self.key_size,
            value_size: self.value_size,
            max_entries: self.max_entries,
            initial: None,
            read_only: self.flags & RDONLY_PROG != 0,
        })
    }

    fn check(&self) -> Result<MapKind, BpfError> {
        let untyped = || BpfError::new("its type is not given");
        let number = self.kind.ok_or_else(untyped)?;
        let kind = MapKind::from_number(number).ok_or_else(|| {
            BpfError::new(format!(
                "maps of type {} ({number}) are not offered; offered: {OFFERED}",
                type_name(number)
            ))
        })?;
        let allowed = match kind {
            MapKind::Hash | MapKind::PerCpuHash => HARMLESS_FLAGS | RDONLY_PROG,
            MapKind::LruHash { .. } => HARMLESS_FLAGS & !NO_PREALLOC | NO_COMMON_LRU | RDONLY_PROG,
            MapKind::Array => HARMLESS_FLAGS & !NO_PREALLOC | RDONLY_PROG | MMAPABLE,
            MapKind::PerCpuArray => HARMLESS_FLAGS & !NO_PREALLOC & !NUMA_NODE | RDONLY_PROG,
            MapKind::Queue | MapKind::Stack => NUMA_NODE | RDONLY | WRONLY,
            MapKind::RingBuffer => NUMA_NODE,
        };
        let others = self.flags & !allowed;
        if others != 0 {
            return Err(BpfError::new(format!(
                "map_flags {others:#x} are not offered for this type"
            )));
        }
        let (entries, key, value) = (self.max_entries, self.key_size, self.value_size);
        check("max_entries", entries, entries > 0, "1 or more")?;
        let is_ring = kind == MapKind::RingBuffer;
        let (good, expected) = match kind {
            MapKind::Array | MapKind::PerCpuArray => (key == 4, "4 for an array"),
            MapKind::RingBuffer => (key == 0, "absent for a ring buffer"),
            MapKind::Queue | MapKind::Stack => (key == 0, "absent for a queue or stack"),
            MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash { .. } => (key > 0, "1 or more"),
        };
        check("key_size", key, good, expected)?;
        let expected = if is_ring {
            "absent for a ring buffer"
        } else {
            "1 or more"
        };
        check("value_size", value, (value == 0) == is_ring, expected)?;
        check("key_size", key, key <= MAX_KEY_BYTES, "512 or less")?;
        let fits = u64::from(value) <= MAX_VALUE_BYTES;
        check("value_size", value, fits, "256 MiB or less")?;
        Ok(kind)
    }
}

/// Checks that `key` and `key_size`, if both are there, say the same.
fn same(field: &str, known: u32, found: u32) -> Result<u32, BpfError> {
    let expected = "what the other of type and size says";
    check(field, found, known == 0 || known == found, expected)?;
    Ok(found)
}

fn check(field: &str, found: u32, good: bool, expected: &str) -> Result<(), BpfError> {
    if good {
        return Ok(());
    }
    let text = format!("{field} is {found}, and must be {expected}");
    Err(BpfError::new(text))
}

/// Reads what `__uint(name, value)` wrote: a pointer to an array of so many
/// elements; or `__ulong()`, an enum of one value.
fn number(btf: &Btf, member: &Member) -> Result<u32, BpfError> {
    let number = match *btf.resolved_kind(member.ty) {
        Kind::Ptr(to) => match *btf.resolved_kind(to) {
            Kind::Array { len, .. } => Some(len),
            _ => None,
        },
        Kind::Enum { .. } => {
            let value = btf.values(btf.resolve(member.ty)).first();
            value.and_then(|value| u32::try_from(value.value).ok())
        }
        _ => None,
    };
    number.ok_or_else(|| misshapen(btf, member))
}

/// Reads what `__type(name, type)` wrote: a pointer to the type.
fn pointee_size(btf: &Btf, member: &Member) -> Result<u32, BpfError> {
    let size = match *btf.resolved_kind(member.ty) {
        Kind::Ptr(to) => btf.size(to).and_then(|size| u32::try_from(size).ok()),
        _ => None,
    };
    size.ok_or_else(|| misshapen(btf, member))
}

fn misshapen(btf: &Btf, member: &Member) -> BpfError {
    let field = btf.text(member.name);
    let text = format!("{field} is not written as __uint() or __type() write it");
    BpfError::new(text)
}

/// Returns the name of a map type (Linux `enum bpf_map_type`).
fn type_name(number: u32) -> &'static str {
    const NAMES: &str = "unspec hash array prog_array perf_event_array percpu_hash percpu_array \
         stack_trace cgroup_array lru_hash lru_percpu_hash lpm_trie array_of_maps hash_of_maps \
         devmap sockmap cpumap xskmap sockhash cgroup_storage reuseport_sockarray \
         percpu_cgroup_storage queue stack sk_storage devmap_hash struct_ops ringbuf \
         inode_storage task_storage bloom_filter user_ringbuf cgrp_storage arena insn_array";
    NAMES.split(' ').nth(size(number)).unwrap_or("unknown")
}
