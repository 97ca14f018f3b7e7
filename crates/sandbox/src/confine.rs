//! Giving everything away that a worker does not need.
//!
//! The parts overlap on purpose: a file cannot be opened because the system
//! call is not on the list, because Landlock denies every path, and because
//! no capability is left to get around permissions. Which of them a kernel
//! lacks is told, not guessed.

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::resources::Resources;
use crate::restriction::{Missing, Restriction};
use crate::{calls, files, inherited, rights};

/// How much a worker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Bytes of address space: the program, its memory, its maps. What goes
    /// beyond fails to be allocated, which ends a Rust program (SIGABRT).
    pub address_space: u64,
    /// Seconds of processor time, since the worker was started (SIGXCPU).
    pub cpu_seconds: u64,
    /// Bytes that any file written to may have, memfds too (SIGXFSZ).
    pub file_size: u64,
    /// Descriptors that may be open at once. More than came is closed on
    /// arrival, as [`ChannelError::DescriptorsLost`](crate::ChannelError).
    pub descriptors: u64,
}

impl Default for Confinement {
    /// 2 GiB, two minutes, files of 4 GiB, 256 descriptors.
    fn default() -> Self {
        Self {
            address_space: 2 << 30,
            cpu_seconds: 120,
            file_size: 4 << 30,
            descriptors: 256,
        }
    }
}

/// What to do about a part of the sandbox that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strictness {
    /// Fail: a sandbox without a gap, or none.
    Require,
    /// Go on with the rest, and tell.
    BestEffort,
}

/// What [`confine()`] could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    missing: Vec<Missing>,
}

/// Confines this process for good.
///
/// It may go on to compute, to allocate, to read and write at the descriptors
/// it has, and to receive more over the channel. Any other system call ends it
/// (SIGSYS), and so does asking for memory that can be executed. Of the
/// standard library that leaves out, besides the obvious, what looks at a
/// file's metadata: `File::metadata`, `File::read_to_end`, `io::copy` between
/// files. `read_at`, `read_exact_at`, `write_all_at`, `seek`, `set_len` and
/// `rustix::fs::fstat` work. A panic unwinds and can be caught.
///
/// # Errors
///
/// [`SandboxError::Threads`] if there is more than one thread.
/// [`SandboxError::Missing`] if something cannot be had and `strictness` is
/// [`Strictness::Require`]; the process is confined in part then, and has to end.
pub fn confine(confinement: &Confinement, strictness: Strictness) -> Result<Applied, SandboxError> {
    inherited::check_threads()?;
    // The order counts: looking for descriptors opens files, and seccomp
    // forbids every other step.
    let mut applied = Applied::default();
    let mut note = |restriction, result| applied.note(strictness, restriction, result);
    note(Restriction::Descriptors, inherited::check_descriptors())?;
    note(Restriction::NoNewPrivileges, rights::no_new_privileges())?;
    note(Restriction::Capabilities, rights::drop_capabilities())?;
    note(Restriction::Undumpable, rights::undumpable())?;
    note(Restriction::Limits, Resources::of(confinement).limit())?;
    note(Restriction::Landlock, files::deny())?;
    note(Restriction::Seccomp, calls::allow_listed())?;
    Ok(applied)
}

impl Applied {
    /// The parts that could not be had; none if the sandbox has no gap.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    fn note(
        &mut self,
        strictness: Strictness,
        restriction: Restriction,
        result: Result<(), String>,
    ) -> Result<(), SandboxError> {
        let Err(cause) = result else {
            return Ok(());
        };
        let missing = Missing { restriction, cause };
        match strictness {
            Strictness::Require => Err(SandboxError::Missing(missing)),
            Strictness::BestEffort => {
                self.missing.push(missing);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn note(strictness: Strictness) -> Result<Applied, SandboxError> {
        let mut applied = Applied::default();
        applied.note(strictness, Restriction::Undumpable, Ok(()))?;
        applied.note(
            strictness,
            Restriction::Landlock,
            Err("the kernel has none".to_owned()),
        )?;
        Ok(applied)
    }

    #[test]
    fn a_gap_is_told_when_the_rest_is_enough() {
        let applied = note(Strictness::BestEffort).unwrap();
        let [missing] = applied.missing() else {
            panic!("{applied:?}");
        };
        expect!["no files and no network (Landlock): the kernel has none"]
            .assert_eq(&missing.to_string());
    }

    #[test]
    fn a_gap_is_an_error_when_none_may_be() {
        let error = note(Strictness::Require).unwrap_err();
        expect![
            "the sandbox would have a gap: no files and no network (Landlock): the kernel has none"
        ]
        .assert_eq(&error.to_string());
    }

    #[test]
    fn threads_are_refused_before_anything_is_given_away() {
        // Tests run on threads of their own, beside the main one.
        let error = confine(&Confinement::default(), Strictness::BestEffort).unwrap_err();
        assert!(
            matches!(error, SandboxError::Threads { found: 2.. }),
            "{error}"
        );
        assert!(!rustix::thread::no_new_privs().unwrap());
    }
}
