//! Loops, iterators, comparisons, and what stands for time.

use std::cmp::Ordering;

use super::{Answer, errno};
use crate::vm::{Fault, Machine};

/// Rounds a loop may have (Linux `BPF_MAX_LOOPS`).
const MAX_ROUNDS: i64 = 8 << 20;

/// `bpf_ktime_get_ns()`.
pub(super) fn ktime(machine: &mut Machine<'_>, _: [u64; 5]) -> Answer {
    let now = *machine.clock;
    *machine.clock = now.wrapping_add(1);
    Ok(now)
}

/// `bpf_get_smp_processor_id()`.
pub(super) fn processor(_: &mut Machine<'_>, _: [u64; 5]) -> Answer {
    Ok(0)
}

/// `bpf_loop(nr_loops, callback, ctx, flags)`: returns the rounds made.
pub(super) fn repeat(
    machine: &mut Machine<'_>,
    [rounds, callback, ctx, flags, _]: [u64; 5],
) -> Answer {
    let rounds = rounds as u32;
    if flags != 0 {
        return Ok(errno::EINVAL);
    }
    if i64::from(rounds) > MAX_ROUNDS {
        return Ok(errno::E2BIG);
    }
    for round in 0..u64::from(rounds) {
        if machine.call_back(callback, [round, ctx, 0, 0, 0])? != 0 {
            return Ok(round + 1);
        }
    }
    Ok(rounds.into())
}

/// `bpf_strncmp(s1, s1_sz, s2)`.
pub(super) fn strncmp(machine: &mut Machine<'_>, [one, size, two, ..]: [u64; 5]) -> Answer {
    const CHUNK: u64 = 128;
    let size = u64::from(size as u32);
    let mut done = 0;
    while done < size {
        let at = [one.wrapping_add(done), two.wrapping_add(done)];
        let rest = at.map(|at| machine.memory.rest(at).max(1));
        let len = rest.into_iter().fold(CHUNK.min(size - done), u64::min) as usize;
        let mut chunks = [[0; CHUNK as usize]; 2];
        for (chunk, at) in chunks.iter_mut().zip(at) {
            machine
                .memory
                .read(at, chunk.get_mut(..len).unwrap_or_default())?;
        }
        let [one, two] = chunks;
        for (one, two) in one.into_iter().zip(two).take(len) {
            match one.cmp(&two) {
                Ordering::Less => return Ok(-1_i64 as u64),
                Ordering::Greater => return Ok(1),
                Ordering::Equal if one == 0 => return Ok(0),
                Ordering::Equal => {}
            }
        }
        done += len as u64;
    }
    Ok(0)
}

/// The state of a number iterator: two C ints, as Linux keeps them.
struct Numbers {
    current: i32,
    end: i32,
}

impl Numbers {
    const DONE: Self = Self { current: 0, end: 0 };

    fn load(machine: &mut Machine<'_>, at: u64) -> Result<Self, Fault> {
        let mut bytes = [0; 8];
        machine.memory.read(at, &mut bytes)?;
        let both = u64::from_le_bytes(bytes);
        Ok(Self {
            current: both as i32,
            end: (both >> 32) as i32,
        })
    }

    fn store(&self, machine: &mut Machine<'_>, at: u64) -> Result<(), Fault> {
        let bytes = [self.current.to_le_bytes(), self.end.to_le_bytes()];
        Ok(machine.memory.write(at, bytes.as_flattened())?)
    }
}

/// `bpf_iter_num_new(it, start, end)`.
pub(super) fn iter_new(machine: &mut Machine<'_>, [it, start, end, ..]: [u64; 5]) -> Answer {
    let (start, end) = (start as i32, end as i32);
    let rounds = i64::from(end) - i64::from(start);
    let (numbers, answer) = if rounds < 0 {
        (Numbers::DONE, errno::EINVAL)
    } else if rounds > MAX_ROUNDS {
        (Numbers::DONE, errno::E2BIG)
    } else {
        // One before the start: `next` steps first.
        (
            Numbers {
                current: start.wrapping_sub(1),
                end,
            },
            0,
        )
    };
    numbers.store(machine, it)?;
    Ok(answer)
}

/// `bpf_iter_num_next(it)`: returns the address of the number, or NULL.
pub(super) fn iter_next(machine: &mut Machine<'_>, [it, ..]: [u64; 5]) -> Answer {
    let Numbers { current, end } = Numbers::load(machine, it)?;
    // In Linux's order: the sum wraps for a start of i32::MIN.
    let next = current.wrapping_add(1);
    if next >= end {
        Numbers::DONE.store(machine, it)?;
        return Ok(0);
    }
    Numbers { current: next, end }.store(machine, it)?;
    Ok(it)
}

/// `bpf_iter_num_destroy(it)`.
pub(super) fn iter_destroy(machine: &mut Machine<'_>, [it, ..]: [u64; 5]) -> Answer {
    Numbers::DONE.store(machine, it)?;
    Ok(0)
}
