//! Definitions of maps as libbpf's `__uint()`, `__type()` and `__ulong()`
//! write them: a struct whose members' types say it all.

use super::maps::MAX_VALUE_BYTES;
use crate::bounds::size;
use crate::btf::{Btf, Kind, Linkage, Member, TypeId};
use crate::load::error::MapProblem;
use crate::{Map, MapKind};

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

/// Reads the definition of the map variable `var`.
pub(super) fn definition(
    btf: &Btf,
    var: TypeId,
    offset: u64,
    section_size: u64,
) -> Result<Map, MapProblem> {
    let variable = btf.get(var);
    let Kind::Var { ty, linkage } = variable.kind else {
        return Err(MapProblem::Shape);
    };
    if linkage != Linkage::Global {
        return Err(MapProblem::Static);
    }
    let ty = btf.resolve(ty);
    let Kind::Composite {
        is_union: false,
        size,
        ..
    } = btf.get(ty).kind
    else {
        return Err(MapProblem::Shape);
    };
    if offset
        .checked_add(u64::from(size))
        .is_none_or(|end| end > section_size)
    {
        return Err(MapProblem::Outside);
    }
    let mut found = Definition::default();
    for member in btf.members(ty) {
        found.read_member(btf, member)?;
    }
    found.into_map(btf.text(variable.name).into_owned())
}

/// What a definition says.
#[derive(Debug, Default)]
pub(crate) struct Definition {
    /// Linux `enum bpf_map_type`.
    pub(crate) kind: Option<u32>,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    /// `map_flags`.
    pub(crate) flags: u32,
}

impl Definition {
    fn read_member(&mut self, btf: &Btf, member: &Member) -> Result<(), MapProblem> {
        let name = btf.name(member.name);
        let number = || number(btf, member);
        match name {
            b"type" => self.kind = Some(number()?),
            b"max_entries" => self.max_entries = number()?,
            b"map_flags" => self.flags = number()?,
            b"key_size" => self.key_size = same("key_size", self.key_size, number()?)?,
            b"value_size" => self.value_size = same("value_size", self.value_size, number()?)?,
            b"key" => self.key_size = same("key", self.key_size, pointee_size(btf, member)?)?,
            b"value" => {
                self.value_size = same("value", self.value_size, pointee_size(btf, member)?)?;
            }
            // Where memory lies is no concern here.
            b"numa_node" => {}
            b"pinning" => check("pinning", number()?, 0, "0: parsers leave nothing behind")?,
            b"map_extra" => check("map_extra", number()?, 0, "0")?,
            _ => {
                return Err(MapProblem::Field {
                    field: btf.text(member.name).into_owned(),
                });
            }
        }
        Ok(())
    }

    /// Returns the map called `name` that is defined so.
    pub(crate) fn into_map(self, name: String) -> Result<Map, MapProblem> {
        let Self {
            kind,
            key_size,
            value_size,
            max_entries,
            flags,
        } = self;
        let number = kind.ok_or(MapProblem::NoType)?;
        let kind = MapKind::from_number(number).ok_or_else(|| MapProblem::Type {
            kind: type_name(number),
            number,
        })?;
        let allowed = match kind {
            MapKind::Hash | MapKind::PerCpuHash => HARMLESS_FLAGS | RDONLY_PROG,
            MapKind::LruHash { .. } => HARMLESS_FLAGS & !NO_PREALLOC | NO_COMMON_LRU | RDONLY_PROG,
            MapKind::Array => HARMLESS_FLAGS & !NO_PREALLOC | RDONLY_PROG | MMAPABLE,
            MapKind::PerCpuArray => HARMLESS_FLAGS & !NO_PREALLOC & !NUMA_NODE | RDONLY_PROG,
            MapKind::Queue | MapKind::Stack => NUMA_NODE | RDONLY | WRONLY,
            MapKind::RingBuffer => NUMA_NODE,
        };
        if flags & !allowed != 0 {
            return Err(MapProblem::Flags {
                flags: flags & !allowed,
            });
        }
        let positive = |field, found: u32| {
            let found = u64::from(found);
            let expected = "1 or more";
            if found == 0 {
                Err(MapProblem::Value {
                    field,
                    found,
                    expected,
                })
            } else {
                Ok(())
            }
        };
        positive("max_entries", max_entries)?;
        match kind {
            MapKind::Array | MapKind::PerCpuArray => {
                check("key_size", key_size, 4, "4 for an array")?;
            }
            MapKind::RingBuffer => {
                check("key_size", key_size, 0, "absent for a ring buffer")?;
                check("value_size", value_size, 0, "absent for a ring buffer")?;
            }
            MapKind::Queue | MapKind::Stack => {
                check("key_size", key_size, 0, "absent for a queue or stack")?;
            }
            MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash { .. } => {
                positive("key_size", key_size)?;
            }
        }
        if kind != MapKind::RingBuffer {
            positive("value_size", value_size)?;
        }
        if key_size > MAX_KEY_BYTES {
            let found = u64::from(key_size);
            return Err(MapProblem::Value {
                field: "key_size",
                found,
                expected: "512 or less",
            });
        }
        if u64::from(value_size) > MAX_VALUE_BYTES {
            let (found, expected) = (u64::from(value_size), "256 MiB or less");
            return Err(MapProblem::Value {
                field: "value_size",
                found,
                expected,
            });
        }
        let read_only = flags & RDONLY_PROG != 0;
        Ok(Map {
            name,
            kind,
            key_size,
            value_size,
            max_entries,
            initial: None,
            read_only,
        })
    }
}

/// Checks that `key` and `key_size`, if both are there, say the same.
fn same(field: &'static str, known: u32, found: u32) -> Result<u32, MapProblem> {
    if known == 0 || known == found {
        return Ok(found);
    }
    let expected = "what the other of type and size says";
    Err(MapProblem::Value {
        field,
        found: u64::from(found),
        expected,
    })
}

fn check(
    field: &'static str,
    found: u32,
    wanted: u32,
    expected: &'static str,
) -> Result<(), MapProblem> {
    if found == wanted {
        return Ok(());
    }
    Err(MapProblem::Value {
        field,
        found: u64::from(found),
        expected,
    })
}

/// Reads what `__uint(name, value)` wrote: a pointer to an array of so many
/// elements; or `__ulong()`, an enum of one value.
fn number(btf: &Btf, member: &Member) -> Result<u32, MapProblem> {
    let refuse = || MapProblem::FieldShape {
        field: btf.text(member.name).into_owned(),
    };
    match *btf.resolved_kind(member.ty) {
        Kind::Ptr(to) => match *btf.resolved_kind(to) {
            Kind::Array { len, .. } => Ok(len),
            _ => Err(refuse()),
        },
        Kind::Enum { .. } => {
            let values = btf.values(btf.resolve(member.ty));
            let value = values
                .first()
                .and_then(|value| u32::try_from(value.value).ok());
            value.ok_or_else(refuse)
        }
        _ => Err(refuse()),
    }
}

/// Reads what `__type(name, type)` wrote: a pointer to the type.
fn pointee_size(btf: &Btf, member: &Member) -> Result<u32, MapProblem> {
    let size = match *btf.resolved_kind(member.ty) {
        Kind::Ptr(to) => btf.size(to).and_then(|size| u32::try_from(size).ok()),
        _ => None,
    };
    size.ok_or_else(|| MapProblem::FieldShape {
        field: btf.text(member.name).into_owned(),
    })
}

/// Returns the name of a map type (Linux `enum bpf_map_type`).
fn type_name(number: u32) -> &'static str {
    const NAMES: [&str; 35] = [
        "unspec",
        "hash",
        "array",
        "prog_array",
        "perf_event_array",
        "percpu_hash",
        "percpu_array",
        "stack_trace",
        "cgroup_array",
        "lru_hash",
        "lru_percpu_hash",
        "lpm_trie",
        "array_of_maps",
        "hash_of_maps",
        "devmap",
        "sockmap",
        "cpumap",
        "xskmap",
        "sockhash",
        "cgroup_storage",
        "reuseport_sockarray",
        "percpu_cgroup_storage",
        "queue",
        "stack",
        "sk_storage",
        "devmap_hash",
        "struct_ops",
        "ringbuf",
        "inode_storage",
        "task_storage",
        "bloom_filter",
        "user_ringbuf",
        "cgrp_storage",
        "arena",
        "insn_array",
    ];
    NAMES.get(size(number)).copied().unwrap_or("unknown")
}
