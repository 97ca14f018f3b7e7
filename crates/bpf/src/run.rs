//! The interpreter.
//!
//! The verifier has decoded the code; a [`Vm`] holds what outlives a run (maps
//! and memory). Registers, stack and records start as zeros, and nothing a
//! program can ask for depends on the machine or the hour: a run is a function
//! of its inputs.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        reason = "instructions are defined by wrapping and truncation; registers are indexed by \
                  numbers cut to the size of their array"
    )
)]

mod alu;
mod calls;
mod interpreter;
pub(crate) mod verified;
mod watch;

use self::verified::VerifiedParser;
use crate::guest::machine::{FRAMES, Machine, STACK, Stage};
use crate::guest::maps::Maps;
use crate::guest::memory::{Memory, Site};
use crate::place::Place;
use crate::{BpfError, Host, Meter};

/// A parser in one stage: its maps live as long as this, its programs run in
/// it one after the other.
#[derive(Debug)]
pub struct Vm {
    parser: VerifiedParser,
    memory: Memory,
    maps: Maps,
    /// The addresses of the stack frames.
    frames: [u64; FRAMES],
    stage: Stage,
}

impl Vm {
    /// Makes the maps of `parser`. Their memory is drawn from `meter`.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if a map does not fit the memory budget.
    pub fn new(parser: &VerifiedParser, meter: &mut Meter) -> Result<Self, BpfError> {
        let mut memory = Memory::default();
        memory.account.draw(meter)?;
        let mut frames = [0; FRAMES];
        for (depth, frame) in frames.iter_mut().enumerate() {
            let name = if depth == 0 {
                "stack".to_owned()
            } else {
                format!("stack[{depth}]")
            };
            *frame = memory.add_frame(name.into(), STACK)?;
        }
        let maps = Maps::new(parser, &mut memory)?;
        memory.account.settle(meter);
        Ok(Self {
            parser: parser.clone(),
            memory,
            maps,
            frames,
            stage: Stage::default(),
        })
    }

    /// Returns the guest memory, to add what programs may see.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Makes `bytes` readable where map number `map` is pointed to, as a kernel's
    /// own structures are to loader programs.
    pub(crate) fn show_map(&mut self, map: u64, bytes: Vec<u8>) {
        if let Some(map) = self.maps.by_index(map) {
            self.memory.show_handle(map.handle, bytes);
        }
    }

    /// Runs program number `program` of [`crate::Parser::programs`] as its hook
    /// would: r1 points to an array of `args`. Returns r0.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if the program faults, leaks, or uses up `meter`.
    pub fn run(
        &mut self,
        program: usize,
        args: &[u64],
        host: &mut dyn Host,
        meter: &mut Meter,
    ) -> Result<u64, BpfError> {
        let bytes = args.iter().flat_map(|arg| arg.to_le_bytes()).collect();
        let array = self.memory.add_bytes("argument list", bytes, false);
        let array = array.map_err(|error| self.failed(program, &[], error))?;
        let result = self.call(program, [array, 0, 0, 0, 0], host, meter);
        self.memory.free(array, "ended");
        self.memory.account.settle(meter);
        result
    }

    /// Runs program number `program` with r1 to r5 set to `registers`. Returns
    /// r0.
    ///
    /// # Errors
    ///
    /// As [`Vm::run`].
    pub fn call(
        &mut self,
        program: usize,
        registers: [u64; 5],
        host: &mut dyn Host,
        meter: &mut Meter,
    ) -> Result<u64, BpfError> {
        self.memory.set_site(Site {
            program: program as u32,
            slot: 0,
        });
        let drawn = self.memory.account.draw(meter);
        drawn.map_err(|error| self.failed(program, &[], error))?;
        let result = self.execute(program, registers, host, meter);
        for frame in self.frames {
            self.memory.close_frame(frame);
        }
        let leak = self.memory.take_leaks();
        self.memory.account.settle(meter);
        match (result, leak) {
            (Ok(_), Some((kind, site))) => {
                let text =
                    format!("{kind} acquired here was not released before the program ended");
                Err(self.failed(site.program as usize, &[site.slot], BpfError::new(text)))
            }
            (Ok(r0), None) => Ok(r0),
            (Err((slots, fault)), _) => Err(self.failed(program, &slots, fault)),
        }
    }

    /// Ends the stage: frees maps and memory, and gives all that was drawn from
    /// [`Meter::memory`] back.
    pub fn finish(self, meter: &mut Meter) {
        let Self { memory, maps, .. } = self;
        drop(maps);
        memory.account.close(meter);
    }

    fn execute(
        &mut self,
        number: usize,
        registers: [u64; 5],
        host: &mut dyn Host,
        meter: &mut Meter,
    ) -> Result<u64, (Vec<u32>, BpfError)> {
        let known = self.parser.program(number);
        let (program, code) = known.ok_or_else(|| {
            (
                Vec::new(),
                BpfError::new(format!("there is no program {number}")),
            )
        })?;
        let mut machine = Machine {
            program,
            number,
            code,
            kfuncs: &self.parser.kfuncs,
            helpers: self.parser.helpers(),
            call_back: Machine::call_back,
            memory: &mut self.memory,
            maps: &mut self.maps,
            host,
            meter,
            stage: &mut self.stage,
            locks: Default::default(),
            frames: self.frames,
            depth: 0,
            stopped: Vec::new(),
            failed: false,
        };
        let result = machine.interpret(0, registers);
        match (result, machine.still_locked()) {
            (Ok(_), Some((slot, locked))) => Err((vec![slot], locked)),
            (Ok(r0), None) => Ok(r0),
            (Err(fault), _) => Err((machine.stopped, fault)),
        }
    }

    /// Says where `error` is: the slot of the instruction comes first, behind it
    /// those of open calls. Without one, nothing has run.
    fn failed(&self, program: usize, slots: &[u32], error: BpfError) -> BpfError {
        let place = |slot: &u32| match self.parser.programs.get(program) {
            Some(program) => Place::new(program, *slot),
            None => Place::in_program(&program.to_string(), *slot),
        };
        let (slot, open) = slots.split_first().unwrap_or((&0, &[]));
        let callers = open.iter().map(place).collect();
        error.at(place(slot)).called_from(callers)
    }
}
