//! Ring buffers without a reader: scratch memory that parsers reserve.

use std::sync::Arc;

use crate::BpfError;
use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;
use crate::guest::maps::{Contents, Ring};
use crate::guest::memory::Access;

/// The kind of the reference to a reserved record.
pub(super) const RECORD: &str = "a ring-buffer record";

const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

pub(super) fn reserve(machine: &mut Machine<'_>, [map, size, flags, ..]: [u64; 5]) -> Answer {
    let (name, ring) = ring(machine, "bpf_ringbuf_reserve", map)?;
    let len = u32::try_from(size).ok();
    let Some(len) = len.filter(|_| flags == 0 && ring.take(size)) else {
        machine.failed = true;
        return Ok(0);
    };
    let name = format!("record {} of {name}", ring.records);
    let record = machine.memory.add_record(name.into(), len)?;
    machine.memory.acquire(RECORD, record, &[])?;
    Ok(record)
}

/// `bpf_ringbuf_submit(record, flags)` and `bpf_ringbuf_discard`.
pub(super) fn end(machine: &mut Machine<'_>, [record, ..]: [u64; 5], how: &'static str) -> Answer {
    machine.memory.release_as(RECORD, record, how)?;
    Ok(0)
}

pub(super) fn output(machine: &mut Machine<'_>, [map, data, size, flags, _]: [u64; 5]) -> Answer {
    if size != 0 {
        machine.memory.check(Access::Read, data, size)?;
    }
    let (_, ring) = ring(machine, "bpf_ringbuf_output", map)?;
    if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
        return Ok(errno::EINVAL);
    }
    let fits = u32::try_from(size).is_ok() && ring.take(size);
    Ok(if fits { 0 } else { errno::EAGAIN })
}

pub(super) fn query(machine: &mut Machine<'_>, [map, what, ..]: [u64; 5]) -> Answer {
    let (_, ring) = ring(machine, "bpf_ringbuf_query", map)?;
    Ok(match what {
        // The bytes that are there to be read, and the place of the next record.
        0 | 3 => ring.used,
        1 => ring.size,
        _ => 0,
    })
}

fn ring<'a>(
    machine: &'a mut Machine<'_>,
    helper: &'static str,
    handle: u64,
) -> Result<(Arc<str>, &'a mut Ring), BpfError> {
    let problem = match machine.maps.by_handle(handle) {
        None => format!("{} is no map", machine.memory.describe(handle)),
        Some(live) => match &mut live.contents {
            Contents::Ring(ring) => return Ok((Arc::clone(&live.name), ring)),
            _ => format!("map {} is not a ring buffer", live.name),
        },
    };
    Err(BpfError::helper(helper, problem))
}
