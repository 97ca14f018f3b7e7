//! The parts of the sandbox, by name.

use std::fmt;

/// A part of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restriction {
    /// No descriptor but those that the parent means to give.
    Descriptors,
    /// No program that is run gives rights (`PR_SET_NO_NEW_PRIVS`).
    NoNewPrivileges,
    /// No capability in any set.
    Capabilities,
    /// No core dump and no debugger (`PR_SET_DUMPABLE`).
    Undumpable,
    /// Limits on memory, time, files, descriptors and processes (`setrlimit`).
    Limits,
    /// No file, no network, no signal to others (Landlock).
    Landlock,
    /// No system call but those listed (seccomp).
    Seccomp,
}

impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "no stray descriptors",
            Self::NoNewPrivileges => "no new privileges",
            Self::Capabilities => "no capabilities",
            Self::Undumpable => "no core dump and no debugger",
            Self::Limits => "limits on memory and time",
            Self::Landlock => "no files and no network (Landlock)",
            Self::Seccomp => "no system calls but those needed (seccomp)",
        })
    }
}

/// A part that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{restriction}: {cause}")]
pub struct Missing {
    /// Which part.
    pub restriction: Restriction,
    /// Why, in words.
    pub cause: String,
}
