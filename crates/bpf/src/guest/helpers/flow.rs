//! Loops, iterators, arguments, and what stands for time and chance.

use crate::guest::errno;
use crate::guest::helper::Answer;
use crate::guest::machine::Machine;
use crate::{AttachKind, BpfError};

/// Rounds a loop may have (Linux `BPF_MAX_LOOPS`).
const MAX_ROUNDS: i64 = 8 << 20;

/// `bpf_ktime_get_ns()` and its kin.
pub(super) fn ktime(machine: &mut Machine<'_>, _: [u64; 5]) -> Answer {
    let now = machine.stage.clock;
    machine.stage.clock = now.wrapping_add(1);
    Ok(now)
}

/// `bpf_get_smp_processor_id()` and `bpf_get_numa_node_id()`.
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
        if (machine.call_back)(machine, callback, [round, ctx, 0, 0, 0])? != 0 {
            return Ok(round + 1);
        }
    }
    Ok(rounds.into())
}

/// `bpf_get_prandom_u32()`: SplitMix64 from a fixed start.
pub(super) fn random(machine: &mut Machine<'_>, _: [u64; 5]) -> Answer {
    machine.stage.random = machine.stage.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = machine.stage.random;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Ok((bits ^ (bits >> 31)) >> 32)
}

/// `bpf_get_func_arg(ctx, n, value)`.
pub(super) fn argument(machine: &mut Machine<'_>, [ctx, index, value, ..]: [u64; 5]) -> Answer {
    let index = u64::from(index as u32);
    if index >= arguments(machine, ctx) {
        return Ok(errno::EINVAL);
    }
    machine.memory.copy(value, ctx + 8 * index, 8)?;
    Ok(0)
}

/// `bpf_get_func_ret(ctx, value)`.
pub(super) fn previous(machine: &mut Machine<'_>, [ctx, value, ..]: [u64; 5]) -> Answer {
    if machine.program.attach != AttachKind::FmodRet {
        return Ok(errno::EOPNOTSUPP);
    }
    let behind = ctx + 8 * arguments(machine, ctx);
    machine.memory.copy(value, behind, 8)?;
    Ok(0)
}

/// `bpf_get_func_arg_cnt(ctx)`.
pub(super) fn argument_count(machine: &mut Machine<'_>, [ctx, ..]: [u64; 5]) -> Answer {
    Ok(arguments(machine, ctx))
}

/// Returns how many arguments the hook passed in the array at `ctx`.
fn arguments(machine: &Machine<'_>, ctx: u64) -> u64 {
    let behind = u64::from(machine.program.attach == AttachKind::FmodRet);
    (machine.memory.rest(ctx) / 8).saturating_sub(behind)
}

/// `bpf_rdonly_cast(obj, btf_id)`.
pub(super) fn cast(_: &mut Machine<'_>, [object, ..]: [u64; 5]) -> Answer {
    Ok(object)
}

/// The state of a number iterator: two C ints, as Linux keeps them.
struct Numbers {
    current: i32,
    end: i32,
}

impl Numbers {
    const DONE: Self = Self { current: 0, end: 0 };

    fn load(machine: &mut Machine<'_>, at: u64) -> Result<Self, BpfError> {
        let mut bytes = [0; 8];
        machine.memory.read(at, &mut bytes)?;
        let both = u64::from_le_bytes(bytes);
        Ok(Self {
            current: both as i32,
            end: (both >> 32) as i32,
        })
    }

    fn store(&self, machine: &mut Machine<'_>, at: u64) -> Result<(), BpfError> {
        let bytes = [self.current.to_le_bytes(), self.end.to_le_bytes()];
        machine.memory.write(at, bytes.as_flattened())
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
        let current = start.wrapping_sub(1);
        (Numbers { current, end }, 0)
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
