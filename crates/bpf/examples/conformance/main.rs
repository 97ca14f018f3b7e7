//! A plugin for the public `bpf_conformance` suite: runs one program of it.
//!
//! `conformance [MEMORY] [--program HEX] [--elf]`, with the program as hex
//! bytes on the standard input: its instructions, or with `--elf` an object
//! file that holds them. Prints r0 in hex; what is refused or faults goes to
//! the standard error, and the exit code is 1.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the suite reads what the plugin prints"
)]

mod plugin;

use std::env;
use std::io::{self, Read as _};
use std::process::ExitCode;

use plugin::{Problem, Request};

fn main() -> ExitCode {
    match answer() {
        Ok(r0) => {
            println!("{r0:x}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> Result<u64, Problem> {
    let request = Request::parse(env::args().skip(1))?;
    let mut text = String::new();
    if request.program.is_none() {
        io::stdin().read_to_string(&mut text)?;
    }
    plugin::run(&request, &text)
}
