//! `ukexec inspect`: what would these images boot?

use std::path::Path;

use ukexec_loader::{Purpose, unfold};

use crate::args::Inspect;
use crate::console::{self, Form, Terminal};
use crate::failure;

/// Prints a report of each image, or its failure, and returns the highest of their
/// exit codes.
pub(crate) fn run(args: &Inspect, form: Form) -> u8 {
    let codes = args.images.iter().map(|image| {
        console::begin_report(form);
        failure::code(one(args, image, form), form)
    });
    // The command line has at least one.
    codes.max().unwrap_or(0)
}

fn one(args: &Inspect, image: &Path, form: Form) -> anyhow::Result<()> {
    let purpose = Purpose::Inspect {
        hash: args.output.hash,
        measure: args.measure(),
        sections: args.sections,
    };
    let mut options = args.unfolding.options(form);
    args.beside.add_to(&mut options);
    let unfolding = unfold(image, &options, &purpose, &Terminal::shared())?;
    // A failure prints the page alone.
    unfolding
        .agreed()
        .inspect_err(|_| console::warnings(&unfolding))?;
    console::report(&unfolding, form)
}
