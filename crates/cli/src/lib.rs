//! The commands `ukexec` and `kexec`: boot any UEFI kernel image with kexec.
//!
//! This crate opens files, prints, and decides nothing about formats: the
//! parsers that `ukexec-unfold` runs take images apart.
//!
//! It is a library so that both programs and the generator of their manual pages share one
//! definition of each command line. It is no interface for others.
//!
//! ```
//! let definition = ukexec::ukexec_definition();
//! assert!(definition.get_subcommands().any(|command| command.get_name() == "load"));
//! ```
#![forbid(unsafe_code)]

mod args;
mod commands;
mod console;
mod failure;
mod kexec;
mod output;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use ukexec_loader::{run_as_worker, start_log};

use args::{Cli, Output};
use console::{Form, Program};

/// Runs the program `ukexec` with the arguments of this process.
#[must_use]
pub fn ukexec() -> ExitCode {
    if let Some(code) = run_as_worker() {
        return code;
    }
    // All that follows is for kexec(8), the options too that `ukexec` has itself.
    if env::args_os().nth(1).is_some_and(|word| word == "kexec") {
        return kexec::run(env::args_os().skip(1)).into();
    }
    let args: Vec<OsString> = env::args_os().collect();
    let cli = match args::parse(&args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => args::end(&args, &error),
        // Help is a report, too.
        Err(help) => return failure::code(console::out(&help.to_string()), Form::Text).into(),
    };
    let Output {
        verbose,
        quiet,
        color,
    } = cli.output;
    console::start(Program::Ukexec, quiet, color);
    start_log(verbose, || console::Log);
    ExitCode::from(commands::run(&cli.command))
}

/// Runs the program `kexec`, which has the arguments of kexec(8), with those of this process.
#[must_use]
pub fn kexec() -> ExitCode {
    if let Some(code) = run_as_worker() {
        return code;
    }
    kexec::run(env::args_os()).into()
}

/// Returns the command line of `kexec` with the options of all machines, for manual pages and
/// completions.
#[must_use]
pub fn kexec_definition() -> clap::Command {
    kexec::definition(None)
}

/// Returns the command line of `ukexec`, for manual pages and completions.
#[must_use]
pub fn ukexec_definition() -> clap::Command {
    Cli::definition()
}
