//! Reads that may fail: a bad source is `-EFAULT` and zeros, a bad
//! destination ends the run.

use crate::BpfError;
use crate::bounds::at_most;
use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;
use crate::guest::memory::Access;

const CHUNK: u64 = 256;

/// `bpf_probe_read(dst, size, src)` and `bpf_probe_read_kernel`.
pub(super) fn read(machine: &mut Machine<'_>, [dst, size, src, ..]: [u64; 5]) -> Answer {
    attempt(machine, dst, size, |machine, size| {
        machine.memory.copy(dst, src, size).map(|()| 0)
    })
}

/// `bpf_probe_read_user(dst, size, src)`, its string form, and
/// `bpf_copy_from_user`.
pub(super) fn read_user(machine: &mut Machine<'_>, [dst, size, ..]: [u64; 5]) -> Answer {
    let size = u64::from(size as u32);
    if size == 0 {
        return Ok(0);
    }
    machine.memory.zero(dst, size)?;
    Ok(errno::EFAULT)
}

/// `bpf_probe_read_str(dst, size, src)` and `bpf_probe_read_kernel_str`:
/// returns the length with the NUL.
pub(super) fn read_str(machine: &mut Machine<'_>, [dst, size, src, ..]: [u64; 5]) -> Answer {
    attempt(machine, dst, size, |machine, size| {
        copy_text(machine, dst, size, src)
    })
}

/// Copies text until its NUL is copied, or until `size` bytes with one are
/// written.
fn copy_text(machine: &mut Machine<'_>, dst: u64, size: u64, src: u64) -> Result<u64, BpfError> {
    let mut done = 0;
    while done < size - 1 {
        let mut chunk = [0; CHUNK as usize];
        let at = src.wrapping_add(done);
        // A region that ends here is asked for one byte, which says so.
        let len = machine.memory.rest(at).clamp(1, CHUNK.min(size - 1 - done));
        let (chunk, _) = chunk.split_at_mut(len as usize);
        machine.memory.read(at, chunk)?;
        let end = chunk.iter().position(|&byte| byte == 0);
        let text = at_most(chunk, end.map_or(chunk.len(), |end| end + 1));
        machine.memory.write(dst + done, text)?;
        done += text.len() as u64;
        if end.is_some() {
            return Ok(done);
        }
    }
    machine.memory.write(dst + done, &[0])?;
    Ok(size)
}

/// Fills `size` bytes at `dst`, which must be writable, by `read`.
fn attempt(
    machine: &mut Machine<'_>,
    dst: u64,
    size: u64,
    read: impl FnOnce(&mut Machine<'_>, u64) -> Answer,
) -> Answer {
    let size = u64::from(size as u32);
    if size == 0 {
        return Ok(0);
    }
    machine.memory.check(Access::Write, dst, size)?;
    match read(machine, size) {
        Err(error) if error.is_bad_address() => {
            machine.memory.zero(dst, size)?;
            Ok(errno::EFAULT)
        }
        answer => answer,
    }
}
