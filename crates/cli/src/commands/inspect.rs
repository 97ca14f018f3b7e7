//! `ukexec inspect`: what would this image boot?

use crate::args::Inspect;
use crate::protocol::Wanted;
use crate::text;
use crate::unfolding::{Access, Task};

pub(crate) fn run(args: &Inspect) -> anyhow::Result<()> {
    let task = Task {
        path: &args.image,
        args: &args.unfolding,
        access: Access::OnDisk,
        report: Wanted {
            layers: true,
            hash: args.output.hash,
            measure: args.measure,
        },
        machine: None,
        extra: false,
    };
    let unfolding = task.run()?;
    unfolding.unfolded_or_kernel()?;
    if args.output.json {
        text::json(&unfolding.answer.document)?;
    } else {
        text::out(&unfolding.answer.text)?;
    }
    unfolding.warn();
    Ok(())
}
