//! The kfuncs: what happens when a program hands over or decompresses.

use tracing::{debug, info};
use ukexec_bpf::Fault;
use ukexec_bpf::btf::Btf;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::trace::Tracer;
use ukexec_bpf::{Host, Meter, Piece, Rope};
use ukexec_decompress::{Limits, decompress};

use crate::chunks::{Payload, wide};
use crate::cmdline;
use crate::error::chain;
use crate::handed_over::{self, Charged, HandedOver};
use crate::interface::{kfunc, mem_range_result};
use crate::observer::Observer;
use crate::output::CountedOutput;
use crate::record::Record;
use crate::refusal::{CallError, HostFault, Refusal};
use crate::report::{Resource, WarningKind};
use crate::store::Store;

/// Answers the kfuncs of one stage, or of one parser that is asked whether an
/// image is its own.
pub(crate) struct StageHost<'a> {
    pub(crate) stage: Option<u32>,
    pub(crate) phase: Phase,
    pub(crate) types: &'a Btf,
    pub(crate) store: &'a mut dyn Store,
    pub(crate) observer: Option<&'a mut dyn Observer>,
    /// What is left of [`crate::Budget::output`].
    pub(crate) output_left: &'a mut u64,
    /// Bytes of the stage's image and initrd: what there is to hand over, with
    /// what is decompressed.
    pub(crate) inputs_len: u64,
    pub(crate) record: Record,
}

/// Which programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Those that say whether the parser fits; they may not hand over.
    Match,
    /// Those that hand over.
    Handle,
    /// Those that run after them; what they hand over is refused.
    Post,
}

impl Host for StageHost<'_> {
    fn call(
        &mut self,
        kfunc: u32,
        args: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, Fault> {
        let [first, second, third, ..] = args;
        charge(meter, CALL_INSNS, 1);
        match kfunc {
            kfunc::COPY_TO_KERNEL => {
                let done = self.hand_over(first, second, int(third), memory, meter);
                self.errno("bpf_copy_to_kernel", done)
            }
            kfunc::DECOMPRESS => {
                let done = self.decompress(first, int(second), memory, meter);
                self.pointer("bpf_decompress", done)
            }
            kfunc::PUT => memory.release(RESULT, first).map(|()| 0),
            _ => Err(Fault::Host(Box::new(HostFault::UnknownKfunc(kfunc)))),
        }
    }

    fn log(&mut self, line: &str) {
        let line = line.trim_end_matches('\n');
        info!(stage = self.stage, "{line}");
        if let Some(observer) = &mut self.observer {
            observer.logged(line);
        }
        self.record.log.push(line.to_owned());
    }

    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        self.observer.as_mut()?.tracer()
    }
}

impl StageHost<'_> {
    /// `bpf_copy_to_kernel`: takes the `size` bytes at `buf` by value.
    fn hand_over(
        &mut self,
        name: u64,
        buf: u64,
        size: i32,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        match self.phase {
            Phase::Match => return Err(HostFault::HandOverInMatch.into()),
            Phase::Post => return Err(Refusal::HandOverInPost.into()),
            Phase::Handle => {}
        }
        let name = memory
            .read_cstr(name, MAX_NAME)
            .map_err(CallError::of_access(Refusal::Name))?;
        let listener = listener(&name).ok_or_else(|| Refusal::unknown_name(&name))?;
        let (resource, adds) = match listener {
            Listener::Profile => return self.take_profile(buf, size, memory).map(|()| 0),
            Listener::Whole(resource) => (resource, false),
            Listener::InitrdPart if size == 0 => return Ok(0),
            Listener::InitrdPart => (Resource::Initrd, true),
        };
        let taken = self.take(resource, adds, buf, size, memory, meter);
        match &taken {
            // What comes behind a part that is missing does not make up for it.
            Ok(()) if adds => {}
            Ok(()) => self.record.limited.retain(|(other, _)| *other != resource),
            Err(CallError::Refused(refusal)) if refusal.is_limit() => {
                self.record.limited.retain(|(other, _)| *other != resource);
                self.record.limited.push((resource, chain(refusal)));
            }
            Err(_) => {}
        }
        taken.map(|()| 0)
    }

    /// Takes the number of the profile that the parser chose.
    fn take_profile(&mut self, buf: u64, size: i32, memory: &mut Memory) -> Result<(), CallError> {
        let mut number = [0; 4];
        if usize::try_from(size) != Ok(number.len()) {
            return Err(Refusal::ProfileSize { size }.into());
        }
        memory
            .read(buf, &mut number)
            .map_err(CallError::of_access(Refusal::Buffer))?;
        self.record.profile = Some(u32::from_le_bytes(number));
        Ok(())
    }

    /// Takes the `size` bytes at `buf` as a resource: in place of what was taken
    /// before, or behind it if it `adds` to it.
    fn take(
        &mut self,
        resource: Resource,
        adds: bool,
        buf: u64,
        size: i32,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<(), CallError> {
        let len = u64::try_from(size).map_err(|_negative| Refusal::NegativeSize { size })?;
        if buf == 0 {
            return Err(Refusal::NullBuffer.into());
        }
        if len == 0 && resource == Resource::Kernel {
            return Err(Refusal::EmptyKernel.into());
        }
        let excerpt = memory
            .excerpt(buf, len)
            .map_err(CallError::of_access(Refusal::Buffer))?;
        charge(meter, excerpt.copied, COPIED_PER_INSN);
        let cost = handed_over::cost(&excerpt.rope, excerpt.copied);
        let (rope, cost) = match &self.record.handed_over.initrd {
            Some(initrd) if adds => {
                let rope = behind(&initrd.value, &excerpt.rope)?;
                (rope, cost.saturating_add(initrd.charged))
            }
            _ => (excerpt.rope, cost),
        };
        charge(meter, wide(rope.pieces().len()), 1);
        let len = rope.len();
        let repeated = match resource {
            Resource::Cmdline => self.record.repeated,
            Resource::Kernel | Resource::Initrd => self.repeated_with(resource, len)?,
        };
        let handed_over = &mut self.record.handed_over;
        let size = match resource {
            Resource::Cmdline => {
                let line = cmdline::read(&rope, &mut meter.insns)
                    .map_err(|error| CallError::unread("the command line", error))?
                    .ok_or(Refusal::CmdlineTooLong { len })?;
                let size = wide(line.text.len());
                Charged::new(line, size, meter)?.replace(&mut handed_over.cmdline, meter);
                size
            }
            Resource::Kernel | Resource::Initrd => {
                let older = match resource {
                    Resource::Kernel => &mut handed_over.kernel,
                    _ => &mut handed_over.initrd,
                };
                Charged::new(rope, cost, meter)?.replace(older, meter);
                len
            }
        };
        self.draw_repeated(repeated);
        debug!(stage = self.stage, %resource, size, "hand-over");
        if let Some(observer) = &mut self.observer {
            observer.handed_over(resource, size);
        }
        Ok(())
    }

    /// Returns by how many bytes kernel and initrd, with one of them `len`
    /// bytes long, are longer than all that there is to hand over.
    ///
    /// Ropes cost nothing to make long: a page that is referred to a million
    /// times is a file of 4 GiB for whoever writes it out. What is longer than
    /// the inputs and what was decompressed must repeat something (or be zeros,
    /// or copies), and draws on the budget of decompression.
    fn repeated_with(&self, resource: Resource, len: u64) -> Result<u64, Refusal> {
        let HandedOver { kernel, initrd, .. } = &self.record.handed_over;
        let other = match resource {
            Resource::Kernel => initrd,
            _ => kernel,
        };
        let other = other.as_ref().map_or(0, |held| held.value.len());
        let there = self.inputs_len.saturating_add(self.record.decompressed);
        let repeated = other.saturating_add(len).saturating_sub(there);
        let left = self.output_left.saturating_add(self.record.repeated);
        if repeated > left {
            return Err(Refusal::Repeats {
                repeated,
                there,
                left,
            });
        }
        Ok(repeated)
    }

    /// Draws `repeated` bytes in place of those that were drawn before.
    fn draw_repeated(&mut self, repeated: u64) {
        let left = self.output_left.saturating_add(self.record.repeated);
        *self.output_left = left.saturating_sub(repeated);
        self.record.repeated = repeated;
    }

    /// `bpf_decompress`: returns the address of a new `struct mem_range_result`.
    fn decompress(
        &mut self,
        payload: u64,
        size: i32,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        if self.record.decompressions >= MAX_DECOMPRESSIONS {
            return Err(Refusal::TooManyDecompressions {
                limit: MAX_DECOMPRESSIONS,
            }
            .into());
        }
        self.record.decompressions = self.record.decompressions.saturating_add(1);
        let len = u64::try_from(size).map_err(|_negative| Refusal::NegativeSize { size })?;
        let excerpt = memory
            .excerpt(payload, len)
            .map_err(CallError::of_access(Refusal::Buffer))?;
        charge(meter, SET_UP_INSNS, 1);
        charge(meter, excerpt.copied, COPIED_PER_INSN);
        let rope = self.decompress_rope(&excerpt.rope, meter)?;
        let len = rope.len();
        let buf = memory
            .add_rope("decompressed payload", rope)
            .map_err(Refusal::Result)?;
        let object = mem_range_result(self.types, buf, len);
        let object = memory
            .add_bytes("mem_range_result", object, false)
            .map_err(Refusal::Result)?;
        memory
            .acquire(RESULT, object, &[buf])
            .map_err(Refusal::Result)?;
        Ok(object)
    }

    fn decompress_rope(&mut self, payload: &Rope, meter: &mut Meter) -> Result<Rope, CallError> {
        let limits = Limits {
            output: *self.output_left,
            memory: meter.memory,
        };
        let output = self.store.create().map_err(HostFault::Store)?;
        let mut output = CountedOutput::new(output);
        let mut input = Payload::new(payload, &mut meter.insns);
        let done = decompress(&mut input, &mut output, &limits);
        let (consumed, unread) = input.into_outcome();
        // Failed ones count too: their time has been spent as well. What
        // follows a stream is read and not decompressed.
        let consumed = done.as_ref().map_or(consumed, |done| done.consumed);
        let written = output.written();
        *self.output_left = self.output_left.saturating_sub(written);
        charge(meter, written, UNPACKED_PER_INSN);
        charge(meter, unproductive(consumed, written), 1);
        if let Some(error) = unread {
            return Err(CallError::unread("the payload", error));
        }
        let (output, error) = output.into_parts();
        if let Some(error) = error {
            return Err(HostFault::Store(error).into());
        }
        let done = done.map_err(Refusal::Decompress)?;
        WarningKind::of_decompression(&done).for_each(|warning| self.record.warn(warning));
        let (id, source) = output.finish().map_err(HostFault::Store)?;
        debug!(stage = self.stage, compression = %done.compression, size = done.written, "decompressed");
        self.record.outputs.push(id);
        self.record.decompressed = self.record.decompressed.saturating_add(done.written);
        Ok(Rope::from_source(id, source))
    }

    fn errno(&mut self, name: &str, done: Result<u64, CallError>) -> Result<u64, Fault> {
        self.answer(name, done, |refusal| refusal.errno().cast_unsigned())
    }

    fn pointer(&mut self, name: &str, done: Result<u64, CallError>) -> Result<u64, Fault> {
        self.answer(name, done, |_refusal| NULL)
    }

    /// Makes a refusal what the program sees, and remembers its reason: the
    /// parsers of the series return 0 whatever failed.
    fn answer(
        &mut self,
        name: &str,
        done: Result<u64, CallError>,
        seen: fn(&Refusal) -> u64,
    ) -> Result<u64, Fault> {
        match done {
            Ok(value) => Ok(value),
            Err(CallError::Refused(refusal)) => {
                let reason = format!("{name}: {}", chain(&refusal));
                debug!(stage = self.stage, "{reason}");
                if let Some(observer) = &mut self.observer {
                    observer.refused(&reason);
                }
                self.record.refuse(reason);
                Ok(seen(&refusal))
            }
            Err(CallError::Host(fault)) => Err(Fault::Host(Box::new(fault))),
            Err(CallError::Budget) => Err(Fault::Budget),
        }
    }
}

/// What a name of `bpf_copy_to_kernel` stands for.
enum Listener {
    /// All of a resource.
    Whole(Resource),
    /// More of the initrd.
    InitrdPart,
    /// The number of the profile that was chosen.
    Profile,
}

/// Returns what is handed over under `name`.
fn listener(name: &[u8]) -> Option<Listener> {
    match name {
        b"kexec:kernel" => Some(Listener::Whole(Resource::Kernel)),
        b"kexec:initrd" => Some(Listener::Whole(Resource::Initrd)),
        b"kexec:cmdline" => Some(Listener::Whole(Resource::Cmdline)),
        b"ukexec:initrd-part" => Some(Listener::InitrdPart),
        b"ukexec:profile" => Some(Listener::Profile),
        _ => None,
    }
}

/// Returns `initrd` with `part` behind it, where the kernel looks for the next
/// archive: at a multiple of 4 bytes.
fn behind(initrd: &Rope, part: &Rope) -> Result<Rope, Refusal> {
    let mut rope = initrd.clone();
    let end = rope.len();
    let padded = end.div_ceil(4).saturating_mul(4);
    if padded.saturating_add(part.len()) > INT_MAX {
        return Err(Refusal::InitrdTooLong {
            there: end,
            part: part.len(),
        });
    }
    rope.push(Piece::Zeros(padded.saturating_sub(end)));
    rope.append(part);
    Ok(rope)
}

/// Returns the `int` that a register holds.
fn int(register: u64) -> i32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Charges the host's own work: a program that makes it copy without end must
/// meet its budget's end like one that loops.
fn charge(meter: &mut Meter, bytes: u64, bytes_per_insn: u64) {
    let insns = bytes.checked_div(bytes_per_insn).unwrap_or(bytes); // no rate is 0
    meter.insns = meter.insns.saturating_sub(insns);
}

/// Returns the charge for input that made no output: the smallest blocks of a
/// format take the longest. A decompression that finds much more of it fails.
fn unproductive(consumed: u64, written: u64) -> u64 {
    let most = written.saturating_add(written / UNPRODUCTIVE_SHARE);
    let bytes = consumed.saturating_sub(most).min(UNPRODUCTIVE_MAX);
    bytes.saturating_mul(UNPRODUCTIVE_INSNS)
}

/// What hand-overs may be long: their size is an `int`.
const INT_MAX: u64 = 0x7fff_ffff;

/// What messages call the reference that `bpf_decompress` returns.
const RESULT: &str = "a mem_range_result";

const NULL: u64 = 0;

/// Decompressions of a stage: a stream that fails may have cost milliseconds
/// without an output to charge for.
const MAX_DECOMPRESSIONS: u32 = 64;
/// The longest name that is looked at, NUL included.
const MAX_NAME: usize = 64;
/// Bytes copied in the time of an instruction, rather too few.
const COPIED_PER_INSN: u64 = 64;
/// Bytes written by decompression for which one instruction is charged: more
/// than it could do in that time, or the budgets of instructions and output
/// would not fit together. The latter bounds the time.
const UNPACKED_PER_INSN: u64 = 256;
/// One byte in so many of a sound payload may be lost on what cannot be
/// compressed.
const UNPRODUCTIVE_SHARE: u64 = 8;
/// Bytes of input that can have made no output, about.
const UNPRODUCTIVE_MAX: u64 = 1 << 20;
/// What such a byte costs: 24 bytes of xz can take 1.5 us.
const UNPRODUCTIVE_INSNS: u64 = 4;
/// What a call costs in instructions besides its own, whatever it does.
const CALL_INSNS: u64 = 100;
/// What setting up a decompression costs, with its buffers and its output. It
/// bounds how many there can be, too.
const SET_UP_INSNS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initrd_of_parts_is_as_long_as_an_int_can_say() {
        let zeros = |len| Rope::from(Piece::Zeros(len));
        let whole = behind(&zeros(0x7fff_fff9), &zeros(3)).map(|rope| rope.len());
        assert_eq!(whole.unwrap(), 0x7fff_ffff);
        let refusal = behind(&zeros(0x7fff_fff9), &zeros(4)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "an initrd of 2147483641 bytes and a part of 4 behind it are longer than the 2 GiB \
             less 1 byte that kexec_file_load(2) takes"
        );
        assert!(refusal.is_limit());
        behind(&zeros(u64::MAX - 4), &zeros(u64::MAX - 4)).unwrap_err();
    }
}
