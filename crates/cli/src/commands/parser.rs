//! `ukexec parser`: for authors of parsers.

mod calls;
mod check;
mod disasm;
mod facts;
mod failed;
mod helpers;
mod new;
mod pack;
mod run;
mod trace;

use std::io;
use std::path::Path;

use anyhow::Context as _;
use ukexec_bpf::{Parser, SourceLine, VerifiedParser};
use ukexec_loader::{IMAGE_LEN_MAX, read_named, shown};
use ukexec_pe::PeImage;
use ukexec_unfold::PARSER_SECTION;

pub(crate) use self::check::{Refused, check};
pub(crate) use self::disasm::disasm;
pub(crate) use self::helpers::helpers;
pub(crate) use self::new::new;
pub(crate) use self::pack::pack;
pub(crate) use self::run::run;

/// Loads and verifies `object` as an unfolding would.
pub(crate) fn loadable(object: &[u8]) -> anyhow::Result<VerifiedParser> {
    Ok(Parser::load(object, ukexec_unfold::interface())?.verify()?)
}

/// Reads a parser: the file itself, or the section `.bpf` of an image.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.is_dir() {
        let text = format!("{} is a folder; name the object in it", shown(path));
        return Err(io::Error::new(io::ErrorKind::IsADirectory, text).into());
    }
    let (bytes, _) =
        read_named(path, IMAGE_LEN_MAX).with_context(|| format!("cannot read {}", shown(path)))?;
    let Ok(pe) = PeImage::parse(&bytes[..]) else {
        return Ok(bytes);
    };
    let section = pe.section(PARSER_SECTION).with_context(|| {
        format!(
            "{}: the image carries no parser (section {PARSER_SECTION})",
            shown(path)
        )
    })?;
    let content = section.content();
    let (start, end) = (
        usize::try_from(content.start)?,
        usize::try_from(content.end)?,
    );
    let parser = bytes.get(start..end);
    Ok(parser
        .context("a section of sound headers is cut off")?
        .to_vec())
}

/// Returns whether two records are about one line.
fn same_line(one: &SourceLine, other: &SourceLine) -> bool {
    (one.line, &one.file) == (other.line, &other.file)
}

/// Returns a source line as listings show it.
fn source(line: &SourceLine) -> String {
    let SourceLine {
        file, line, text, ..
    } = line;
    if text.is_empty() {
        format!("; {file}:{line}")
    } else {
        format!("; {file}:{line}: {text}")
    }
}
