//! `ukexec`: boots any UEFI kernel image with kexec.
//!
//! This crate opens files, prints, and decides nothing about formats: what an
//! image holds is for the parsers that `ukexec-unfold` runs.
#![forbid(unsafe_code)]

mod args;
mod bounds;
mod bundle;
mod cmdline;
mod commands;
mod companions;
mod document;
mod efivars;
mod failure;
mod image;
mod log;
mod output;
mod parsers_d;
mod patience;
mod policy;
mod progress;
mod protocol;
mod read;
mod size;
mod sources;
mod text;
mod trust;
mod unfolding;
mod work;
mod worker;

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::filter::LevelFilter;
use ukexec_kexec::shown_path;

use args::{Cli, Command};

fn main() -> ExitCode {
    ukexec_kexec::fail_on_long_files();
    let cli = Cli::try_parse().unwrap_or_else(|error| end(&error));
    let inputs = cli.command.inputs();
    if inputs
        .into_iter()
        .filter(|path| read::is_stdin(path))
        .count()
        > 1
    {
        let message = "standard input (-) can stand for one file only\n";
        Cli::command()
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
    let level = match cli.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    if let Command::Worker(args) = &cli.command {
        return worker::run(args, level);
    }
    start_log(level);
    match commands::run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::print(&error, cli.command.json());
            ExitCode::FAILURE
        }
    }
}

/// Ends as clap does for `error`, but shows the arguments in one line each, with
/// escapes for what steers a terminal: shown so, they are as wrong.
fn end(error: &clap::Error) -> ! {
    let shown = env::args_os().map(|arg| shown_path(Path::new(&arg)));
    Cli::try_parse_from(shown)
        .err()
        .as_ref()
        .unwrap_or(error)
        .exit()
}

/// Sends events of `level` and above to stderr.
fn start_log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
}
