//! `ukexec load`: unfold and hand over to the running kernel.

use std::path::Path;

use ukexec_loader::{LoadKind, LoadPlan, MachineState, Purpose, unfold};

use crate::args::Load;
use crate::console::{self, Terminal};

pub(crate) fn run(args: &Load) -> anyhow::Result<()> {
    let machine = MachineState::read(Path::new("/"));
    let options = args.unfolding.options();
    let purpose = Purpose::load(&machine);
    let unfolding = unfold(&args.image, &options, &purpose, &Terminal::shared())?;
    let plan = LoadPlan::new(&unfolding, &machine, args.dry_run)?;
    plan.check()?;
    if !args.json {
        console::page(&plan.report()?.page)?;
    }
    for note in plan.notes() {
        match note.strip_prefix("warning: ") {
            Some(warning) => console::warn(warning),
            None => console::note(&note),
        }
    }
    if args.dry_run {
        for obstacle in machine.obstacles(options.kind) {
            console::note(&format!("note: a load would be refused now: {obstacle}"));
        }
    } else {
        console::record_notes(plan.load()?);
    }
    // Printed behind the call: a failure prints a document of its own.
    if args.json {
        console::json(&plan.report()?.document)?;
    }
    if !args.json && !args.dry_run {
        let boot = match options.kind {
            LoadKind::Reboot => "`ukexec exec` boots it",
            LoadKind::Crash => "the next panic boots it",
        };
        console::note(&format!("loaded; {boot}"));
    }
    Ok(())
}
