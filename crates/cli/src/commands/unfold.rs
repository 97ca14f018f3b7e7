//! `ukexec unfold`: the parts of an image as files.

use ukexec_kexec::{Moved, Part, shown_path};

use crate::args::Unfold;
use crate::output::NewDir;
use crate::protocol::{Span, Wanted};
use crate::size::Size;
use crate::sources::Sources;
use crate::text;
use crate::unfolding::{Access, Task};

pub(crate) fn run(args: &Unfold) -> anyhow::Result<()> {
    // Refuse a folder that cannot be used before any work is done.
    NewDir::check(&args.output)?;
    let task = Task {
        path: &args.image,
        args: &args.unfolding,
        access: Access::OnDisk,
        report: Wanted {
            layers: false,
            hash: args.report.hash,
            measure: false,
        },
        machine: None,
        extra: false,
    };
    let unfolding = task.run()?;
    unfolding.unfolded_or_kernel()?;
    let (answer, sources) = (&unfolding.answer, &unfolding.sources);
    let mut dir = NewDir::create(&args.output, unfolding.readers())?;
    let mut written = write(&mut dir, "kernel", &answer.kernel, sources)?;
    if let Some(initrd) = &answer.initrd {
        written += write(&mut dir, "initrd", initrd, sources)?;
    }
    if let Some(cmdline) = &answer.cmdline {
        written += dir.write("cmdline", &[Part::Bytes(cmdline)])?;
    }
    dir.complete()?;
    if args.report.json {
        text::json(&answer.document)?;
    } else {
        text::out(&answer.text)?;
    }
    unfolding.warn();
    text::note(&format!(
        "wrote {} to {}",
        Size(written.total()),
        shown_path(&args.output)
    ));
    Ok(())
}

fn write(
    dir: &mut NewDir,
    name: &'static str,
    spans: &[Span],
    sources: &Sources,
) -> anyhow::Result<Moved> {
    sources.with_parts(spans, |parts| dir.write(name, parts))
}
