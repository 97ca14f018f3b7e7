//! Watching a stage: what its parser says and does, as it happens.

use ukexec_bpf::trace::{Call, Tracer};

use crate::Resource;

/// Sees a stage. It leaves out what it is not interested in.
pub trait Observer {
    /// A program begins to run for `hook`.
    fn begins(&mut self, _program: &str, _hook: &'static str) {}

    /// The program has returned `r0`.
    fn ended(&mut self, _program: &str, _hook: &'static str, _r0: u64) {}

    /// A program has printed a line.
    fn logged(&mut self, _line: &str) {}

    /// A program has handed over `size` bytes. They take effect only if the
    /// whole stage succeeds.
    fn handed_over(&mut self, _resource: Resource, _size: u64) {}

    /// A kfunc has answered with an error or NULL, and why.
    fn refused(&mut self, _reason: &str) {}

    /// A helper or kfunc has answered `r0`, an error number or NULL, because it
    /// failed; of kfuncs of the parser ABI the reason is known.
    fn failed(&mut self, _call: &Call<'_>, _r0: u64, _reason: Option<&str>) {}

    /// Returns who wants to see every instruction, if anyone does.
    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        None
    }
}

/// Nobody watches.
pub(crate) struct Nobody;

impl Observer for Nobody {}
