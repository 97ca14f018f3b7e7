//! What can go wrong while a program runs.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::guest::memory::AccessError;
use crate::place::Place;

/// A run that ended early, and where.
#[derive(Debug)]
pub struct RunError {
    /// The instruction that failed; for [`Fault::Leak`] the one that acquired
    /// the reference.
    pub place: Box<Place>,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

impl Error for RunError {
    /// Returns the cause of the fault, which the text of this error lacks.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Memory could not be read or written.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// [`crate::Meter::insns`] is used up.
    #[error("the instruction budget is used up")]
    Budget,
    /// A call would need one frame too many.
    #[error("calls are nested more than {limit} frames deep")]
    CallDepth {
        /// Frames there are.
        limit: usize,
    },
    /// `callx` or a callback where there is no function.
    #[error("call to {target:#x}, which is neither a function of this program nor a helper")]
    NoFunction {
        /// The value called.
        target: u64,
    },
    /// A call to a weak kfunc that this host lacks.
    #[error(
        "kfunc {name} is not offered by this loader{}; test it with `bpf_ksym_exists({name})` \
         before the call",
        crate::guest::helpers::why_no_kfunc(name).map_or_else(String::new, |why| format!(" ({why})"))
    )]
    MissingKfunc {
        /// Its name.
        name: String,
    },
    /// An instruction that a failed CO-RE relocation replaced.
    #[error(
        "this instruction uses a type or field that the loader lacks{}; test it with \
         bpf_core_field_exists or bpf_core_type_exists before",
        .reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
    )]
    Poisoned {
        /// What the program wanted and what the loader has.
        reason: Option<Arc<str>>,
    },
    /// A helper was called with arguments it cannot take.
    #[error("{helper}: {problem}")]
    Helper {
        /// The helper's name.
        helper: &'static str,
        /// What is wrong, with the values.
        problem: String,
    },
    /// A reference was given back that is not held.
    #[error("{given} is not {kind} that is held{why}")]
    NotHeld {
        /// What was given.
        given: String,
        /// What was expected.
        kind: &'static str,
        /// What is known about it; empty or a clause that starts with a colon.
        why: String,
    },
    /// A lock was taken and not given back before the run ended.
    #[error("{lock} was called here, and {unlock} was not before the program ended")]
    Locked {
        /// The kfunc that takes it.
        lock: &'static str,
        /// The one that gives it back.
        unlock: &'static str,
    },
    /// The run ended without giving a reference back.
    #[error("{kind} acquired here was not released before the program ended")]
    Leak {
        /// What it is.
        kind: &'static str,
    },
    /// A map cannot be made.
    #[error("map {name}: {problem}")]
    Map {
        /// Its name.
        name: String,
        /// What is wrong, with the values.
        problem: String,
    },
    /// A program number that the parser does not have.
    #[error("there is no program {0}")]
    NoProgram(usize),
    /// The host ended the run.
    #[error(transparent)]
    Host(Box<dyn Error + Send + Sync>),
}
