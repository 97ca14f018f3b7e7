//! How a worker ended, in words.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::Signal;

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned this code; 0 is success.
    Exited(i32),
    /// A signal with this number ended it.
    Killed(i32),
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Exited(code),
            // Waiting ends with an exit or a signal, and with nothing else.
            None => Self::Killed(status.signal().unwrap_or_default()),
        }
    }
}

/// Words that go on from "the worker".
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self {
            Self::Exited(code) => return write!(f, "exited with code {code}"),
            Self::Killed(number) => *number,
        };
        match words(number) {
            Some(words) => f.write_str(words),
            None => write!(f, "was ended by signal {number}"),
        }
    }
}

/// Returns the meaning of a signal that ended a worker.
fn words(number: i32) -> Option<&'static str> {
    let words = match Signal::from_named_raw(number)? {
        Signal::SYS => "made a system call that the sandbox forbids (SIGSYS)",
        Signal::XCPU => "used up its processor time (SIGXCPU)",
        Signal::XFSZ => "wrote more output than it may (SIGXFSZ)",
        Signal::ABORT => "gave up, out of memory or with an error of its own (SIGABRT)",
        Signal::KILL => "was killed, by hand or because memory ran out (SIGKILL)",
        Signal::SEGV => "touched memory that it does not have (SIGSEGV)",
        Signal::BUS => "touched memory that is gone (SIGBUS)",
        Signal::ILL => "ran an instruction that the processor does not have (SIGILL)",
        Signal::FPE => "made an arithmetic error (SIGFPE)",
        Signal::TRAP => "ran into a trap (SIGTRAP)",
        Signal::PIPE => "wrote to a parent that was gone (SIGPIPE)",
        Signal::TERM => "was asked to end (SIGTERM)",
        Signal::INT => "was interrupted (SIGINT)",
        Signal::HUP => "was ended with its terminal (SIGHUP)",
        _ => return None,
    };
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[expect(clippy::needless_pass_by_value, reason = "as `expect!` gives it")]
    fn check(wait_status: i32, expected: Expect) {
        expected.assert_eq(&Ending::from(ExitStatus::from_raw(wait_status)).to_string());
    }

    #[test]
    fn a_code_is_a_number() {
        check(0, expect!["exited with code 0"]);
        check(3 << 8, expect!["exited with code 3"]);
    }

    #[test]
    fn signals_have_words() {
        check(
            31,
            expect!["made a system call that the sandbox forbids (SIGSYS)"],
        );
        check(24, expect!["used up its processor time (SIGXCPU)"]);
        check(
            9,
            expect!["was killed, by hand or because memory ran out (SIGKILL)"],
        );
        check(
            11 | 0x80,
            expect!["touched memory that it does not have (SIGSEGV)"],
        );
        check(64, expect!["was ended by signal 64"]);
    }
}
