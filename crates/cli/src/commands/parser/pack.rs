//! `ukexec parser pack`: parsers into a container.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use ukexec_bpf::{container, skeleton};
use ukexec_kexec::{Readers, shown_path};
use ukexec_loader::report::Size;
use ukexec_loader::{IMAGE_LEN_MAX, read_named, shown};
use ukexec_pe::counted;
use ukexec_unfold::{PARSER_MAX, ParserPlace, accept};

use super::check::{Reason, Refused};
use super::facts::of_kernel;

use crate::args::ParserPack;
use crate::console;
use crate::output::{check_apart, write_file};

pub(crate) fn pack(args: &ParserPack) -> anyhow::Result<()> {
    let inputs = args.parsers.iter().chain(&args.nested);
    check_apart(&args.output, inputs.map(PathBuf::as_path))?;
    let parsers = args.parsers.iter().map(|path| read(path));
    let parsers = parsers.collect::<anyhow::Result<Vec<_>>>()?;
    let nested = args.nested.as_deref().map(read).transpose()?;
    let slots: Vec<&[u8]> = parsers.iter().map(|(bytes, _)| bytes.as_slice()).collect();
    let output = shown_path(&args.output);
    let packed = container::pack(&slots, nested.as_ref().map(|(bytes, _)| bytes.as_slice()))
        .with_context(|| format!("{output} is not written, since it would be refused"))?;
    let size = packed.len() as u64;
    ensure!(
        size <= PARSER_MAX,
        "{output} is not written, since it would be refused: it would have {}; expected at most {}",
        Size(size),
        Size(PARSER_MAX)
    );
    let levels = container::levels(&packed)?;
    for (depth, level) in levels.iter().enumerate() {
        for (index, slot) in level.slots.iter().enumerate() {
            let name = match (depth.checked_sub(1), &args.nested) {
                (Some(inside), Some(nested)) => {
                    format!(
                        "{} slot {}",
                        shown(nested),
                        container::slot_name(inside, index)
                    )
                }
                _ => args
                    .parsers
                    .get(index)
                    .map(|path| shown(path))
                    .unwrap_or_default(),
            };
            check_slot(&output, &name, slot)?;
        }
    }
    let sources = parsers.iter().chain(&nested);
    let readers = sources.fold(Readers::everybody(), |all, (_, readers)| all.and(*readers));
    write_file(&args.output, &packed, readers)?;
    console::note(&format!(
        "wrote {output}: {}, {} and {}",
        Size(packed.len() as u64),
        counted(slots.len() as u64, "parser"),
        counted(levels.len() as u64, "level")
    ));
    Ok(())
}

/// Refuses a parser that an unfolding would not take out of a slot, and warns of what a patched
/// kernel would refuse.
fn check_slot(output: &str, name: &str, slot: &[u8]) -> anyhow::Result<()> {
    let accepted = accept(slot, ParserPlace::Slot).map_err(|reasons| {
        let reasons = reasons.into_iter().map(Reason::from).collect();
        Refused::new(format!("{output} is not written: {name}"), reasons)
    })?;
    let is_skeleton = skeleton::is_skeleton(slot);
    for warning in of_kernel(&accepted.parser, accepted.generation, is_skeleton) {
        console::warn(&format!("{name}: {warning}"));
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<(Vec<u8>, Readers)> {
    read_named(path, IMAGE_LEN_MAX).with_context(|| format!("cannot read {}", shown(path)))
}
