//! What people read: reports on stdout, notes on stderr.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::Value;
use ukexec_boot::Kernel;
use ukexec_unfold::{Layer, PeSummary, StageReport};

use crate::document::sha256;
use crate::size::Size;
use crate::worker::Outcome;

/// Writes `text` to stdout. A reader that has gone away, such as `head`, is
/// not worth an error; a full disk is.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(visible(text).as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the report to stdout")
        }
        _ => Ok(()),
    }
}

/// Writes `text` to stderr.
pub(crate) fn err(text: &str) {
    let _gone = io::stderr().write_all(visible(text).as_bytes());
}

/// Returns `text` with control characters made visible: names and texts come
/// out of images, and must not steer the terminal.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// Writes a note about what was done to stderr.
pub(crate) fn note(text: &str) {
    err(&format!("ukexec: {text}\n"));
}

/// Writes a document to stdout.
pub(crate) fn json(document: &Value) -> anyhow::Result<()> {
    out(&json_text(document))
}

/// Returns a document as text that is still JSON when its control characters
/// are made visible. JSON itself lets those behind ASCII stand as they are.
pub(crate) fn json_text(document: &Value) -> String {
    json_visible(&format!("{document:#}\n"))
}

/// Returns a document in one line, as [`json_text`] does.
pub(crate) fn json_line(document: &Value) -> String {
    json_visible(&format!("{document}\n"))
}

fn json_visible(document: &str) -> String {
    let mut text = String::new();
    for c in document.chars() {
        if c.is_control() && c != '\n' {
            let _infallible = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// Returns the layers of an image with their sections.
pub(crate) fn layers(outcome: &Outcome) -> String {
    outcome.report.layers.iter().map(layer).collect()
}

fn layer(layer: &Layer) -> String {
    let mut text = format!("{}  {}", layer.path, Size(layer.size));
    if let Some(pe) = &layer.pe {
        let _infallible = write!(text, ", {}", pe_line(pe));
    }
    text.push('\n');
    for section in layer.pe.iter().flat_map(|pe| &pe.sections) {
        let size = section.content.end - section.content.start;
        let _infallible = writeln!(
            text,
            "  {:<10} {:>12} bytes at {:#x}",
            section.name, size, section.content.start
        );
    }
    if let Some(parser) = &layer.parser {
        let _infallible = writeln!(text, "  parser     {parser}");
    }
    text
}

fn pe_line(pe: &PeSummary) -> String {
    let machine = match pe.machine {
        0x8664 => "x86_64".to_owned(),
        0x014c => "i386".to_owned(),
        0xaa64 => "arm64".to_owned(),
        0x5064 => "riscv64".to_owned(),
        0x6264 => "loongarch64".to_owned(),
        other => format!("machine {other:#06x}"),
    };
    let subsystem = match pe.subsystem {
        10 => "EFI application".to_owned(),
        11 => "EFI boot service driver".to_owned(),
        12 => "EFI runtime driver".to_owned(),
        2 | 3 => "Windows program".to_owned(),
        other => format!("subsystem {other}"),
    };
    let signed = if pe.certificates.is_some() {
        "signed"
    } else {
        "not signed"
    };
    format!("{machine} {subsystem}, {signed}")
}

/// Returns one line for each stage.
pub(crate) fn stages(outcome: &Outcome) -> String {
    outcome.report.stages.iter().map(stage).collect()
}

fn stage(stage: &StageReport) -> String {
    let resources: Vec<String> = stage
        .handed_over
        .iter()
        .map(|hand_over| format!("{} {}", hand_over.resource, Size(hand_over.size)))
        .collect();
    let mut text = format!(
        "stage {}  {}: {} ({}), {} instructions: {}\n",
        stage.number,
        stage.layer,
        stage.parser,
        stage.abi,
        stage.insns,
        resources.join(", ")
    );
    for line in &stage.log {
        let _infallible = writeln!(text, "  | {line}");
    }
    text
}

/// Returns the parts that come out, with their digests if asked for.
pub(crate) fn parts(outcome: &Outcome, hash: bool) -> anyhow::Result<String> {
    let digest = |rope| -> anyhow::Result<String> {
        if hash {
            Ok(format!("\n           sha256 {}", sha256(rope)?))
        } else {
            Ok(String::new())
        }
    };
    let mut text = String::new();
    let identified = match &outcome.identity {
        Ok(kernel) => identity(kernel),
        Err(error) => format!("not a kernel: {error}"),
    };
    let kernel = &outcome.kernel;
    writeln!(
        text,
        "kernel     {}, {identified}{}",
        Size(kernel.len()),
        digest(kernel)?
    )?;
    match &outcome.initrd {
        Some(rope) => writeln!(text, "initrd     {}{}", Size(rope.len()), digest(rope)?)?,
        None => writeln!(text, "initrd     none")?,
    }
    match &outcome.cmdline {
        Some(bytes) => writeln!(
            text,
            "cmdline    {}",
            String::from_utf8_lossy(bytes).escape_debug()
        )?,
        None => writeln!(text, "cmdline    none")?,
    }
    Ok(text)
}

/// Returns what kernel it is.
pub(crate) fn identity(kernel: &Kernel) -> String {
    let Kernel {
        arch,
        format,
        version,
        signed,
        ..
    } = kernel;
    let signed = if *signed { ", signed" } else { "" };
    match version {
        Some(version) => format!("{arch} {format}, Linux {version}{signed}"),
        None => format!("{arch} {format}{signed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(visible("a\tb\n"), "a\tb\n");
        assert_eq!(
            visible("\u{1b}]0;x\u{7}\r\u{9b}"),
            "\\u{1b}]0;x\\u{7}\\r\\u{9b}"
        );
    }

    #[test]
    fn json_stays_json_without_control_characters() {
        let document = serde_json::json!({ "text": "\u{1b}[0m\u{7f}\u{9b}" });
        let text = json_text(&document);
        assert_eq!(visible(&text), text);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }
}
