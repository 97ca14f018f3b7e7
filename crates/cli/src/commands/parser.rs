//! `ukexec parser check`: what a parser is, for its author.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use ukexec_bpf::{AttachKind, HELPERS, Helper, MapKind, Parser, Program, VerifiedParser, insn};
use ukexec_pe::PeImage;

use crate::args::ParserCheck;
use crate::document::SCHEMA;
use crate::text;

/// The section that holds a parser in an image.
const SECTION: &str = ".bpf";

/// The parser ABI that the hooks of this loader belong to.
const ABI: &str = "v5";

pub(crate) fn check(args: &ParserCheck) -> anyhow::Result<()> {
    let object = read(&args.file)?;
    let parser = loadable(&object)
        .with_context(|| format!("{}: this loader refuses the parser", args.file.display()))?;
    if args.json {
        text::json(&document(&args.file, object.len(), &parser))?;
    } else {
        text::out(&report(&args.file, object.len(), &parser)?)?;
    }
    Ok(())
}

/// Loads and verifies `object` as an unfolding would.
pub(crate) fn loadable(object: &[u8]) -> anyhow::Result<VerifiedParser> {
    Ok(Parser::load(object, &ukexec_unfold::interface())?.verify()?)
}

/// Reads a parser: the file itself, or the section `.bpf` of an image.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Ok(pe) = PeImage::parse(&bytes[..]) else {
        return Ok(bytes);
    };
    let section = pe.section(SECTION).with_context(|| {
        format!(
            "{}: the image carries no parser (section {SECTION})",
            path.display()
        )
    })?;
    let content = section.content();
    let (start, end) = (
        usize::try_from(content.start)?,
        usize::try_from(content.end)?,
    );
    Ok(bytes.get(start..end).unwrap_or_default().to_vec())
}

fn report(path: &Path, size: usize, parser: &Parser) -> anyhow::Result<String> {
    let mut text = String::new();
    let license = if parser.license.is_empty() {
        "none"
    } else {
        &parser.license
    };
    writeln!(
        text,
        "{}: parser ABI {ABI}, {size} bytes, licence {license}",
        path.display()
    )?;
    for program in &parser.programs {
        writeln!(
            text,
            "  program  {} on {} ({}), {} instructions",
            program.name,
            program.hook,
            attach(program),
            program.code.len()
        )?;
    }
    for map in &parser.maps {
        let rights = if map.read_only { ", read-only" } else { "" };
        match map.kind {
            MapKind::RingBuffer => {
                writeln!(
                    text,
                    "  map      {}: ring buffer, {} bytes{rights}",
                    map.name, map.max_entries
                )?;
            }
            MapKind::Array | MapKind::Hash => writeln!(
                text,
                "  map      {}: {}, {} entries of {} bytes{rights}",
                map.name,
                kind(map.kind),
                map.max_entries,
                map.value_size
            )?,
        }
    }
    for kfunc in &parser.kfuncs {
        let offered = if kfunc.host.is_some() {
            ""
        } else {
            " (not offered here; weak)"
        };
        writeln!(text, "  kfunc    {}{offered}", kfunc.name)?;
    }
    for helper in helpers(parser) {
        writeln!(text, "  helper   {} ({})", helper.name, helper.number)?;
    }
    Ok(text)
}

fn document(path: &Path, size: usize, parser: &Parser) -> Value {
    json!({
        "schema": SCHEMA,
        "parser": path.to_string_lossy(),
        "size": size,
        "abi": ABI,
        "license": parser.license,
        "programs": parser.programs.iter().map(|program| json!({
            "name": program.name,
            "section": program.section,
            "hook": program.hook,
            "insns": program.code.len(),
        })).collect::<Vec<_>>(),
        "maps": parser.maps.iter().map(|map| json!({
            "name": map.name,
            "kind": kind(map.kind),
            "key_size": map.key_size,
            "value_size": map.value_size,
            "max_entries": map.max_entries,
            "read_only": map.read_only,
        })).collect::<Vec<_>>(),
        "kfuncs": parser.kfuncs.iter().map(|kfunc| json!({
            "name": kfunc.name,
            "offered": kfunc.host.is_some(),
        })).collect::<Vec<_>>(),
        "helpers": helpers(parser).into_iter().map(|helper| json!({
            "number": helper.number,
            "name": helper.name,
        })).collect::<Vec<_>>(),
    })
}

fn attach(program: &Program) -> &'static str {
    match program.attach {
        AttachKind::Fentry => "fentry",
        AttachKind::FmodRet => "fmod_ret",
    }
}

fn kind(kind: MapKind) -> &'static str {
    match kind {
        MapKind::Hash => "hash",
        MapKind::Array => "array",
        MapKind::RingBuffer => "ring buffer",
    }
}

/// Returns the helpers that any program calls, by number.
fn helpers(parser: &Parser) -> Vec<&'static Helper> {
    let insns = parser.programs.iter().flat_map(|program| &program.code);
    let calls: BTreeSet<i32> = insns
        .filter(|insn| insn.code == insn::CALL && insn.src == insn::call::HELPER)
        .map(|insn| insn.imm)
        .collect();
    HELPERS
        .iter()
        .filter(|helper| calls.contains(&helper.number))
        .collect()
}
