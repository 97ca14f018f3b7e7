//! `ukexec inspect`: what would this image boot?

use ukexec_loader::{Purpose, unfold};

use crate::args::Inspect;
use crate::console::{self, Terminal};

pub(crate) fn run(args: &Inspect) -> anyhow::Result<()> {
    let purpose = Purpose::Inspect {
        hash: args.output.hash,
        measure: args.measure,
    };
    let options = args.unfolding.options();
    let unfolding = unfold(&args.image, &options, &purpose, &Terminal::shared())?;
    unfolding.unfolded_or_kernel()?;
    console::report(&unfolding, args.output.json)
}
