//! Elements of arrays and hashes.

use std::sync::Arc;

use super::{Answer, errno};
use crate::maps::{Contents, Live};
use crate::memory::{Access, Memory};
use crate::vm::{Fault, Machine};

/// What an entry of a hash costs beside its key and its value's region.
const ENTRY_COST: u64 = 64;

/// Instructions that a new entry of a hash costs, and any look at one.
const INSERT_WORK: u64 = 64;
const LOOKUP_WORK: u64 = 8;

const NOEXIST: u64 = 1;
const EXIST: u64 = 2;

/// `bpf_map_lookup_elem(map, key)`.
pub(super) fn lookup(machine: &mut Machine<'_>, [map, key, ..]: [u64; 5]) -> Answer {
    let (live, memory) = elements(machine, "bpf_map_lookup_elem", map)?;
    let key = read_key(live, memory, key)?;
    Ok(live.lookup(&key))
}

/// `bpf_map_update_elem(map, key, value, flags)`.
pub(super) fn update(machine: &mut Machine<'_>, [map, key, value, flags, _]: [u64; 5]) -> Answer {
    let (live, memory) = elements(machine, "bpf_map_update_elem", map)?;
    if live.read_only {
        return Ok(errno::EPERM);
    }
    let key = read_key(live, memory, key)?;
    let value_size = u64::from(live.value_size);
    memory.check(Access::Read, value, value_size)?;
    let known = live.lookup(&key);
    let array = matches!(live.contents, Contents::Array(_));
    match (known, flags) {
        (_, flags) if flags > EXIST => return Ok(errno::EINVAL),
        (0, _) if array => return Ok(errno::E2BIG),
        (0, EXIST) => return Ok(errno::ENOENT),
        (0, _) => {}
        (_, NOEXIST) => return Ok(errno::EEXIST),
        (place, _) => {
            memory.copy(place, value, value_size)?;
            return Ok(0);
        }
    }
    let Contents::Hash(entries) = &mut live.contents else {
        return Ok(errno::EINVAL);
    };
    if entries.len() >= live.max_entries as usize {
        return Ok(errno::E2BIG);
    }
    memory.worked(INSERT_WORK);
    memory.ask(value_size)?;
    memory.take(ENTRY_COST + key.len() as u64)?;
    let name = Arc::clone(&live.value_name);
    let place = memory.add_bytes(name, vec![0; live.value_size as usize], true)?;
    memory.copy(place, value, value_size)?;
    entries.insert(key.into(), place);
    Ok(0)
}

/// `bpf_map_delete_elem(map, key)`.
pub(super) fn delete(machine: &mut Machine<'_>, [map, key, ..]: [u64; 5]) -> Answer {
    let (live, memory) = elements(machine, "bpf_map_delete_elem", map)?;
    let key = read_key(live, memory, key)?;
    let Contents::Hash(entries) = &mut live.contents else {
        return Ok(errno::EINVAL);
    };
    match entries.remove(key.as_slice()) {
        None => Ok(errno::ENOENT),
        Some(place) => {
            memory.free(place, "deleted");
            memory.give(ENTRY_COST + key.len() as u64);
            Ok(0)
        }
    }
}

/// Returns the map at `handle`, which must have elements.
fn elements<'a>(
    machine: &'a mut Machine<'_>,
    helper: &'static str,
    handle: u64,
) -> Result<(&'a mut Live, &'a mut Memory), Fault> {
    let live = match machine.maps.by_handle(handle) {
        Some(live) => live,
        None => {
            let problem = format!("{} is no map", machine.memory.describe(handle));
            return Err(Fault::Helper { helper, problem });
        }
    };
    if matches!(live.contents, Contents::Ring(_)) {
        let problem = format!("map {} is a ring buffer, which has no elements", live.name);
        return Err(Fault::Helper { helper, problem });
    }
    Ok((live, &mut *machine.memory))
}

fn read_key(live: &Live, memory: &mut Memory, key: u64) -> Result<Vec<u8>, Fault> {
    memory.worked(LOOKUP_WORK);
    let mut bytes = vec![0; live.key_size as usize];
    memory.read(key, &mut bytes)?;
    Ok(bytes)
}
