//! Verifies an image, and prints what loading it would give the running kernel:
//! `cargo run -p ukexec-loader --example dry_run -- image.efi [certificate]`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a command")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ukexec_kexec::MachineState;
use ukexec_loader::report::{Screen, failure::sentence, one_line};
use ukexec_loader::{
    Console, LoadPlan, LoaderOptions, Policy, Progress, Purpose, TrustSource, run_as_worker, unfold,
};

/// Prints warnings, and shows no progress.
struct Stderr;

impl Console for Stderr {
    fn warn(&self, text: &str) {
        eprintln!("dry_run: warning: {}", one_line(text));
    }

    fn log(&self, line: &str) {
        eprintln!("{}", one_line(line));
    }

    fn progress(&self, _what: &str, _len: Option<u64>) -> Box<dyn Progress> {
        Box::new(())
    }
}

fn main() -> ExitCode {
    // The worker is this program, started once more.
    run_as_worker().unwrap_or_else(|| match dry_run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dry_run: {}", one_line(&sentence(&*error)));
            ExitCode::FAILURE
        }
    })
}

fn dry_run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let image = args.next().ok_or("expected the path of an image")?;
    let mut options = LoaderOptions::default();
    options.config.verify = Some(Policy::Require);
    options.config.trust = args.next().map(|path| vec![TrustSource::Path(path)]);
    let machine = MachineState::of_this_machine();
    let (console, purpose): (Arc<dyn Console>, _) =
        (Arc::new(Stderr), Purpose::load(&machine, false));
    let unfolding = unfold(&image, &options, &purpose, &console)?;
    let plan = LoadPlan::new(&unfolding, &machine, true)?;
    print!("{}", plan.report()?.print(&Screen::FILE));
    for note in plan.notes() {
        eprintln!("dry_run: {}", one_line(&note));
    }
    Ok(plan.check()?)
}
