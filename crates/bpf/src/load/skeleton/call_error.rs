//! Why a call of a loader program fails, and with which errno.

use std::fmt;

use crate::BpfError;
use crate::guest::errno;
use crate::load::offered::Missing;

#[derive(Debug)]
pub(super) struct CallError {
    /// The errno that the loader program gets for it.
    pub(super) errno: u64,
    pub(super) text: String,
    /// The name that was meant, or those that there are, behind a semicolon.
    pub(super) advice: String,
}

impl CallError {
    pub(super) fn new(errno: u64, text: impl Into<String>) -> Self {
        Self {
            errno,
            text: text.into(),
            advice: String::new(),
        }
    }

    /// Memory that a command names cannot be read or written.
    pub(super) fn memory(command: &str, field: &str, problem: impl fmt::Display) -> Self {
        Self::new(errno::EFAULT, format!("{command}, {field}: {problem}"))
    }

    /// A number that is no open descriptor of the kind.
    pub(super) fn descriptor(command: &str, field: &str, expected: &str, fd: u32) -> Self {
        let text = format!("{command}, {field}: {fd} is not the descriptor of {expected}");
        Self::new(errno::EBADF, text)
    }

    pub(super) fn too_many(what: &str, found: u64, limit: u64) -> Self {
        let error = BpfError::too_many(what, found, limit);
        Self::new(errno::E2BIG, error.to_string())
    }

    pub(super) fn missing(what: &str, name: &str, missing: Missing) -> Self {
        let text = format!("{what} {name} {}", missing.reason);
        Self {
            advice: missing.advice,
            ..Self::new(errno::ENOENT, text)
        }
    }

    /// A variable or another symbol of the kernel.
    pub(super) fn symbol(symbol: &str) -> Self {
        let text = format!("{symbol} is a symbol of the kernel, which parsers cannot see");
        Self::new(errno::ENOENT, text)
    }
}

impl From<BpfError> for CallError {
    fn from(error: BpfError) -> Self {
        Self::new(errno::EINVAL, error.to_string())
    }
}

pub(super) fn check_count(what: &str, found: usize, limit: usize) -> Result<(), CallError> {
    let checked = crate::error::check_count(what, found, limit);
    checked.map_err(|error| CallError::new(errno::E2BIG, error.to_string()))
}

/// Returns an error number as the kernel returns it: `-ENOENT`.
pub(super) fn errno_text(errno: u64) -> String {
    let name = match errno {
        errno::EPERM => "-EPERM",
        errno::ENOENT => "-ENOENT",
        errno::E2BIG => "-E2BIG",
        errno::EBADF => "-EBADF",
        errno::EFAULT => "-EFAULT",
        errno::EINVAL => "-EINVAL",
        errno => return errno.cast_signed().to_string(),
    };
    name.to_owned()
}
