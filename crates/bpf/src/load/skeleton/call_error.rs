//! Why a call of a loader program fails, and with which errno.

use std::fmt;

use crate::BpfError;
use crate::load::offered::Missing;

#[derive(Debug)]
pub(super) struct CallError {
    /// The errno that the loader program gets for it.
    pub(super) errno: BpfErrno,
    pub(super) text: String,
    /// The names that the host has in place of the one asked for, with commas.
    pub(super) offered: Option<String>,
}

impl CallError {
    pub(super) fn new(errno: BpfErrno, text: impl Into<String>) -> Self {
        Self {
            errno,
            text: text.into(),
            offered: None,
        }
    }

    /// Memory that a command names cannot be read or written.
    pub(super) fn memory(command: &str, field: &str, problem: impl fmt::Display) -> Self {
        Self::new(BpfErrno::EFAULT, format!("{command}, {field}: {problem}"))
    }

    /// A number that is no open descriptor of the kind.
    pub(super) fn descriptor(command: &str, field: &str, expected: &str, fd: u32) -> Self {
        let text = format!("{command}, {field}: {fd} is not the descriptor of {expected}");
        Self::new(BpfErrno::EBADF, text)
    }

    pub(super) fn too_many(what: &str, found: u64, limit: u64) -> Self {
        let error = BpfError::too_many(what, found, limit);
        Self::new(BpfErrno::E2BIG, error.to_string())
    }

    pub(super) fn missing(what: &str, name: &str, missing: Missing) -> Self {
        let text = format!("{what} {name} {}", missing.reason);
        Self {
            offered: missing.offered,
            ..Self::new(BpfErrno::ENOENT, text)
        }
    }

    /// A variable or another symbol of the kernel.
    pub(super) fn symbol(symbol: &str) -> Self {
        let text = format!("{symbol} is a symbol of the kernel, which parsers cannot see");
        Self::new(BpfErrno::ENOENT, text)
    }
}

impl From<BpfError> for CallError {
    fn from(error: BpfError) -> Self {
        Self::new(BpfErrno::EINVAL, error.to_string())
    }
}

/// Checks a count against its cap.
pub(super) fn check_count(what: &str, found: usize, limit: usize) -> Result<(), CallError> {
    let checked = crate::error::check_count(what, found, limit);
    checked.map_err(|error| CallError::new(BpfErrno::E2BIG, error.to_string()))
}

/// An error number that `bpf(2)` answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BpfErrno(pub(super) u32);

impl BpfErrno {
    pub(super) const EPERM: Self = Self(1);
    pub(super) const ENOENT: Self = Self(2);
    pub(super) const E2BIG: Self = Self(7);
    pub(super) const EBADF: Self = Self(9);
    pub(super) const EFAULT: Self = Self(14);
    pub(super) const EINVAL: Self = Self(22);
}

impl fmt::Display for BpfErrno {
    /// Writes it as the kernel returns it: `-ENOENT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::EPERM => "-EPERM",
            Self::ENOENT => "-ENOENT",
            Self::E2BIG => "-E2BIG",
            Self::EBADF => "-EBADF",
            Self::EFAULT => "-EFAULT",
            Self::EINVAL => "-EINVAL",
            Self(errno) => return write!(f, "-{errno}"),
        })
    }
}
