//! Giving everything away that a worker does not need.
//!
//! The parts overlap on purpose: a file cannot be opened because the system
//! call is not on the list, because Landlock denies every path, and because
//! no capability is left to get around permissions. Which of them a kernel
//! lacks is reported, not guessed.

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::{calls, files, inherited, resources, rights};

/// How much a worker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Bytes of address space: the program, its memory, its maps. An allocation
    /// beyond them fails, which ends a Rust program (SIGABRT).
    pub address_space: u64,
    /// Seconds of processor time, since the worker was started (SIGXCPU).
    pub cpu_seconds: u64,
    /// Bytes that any file written to may have, memfds too (SIGXFSZ).
    pub file_size: u64,
    /// Descriptors that may be open at once. Those beyond are closed on
    /// arrival, and receiving them is an error.
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

/// Whether the sandbox may lack a part that the kernel does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strictness {
    /// Fail: a sandbox without a gap, or none.
    Require,
    /// Go on with the rest, and say so.
    BestEffort,
}

/// Confines this process for good. Returns the parts of the sandbox that could not
/// be had, in words; none if it has no gap.
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
/// There is more than one thread, or something cannot be had and `strictness` is
/// [`Strictness::Require`]; the process is confined in part then, and has to end.
pub fn confine(
    confinement: &Confinement,
    strictness: Strictness,
) -> Result<Vec<String>, SandboxError> {
    inherited::check_threads()?;
    let mut missing = Vec::new();
    // The order counts: looking for descriptors opens files, and seccomp
    // forbids every other step.
    let parts: [(&str, Part<'_>); 7] = [
        ("no stray descriptors", &inherited::check_descriptors),
        ("no new privileges", &rights::no_new_privileges),
        ("no capabilities", &rights::drop_capabilities),
        ("no core dump and no debugger", &rights::undumpable),
        ("limits on memory and time", &|| {
            resources::limit(confinement)
        }),
        ("no files and no network (Landlock)", &files::deny),
        (
            "no system calls but those needed (seccomp)",
            &calls::allow_listed,
        ),
    ];
    for (name, part) in parts {
        missing.extend(gap(strictness, name, part())?);
    }
    Ok(missing)
}

/// Takes something away from this process.
type Part<'a> = &'a dyn Fn() -> Result<(), SandboxError>;

fn gap(
    strictness: Strictness,
    name: &str,
    result: Result<(), SandboxError>,
) -> Result<Option<String>, SandboxError> {
    let Some(cause) = result.err() else {
        return Ok(None);
    };
    let gap = format!("{name}: {}", cause.line());
    match strictness {
        Strictness::BestEffort => Ok(Some(gap)),
        Strictness::Require => {
            let text = format!("the sandbox would have a gap: {gap}");
            Err(SandboxError::new(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: &str = "no files: asking: the kernel has none";

    fn one_gap(strictness: Strictness) -> Result<Option<String>, SandboxError> {
        assert_eq!(gap(strictness, "no files", Ok(()))?, None);
        let cause = SandboxError::failed("asking")("the kernel has none");
        gap(strictness, "no files", Err(cause))
    }

    #[test]
    fn a_gap_is_reported_when_the_rest_is_enough() {
        assert_eq!(one_gap(Strictness::BestEffort).unwrap().unwrap(), GAP);
    }

    #[test]
    fn a_gap_is_an_error_when_none_may_be() {
        let error = one_gap(Strictness::Require).unwrap_err().to_string();
        assert_eq!(error, format!("the sandbox would have a gap: {GAP}"));
    }

    #[test]
    fn threads_are_refused_before_anything_is_given_away() {
        // Tests run on threads of their own, beside the main one.
        let error = confine(&Confinement::default(), Strictness::BestEffort).unwrap_err();
        let expected = "a process is confined while it has one thread, and this one has ";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!rustix::thread::no_new_privs().unwrap());
    }
}
