//! The kfuncs: what happens when a program hands over or decompresses.

mod commands;

use tracing::{debug, info};
use ukexec_bpf::btf::Btf;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::trace::{self, Callee, Tracer};
use ukexec_bpf::{BpfError, Host, Meter, Piece, Rope};
use ukexec_decompress::{Compression, Limits, StreamWarning, decompress};
use ukexec_pe::counted;

use crate::chunks::Payload;
use crate::cmdline;
use crate::context::{Context, Lens};
use crate::costs::{self, charge, wide};
use crate::generation::Generation;
use crate::handed_over::{self, Charged, HandedOver};
use crate::interface::KFUNCS;
use crate::names::{MATCH, POST_HANDLE};
use crate::observer::Observer;
use crate::output::CountedOutput;
use crate::record::Record;
use crate::refusal::{CallError, Refusal};
use crate::report::Resource;
use crate::store::Store;
use crate::structs::mem_range_result;
use crate::{Gate, UnfoldError};

/// Answers the kfuncs of one stage, or of one parser that is asked whether an
/// image is its own.
pub(crate) struct StageHost<'a> {
    pub(crate) stage: Option<u32>,
    /// The hook whose programs run.
    pub(crate) hook: &'static str,
    pub(crate) generation: Generation,
    pub(crate) types: &'a Btf,
    pub(crate) context: Context,
    /// The number by which a program finds its parser context; 0 if it has none.
    pub(crate) parser_id: u64,
    pub(crate) gate: &'a mut dyn Gate,
    pub(crate) store: &'a mut dyn Store,
    pub(crate) observer: &'a mut dyn Observer,
    /// The rest of [`crate::Budget::output`].
    pub(crate) output_left: &'a mut u64,
    /// Bytes of the stage's image and initrd: what there is to hand over, with
    /// what is decompressed.
    pub(crate) inputs_len: u64,
    /// Bytes of those that earlier levels handed over.
    pub(crate) earlier: Lens,
    /// How often a signature was asked about, all stages together.
    pub(crate) verifications: &'a mut u32,
    pub(crate) record: Record,
    /// Why the kfunc that is at work refuses.
    pub(crate) reason: Option<String>,
}

/// A kfunc's work: of the values in r1 to r5 to the one in r0.
pub(crate) type Call = for<'a, 'b> fn(
    &'a mut StageHost<'b>,
    [u64; 5],
    &'a mut Memory,
    &'a mut Meter,
) -> Result<u64, CallError>;

impl Host for StageHost<'_> {
    /// Makes a refusal an errno or NULL, and remembers its reason: the parsers of
    /// the series return 0 whatever failed.
    fn call(
        &mut self,
        kfunc: u32,
        args: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, BpfError> {
        charge(&mut meter.insns, costs::CALL);
        let row = usize::try_from(kfunc).ok().and_then(|row| KFUNCS.get(row));
        let Some(kfunc) = row else {
            let error = UnfoldError::new(format!("there is no kfunc {kfunc}"));
            return Err(BpfError::host(error));
        };
        match (kfunc.call)(self, args, memory, meter) {
            Ok(value) => Ok(value),
            Err(CallError::Ended(error)) => Err(error),
            Err(CallError::Refused(refusal)) => {
                let reason = format!("{}: {}", kfunc.name, refusal.text);
                debug!(stage = self.stage, "{reason}");
                self.observer.refused(&reason);
                self.record.refuse(reason, refusal.is_limit);
                self.reason = Some(refusal.text);
                Ok(match kfunc.prototype.contains("*(") {
                    // It returns a pointer.
                    true => NULL,
                    false => refusal.errno.cast_unsigned(),
                })
            }
        }
    }

    fn log(&mut self, line: &str) {
        let line = line.trim_end_matches('\n');
        info!(stage = self.stage, "{line}");
        self.observer.logged(line);
        self.record.log.push(line.to_owned());
    }

    fn failed(&mut self, call: &trace::Call<'_>, r0: u64) {
        let reason = self.reason.take();
        if reason.is_some() || matches!(call.callee, Callee::Helper { .. }) {
            self.observer.failed(call, r0, reason.as_deref());
        }
    }

    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        self.observer.tracer()
    }
}

impl StageHost<'_> {
    /// `bpf_copy_to_kernel`: takes the `size` bytes at `buf` by value.
    pub(crate) fn hand_over(
        &mut self,
        [name, buf, size, ..]: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        match self.hook {
            MATCH => {
                return Err(CallError::host(UnfoldError::new(
                    "a match program may not hand over; call bpf_copy_to_kernel in a program on \
                     bpf_handle_pefile",
                )));
            }
            POST_HANDLE => {
                let text = "programs on bpf_post_handle_pefile may not hand over";
                return Err(Refusal::invalid(text).into());
            }
            _ => {}
        }
        let name = memory
            .read_cstr(name, MAX_NAME)
            .map_err(CallError::of_name)?;
        let size = int(size);
        let (resource, adds) = match name.as_slice() {
            b"kexec:kernel" => (Resource::Kernel, false),
            b"kexec:initrd" => (Resource::Initrd, false),
            b"kexec:cmdline" => (Resource::Cmdline, false),
            b"ukexec:initrd-part" if size == 0 => return Ok(0),
            b"ukexec:initrd-part" => (Resource::Initrd, true),
            b"ukexec:profile" => return self.take_profile(buf, size, memory),
            _ => {
                let name = String::from_utf8_lossy(&name);
                return Err(Refusal::invalid(format!(
                    "nobody listens to {name:?}; expected kexec:kernel, kexec:initrd or \
                     kexec:cmdline, or one of ukexec's own: ukexec:initrd-part, ukexec:profile"
                ))
                .into());
            }
        };
        let taken = self.take(resource, adds, buf, size, memory, meter);
        // A part behind one that is missing does not make up for it.
        if !(adds && taken.is_ok()) {
            self.remember(resource, &taken);
        }
        taken.map(|()| 0)
    }

    /// Remembers whether a limit kept `resource` out.
    fn remember(&mut self, resource: Resource, taken: &Result<(), CallError>) {
        let limit = match taken {
            Ok(()) => None,
            Err(CallError::Refused(refusal)) if refusal.is_limit => Some(refusal.text.clone()),
            Err(_) => return,
        };
        self.record.kept_out.retain(|(other, _)| *other != resource);
        self.record
            .kept_out
            .extend(limit.map(|text| (resource, text)));
    }

    /// Takes the number of the profile that the parser chose.
    fn take_profile(&mut self, buf: u64, size: i32, memory: &mut Memory) -> Result<u64, CallError> {
        let mut number = [0; 4];
        if usize::try_from(size) != Ok(number.len()) {
            let text = format!("the number of a profile: expected 4 bytes, found {size}");
            return Err(Refusal::invalid(text).into());
        }
        memory
            .read(buf, &mut number)
            .map_err(CallError::of_buffer)?;
        self.record.profile = Some(u32::from_le_bytes(number));
        Ok(0)
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
        let len = len_of(size)?;
        if buf == 0 {
            return Err(Refusal::invalid("the buffer is NULL").into());
        }
        if len == 0 && resource == Resource::Kernel {
            return Err(Refusal::invalid("a kernel of 0 bytes").into());
        }
        let (rope, cost) = self.excerpt(buf, len, memory, meter)?;
        let (rope, cost) = match &self.record.handed_over.initrd {
            Some(initrd) if adds => {
                let rope = behind(&initrd.value, &rope)?;
                (rope, cost.saturating_add(initrd.charged))
            }
            _ => (rope, cost),
        };
        self.accept(resource, rope, cost, meter)
    }

    /// Returns the `len` bytes at `buf` by value, and the memory that they hold.
    fn excerpt(
        &self,
        buf: u64,
        len: u64,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<(Rope, u64), CallError> {
        let excerpt = memory.excerpt(buf, len).map_err(CallError::of_buffer)?;
        charge(&mut meter.insns, costs::copying(excerpt.copied));
        let cost = handed_over::cost(&excerpt.rope, excerpt.copied);
        Ok((excerpt.rope, cost))
    }

    /// Takes `rope`, which holds `cost` bytes of memory, as a resource.
    fn accept(
        &mut self,
        resource: Resource,
        rope: Rope,
        cost: u64,
        meter: &mut Meter,
    ) -> Result<(), CallError> {
        charge(&mut meter.insns, costs::pieces(&rope));
        let size = match resource {
            Resource::Cmdline => self.take_line(&rope, meter)?,
            Resource::Kernel | Resource::Initrd => self.take_rope(resource, rope, cost, meter)?,
        };
        debug!(stage = self.stage, %resource, size, "hand-over");
        self.observer.handed_over(resource, size);
        Ok(())
    }

    /// Takes the command line in `rope`, and returns its length.
    fn take_line(&mut self, rope: &Rope, meter: &mut Meter) -> Result<u64, CallError> {
        let line = cmdline::read(rope, &mut meter.insns)
            .map_err(|error| CallError::unread("the command line", error))?;
        let line = line.ok_or_else(|| {
            Refusal::limit(format!(
                "the command line has no NUL in its first {} of {} bytes; kernels take 4096 at \
                 most",
                cmdline::LINE_MAX,
                rope.len()
            ))
        })?;
        let size = wide(line.text.len());
        let older = &mut self.record.handed_over.cmdline;
        Charged::new(line, size, meter)?.replace(older, meter);
        Ok(size)
    }

    /// Takes a kernel or an initrd that holds `cost` bytes of memory, and returns
    /// its length.
    ///
    /// Ropes cost nothing to make long: a page that is referred to a million
    /// times is a file of 4 GiB for whoever writes it out. A kernel and an initrd
    /// that are longer than the inputs and all that was decompressed must repeat
    /// something (or be zeros, or copies), and draw on the budget of
    /// decompression.
    fn take_rope(
        &mut self,
        resource: Resource,
        rope: Rope,
        cost: u64,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        let len = rope.len();
        let HandedOver { kernel, initrd, .. } = &mut self.record.handed_over;
        let Lens {
            kernel: earlier_kernel,
            initrd: earlier_initrd,
        } = self.earlier;
        let (older, other, earlier) = match resource {
            Resource::Kernel => (kernel, initrd, earlier_initrd),
            _ => (initrd, kernel, earlier_kernel),
        };
        let other = other.as_ref().map_or(earlier, |held| held.value.len());
        let there = self.inputs_len.saturating_add(self.record.decompressed);
        let repeated = other.saturating_add(len).saturating_sub(there);
        let left = self.output_left.saturating_add(self.record.repeated);
        if repeated > left {
            return Err(Refusal::no_memory(format!(
                "kernel and initrd are longer by {repeated} than all that there is to hand over \
                 ({there} of image, initrd and decompressed payloads), and the output budget has \
                 {left} left; --max-output raises it"
            ))
            .into());
        }
        Charged::new(rope, cost, meter)?.replace(older, meter);
        *self.output_left = left.saturating_sub(repeated);
        self.record.repeated = repeated;
        Ok(len)
    }

    /// `bpf_decompress`: returns the address of a new `struct mem_range_result`.
    pub(crate) fn decompress(
        &mut self,
        [payload, size, ..]: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        let len = len_of(int(size));
        let rope = len.map_err(CallError::from);
        let rope = rope.and_then(|len| self.unpack(payload, len, memory, meter))?;
        self.show(rope, memory)
            .map_err(|error| CallError::of_access("no room for the result", error))
    }

    /// Decompresses the `len` bytes at `payload`.
    fn unpack(
        &mut self,
        payload: u64,
        len: u64,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<Rope, CallError> {
        if self.record.decompressions >= MAX_DECOMPRESSIONS {
            return Err(Refusal::limit(format!(
                "a stage may decompress {MAX_DECOMPRESSIONS} times, and this one has"
            ))
            .into());
        }
        self.record.decompressions = self.record.decompressions.saturating_add(1);
        let excerpt = memory.excerpt(payload, len).map_err(CallError::of_buffer)?;
        charge(&mut meter.insns, costs::SET_UP);
        charge(&mut meter.insns, costs::copying(excerpt.copied));
        self.decompress_rope(&excerpt.rope, meter)
    }

    /// Puts what was decompressed into `memory`.
    fn show(&self, rope: Rope, memory: &mut Memory) -> Result<u64, BpfError> {
        let len = rope.len();
        let buf = memory.add_rope("decompressed payload", rope)?;
        let object = mem_range_result(self.types, buf, len);
        let object = memory.add_bytes("mem_range_result", object, false)?;
        memory.acquire(RESULT, object, &[buf])?;
        Ok(object)
    }

    fn decompress_rope(&mut self, payload: &Rope, meter: &mut Meter) -> Result<Rope, CallError> {
        let limits = Limits {
            output: *self.output_left,
            memory: meter.memory,
        };
        let output = self.store.create().map_err(CallError::unstored)?;
        let mut output = CountedOutput::new(output);
        let mut input = Payload::new(payload, &mut meter.insns);
        let done = decompress(&mut input, &mut output, &limits);
        let Payload {
            consumed, error, ..
        } = input;
        // Failed ones count too: their time has been spent as well. Bytes
        // behind a stream are read and not decompressed.
        let consumed = done.as_ref().map_or(consumed, |done| done.consumed);
        *self.output_left = self.output_left.saturating_sub(output.written);
        charge(&mut meter.insns, costs::unpacking(consumed, output.written));
        if let Some(error) = error {
            return Err(CallError::unread("the payload", error));
        }
        if let Some(error) = output.error {
            return Err(CallError::unstored(error));
        }
        let done = done.map_err(|error| Refusal {
            is_limit: error.is_limit(),
            ..Refusal::caused("the payload cannot be decompressed", &error)
        })?;
        let compression = done.compression;
        for warning in &done.warnings {
            self.record.warn(warning_of(compression, warning));
        }
        let (id, source) = output.inner.finish().map_err(CallError::unstored)?;
        debug!(stage = self.stage, %compression, size = done.written, "decompressed");
        self.record.outputs.push(id);
        self.record.decompressed = self.record.decompressed.saturating_add(done.written);
        Ok(Rope::from_source(id, source))
    }

    /// `bpf_mem_range_result_put`.
    pub(crate) fn put(result: u64, memory: &mut Memory) -> Result<u64, CallError> {
        let released = memory.release(RESULT, result);
        released.map(|()| 0).map_err(CallError::Ended)
    }
}

fn warning_of(compression: Compression, warning: &StreamWarning) -> String {
    match warning {
        StreamWarning::TrailerCut { part, data_checked } => {
            let data = match data_checked {
                true => "passed their checks",
                false => "could not be checked",
            };
            format!("the trailer ({part}) of the {compression} payload is cut off; its data {data}")
        }
        StreamWarning::TrailingBytes { count } => {
            let count = counted(*count, "byte");
            format!("ignored {count} behind the {compression} payload")
        }
    }
}

/// Returns `initrd` with `part` behind it, where the kernel looks for the next
/// archive: at a multiple of 4 bytes.
fn behind(initrd: &Rope, part: &Rope) -> Result<Rope, Refusal> {
    let mut rope = initrd.clone();
    let end = rope.len();
    let padded = end.div_ceil(4).saturating_mul(4);
    if padded.saturating_add(part.len()) > INT_MAX {
        return Err(Refusal::limit(format!(
            "an initrd of {end} bytes and a part of {} behind it are longer than the 2 GiB less 1 \
             byte that kexec_file_load(2) takes",
            part.len()
        )));
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

/// Returns how many bytes a program means by `size`.
fn len_of(size: i32) -> Result<u64, Refusal> {
    u64::try_from(size).map_err(|_negative| {
        Refusal::invalid(format!("the size is {size}, which is negative as an int"))
    })
}

/// The longest hand-over in bytes: its size is an `int`.
const INT_MAX: u64 = 0x7fff_ffff;

/// The name in messages of the reference that `bpf_decompress` returns.
const RESULT: &str = "a mem_range_result";

const NULL: u64 = 0;

/// Decompressions of a stage: a stream that fails may have cost milliseconds
/// without an output to charge for.
const MAX_DECOMPRESSIONS: u32 = 64;
/// The longest name that is looked at, NUL included.
const MAX_NAME: usize = 64;

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
            refusal.text,
            "an initrd of 2147483641 bytes and a part of 4 behind it are longer than the 2 GiB \
             less 1 byte that kexec_file_load(2) takes"
        );
        assert!(refusal.is_limit);
        behind(&zeros(u64::MAX - 4), &zeros(u64::MAX - 4)).unwrap_err();
    }
}
