//! Dynptrs: an address and a length that the program keeps but does not look
//! into.
//!
//! In guest memory a dynptr is 16 bytes: the address of the data (0 for none)
//! and its length. A program that writes one by hand gains nothing, as every
//! access goes by regions all the same.

use super::{Answer, errno, ring};
use crate::vm::{Fault, Machine};

/// The longest data of a dynptr (Linux `DYNPTR_MAX_SIZE`).
const MAX_LEN: u64 = (1 << 24) - 1;

struct Dynptr {
    data: u64,
    len: u64,
}

impl Dynptr {
    const NULL: Self = Self { data: 0, len: 0 };

    fn load(machine: &mut Machine<'_>, at: u64) -> Result<Self, Fault> {
        let mut bytes = [0; 16];
        machine.memory.read(at, &mut bytes)?;
        let [data, len] = [0, 8].map(|at| {
            let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
            field.copied().map_or(0, u64::from_le_bytes)
        });
        Ok(Self { data, len })
    }

    fn store(&self, machine: &mut Machine<'_>, at: u64) -> Result<(), Fault> {
        let bytes = [self.data.to_le_bytes(), self.len.to_le_bytes()];
        Ok(machine.memory.write(at, bytes.as_flattened())?)
    }

    /// Returns whether `len` bytes at `offset` lie inside.
    fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }
}

/// `bpf_dynptr_from_mem(data, size, flags, ptr)`.
pub(super) fn from_mem(machine: &mut Machine<'_>, [data, len, flags, ptr, _]: [u64; 5]) -> Answer {
    let (dynptr, answer) = if len > MAX_LEN {
        (Dynptr::NULL, errno::E2BIG)
    } else if flags != 0 {
        (Dynptr::NULL, errno::EINVAL)
    } else {
        (Dynptr { data, len }, 0)
    };
    dynptr.store(machine, ptr)?;
    Ok(answer)
}

/// `bpf_ringbuf_reserve_dynptr(map, size, flags, ptr)`.
pub(super) fn reserve(machine: &mut Machine<'_>, [map, len, flags, ptr, _]: [u64; 5]) -> Answer {
    let len = u64::from(len as u32);
    Dynptr::NULL.store(machine, ptr)?;
    if flags != 0 {
        return Ok(errno::EINVAL);
    }
    if len > MAX_LEN {
        return Ok(errno::E2BIG);
    }
    let data = ring::reserve(machine, [map, len, 0, 0, 0])?;
    if data == 0 {
        return Ok(errno::EINVAL);
    }
    Dynptr { data, len }.store(machine, ptr)?;
    Ok(0)
}

/// `bpf_ringbuf_submit_dynptr(ptr, flags)`.
pub(super) fn submit(machine: &mut Machine<'_>, [ptr, ..]: [u64; 5]) -> Answer {
    end(machine, ptr, ring::submit)
}

/// `bpf_ringbuf_discard_dynptr(ptr, flags)`.
pub(super) fn discard(machine: &mut Machine<'_>, [ptr, ..]: [u64; 5]) -> Answer {
    end(machine, ptr, ring::discard)
}

/// Gives the record of the dynptr at `ptr` back; a reserve that failed left
/// none.
fn end(
    machine: &mut Machine<'_>,
    ptr: u64,
    release: fn(&mut Machine<'_>, [u64; 5]) -> Answer,
) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    if dynptr.data == 0 {
        return Ok(0);
    }
    release(machine, [dynptr.data, 0, 0, 0, 0])?;
    Dynptr::NULL.store(machine, ptr)?;
    Ok(0)
}

/// `bpf_dynptr_read(dst, len, src, offset, flags)`.
pub(super) fn read(machine: &mut Machine<'_>, [dst, len, src, offset, flags]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, src)?;
    copy(machine, &dynptr, (offset, len), flags, |data| (dst, data))
}

/// `bpf_dynptr_write(dst, offset, src, len, flags)`.
pub(super) fn write(machine: &mut Machine<'_>, [dst, offset, src, len, flags]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, dst)?;
    copy(machine, &dynptr, (offset, len), flags, |data| (data, src))
}

/// Copies between a dynptr's data and memory; `ends` says which way.
fn copy(
    machine: &mut Machine<'_>,
    dynptr: &Dynptr,
    (offset, len): (u64, u64),
    flags: u64,
    ends: impl FnOnce(u64) -> (u64, u64),
) -> Answer {
    if dynptr.data == 0 || flags != 0 {
        return Ok(errno::EINVAL);
    }
    if !dynptr.holds(offset, len) {
        return Ok(errno::E2BIG);
    }
    if len != 0 {
        let (to, from) = ends(dynptr.data.wrapping_add(offset));
        machine.memory.copy(to, from, len)?;
    }
    Ok(0)
}

/// `bpf_dynptr_data(ptr, offset, len)`.
pub(super) fn data(machine: &mut Machine<'_>, [ptr, offset, len, ..]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    let there = dynptr.data != 0 && dynptr.holds(offset, len);
    Ok(if there {
        dynptr.data.wrapping_add(offset)
    } else {
        0
    })
}
