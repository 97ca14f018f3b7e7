//! `ukexec parser pack`: parsers into a container.

use std::path::Path;

use anyhow::Context as _;
use ukexec_bpf::{container, skeleton};
use ukexec_kexec::{Readers, shown_path};
use ukexec_loader::report::Size;
use ukexec_loader::{IMAGE_LEN_MAX, read_named, shown};
use ukexec_pe::counted;

use crate::args::ParserPack;
use crate::console;
use crate::output::write_file;

pub(crate) fn pack(args: &ParserPack) -> anyhow::Result<()> {
    let parsers = args.parsers.iter().map(|path| read(path));
    let parsers = parsers.collect::<anyhow::Result<Vec<_>>>()?;
    let nested = args.nested.as_deref().map(read).transpose()?;
    let slots: Vec<&[u8]> = parsers.iter().map(|(bytes, _)| bytes.as_slice()).collect();
    let output = shown_path(&args.output);
    let packed = container::pack(&slots, nested.as_ref().map(|(bytes, _)| bytes.as_slice()))
        .with_context(|| format!("{output} is not written, since it would be refused"))?;
    for (path, slot) in args.parsers.iter().zip(&slots) {
        if !skeleton::is_skeleton(slot) {
            console::warn(&format!(
                "{} is an object, which a kernel with the series refuses; docs/kernel-series.md \
                 makes a light skeleton of it",
                shown(path)
            ));
        }
    }
    let sources = parsers.iter().chain(&nested);
    let readers = sources.fold(Readers::everybody(), |all, (_, readers)| all.and(*readers));
    write_file(&args.output, &packed, readers)?;
    let levels = container::levels(&packed)?.len();
    console::note(&format!(
        "wrote {output}: {}, {} and {}",
        Size(packed.len() as u64),
        counted(slots.len() as u64, "parser"),
        counted(levels as u64, "level")
    ));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<(Vec<u8>, Readers)> {
    read_named(path, IMAGE_LEN_MAX).with_context(|| format!("cannot read {}", shown(path)))
}
