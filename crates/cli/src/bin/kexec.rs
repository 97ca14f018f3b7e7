//! `kexec`: ukexec with the arguments of kexec(8).
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ukexec::kexec()
}
