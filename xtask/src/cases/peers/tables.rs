//! The tables: each line of a peer, and the field of ours that each fact in it is.
//!
//! In a line, `{name}` is a fact, up to the next word of the line or to its end; a blank is any run
//! of blanks, at the start even none; several blanks are themselves. A line without facts is one
//! as a whole. A field begins at the root of our document, or at the list whose next element a
//! line of the peer is about.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::command::{Tool, said};
use crate::materials;
use crate::setup::PYTHON;

use super::facts::{Ours, Row, begins, is, left_out};

/// A tool that shows an image.
pub(super) struct Peer {
    pub(super) name: &'static str,
    tool: fn() -> Result<Tool>,
    /// Looked at in this order.
    pub(super) lines: &'static [&'static str],
    pub(super) facts: &'static [Row],
}

impl Peer {
    /// Returns the text that it prints about `image`.
    pub(super) fn run(&self, image: &Path) -> Result<String> {
        let tool = (self.tool)()?.arg(image);
        let tool = tool.env("LC_ALL", "C").env("TZ", "UTC");
        Ok(said(&tool.output()?))
    }
}

pub(super) const PEERS: &[Peer] = &[
    Peer {
        name: "ukify inspect",
        tool: || Ok(Tool::new(PYTHON).arg(materials::ukify()?).arg("inspect")),
        lines: &[
            "    {line}",
            "",
            "  size: {size} bytes",
            "  sha256: {digest}",
            "  text:",
            "{name}:",
        ],
        facts: &[
            begins("name", "section/name", text),
            is("size", "section/virtual_size", text),
            is("digest", "section/sha256", text),
            is("line", "section/text", line),
            is("", "section/text", line),
            left_out("  text:", "a heading"),
        ],
    },
    Peer {
        name: "objdump -h",
        tool: || Ok(Tool::new("objdump").arg("-h")),
        lines: &[
            "{path}: file format {format}",
            "",
            "Sections:",
            "Idx Name Size VMA LMA File off Algn",
            " {index} {name} {size} {vma} {lma} {offset} 2**{alignment}",
            " {flags}",
        ],
        facts: &[
            is("path", "/layers/0/path", text),
            is("format", "/layers/0/pe/machine", format),
            begins("name", "section/name", text),
            is("index", "section", index),
            is("size", "section/size", hex),
            is("vma", "section/address", in_memory),
            is("lma", "section/address", in_memory),
            is("offset", "section/offset", hex),
            is("alignment", "section", alignment),
            is("flags", "section", flags),
            left_out("", "a blank line"),
            left_out("Sections:", "a heading"),
            left_out("Idx Name Size VMA LMA File off Algn", "a heading"),
        ],
    },
    Peer {
        name: "sbverify --list",
        tool: || Ok(Tool::new("sbverify").arg("--list")),
        lines: &[
            "signature {signature}",
            "image signature issuers:",
            "image signature certificates:",
            " - subject: {subject}",
            "   issuer: {issuer}",
            " - {signed by}",
            "No signature table present",
            "warning: data remaining[{end} vs {len}]: gaps between PE/COFF sections?",
            "warning: checksum areas are greater than image size. Invalid section table?",
            "Unable to parse signature data",
            "{thread}:error:{words}",
        ],
        facts: &[
            begins("signature", "signer/signature", text),
            is("signed by", "signer/issuer", one_line),
            begins("subject", "certificate", enclosed),
            is("issuer", "certificate/issuer", one_line),
            is(
                "No signature table present",
                "/signatures/0/state",
                unsigned,
            ),
            is("end", "/layers/0/pe/holes", overlay),
            is("len", "/layers/0/size", padded),
            is(
                "warning: checksum areas are greater than image size. Invalid section table?",
                "/layers/0/pe_fault",
                any,
            ),
            is(
                "Unable to parse signature data",
                "/signatures/0/state",
                malformed,
            ),
            left_out("thread", "OpenSSL's name of a thread"),
            left_out(
                "words",
                "what OpenSSL's decoder expects where the table is cut",
            ),
            left_out("image signature issuers:", "a heading"),
            left_out("image signature certificates:", "a heading"),
        ],
    },
    Peer {
        name: "pesign -S",
        tool: || Ok(Tool::new("pesign").arg("-S").arg("-i")),
        lines: &[
            "No signatures found.",
            "---------------------------------------------",
            "certificate address is {address}",
            "Content was not encrypted.",
            "Content is detached; signature cannot be verified.",
            "The signer's common name is {name}",
            "The signer's email address is {email}",
            "No signer email address.",
            "Signing time: {time}",
            "There were certs or crls included.",
            "Found invalid certificate",
        ],
        facts: &[
            begins("name", "signer/subject", common_name),
            is("email", "signer/email", text),
            is("No signer email address.", "signer/email", none),
            is("time", "signer/signed_at", day),
            is(
                "There were certs or crls included.",
                "/signatures/0/certificates",
                any,
            ),
            is("No signatures found.", "/signatures/0/state", unsigned),
            left_out(
                "---------------------------------------------",
                "a line between signatures",
            ),
            is(
                "Found invalid certificate",
                "/signatures/0/state",
                malformed,
            ),
            left_out("address", "the place in the memory of pesign"),
            left_out(
                "Content was not encrypted.",
                "Authenticode has no encrypted content",
            ),
            left_out(
                "Content is detached; signature cannot be verified.",
                "pesign does not look for the image that the signature is of",
            ),
        ],
    },
];

/// The field as it is.
fn text(ours: &Ours<'_>) -> Result<String> {
    let text = ours.field.as_str().map(str::to_owned);
    Ok(text.unwrap_or_else(|| ours.field.to_string()))
}

/// The line where the field has any content.
fn any(ours: &Ours<'_>) -> Result<String> {
    let is_empty = match ours.field {
        Value::Array(list) => list.is_empty(),
        other => other.is_null(),
    };
    Ok(where_it(!is_empty, ours))
}

/// The line where the field has none.
fn none(ours: &Ours<'_>) -> Result<String> {
    Ok(where_it(ours.field.is_null(), ours))
}

fn unsigned(ours: &Ours<'_>) -> Result<String> {
    Ok(where_it(ours.field == "unsigned", ours))
}

fn malformed(ours: &Ours<'_>) -> Result<String> {
    Ok(where_it(ours.field == "malformed", ours))
}

fn where_it(holds: bool, ours: &Ours<'_>) -> String {
    if holds { ours.found } else { "" }.to_owned()
}

/// One line of a text, the first for the first such line about an element.
fn line(ours: &Ours<'_>) -> Result<String> {
    let text = text(ours)?.replace('\0', "\\0");
    let line = text.trim_end().lines().nth(ours.nth);
    line.map(str::to_owned).context("our text is shorter")
}

fn hex(ours: &Ours<'_>) -> Result<String> {
    Ok(format!("{:08x}", number(ours.field)?))
}

/// The address where firmware puts the image by preference, and ours, which is relative to it.
fn in_memory(ours: &Ours<'_>) -> Result<String> {
    let base = at(ours.document, "/layers/0/pe/image_base")?;
    Ok(format!("{:016x}", number(base)? + number(ours.field)?))
}

fn index(ours: &Ours<'_>) -> Result<String> {
    Ok(ours.index.to_string())
}

/// The names that BFD has for formats.
fn format(ours: &Ours<'_>) -> Result<String> {
    let format = match number(ours.field)? {
        0x8664 => "pei-x86-64",
        0xaa64 => "pei-aarch64-little",
        other => bail!("machine {other:#x}"),
    };
    Ok(format.to_owned())
}

/// The alignment in the flags, which only object files have, or BFD's own for the name.
fn alignment(ours: &Ours<'_>) -> Result<String> {
    let name = at(ours.field, "/name")?.as_str().unwrap_or_default();
    let is_wide = name == ".bss"
        || [".text", ".data", ".rdata"]
            .iter()
            .any(|it| name.starts_with(it));
    let alignment = match characteristics(ours)? >> 20 & 15 {
        0 if is_wide => 4,
        0 => 2,
        power => power - 1,
    };
    Ok(alignment.to_string())
}

fn flags(ours: &Ours<'_>) -> Result<String> {
    const CODE: u64 = 0x20;
    const DATA: u64 = 0x40;
    const WRITE: u64 = 0x8000_0000;
    let characteristics = characteristics(ours)?;
    let has = |flag| characteristics & flag != 0;
    let flags = [
        (number(at(ours.field, "/size")?)? > 0, "CONTENTS"),
        (true, "ALLOC"),
        (true, "LOAD"),
        (!has(WRITE), "READONLY"),
        (has(CODE), "CODE"),
        (has(DATA), "DATA"),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set);
    Ok(flags.map(|(_, flag)| *flag).collect::<Vec<_>>().join(", "))
}

fn characteristics(ours: &Ours<'_>) -> Result<u64> {
    number(at(ours.field, "/characteristics")?)
}

/// Where the last hole begins.
fn overlay(ours: &Ours<'_>) -> Result<String> {
    let last = ours.field.as_array().and_then(|holes| holes.last());
    Ok(number(at(last.context("no holes")?, "/offset")?)?.to_string())
}

/// The length; the second time that of the file as `sbverify` pads it.
fn padded(ours: &Ours<'_>) -> Result<String> {
    let len = number(ours.field)?;
    let len = [len, len.next_multiple_of(8)].get(ours.nth).copied();
    Ok(len.context("a third length")?.to_string())
}

/// A name as OpenSSL writes it, `/O=ACME/CN=me`. Ours begins with the last part.
fn one_line(ours: &Ours<'_>) -> Result<String> {
    let parts = text(ours)?;
    let parts = parts.split(',').rev().map(|part| format!("/{part}"));
    Ok(parts.collect())
}

/// The subject of a certificate that comes with the signature.
fn enclosed(ours: &Ours<'_>) -> Result<String> {
    let signatures = at(ours.field, "/signatures")?.as_array();
    let mut signatures = signatures.into_iter().flatten().map(Value::as_u64);
    ensure!(
        signatures.any(|it| it == ours.signature),
        "it comes with others"
    );
    let field = at(ours.field, "/subject")?;
    one_line(&Ours { field, ..*ours })
}

fn common_name(ours: &Ours<'_>) -> Result<String> {
    let name = text(ours)?;
    let mut parts = name.split(',');
    let name = parts.find_map(|part| part.strip_prefix("CN="));
    Ok(name.unwrap_or_default().to_owned())
}

/// A day such as `Sun Nov 29, 2026`.
fn day(ours: &Ours<'_>) -> Result<String> {
    let seconds = format!("@{}", number(ours.field)?);
    let tool = Tool::new("date").env("LC_ALL", "C");
    let day = tool.args(["-u", "-d", &seconds, "+%a %b %d, %Y"]).text()?;
    Ok(day.trim().to_owned())
}

fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value> {
    let field = value.pointer(pointer);
    field.with_context(|| format!("we have no {pointer} in {value}"))
}

fn number(value: &Value) -> Result<u64> {
    value
        .as_u64()
        .with_context(|| format!("{value} is no number"))
}
