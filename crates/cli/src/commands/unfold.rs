//! `ukexec unfold`: the parts of an image as files.

use anyhow::Context as _;
use ukexec_kexec::{Moved, Part, write_file};

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
    };
    let unfolding = task.run()?;
    unfolding.unfolded_or_kernel()?;
    let (answer, sources) = (&unfolding.answer, &unfolding.sources);
    let dir = NewDir::create(&args.output)?;
    let mut written = write(&dir, "kernel", &answer.kernel, sources)?;
    if let Some(initrd) = &answer.initrd {
        written += write(&dir, "initrd", initrd, sources)?;
    }
    if let Some(cmdline) = &answer.cmdline {
        written += write_parts(&dir, "cmdline", &[Part::Bytes(cmdline)])?;
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
        args.output.display()
    ));
    Ok(())
}

fn write(dir: &NewDir, name: &str, spans: &[Span], sources: &Sources) -> anyhow::Result<Moved> {
    sources.with_parts(spans, |parts| write_parts(dir, name, parts))
}

fn write_parts(dir: &NewDir, name: &str, parts: &[Part<'_>]) -> anyhow::Result<Moved> {
    write_file(&dir.path(name), parts).with_context(|| format!("cannot write part {name}"))
}
