//! Workers that try to get out, and what becomes of them.
//!
//! This program is parent and worker, as `ukexec` is: with `worker` as its
//! first argument it is a worker, which confines itself and makes one attempt.
//! Otherwise it is a test program that understands what `cargo test` and
//! `cargo nextest` say to one.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test program; clippy takes only the harness's own for one"
)]

mod attempts;
mod cases;
mod hands;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("worker") => attempts::worker(&args[1..]),
        Some("middle") => cases::middle(&args[1]),
        _ => {
            // As the command does: `cargo` leaves descriptors open for its children.
            hands::mark_close_on_exec();
            run(&args)
        }
    }
}

/// Lists or runs the cases that `args` ask for.
fn run(args: &[String]) -> ExitCode {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    // `--format terse` is how lists are asked for.
    let wanted: Vec<&String> = args
        .iter()
        .filter(|arg| !arg.starts_with('-') && *arg != "terse")
        .collect();
    let is_wanted = |name: &str| match (wanted.as_slice(), has("--exact")) {
        ([], _) => true,
        (some, true) => some.iter().any(|one| *one == name),
        (some, false) => some.iter().any(|one| name.contains(one.as_str())),
    };
    // None of them is ignored.
    let cases = cases::CASES
        .iter()
        .filter(|(name, _)| is_wanted(name) && !has("--ignored"));
    if has("--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for (name, case) in cases {
        let passed = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            code = ExitCode::FAILURE;
        }
    }
    code
}
