//! A run as seen from outside: instructions, calls, and their effects.
//!
//! A [`crate::Host`] that wants to see a run gives a [`Tracer`]. Whether there
//! is one is asked when a run begins; a run without one is not slowed down.

use crate::Kfunc;
use crate::guest::memory::{Access, Memory};

/// Sees a run.
pub trait Tracer {
    /// An instruction has run, or has failed to. One that calls a helper or
    /// kfunc is reported before [`Tracer::call`].
    fn step(&mut self, step: &Step<'_>);

    /// A helper or kfunc is about to be called.
    fn call(&mut self, call: &Call<'_>);

    /// The helper or kfunc that was called last, of those that have not
    /// returned, has returned. One that ends the run does not.
    fn returned(&mut self, returned: &Returned<'_>);

    /// Returns whether nobody wants to see more. Asked after each step; the run
    /// then ends with an error.
    fn is_done(&self) -> bool {
        false
    }
}

/// An instruction that has run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// The program, by its number in [`crate::Parser::programs`].
    pub program: usize,
    /// The instruction's slot in [`crate::Program::code`].
    pub slot: u32,
    /// How many functions were active before it, itself included.
    pub depth: usize,
    /// The registers it changed, with what they hold now.
    pub changed: &'a [(u8, u64)],
    /// The memory it asked for.
    pub touched: Option<Touched>,
    /// The memory as it is now.
    pub memory: &'a Memory,
}

/// A memory access of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Touched {
    /// Reading or writing; an atomic operation writes.
    pub access: Access,
    /// The address.
    pub addr: u64,
    /// How many bytes, at most 8.
    pub len: u8,
    /// The bytes that are there now, little-endian; `None` if the access
    /// failed.
    pub value: Option<u64>,
}

/// A call of a helper or kfunc.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The program, by its number in [`crate::Parser::programs`].
    pub program: usize,
    /// The slot of the instruction that calls.
    pub slot: u32,
    /// The function that is called.
    pub callee: Callee<'a>,
    /// r1 to r5; how many of them mean something the callee knows.
    pub args: [u64; 5],
    /// The memory as it is now.
    pub memory: &'a Memory,
}

/// The function that is called.
#[derive(Clone, Copy, Debug)]
pub enum Callee<'a> {
    /// A helper: its name, and its prototype in [`crate::HELPERS`].
    Helper {
        /// With `bpf_`.
        name: &'static str,
        /// Without the name.
        prototype: &'static str,
    },
    /// A kfunc.
    Kfunc(&'a Kfunc),
}

impl<'a> Callee<'a> {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Helper { name, .. } => name,
            Self::Kfunc(kfunc) => &kfunc.name,
        }
    }
}

/// The return of a helper or kfunc.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Returned<'a> {
    /// The function that had been called.
    pub callee: Callee<'a>,
    /// The value of r0 now.
    pub r0: u64,
    /// The memory as it is now.
    pub memory: &'a Memory,
}
