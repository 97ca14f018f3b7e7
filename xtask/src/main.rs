//! Tasks around the workspace, run as `cargo xtask TASK`.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what a task is run for"
)]

mod apt;
mod bench;
mod cases;
mod ci;
mod command;
mod conformance;
mod cross;
mod debian;
mod demo;
mod dist;
mod docs;
mod downtime;
mod esp;
mod firmware;
mod forge;
mod fuzz;
mod guest;
mod initramfs;
mod kept;
mod kexec_tools;
mod materials;
mod metadata;
mod mutate;
mod no_std;
mod packages;
mod parsers;
mod pki;
mod qemu;
mod runner;
mod rust_version;
mod server;
mod setup;
mod stand;
mod test;
mod tidy;
mod tools;
mod uki;
mod workspace;
mod zboot;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::runner::Counts;

const HELP: &str = "\
cargo xtask TASK

  demo               assemble a UKI from Debian's packages, unfold it, and boot it with kexec in QEMU
  test [NAME]        all tests, images and boots included; or the cases whose name holds NAME
  test --list        the names of those cases
  ci [NAME]          what every change must pass: checks, then `test`; or the checks whose name
                     holds NAME
  fuzz --seconds N [NAME]
                     the fuzz targets, or those whose name holds NAME, for N seconds each
  mutate [--count N] N (a million) mutated objects, skeletons and images; the same ones each time
  conformance [RUNNER TESTS]
                     the plugin for the bpf_conformance suite; or the suite's runner on its cases
  bench [NAME]       time and memory beside other tools, written into docs/performance.*; or the rows
                     whose name holds NAME, printed
  bench --list       the names of those rows
  downtime           time from exec to /init of Debian's initrd, packed and unpacked, in QEMU
  tidy               the rules of this tree that no other tool knows
  docs               write the pages of docs/ that are made from the sources
  dist               manual pages, completions, and the Debian packages ukexec and ukexec-kexec, for
                     amd64, arm64 and riscv64
  parsers [--check]  compile the BPF parsers; or compare them with the committed objects

Debian 12 with cargo and build-essential is all that is taken for granted: root gets the rest
installed, others are told the command.";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode> {
    match args {
        ["demo"] => demo::run()?,
        ["test", "--list"] => test::list(),
        ["test"] => return Ok(verdict(&test::run(None)?)),
        ["test", name] if !name.starts_with('-') => return Ok(verdict(&test::run(Some(name))?)),
        ["ci"] => return Ok(verdict(&ci::run(None)?)),
        ["ci", name] if !name.starts_with('-') => return Ok(verdict(&ci::run(Some(name))?)),
        ["fuzz", "--seconds", seconds, name @ ..] if name.len() < 2 => {
            let seconds = seconds.parse().context("--seconds takes a number")?;
            fuzz::run(seconds, name.first().unwrap_or(&""))?;
        }
        ["mutate"] => mutate::run(mutate::COUNT)?,
        ["mutate", "--count", count] => {
            mutate::run(count.parse().context("--count takes a number")?)?;
        }
        ["conformance"] => conformance::show()?,
        ["conformance", runner, tests] => {
            conformance::run(Path::new(runner), Path::new(tests))?;
        }
        ["bench"] => bench::run(None)?,
        ["bench", "--list"] => bench::list(),
        ["bench", name] if !name.starts_with('-') => bench::run(Some(name))?,
        ["downtime"] => downtime::run()?,
        ["tidy"] => tidy::run()?,
        ["docs"] => docs::run(false)?,
        ["dist"] => dist::run()?,
        ["parsers"] => parsers::run(false)?,
        ["parsers", "--check"] => parsers::run(true)?,
        ["help" | "--help" | "-h"] => println!("{HELP}"),
        _ => {
            eprintln!("{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what took longest and, once more, what failed, and the counts as the last line.
fn verdict(counts: &Counts) -> ExitCode {
    for line in counts.slowest(24) {
        println!("{line}");
    }
    for failure in &counts.failures {
        println!("{failure}");
    }
    println!("{counts}");
    if counts.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
