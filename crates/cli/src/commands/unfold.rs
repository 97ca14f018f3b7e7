//! `ukexec unfold`: the parts of an image as files.

use ukexec_kexec::shown_path;
use ukexec_loader::Purpose;
use ukexec_loader::report::Size;

use crate::args::Unfold;
use crate::commands::chosen::ChosenImage;
use crate::console::{self, Form};
use crate::output::NewDir;

pub(crate) fn run(args: &Unfold, form: Form) -> anyhow::Result<()> {
    // Refuse a folder that cannot be used before any work is done.
    NewDir::check(&args.output)?;
    let purpose = Purpose::Unfold {
        hash: args.report.hash,
    };
    let mut options = args.unfolding.options(form);
    let image = ChosenImage::new(&args.chosen, &mut options)?;
    let unfolding = image.unfold(&options, &purpose)?;
    let mut dir = NewDir::create(&args.output, unfolding.readers())?;
    let written = unfolding.write_parts(|name, parts| dir.write(name, parts))?;
    dir.complete()?;
    console::report(&unfolding, form)?;
    console::note(&format!(
        "wrote {} to {}",
        Size(written.total()),
        shown_path(&args.output)
    ));
    Ok(())
}
