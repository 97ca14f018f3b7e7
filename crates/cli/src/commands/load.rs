//! `ukexec load`: unfold and hand over to the running kernel.

use ukexec_loader::{LoadKind, LoadPlan, Purpose, this_machine};

use crate::args::Load;
use crate::commands::chosen::ChosenImage;
use crate::console::{self, Form};

pub(crate) fn run(args: &Load, form: Form) -> anyhow::Result<()> {
    let machine = this_machine();
    let mut options = args.unfolding.options(form);
    args.beside.add_to(&mut options);
    args.secrets.add_to(&mut options);
    options.mask_stale = args.mask_stale;
    let purpose = Purpose::load(&machine, args.report.hash);
    let image = ChosenImage::new(&args.chosen, &mut options)?;
    let unfolding = image
        .unfold(&options, &purpose)
        .map_err(|error| LoadPlan::refused(error, options.kind, &machine, args.dry_run))?;
    let plan = LoadPlan::new(&unfolding, &machine, args.dry_run)?;
    for note in plan.notes() {
        match note.strip_prefix("warning: ") {
            Some(warning) => console::warn(warning),
            None => console::note(&note),
        }
    }
    plan.check()?;
    console::record_notes(plan.load()?);
    // Behind the call: a failure prints what is known by itself.
    console::findings(&plan.report()?, form)?;
    if form == Form::Text && !args.dry_run {
        let boot = match options.kind {
            LoadKind::Reboot => "`ukexec exec` boots it",
            LoadKind::Crash => "the next panic boots it",
        };
        console::note(&format!("loaded; {boot}"));
    }
    Ok(())
}
