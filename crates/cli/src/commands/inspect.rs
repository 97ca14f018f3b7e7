//! `ukexec inspect`: what would these images boot?

use ukexec_loader::{LoaderOptions, Purpose};

use crate::args::Inspect;
use crate::commands::chosen::ChosenImage;
use crate::console::{self, Form};
use crate::failure;

/// Prints a report of each image, or its failure, and returns the highest of their
/// exit codes.
pub(crate) fn run(args: &Inspect, form: Form) -> u8 {
    let mut options = args.unfolding.options(form);
    args.beside.add_to(&mut options);
    if args.images.is_empty() {
        let done = ChosenImage::of_entry(&args.entry, &mut options);
        return failure::code(
            done.and_then(|image| one(args, image, &options, form)),
            form,
        );
    }
    let codes = args.images.iter().map(|path| {
        console::begin_report(form);
        let image = ChosenImage::of_file(path, &args.entry, &mut options);
        failure::code(one(args, image, &options, form), form)
    });
    // The command line has at least one.
    codes.max().unwrap_or(0)
}

fn one(
    args: &Inspect,
    image: ChosenImage,
    options: &LoaderOptions,
    form: Form,
) -> anyhow::Result<()> {
    let purpose = Purpose::Inspect {
        hash: args.output.hash,
        measure: args.measure(),
        sections: args.sections,
    };
    let unfolding = image.unfold(options, &purpose)?;
    // A failure prints the page alone.
    unfolding
        .agreed()
        .inspect_err(|_| console::warnings(&unfolding))?;
    console::report(&unfolding, form)
}
