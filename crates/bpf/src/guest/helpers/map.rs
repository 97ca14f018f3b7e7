//! Elements of arrays, hashes, queues and stacks.

use std::sync::Arc;

use crate::costs;
use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;
use crate::guest::maps::{Contents, Element, Hash, Live};
use crate::guest::memory::{Access, Memory};
use crate::{BpfError, MapKind};

const NOEXIST: u64 = 1;
const EXIST: u64 = 2;

pub(super) fn lookup(machine: &mut Machine<'_>, [map, key, ..]: [u64; 5]) -> Answer {
    let (live, memory) = elements(machine, "bpf_map_lookup_elem", map)?;
    let key = read_key(live, memory, key)?;
    Ok(live.lookup(&key))
}

pub(super) fn update(machine: &mut Machine<'_>, [map, key, value, flags, _]: [u64; 5]) -> Answer {
    let (live, memory) = elements(machine, "bpf_map_update_elem", map)?;
    if live.read_only {
        return Ok(errno::EPERM);
    }
    let key = read_key(live, memory, key)?;
    let value_size = u64::from(live.value_size);
    memory.check(Access::Read, value, value_size)?;
    let known = live.lookup(&key);
    match (known, flags) {
        (_, flags) if flags > EXIST => return Ok(errno::EINVAL),
        (0, _) if live.kind.is_array() => return Ok(errno::E2BIG),
        (0, EXIST) => return Ok(errno::ENOENT),
        (0, _) => {}
        (_, NOEXIST) => return Ok(errno::EEXIST),
        (place, _) => {
            memory.copy(place, value, value_size)?;
            return Ok(0);
        }
    }
    let ages = matches!(live.kind, MapKind::LruHash { .. });
    let Contents::Hash(hash) = &mut live.contents else {
        return Ok(errno::EINVAL);
    };
    if hash.len() >= live.max_entries as usize {
        match hash.oldest() {
            Some(oldest) => remove(hash, memory, &oldest, "evicted"),
            None => return Ok(errno::E2BIG),
        };
    }
    memory.account.worked(costs::INSERT);
    memory.account.ask(value_size)?;
    memory.account.take(costs::ENTRY_ROOM + key.len() as u64)?;
    let name = Arc::clone(&live.value_name);
    let place = memory.add_bytes(name, vec![0; live.value_size as usize], true)?;
    memory.copy(place, value, value_size)?;
    hash.insert(&key, place, ages);
    Ok(0)
}

pub(super) fn delete(machine: &mut Machine<'_>, [map, key, ..]: [u64; 5]) -> Answer {
    let (live, memory) = elements(machine, "bpf_map_delete_elem", map)?;
    let key = read_key(live, memory, key)?;
    let Contents::Hash(hash) = &mut live.contents else {
        return Ok(errno::EINVAL);
    };
    let known = remove(hash, memory, &key, "deleted");
    Ok(if known { 0 } else { errno::ENOENT })
}

pub(super) fn lookup_per_cpu(machine: &mut Machine<'_>, [map, key, cpu, ..]: [u64; 5]) -> Answer {
    let helper = "bpf_map_lookup_percpu_elem";
    elements(machine, helper, map)?;
    let is_shared = |live: &Live| (!live.kind.is_per_cpu()).then_some("is not per-CPU");
    let (live, memory) = live(machine, helper, map, is_shared)?;
    let key = read_key(live, memory, key)?;
    // There is one CPU.
    let there = cpu as u32 == 0;
    Ok(if there { live.lookup(&key) } else { 0 })
}

/// `bpf_for_each_map_elem(map, callback, ctx, flags)`: returns how many
/// elements the callback saw.
pub(super) fn for_each(
    machine: &mut Machine<'_>,
    [map, callback, ctx, flags, _]: [u64; 5],
) -> Answer {
    let (live, memory) = elements(machine, "bpf_for_each_map_elem", map)?;
    if flags != 0 {
        return Ok(errno::EINVAL);
    }
    let name = format!("key of {}", live.name);
    memory.account.ask(live.key_size.into())?;
    let key_place = memory.add_bytes(name, vec![0; live.key_size as usize], false)?;
    let mut seen = 0;
    let mut last: Option<Arc<[u8]>> = None;
    while let Some((key, value)) = next_element(machine, map, last.as_deref())? {
        machine.memory.account.worked(costs::LOOKUP);
        machine.memory.set_constant(key_place, &key)?;
        seen += 1;
        if (machine.call_back)(machine, callback, [map, key_place, value, ctx, 0])? != 0 {
            break;
        }
        last = Some(key);
    }
    machine.memory.free(key_place, "ended");
    Ok(seen)
}

/// Returns the element behind the one at `last`. Callbacks may have changed the
/// map since.
fn next_element(
    machine: &mut Machine<'_>,
    map: u64,
    last: Option<&[u8]>,
) -> Result<Option<Element>, BpfError> {
    let (live, _) = elements(machine, "bpf_for_each_map_elem", map)?;
    if let Contents::Hash(hash) = &live.contents {
        return Ok(hash.after(last));
    }
    let last = last.and_then(|key| live.array_index(key));
    let key = last.map_or(0, |last| last as u32 + 1).to_le_bytes();
    Ok(match live.lookup(&key) {
        0 => None,
        value => Some((key.into(), value)),
    })
}

pub(super) fn push(machine: &mut Machine<'_>, [map, value, flags, ..]: [u64; 5]) -> Answer {
    let (live, memory) = queue(machine, "bpf_map_push_elem", map)?;
    let size = u64::from(live.value_size);
    memory.check(Access::Read, value, size)?;
    if live.read_only {
        return Ok(errno::EPERM);
    }
    if flags != 0 && flags != EXIST {
        return Ok(errno::EINVAL);
    }
    let Contents::Queue(values) = &mut live.contents else {
        return Ok(errno::EINVAL);
    };
    if values.len() >= live.max_entries as usize {
        if flags != EXIST {
            return Ok(errno::E2BIG);
        }
        values.pop_front();
        memory.account.give(costs::PUSH_ROOM + size);
    }
    memory.account.take(costs::PUSH_ROOM + size)?;
    let mut bytes = vec![0; live.value_size as usize];
    memory.read(value, &mut bytes)?;
    values.push_back(bytes.into());
    Ok(0)
}

/// `bpf_map_pop_elem(map, value)` and `bpf_map_peek_elem`: writes the next value
/// of a queue or stack to `value`; zeros if there is none.
pub(super) fn take(
    machine: &mut Machine<'_>,
    helper: &'static str,
    [map, value, ..]: [u64; 5],
    remove: bool,
) -> Answer {
    let (live, memory) = queue(machine, helper, map)?;
    let size = u64::from(live.value_size);
    let Contents::Queue(values) = &mut live.contents else {
        return Ok(errno::EINVAL);
    };
    let next = match live.kind {
        MapKind::Stack => values.back(),
        _ => values.front(),
    };
    let Some(next) = next else {
        memory.zero(value, size)?;
        return Ok(errno::ENOENT);
    };
    memory.write(value, next)?;
    if remove {
        match live.kind {
            MapKind::Stack => values.pop_back(),
            _ => values.pop_front(),
        };
        memory.account.give(costs::PUSH_ROOM + size);
    }
    Ok(0)
}

/// Removes the entry at `key`; later uses of its value report `how` it went.
/// Returns whether it was there.
fn remove(hash: &mut Hash, memory: &mut Memory, key: &[u8], how: &'static str) -> bool {
    let place = hash.remove(key);
    if let Some(place) = place {
        memory.free(place, how);
        memory.account.give(costs::ENTRY_ROOM + key.len() as u64);
    }
    place.is_some()
}

fn elements<'a>(
    machine: &'a mut Machine<'_>,
    helper: &'static str,
    handle: u64,
) -> Result<(&'a mut Live, &'a mut Memory), BpfError> {
    live(machine, helper, handle, |live| match live.contents {
        Contents::Ring(_) | Contents::Queue(_) => Some("has no elements with keys"),
        Contents::Array(_) | Contents::Hash(_) => None,
    })
}

fn queue<'a>(
    machine: &'a mut Machine<'_>,
    helper: &'static str,
    handle: u64,
) -> Result<(&'a mut Live, &'a mut Memory), BpfError> {
    live(machine, helper, handle, |live| match live.contents {
        Contents::Queue(_) => None,
        _ => Some("is no queue or stack"),
    })
}

/// Returns the map at `handle`, unless `misfit` says why the helper does not
/// take it.
fn live<'a>(
    machine: &'a mut Machine<'_>,
    helper: &'static str,
    handle: u64,
    misfit: impl Fn(&Live) -> Option<&'static str>,
) -> Result<(&'a mut Live, &'a mut Memory), BpfError> {
    let memory = &mut *machine.memory;
    let problem = match machine.maps.by_handle(handle) {
        None => format!("{} is no map", memory.describe(handle)),
        Some(live) => match misfit(live) {
            None => return Ok((live, memory)),
            Some(why) => format!("map {} {why}; its type is {}", live.name, live.kind),
        },
    };
    Err(BpfError::helper(helper, problem))
}

fn read_key(live: &Live, memory: &mut Memory, key: u64) -> Result<Vec<u8>, BpfError> {
    memory.account.worked(costs::LOOKUP);
    let mut bytes = vec![0; live.key_size as usize];
    memory.read(key, &mut bytes)?;
    Ok(bytes)
}
