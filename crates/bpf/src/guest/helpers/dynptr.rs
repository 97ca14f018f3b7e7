//! Dynptrs: an address and a length that the program keeps but does not look
//! into.
//!
//! In guest memory a dynptr is 16 bytes: the address of the data (0 for none)
//! and its length. A program that writes one by hand gains nothing, as every
//! access goes by regions all the same.

use super::ring;
use crate::BpfError;
use crate::bounds::at_most;
use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;
use crate::guest::memory::Access;

/// The longest data of a dynptr (Linux `DYNPTR_MAX_SIZE`).
const MAX_LEN: u64 = (1 << 24) - 1;

struct Dynptr {
    data: u64,
    len: u64,
}

impl Dynptr {
    const NULL: Self = Self { data: 0, len: 0 };

    fn load(machine: &mut Machine<'_>, at: u64) -> Result<Self, BpfError> {
        let mut bytes = [0; 16];
        machine.memory.read(at, &mut bytes)?;
        let [data, len] = [0, 8].map(|at| {
            let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
            field.copied().map_or(0, u64::from_le_bytes)
        });
        Ok(Self { data, len })
    }

    fn store(&self, machine: &mut Machine<'_>, at: u64) -> Result<(), BpfError> {
        let bytes = [self.data.to_le_bytes(), self.len.to_le_bytes()];
        machine.memory.write(at, bytes.as_flattened())
    }

    /// Returns the address of `len` bytes at `offset`, if they lie inside.
    fn slice(&self, offset: u64, len: u64) -> Option<u64> {
        let there = self.data != 0 && self.holds(offset, len);
        there.then(|| self.data.wrapping_add(offset))
    }

    /// Returns whether its data may not be written.
    fn is_read_only(&self, machine: &Machine<'_>) -> bool {
        let write = machine.memory.check(Access::Write, self.data, 0);
        self.data != 0 && write.is_err()
    }

    fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }
}

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

/// `bpf_ringbuf_submit_dynptr(ptr, flags)` and `bpf_ringbuf_discard_dynptr`: gives
/// the record back; a reserve that failed left none.
pub(super) fn end(machine: &mut Machine<'_>, [ptr, ..]: [u64; 5], how: &'static str) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    if dynptr.data == 0 {
        return Ok(0);
    }
    // An adjusted one begins inside its record.
    let record = dynptr.data & !u64::from(u32::MAX);
    ring::end(machine, [record, 0, 0, 0, 0], how)?;
    Dynptr::NULL.store(machine, ptr)?;
    Ok(0)
}

pub(super) fn read(machine: &mut Machine<'_>, [dst, len, src, offset, flags]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, src)?;
    copy(machine, &dynptr, (offset, len), flags, |data| (dst, data))
}

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

pub(super) fn data(machine: &mut Machine<'_>, [ptr, offset, len, ..]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    // NULL where they do not lie inside.
    Ok(dynptr.slice(offset, len).unwrap_or(0))
}

/// `bpf_dynptr_slice(ptr, offset, buffer, len)`: the data lies in one piece, so
/// that the buffer is never used.
pub(super) fn slice(machine: &mut Machine<'_>, [ptr, offset, _, len, _]: [u64; 5]) -> Answer {
    data(machine, [ptr, low(offset), low(len), 0, 0])
}

pub(super) fn slice_rdwr(machine: &mut Machine<'_>, args: [u64; 5]) -> Answer {
    let [ptr, ..] = args;
    if Dynptr::load(machine, ptr)?.is_read_only(machine) {
        return Ok(0);
    }
    slice(machine, args)
}

pub(super) fn adjust(machine: &mut Machine<'_>, [ptr, start, end, ..]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    let (start, end) = (low(start), low(end));
    if dynptr.data == 0 || start > end {
        return Ok(errno::EINVAL);
    }
    if end > dynptr.len {
        return Ok(errno::ERANGE);
    }
    let (data, len) = (dynptr.data.wrapping_add(start), end - start);
    Dynptr { data, len }.store(machine, ptr)?;
    Ok(0)
}

pub(super) fn is_null(machine: &mut Machine<'_>, [ptr, ..]: [u64; 5]) -> Answer {
    Ok((Dynptr::load(machine, ptr)?.data == 0).into())
}

pub(super) fn is_rdonly(machine: &mut Machine<'_>, [ptr, ..]: [u64; 5]) -> Answer {
    Ok(Dynptr::load(machine, ptr)?.is_read_only(machine).into())
}

/// `bpf_dynptr_size(ptr)`, which returns a `__u32`.
pub(super) fn size(machine: &mut Machine<'_>, [ptr, ..]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    Ok(if dynptr.data == 0 {
        low(errno::EINVAL)
    } else {
        dynptr.len
    })
}

pub(super) fn clone(machine: &mut Machine<'_>, [ptr, clone, ..]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    dynptr.store(machine, clone)?;
    Ok(if dynptr.data == 0 { errno::EINVAL } else { 0 })
}

pub(super) fn copy_between(
    machine: &mut Machine<'_>,
    [dst, dst_offset, src, src_offset, len]: [u64; 5],
) -> Answer {
    let (to, from) = (Dynptr::load(machine, dst)?, Dynptr::load(machine, src)?);
    if to.data == 0 || from.data == 0 || to.is_read_only(machine) {
        return Ok(errno::EINVAL);
    }
    let len = low(len);
    let to = to.slice(low(dst_offset), len);
    let from = from.slice(low(src_offset), len);
    let (Some(to), Some(from)) = (to, from) else {
        return Ok(errno::E2BIG);
    };
    if len != 0 {
        machine.memory.copy(to, from, len)?;
    }
    Ok(0)
}

/// `bpf_dynptr_memset(ptr, offset, size, value)`.
pub(super) fn fill(machine: &mut Machine<'_>, [ptr, offset, len, value, _]: [u64; 5]) -> Answer {
    let dynptr = Dynptr::load(machine, ptr)?;
    if dynptr.data == 0 || dynptr.is_read_only(machine) {
        return Ok(errno::EINVAL);
    }
    let len = low(len);
    let Some(at) = dynptr.slice(low(offset), len) else {
        return Ok(errno::E2BIG);
    };
    if value as u8 == 0 && len != 0 {
        machine.memory.zero(at, len)?;
        return Ok(0);
    }
    let bytes = [value as u8; FILL as usize];
    let mut done = 0;
    while done < len {
        let now = FILL.min(len - done);
        machine
            .memory
            .write(at + done, at_most(&bytes, now as usize))?;
        done += now;
    }
    Ok(0)
}

/// Bytes that are filled at once.
const FILL: u64 = 4096;

/// Returns the `u32` that a register holds: kfuncs take offsets and sizes so,
/// helpers some as `u64`.
fn low(register: u64) -> u64 {
    u64::from(register as u32)
}
