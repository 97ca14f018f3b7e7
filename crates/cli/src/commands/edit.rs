//! `ukexec attach` and `ukexec detach`: a parser into an image and out of it.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use ukexec_kexec::{Readers, shown_path};
use ukexec_loader::report::Size;
use ukexec_loader::report::failure::sentence;
use ukexec_loader::{IMAGE_LEN_MAX, LoaderOptions, read_named, shown, try_attached};
use ukexec_pe::{EditOptions, PeError};
use ukexec_unfold::PARSER_SECTION;

use crate::args::{Attach, Detach};
use crate::console::Terminal;
use crate::output::{check_apart, write_file};
use crate::{commands, console};

pub(crate) fn attach(args: &Attach) -> anyhow::Result<()> {
    check_apart(&args.output, [args.parser.as_path()])?;
    let (image, readers) = read(&args.image)?;
    let (parser, its_readers) = read(&args.parser)?;
    // An image that carries a parser which nobody takes would boot nowhere.
    commands::parser::loadable(&parser)
        .with_context(|| format!("{} is not a parser to attach", shown(&args.parser)))?;
    let drop_signature = args.drop_signature;
    let options = EditOptions { drop_signature };
    let edited = ukexec_pe::attach(&image, PARSER_SECTION, &parser, options)
        .map_err(with_advice)
        .with_context(|| format!("cannot attach a parser to {}", shown(&args.image)))?;
    drop(image);
    let readers = readers.and(its_readers);
    try_parser(args, &edited, readers)?;
    write_file(&args.output, &edited, readers)?;
    console::note(&format!(
        "wrote {}: {} with {} of parser in section {PARSER_SECTION}",
        shown_path(&args.output),
        Size(edited.len() as u64),
        Size(parser.len() as u64)
    ));
    Ok(())
}

/// Runs the parser of `image`, which is to be written, once.
fn try_parser(args: &Attach, image: &[u8], readers: Readers) -> anyhow::Result<()> {
    let options = LoaderOptions {
        sandbox: !args.no_sandbox,
        budget: args.limits.budget(),
        ..LoaderOptions::default()
    };
    let tried = try_attached(&args.image, image, readers, &options, &Terminal::shared());
    let warnings = match tried {
        Ok(warnings) => warnings,
        Err(error) if args.force => {
            let why = sentence(&error);
            vec![format!("the parser fails on this image (--force): {why}")]
        }
        Err(error) => {
            return Err(error).with_context(|| {
                let output = shown_path(&args.output);
                format!("{output} is not written, since the parser fails (--force ignores that)")
            });
        }
    };
    for warning in warnings {
        console::warn(&warning);
    }
    Ok(())
}

pub(crate) fn detach(args: &Detach) -> anyhow::Result<()> {
    let (image, readers) = read(&args.image)?;
    let drop_signature = args.drop_signature;
    let options = EditOptions { drop_signature };
    let edited = ukexec_pe::detach(&image, PARSER_SECTION, options)
        .map_err(with_advice)
        .with_context(|| format!("cannot take the parser out of {}", shown(&args.image)))?;
    write_file(&args.output, &edited, readers)?;
    console::note(&format!(
        "wrote {}: {}",
        shown_path(&args.output),
        Size(edited.len() as u64)
    ));
    Ok(())
}

/// Names the option that lets a signed image be edited.
fn with_advice(error: PeError) -> anyhow::Error {
    if error.is_signed() {
        return anyhow!("{error}; have it dropped (--drop-signature), and sign the result");
    }
    error.into()
}

fn read(path: &Path) -> anyhow::Result<(Vec<u8>, Readers)> {
    read_named(path, IMAGE_LEN_MAX).with_context(|| format!("cannot read {}", shown(path)))
}
