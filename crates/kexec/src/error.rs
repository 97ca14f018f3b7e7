//! The crate's error type.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::refusal::Refusal;

/// Why bytes could not be moved or the kernel could not be asked.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum KexecError {
    /// The file got shorter while it was being taken over.
    #[error(
        "the file shrank from {expected} to {found} bytes while it was being read; \
         try again when nothing writes to it"
    )]
    Shrank {
        /// Length when the reading began.
        expected: u64,
        /// Where it ended now.
        found: u64,
    },
    /// A range to cut out passes the end of the file.
    #[error(
        "bytes {:#x}..{:#x} of the file were to be taken apart, but it has only {len:#x}; \
         it changed while it was being read: try again when nothing writes to it",
        cut.start, cut.end
    )]
    CutPastEnd {
        /// The range.
        cut: Range<u64>,
        /// Length of the file.
        len: u64,
    },
    /// Ranges to cut out are not ascending and disjoint.
    #[error(
        "the range {:#x}..{:#x} to cut out does not lie behind the one before it, which ends \
         at {previous_end:#x}",
        cut.start, cut.end
    )]
    CutOrder {
        /// The range.
        cut: Range<u64>,
        /// End of the range before it.
        previous_end: u64,
    },
    /// The input is neither a file, a block device, nor a stream of bytes.
    #[error("{kind} is not an image: give a file, a block device or a pipe")]
    NotAnInput {
        /// What it is instead.
        kind: &'static str,
    },
    /// The input cannot be read at offsets.
    #[error("a pipe cannot be taken over in pieces: read it into memory first")]
    Stream,
    /// A stream is longer than the caller allows.
    #[error(
        "the stream has more than {limit} bytes, which is more than an image can have; give the image itself"
    )]
    StreamTooLong {
        /// How many bytes the caller allows.
        limit: u64,
    },
    /// A part to be joined is not there.
    #[error("bytes {:#x}..{:#x} of a part were asked for, but it ends at {found:#x}", range.start, range.end)]
    PartPastEnd {
        /// The range asked for.
        range: Range<u64>,
        /// Where the part ended.
        found: u64,
    },
    /// Bytes could not be brought into memory or sealed there.
    #[error("{action}: {cause}{}", advice(.cause))]
    Memory {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A file could not be written.
    #[error("{}: {action}: {cause}", shown_path(path))]
    File {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A path that ends in no name.
    #[error("{} does not name a new file or folder", shown_path(path))]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// Something else has a name that was given to a file or folder of ours.
    #[error(
        "{}: somebody who may write to the folder around it put something else in its place; \
         choose a folder that nobody else may write to",
        shown_path(path)
    )]
    Swapped {
        /// The path.
        path: PathBuf,
    },
    /// A part of a file being written is not there.
    #[error("{}: {cause}", shown_path(path))]
    FilePart {
        /// Which file was being written.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: Box<KexecError>,
    },
    /// The command line cannot be passed on.
    #[error(
        "the command line has a NUL at byte {at}: the next kernel would stop reading there; remove it"
    )]
    CmdlineNul {
        /// Offset in the command line.
        at: usize,
    },
    /// The kernel refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// `systemctl` could not be run.
    #[error(
        "`{program} kexec` could not be run: {cause}; `ukexec exec --force` boots at once, \
         without stopping services"
    )]
    SystemctlMissing {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// `systemctl` refused.
    #[error(
        "`{program} kexec` failed ({status}){}; `ukexec exec --force` boots at once, without \
         stopping services",
        said(.stderr)
    )]
    SystemctlFailed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said, trimmed.
        stderr: String,
    },
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
/// to nobody, to be put behind it.
fn advice(cause: &io::Error) -> &'static str {
    match cause.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => "; raise the limit of open files of this process (`ulimit -n`)",
        Some(Errno::NFILE) => "; this system has no room for more open files (sysctl fs.file-max)",
        Some(Errno::PERM | Errno::ACCESS) => {
            "; a seccomp filter or a security module, such as a container has, may forbid it"
        }
        _ => "",
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_limit_of_open_files_is_told_as_such() {
        let told = |errno: Errno| {
            let action = "opening a file";
            let cause = errno.into();
            KexecError::Memory { action, cause }.to_string()
        };
        assert_eq!(
            told(Errno::MFILE),
            "opening a file: Too many open files (os error 24); raise the limit of open files of \
             this process (`ulimit -n`)"
        );
        assert!(told(Errno::NFILE).ends_with("(sysctl fs.file-max)"));
        assert!(told(Errno::NOENT).ends_with("(os error 2)"));
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

    #[test]
    fn a_call_that_is_denied_is_told_from_one_that_fails() {
        let memory = |cause: rustix::io::Errno| KexecError::Memory {
            action: "creating a file in memory (memfd_create)",
            cause: cause.into(),
        };
        expect_test::expect!["creating a file in memory (memfd_create): Operation not permitted (os error 1); a seccomp filter or a security module, such as a container has, may forbid it"]
            .assert_eq(&memory(rustix::io::Errno::PERM).to_string());
    }
}
