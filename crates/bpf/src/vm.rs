//! The interpreter.

pub use crate::fault::{Fault, RunError};
use crate::memory::Memory;
use crate::verify::VerifiedParser;
use crate::{Host, Meter};

/// A parser in one stage: its maps live as long as this, its programs run in
/// it one after the other.
#[derive(Debug)]
pub struct Vm {
    parser: VerifiedParser,
    memory: Memory,
}

impl Vm {
    /// Makes the maps of `parser`. Their memory is drawn from `meter`.
    ///
    /// # Errors
    ///
    /// [`Fault::Map`] if a map does not fit the memory budget.
    pub fn new(parser: &VerifiedParser, meter: &mut Meter) -> Result<Self, Fault> {
        unimplemented!()
    }

    /// Returns the guest memory, to add what programs may see.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Runs program number `program` of [`crate::Parser::programs`] as its hook
    /// would: r1 points to an array of `args`. Returns r0.
    ///
    /// # Errors
    ///
    /// [`RunError`] if the program faults, leaks, or uses up `meter`.
    pub fn run(
        &mut self,
        program: usize,
        args: &[u64],
        host: &mut dyn Host,
        meter: &mut Meter,
    ) -> Result<u64, RunError> {
        unimplemented!()
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
    ) -> Result<u64, RunError> {
        unimplemented!()
    }

    /// Ends the stage: frees maps and memory, and gives all that was drawn from
    /// [`Meter::memory`] back.
    pub fn finish(self, meter: &mut Meter) {
        unimplemented!()
    }
}
