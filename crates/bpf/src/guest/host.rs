//! The host as programs see it while they run.

use crate::guest::memory::Memory;
use crate::guest::trace::{Call, Tracer};
use crate::{BpfError, Meter};

/// The host at run time: answers kfunc calls and takes log lines.
pub trait Host {
    /// Calls kfunc number `kfunc` of [`crate::Interface::kfuncs`] and returns what
    /// the program sees in r0.
    ///
    /// # Errors
    ///
    /// A [`BpfError`] ends the run; what a program should be able to handle
    /// (`-EINVAL`, NULL) is a value, not an error.
    fn call(
        &mut self,
        kfunc: u32,
        args: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, BpfError>;

    /// Takes one line that a program printed (without the newline).
    fn log(&mut self, line: &str);

    /// A helper has failed: its answer in r0 is an error number, or NULL. Of the
    /// host's kfuncs, [`Host::call`] knows which have; all are reported here that
    /// answer with 0 or an error number.
    fn failed(&mut self, _call: &Call<'_>, _r0: u64) {}

    /// Returns who wants to see the run. Asked when it begins; one that is
    /// there then stays.
    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        None
    }
}
