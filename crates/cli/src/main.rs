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
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;
use ukexec_kexec::shown_path;
use ukexec_loader::{run_as_worker, start_log};

use args::Cli;

fn main() -> ExitCode {
    if let Some(code) = run_as_worker() {
        return code;
    }
    let cli = parse(env::args_os()).unwrap_or_else(|error| end(&error));
    if let Some(contradiction) = cli.contradiction() {
        Cli::definition()
            .error(ErrorKind::ArgumentConflict, format!("{contradiction}\n"))
            .exit();
    }
    console::start(cli.quiet, cli.color);
    start_log(cli.verbose, || console::Log);
    ExitCode::from(commands::run(&cli.command))
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&Cli::definition().try_get_matches_from(args)?)
}

/// Ends as clap does for `error`, but shows the arguments in one line each,
/// with escapes for characters that steer a terminal: shown so, they are as
/// wrong.
fn end(error: &clap::Error) -> ! {
    let shown = env::args_os().map(|arg| shown_path(Path::new(&arg)).into());
    parse(shown).err().as_ref().unwrap_or(error).exit()
}
