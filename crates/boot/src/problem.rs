//! The faults of a kernel, and the answer of `kexec_file_load(2)` to each.

use alloc::format;
use alloc::string::String;
use core::fmt;

/// Something about a kernel that a machine will not like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) fault: String,
    severity: Severity,
}

impl Problem {
    /// Returns whether the kernel is refused for certain, or cannot start.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.severity, Severity::Refused(_) | Severity::Fatal)
    }

    /// Returns whether the kernel is refused under conditions that are not to be seen
    /// from here.
    #[must_use]
    pub fn may_be_refusal(&self) -> bool {
        matches!(self.severity, Severity::MayBeRefused(_))
    }

    /// Returns the fault, without the answer of `kexec_file_load(2)` to it.
    #[must_use]
    pub fn fault(&self) -> &str {
        &self.fault
    }

    pub(crate) fn new(severity: Severity, fault: impl Into<String>) -> Self {
        Self {
            fault: fault.into(),
            severity,
        }
    }

    pub(crate) fn refused(errno: &'static str, fault: impl Into<String>) -> Self {
        Self::new(Severity::Refused(errno), fault)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault)?;
        match self.severity {
            Severity::Refused(errno) => write!(f, " (kexec_file_load would answer {errno})"),
            Severity::MayBeRefused(errno) => write!(f, " (kexec_file_load may answer {errno})"),
            Severity::Fatal => {
                f.write_str(" (kexec_file_load would not notice, and it would not start)")
            }
            Severity::Unnoticed => f.write_str(" (kexec_file_load would not notice)"),
        }
    }
}

/// How `kexec_file_load` answers a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// With an error.
    Refused(&'static str),
    /// With an error, under conditions that are not to be seen from here.
    MayBeRefused(&'static str),
    /// It does not look, and the kernel cannot start.
    Fatal,
    /// It does not look; what boots may not work.
    Unnoticed,
}

pub(crate) const EINVAL: &str = "EINVAL";
pub(crate) const ENOEXEC: &str = "ENOEXEC";
pub(crate) const ENOSYS: &str = "ENOSYS";

/// Returns that bytes are missing at the end.
pub(crate) fn cut_off(needed: u64, found: u64) -> String {
    format!(
        "the kernel needs {needed:#x} bytes, the file has {found:#x}: it was cut off, copy it again"
    )
}

/// Returns that the PE headers are damaged.
pub(crate) fn broken_pe(reason: impl fmt::Display) -> String {
    format!("damaged PE headers, which no signature fits: {reason}")
}
