//! What a host offers to parsers, and what a run may cost it.

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::btf::Btf;
use crate::guest::memory::Memory;
use crate::guest::trace::Tracer;

/// What a host offers, known before any parser is loaded.
#[derive(Debug)]
pub struct Interface {
    /// The host's types: what CO-RE relocations bind to.
    pub types: Btf,
    /// The hooks programs may attach to.
    pub hooks: Vec<HookDecl>,
    /// The kfuncs programs may call.
    pub kfuncs: Vec<KfuncDecl>,
}

impl Interface {
    /// Returns the number that [`crate::Kfunc::host`] carries for the kfunc
    /// `name`: its index in [`Interface::kfuncs`], or one from
    /// [`Interface::BUILT_IN`] on for those that this crate offers to every
    /// host (number iterators). A host's own kfunc wins.
    #[must_use]
    pub fn kfunc(&self, name: &str) -> Option<u32> {
        let own = self.kfuncs.iter().position(|kfunc| kfunc.name == name);
        own.and_then(|index| u32::try_from(index).ok())
            .or_else(|| crate::guest::helpers::built_in(name))
    }

    /// The first number of the kfuncs that this crate answers itself;
    /// [`Host::call`] never sees them.
    pub const BUILT_IN: u32 = 1 << 31;
}

/// A hook: a function of the host that programs attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookDecl {
    /// Its name, as in `SEC("fentry.s/NAME")`.
    pub name: &'static str,
    /// How many u64 arguments the host passes (without the previous return
    /// value that `fmod_ret` programs get behind them).
    pub args: u8,
}

/// A kfunc: a function of the host that programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KfuncDecl {
    /// Its name, as in `extern ... __ksym`.
    pub name: &'static str,
    /// How many arguments it takes, at most 5.
    pub args: u8,
}

/// The host at run time: answers kfunc calls and takes log lines.
pub trait Host {
    /// Calls kfunc number `kfunc` of [`Interface::kfuncs`] and returns what
    /// the program sees in r0.
    ///
    /// # Errors
    ///
    /// A [`Fault`] ends the run; what a program should be able to handle
    /// (`-EINVAL`, NULL) is a value, not an error.
    fn call(
        &mut self,
        kfunc: u32,
        args: [u64; 5],
        memory: &mut Memory,
        meter: &mut Meter,
    ) -> Result<u64, Fault>;

    /// Takes one line that a program printed (without the newline).
    fn log(&mut self, line: &str);

    /// Returns who wants to see the run. Asked when it begins; one that is
    /// there then stays.
    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        None
    }
}

/// What is left of a run's budget; every run draws from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Instructions that may still run.
    pub insns: u64,
    /// Bytes of private memory that may still be allocated (stacks, maps,
    /// records, buffers; not what is referred to in place). What is freed
    /// comes back.
    pub memory: u64,
    /// Log lines that may still be printed; later ones are dropped, and one
    /// last line says so.
    pub log_lines: u32,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            insns: 20_000_000,
            memory: 256 << 20,
            log_lines: 1_000,
        }
    }
}
