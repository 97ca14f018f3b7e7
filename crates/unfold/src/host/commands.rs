//! The kfuncs of v6 and v7: parsers send commands about a buffer.

use tracing::debug;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{BpfError, Meter, Rope};

use super::{StageHost, int};
use crate::UnfoldError;
use crate::command::{Command, HEADER_MAX, Order, decode, header_len};
use crate::context::with_nul;
use crate::costs;
use crate::generation::Generation;
use crate::handed_over::{self, Charged};
use crate::names::MATCH;
use crate::refusal::{CallError, Refusal};
use crate::report::Resource;
use crate::structs::BUFFERS;

/// The name in messages of the reference that `bpf_get_parser_context` returns.
const PARSER_CONTEXT: &str = "a bpf_parser_context";
/// Bytes of a `struct bpf_parser_context`, which are not for parsers.
const PARSER_CONTEXT_LEN: usize = 48;

/// Signatures that all stages together may ask about: those of chains take longer than is charged
/// for them. Nobody has to ask about a byte twice.
const MAX_VERIFICATIONS: u32 = 16;

impl StageHost<'_> {
    /// `bpf_get_parser_context`: each reference is a region of its own, so that one that was put
    /// back differs from one that is held.
    pub(crate) fn get_parser_context(
        &self,
        id: u64,
        memory: &mut Memory,
    ) -> Result<u64, CallError> {
        if self.hook == MATCH {
            return Err(CallError::host(UnfoldError::new(format!(
                "a match program may not hand over; send commands in a program on {}",
                self.generation.hook()
            ))));
        }
        if id != self.parser_id || id == 0 {
            return Err(Refusal::invalid(format!(
                "{id:#x} is not the parser_id that this run's hook gave"
            ))
            .into());
        }
        let context = memory.add_bytes("bpf_parser_context", vec![0; PARSER_CONTEXT_LEN], false);
        let no_room = |error| CallError::of_access("no room for a reference", error);
        let context = context.map_err(no_room)?;
        memory
            .acquire(PARSER_CONTEXT, context, &[])
            .map_err(no_room)?;
        Ok(context)
    }

    /// `bpf_put_parser_context`.
    pub(crate) fn put_parser_context(context: u64, memory: &mut Memory) -> Result<u64, CallError> {
        let released = memory.release(PARSER_CONTEXT, context);
        released.map(|()| 0).map_err(CallError::Ended)
    }

    /// `bpf_buffer_parser`: runs the command in the `size` bytes at `buf`, which it takes by
    /// value.
    pub(crate) fn buffer_parser(
        &mut self,
        args: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        let done = self.run_command(args, memory, meter);
        self.record.failed |= done.is_err();
        done
    }

    fn run_command(
        &mut self,
        [buf, size, context, ..]: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, CallError> {
        memory
            .check_held(PARSER_CONTEXT, context)
            .map_err(CallError::Ended)?;
        if buf == 0 {
            return Err(Refusal::invalid("the buffer is NULL").into());
        }
        let (least, given) = (header_len(self.generation), int(size));
        let size = u32::try_from(given).ok().filter(|size| *size >= least);
        let size = size.ok_or_else(|| {
            Refusal::invalid(format!(
                "buf_sz is {given}; expected at least {least}, the header of a command of parser \
                 ABI {}",
                self.generation
            ))
        })?;
        let mut header = [0; HEADER_MAX];
        let read = usize::try_from(least).ok();
        if let Some(front) = read.and_then(|least| header.get_mut(..least)) {
            memory.read(buf, front).map_err(CallError::of_buffer)?;
        }
        let order = decode(self.generation, header, size)?;
        let payload = buf.saturating_add(order.header.into());
        self.obey(order, payload, memory, meter)?;
        Ok(0)
    }

    fn obey(
        &mut self,
        order: Order,
        payload: u64,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<(), CallError> {
        let len = u64::from(order.payload);
        match order.command {
            Command::Done => {
                self.record.done = true;
                (self.record.failed, self.record.limit) = (false, None);
                let shown = self.context.done(self.types, memory);
                shown.map_err(|error| CallError::of_access("the context", error))
            }
            Command::VerifySignature => self.verify_signature(payload, len, memory, meter),
            // Upstream's latest work: an initrd without bytes changes nothing.
            Command::Copy(Resource::Initrd) if len == 0 => Ok(()),
            Command::Copy(resource) if len == 0 => {
                Err(Refusal::invalid(format!("COPY of a {resource} of 0 bytes")).into())
            }
            Command::Copy(resource) => {
                self.check_room(order)?;
                let taken = self.excerpt(payload, len, memory, meter);
                let taken = taken.and_then(|(rope, cost)| self.accept(resource, rope, cost, meter));
                self.settle(order, resource, taken, memory, meter)
            }
            Command::Decompress => {
                self.check_room(order)?;
                let taken = self.unpack(payload, len, memory, meter);
                let taken = taken.and_then(|rope| {
                    let cost = handed_over::cost(&rope, 0);
                    self.accept(Resource::Kernel, rope, cost, meter)
                });
                self.settle(order, Resource::Kernel, taken, memory, meter)
            }
        }
    }

    /// Refuses to fill more buffers than there are, before the command has any effect.
    fn check_room(&self, order: Order) -> Result<(), Refusal> {
        let filled = self.record.filled.len();
        if order.fills && costs::wide(filled) >= BUFFERS.into() {
            return Err(Refusal::out_of_room(format!(
                "FILL: {filled} buffers are filled, and the next parser sees no more"
            )));
        }
        Ok(())
    }

    /// Ends a command that hands `resource` over: the next parser and the program see it.
    fn settle(
        &mut self,
        order: Order,
        resource: Resource,
        taken: Result<(), CallError>,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<(), CallError> {
        let taken = taken.and_then(|()| self.show_taken(order, resource, memory, meter));
        self.remember(resource, &taken);
        taken
    }

    fn show_taken(
        &mut self,
        order: Order,
        resource: Resource,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<(), CallError> {
        let handed_over = &self.record.handed_over;
        let rope = |held: &Charged<Rope>| (held.value.clone(), held.charged);
        let taken = match resource {
            Resource::Kernel => handed_over.kernel.as_ref().map(rope),
            Resource::Initrd => handed_over.initrd.as_ref().map(rope),
            Resource::Cmdline => handed_over.cmdline.as_ref().map(|line| {
                let line = with_nul(&line.value.text);
                let cost = handed_over::cost(&line, line.len());
                (line, cost)
            }),
        };
        let Some((rope, cost)) = taken else {
            return Ok(());
        };
        if order.fills {
            // It keeps the bytes when a later hand-over replaces this one.
            let buffer = Charged::new(rope.clone(), cost, meter)?;
            self.record.filled.push(buffer);
        }
        if !self.record.copied.insert(resource) {
            self.record.warn(format!(
                "the parser handed the {resource} over more than once; the last one counts"
            ));
        }
        let shown = self.context.hand_over(resource, rope, self.types, memory);
        shown.map_err(|error| CallError::of_access("the context", error))
    }

    /// `VERIFY_SIG`: whether the payload, a PE image, has a good signature.
    fn verify_signature(
        &mut self,
        payload: u64,
        len: u64,
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<(), CallError> {
        debug_assert_eq!(self.generation, Generation::V7, "v6 has no such command");
        *self.verifications = self.verifications.saturating_add(1);
        let record = &mut self.record;
        record.verified = record.verified.saturating_add(len);
        let there = self.inputs_len.saturating_add(record.decompressed);
        if *self.verifications > MAX_VERIFICATIONS || record.verified > there {
            // No parser may pass over that, or take a good image for a bad one.
            return Err(CallError::Ended(BpfError::budget().of_limit(format!(
                "VERIFY_SIG: all stages may ask about {MAX_VERIFICATIONS} signatures, and each about \
                 no more bytes than there are ({there})"
            ))));
        }
        let (image, _) = self.excerpt(payload, len, memory, meter)?;
        costs::pay(&mut meter.insns, costs::reading(&image))
            .map_err(|error| CallError::unread("the image", error))?;
        debug!(stage = self.stage, len, "VERIFY_SIG");
        let verdict = self.gate.verify_signature(&image);
        verdict.map_err(|refused| Refusal::of_signature(refused).into())
    }
}
