//! The crate's error type.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;

use crate::errno::{self, errno_name};

/// Why bytes could not be moved, or a kernel not be loaded or booted.
///
/// A call that failed is its source.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KexecError(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Inner {
    text: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    kind: KexecErrorKind,
    errno: Option<errno::Errno>,
}

/// Where the fault of a failure lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KexecErrorKind {
    /// In a file, a format, a budget, or the moment.
    #[default]
    Failed,
    /// In a signature that is missing, bad, revoked, or not trusted.
    Signature,
    /// In this machine, which does not do it.
    Machine,
}

impl KexecError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            text: text.into(),
            source: None,
            kind: KexecErrorKind::Failed,
            errno: None,
        }))
    }

    pub(crate) fn caused(
        text: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let mut error = Self::new(text);
        error.0.source = Some(cause.into());
        error
    }

    pub(crate) fn of_kind(mut self, kind: KexecErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Puts `more` behind the text.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.0.text.push_str(more);
        self
    }

    pub(crate) fn with_errno(mut self, errno: errno::Errno) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Returns where the fault lies.
    #[must_use]
    pub fn kind(&self) -> KexecErrorKind {
        self.0.kind
    }

    /// Returns the name of the kernel's answer, such as `ENOSYS`, if a kexec call
    /// failed and the answer has a name here.
    #[must_use]
    pub fn errno(&self) -> Option<&'static str> {
        errno_name(self.0.errno?.0)
    }
}

/// Returns the error of a call on memory or a descriptor that failed while `action`
/// was being done.
pub(crate) fn failed<E: Into<io::Error>>(action: &'static str) -> impl Fn(E) -> KexecError {
    move |cause| {
        let cause = cause.into();
        match advice(&cause) {
            None => KexecError::caused(action, cause),
            Some(advice) => KexecError::caused(action, format!("{cause}; {advice}")),
        }
    }
}

/// Returns the error of a call on the file at `path`.
pub(crate) fn failed_at<E: Into<io::Error>>(
    path: impl AsRef<Path>,
    action: &'static str,
) -> impl Fn(E) -> KexecError {
    move |cause| {
        let path = shown_path(path.as_ref());
        KexecError::caused(format!("{path}: {action}"), cause.into())
    }
}

/// Returns `path` as messages show it: in one line, with escapes for what steers a
/// terminal or is not seen, and in hex for bytes that are no UTF-8.
#[must_use]
pub fn shown_path(path: &Path) -> String {
    let mut shown = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        // Quotes and backslashes do no harm, and are read more easily as they are.
        for part in chunk.valid().split_inclusive(HARMLESS) {
            let (text, harmless) = part.split_at(part.trim_end_matches(HARMLESS).len());
            shown.extend(text.escape_debug());
            shown.push_str(harmless);
        }
        for byte in chunk.invalid() {
            let _infallible = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

const HARMLESS: [char; 3] = ['\'', '"', '\\'];

/// Returns what to do about `cause`, or who denied a call that Linux itself denies
/// to nobody.
fn advice(cause: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(cause)? {
        Errno::MFILE => Some("raise the limit of open files of this process (`ulimit -n`)"),
        Errno::NFILE => Some("this system has no room for more open files (sysctl fs.file-max)"),
        Errno::PERM | Errno::ACCESS => {
            Some("a seccomp filter or a security module, such as a container has, may forbid it")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::testing::line;

    #[test]
    fn advice_stands_behind_its_cause() {
        let check = |errno: Errno, expected: &str| {
            assert_eq!(line(&failed("opening a file")(errno)), expected);
        };
        check(
            Errno::MFILE,
            "opening a file: Too many open files (os error 24); raise the limit of open files of \
             this process (`ulimit -n`)",
        );
        check(
            Errno::NFILE,
            "opening a file: Too many open files in system (os error 23); this system has no room \
             for more open files (sysctl fs.file-max)",
        );
        check(
            Errno::PERM,
            "opening a file: Operation not permitted (os error 1); a seccomp filter or a security \
             module, such as a container has, may forbid it",
        );
        check(
            Errno::NOENT,
            "opening a file: No such file or directory (os error 2)",
        );
    }

    #[test]
    fn a_path_is_shown_in_one_line() {
        let check = |path: &[u8], expected: &str| {
            assert_eq!(shown_path(Path::new(OsStr::from_bytes(path))), expected);
        };
        check(b"/boot/it's \"a\".efi", "/boot/it's \"a\".efi");
        check(
            "e\u{301}t\u{e9} \u{1f427}".as_bytes(),
            "e\u{301}t\u{e9} \u{1f427}",
        );
        check(b"a\nukexec: b\r\t.efi", "a\\nukexec: b\\r\\t.efi");
        check(b"\x1b[31m\x7f", "\\u{1b}[31m\\u{7f}");
        check(
            "a\u{202e}b\u{2066}\u{2028}".as_bytes(),
            "a\\u{202e}b\\u{2066}\\u{2028}",
        );
        check(b"a\xff\xc3b\\c", "a\\xff\\xc3b\\c");
        check(b"\\''\n'", "\\''\\n'");
        check(b"", "");
    }
}
