//! `ukexec unfold`: the parts of an image as files.

use anyhow::Context as _;
use ukexec_bpf::Rope;
use ukexec_kexec::{Moved, write_file};

use crate::args::Unfold;
use crate::output::NewDir;
use crate::size::Size;
use crate::sources::Sources;
use crate::unfolding::{Access, Outcome};
use crate::{document, text};

pub(crate) fn run(args: &Unfold) -> anyhow::Result<()> {
    // Refuse a folder that cannot be used before any work is done.
    NewDir::check(&args.output)?;
    let outcome = Outcome::of(&args.image, &args.unfolding, Access::OnDisk)?;
    outcome.unfolded_or_kernel()?;
    // The report reads what it hashes, and may fail: before the folder appears.
    let report = if args.report.json {
        text::json_text(&document::of_outcome(&outcome, args.report.hash)?)
    } else {
        text::stages(&outcome) + &text::parts(&outcome, args.report.hash)?
    };
    let cmdline = outcome.cmdline.clone().map(Rope::from);
    let parts = [
        ("kernel", Some(&outcome.kernel)),
        ("initrd", outcome.initrd.as_ref()),
        ("cmdline", cmdline.as_ref()),
    ];
    let dir = NewDir::create(&args.output)?;
    let mut written = Moved::default();
    for (name, rope) in parts {
        if let Some(rope) = rope {
            written += write(&dir, name, rope, &outcome.sources)?;
        }
    }
    dir.complete()?;
    text::out(&report)?;
    text::warn(&outcome);
    text::note(&format!(
        "wrote {} to {}",
        Size(written.total()),
        args.output.display()
    ));
    Ok(())
}

fn write(dir: &NewDir, name: &str, rope: &Rope, sources: &Sources) -> anyhow::Result<Moved> {
    sources
        .with_parts(rope, |parts| write_file(&dir.path(name), parts))
        .with_context(|| format!("cannot write part {name}"))
}
