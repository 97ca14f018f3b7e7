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
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches as _};
use ukexec_kexec::shown_path;
use ukexec_loader::{run_as_worker, start_log};

use args::Cli;
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
    let cli = match parse(env::args_os()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => end(&error),
        // Help is a report, too.
        Err(help) => return failure::code(console::out(&help.to_string()), Form::Text).into(),
    };
    console::start(Program::Ukexec, cli.quiet, cli.color);
    start_log(cli.verbose, || console::Log);
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

fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut definition = Cli::definition();
    let matches = definition.try_get_matches_from_mut(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    match cli.contradiction() {
        Some(contradiction) => {
            let mut command = named(&definition, &matches).clone();
            Err(command.error(ErrorKind::ArgumentConflict, contradiction))
        }
        None => Ok(cli),
    }
}

/// Returns the command below `command` that `matches` name.
fn named<'a>(command: &'a clap::Command, matches: &ArgMatches) -> &'a clap::Command {
    let below = matches.subcommand();
    let found = below.and_then(|(name, below)| Some((command.find_subcommand(name)?, below)));
    found.map_or(command, |(command, matches)| named(command, matches))
}

/// Ends as clap does for `error`, but shows the arguments in one line each,
/// with escapes for characters that steer a terminal: shown so, they are as
/// wrong.
fn end(error: &clap::Error) -> ! {
    let shown = env::args_os().map(|arg| shown_path(Path::new(&arg)).into());
    parse(shown).err().as_ref().unwrap_or(error).exit()
}
