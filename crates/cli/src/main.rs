//! `ukexec`: boots any UEFI kernel image with kexec.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ukexec::ukexec()
}
