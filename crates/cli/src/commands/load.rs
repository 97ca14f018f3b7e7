//! `ukexec load`: unfold and hand over to the running kernel.

use ukexec_kexec::MachineState;
use ukexec_loader::{LoadPlan, Purpose, ReadyWorker, Wanted};

use crate::args::Load;
use crate::commands::chosen::ChosenImage;
use crate::console::{self, Form, Terminal};

pub(crate) fn run(args: &Load, form: Form) -> anyhow::Result<()> {
    load(args, form, |_| Ok(()))?;
    if form == Form::Text && !args.dry_run {
        let boot = match args.unfolding.panic {
            false => "`ukexec exec` boots it",
            true => "the next panic boots it",
        };
        console::note(&format!("loaded; {boot}"));
    }
    if args.chosen.entry.wanted() == Some(Wanted::Oneshot) {
        console::note(
            "note: LoaderEntryOneShot stays set for the next boot by firmware; `ukexec exec \
             --clear-oneshot` removes it",
        );
    }
    Ok(())
}

/// Loads, if `consent` says so of a plan that nothing refuses.
pub(super) fn load(
    args: &Load,
    form: Form,
    consent: impl FnOnce(&LoadPlan<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut options = args.unfolding.options(form);
    args.add_to(&mut options);
    let image = ChosenImage::new(&args.chosen, &mut options)?;
    let worker = ReadyWorker::start(&options, &Terminal::shared());
    // The worker gets ready meanwhile.
    let machine = MachineState::of_this_machine();
    let purpose = Purpose::load(&machine, args.report.hash);
    let unfolding = worker
        .and_then(|worker| image.unfold_by(worker, &options, &purpose))
        .map_err(|error| LoadPlan::refused(error, &options, &machine, args.dry_run))?;
    let plan = LoadPlan::new(&unfolding, &machine, args.dry_run)?;
    for note in plan.notes() {
        match note.strip_prefix("warning: ") {
            Some(warning) => console::warn(warning),
            None => console::note(&note),
        }
    }
    plan.check()?;
    consent(&plan)?;
    console::record_notes(plan.load()?);
    // Behind the call: a failure prints what is known by itself.
    console::findings(&plan.report()?, form)
}
