//! `ukexec`: boots any UEFI kernel image with kexec.
//!
//! This crate opens files, prints, and decides nothing about formats: the
//! parsers that `ukexec-unfold` runs take images apart.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod console;
mod failure;
mod output;

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use ukexec_kexec::shown_path;
use ukexec_loader::{is_stdin, run_as_worker, start_log};

use args::Cli;

fn main() -> ExitCode {
    if let Some(code) = run_as_worker() {
        return code;
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| end(&error));
    let inputs = cli.command.inputs();
    if inputs.into_iter().filter(|path| is_stdin(path)).count() > 1 {
        let message = "standard input (-) can stand for one file only\n";
        Cli::command()
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
    start_log(cli.verbose, io::stderr);
    match commands::run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::print(&error, cli.command.json());
            ExitCode::FAILURE
        }
    }
}

/// Ends as clap does for `error`, but shows the arguments in one line each,
/// with escapes for characters that steer a terminal: shown so, they are as
/// wrong.
fn end(error: &clap::Error) -> ! {
    let shown = env::args_os().map(|arg| shown_path(Path::new(&arg)));
    Cli::try_parse_from(shown)
        .err()
        .as_ref()
        .unwrap_or(error)
        .exit()
}
