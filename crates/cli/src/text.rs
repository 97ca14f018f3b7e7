//! What people read: reports on stdout, notes on stderr.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;

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

/// Returns `text` with characters made visible that steer the terminal or are
/// not seen: names and texts come out of images.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_printable(c) || matches!(c, '\n' | '\t'))
}

/// As [`visible`], in one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_printable)
}

fn escaped(text: &str, harmless: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&harmless) {
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

/// Returns whether `c` is seen as itself: neither control nor format character,
/// no space but the plain one, nothing that readers pass over.
pub(crate) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library has the table. Marks that combine are fine behind
    // another character.
    let mut behind = [b'x'; 5];
    let len = 1 + c.encode_utf8(&mut behind[1..]).len();
    let shown = str::from_utf8(&behind[..len]).map(|pair| pair.escape_debug().count());
    shown == Ok(2) && !UNSEEN.iter().any(|range| range.contains(&c))
}

/// Letters and marks without a shape or a width (Unicode's
/// `Default_Ignorable_Code_Point`), as far as they are no format characters.
const UNSEEN: [RangeInclusive<char>; 9] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0100}'..='\u{e01ef}',
];

/// Writes a note about what was done to stderr.
pub(crate) fn note(text: &str) {
    err(&format!("ukexec: {}\n", one_line(text)));
}

/// Writes a document to stdout.
pub(crate) fn json(document: &Value) -> anyhow::Result<()> {
    out(&json_text(document))
}

/// Returns a document as text that is still JSON when it is made [`visible`].
/// JSON itself lets characters behind ASCII stand as they are.
pub(crate) fn json_text(document: &Value) -> String {
    json_visible(&format!("{document:#}\n"))
}

/// Returns a document in one line, as [`json_text`] does.
pub(crate) fn json_line(document: &Value) -> String {
    json_visible(&format!("{document}\n"))
}

/// Returns JSON that is still JSON when it is made [`visible`].
pub(crate) fn json_visible(document: &str) -> String {
    let mut text = String::new();
    for c in document.chars() {
        if is_printable(c) || c == '\n' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// Returns the layers of an image with their sections.
pub(crate) fn layers(outcome: &Outcome) -> String {
    outcome.report.layers.iter().map(layer).collect()
}

fn layer(layer: &Layer) -> String {
    let mut text = String::new();
    let pe = layer.pe.as_ref().map(|pe| format!(", {}", pe_line(pe)));
    let (path, size, pe) = (&layer.path, Size(layer.size), pe.unwrap_or_default());
    line(&mut text, format_args!("{path}  {size}{pe}"));
    for section in layer.pe.iter().flat_map(|pe| &pe.sections) {
        let (name, at) = (&section.name, section.content.start);
        let size = section.content.end - at;
        line(
            &mut text,
            format_args!("  {name:<10} {size:>12} bytes at {at:#x}"),
        );
    }
    if let Some(fault) = &layer.pe_fault {
        let _infallible = writeln!(text, "  no sound PE32+ file: {fault}");
    }
    if let Some(parser) = &layer.parser {
        line(&mut text, format_args!("  parser     {parser}"));
    }
    text
}

/// Adds one line to a report, whatever the names in it are.
pub(crate) fn line(report: &mut String, text: fmt::Arguments<'_>) {
    report.push_str(&one_line(&text.to_string()));
    report.push('\n');
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
    let resources = stage
        .handed_over
        .iter()
        .map(|hand_over| format!("{} {}", hand_over.resource, Size(hand_over.size)));
    let profile = stage.profile.map(|number| format!("profile {number}"));
    let resources: Vec<String> = resources.chain(profile).collect();
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "stage {}  {}: {} ({}), {} instructions: {}",
            stage.number,
            stage.layer,
            stage.parser,
            stage.abi,
            stage.insns,
            resources.join(", ")
        ),
    );
    // Parsers lay tables out with tabs, which do no harm.
    for printed in &stage.log {
        let printed = printed.split('\t').map(one_line).collect::<Vec<_>>();
        let _infallible = writeln!(text, "  | {}", printed.join("\t"));
    }
    text
}

/// Returns the parts that come out, with their digests if asked for.
pub(crate) fn parts(outcome: &Outcome, hash: bool) -> anyhow::Result<String> {
    let digest = |rope| -> anyhow::Result<String> {
        if hash {
            Ok(format!("           sha256 {}\n", sha256(rope)?))
        } else {
            Ok(String::new())
        }
    };
    let mut text = String::new();
    let identified = match &outcome.identity {
        Ok(kernel) => identity(kernel),
        Err(error) => format!("not a kernel: {error}"),
    };
    let size = Size(outcome.kernel.len());
    line(&mut text, format_args!("kernel     {size}, {identified}"));
    text.push_str(&digest(&outcome.kernel)?);
    match &outcome.initrd {
        Some(rope) => {
            line(&mut text, format_args!("initrd     {}", Size(rope.len())));
            text.push_str(&digest(rope)?);
        }
        None => text.push_str("initrd     none\n"),
    }
    match &outcome.cmdline {
        Some(bytes) => {
            let cmdline = String::from_utf8_lossy(bytes);
            line(
                &mut text,
                format_args!("cmdline    {}", cmdline.escape_debug()),
            );
        }
        None => text.push_str("cmdline    none\n"),
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
    let arch = arch.map_or(String::new(), |arch| format!("{arch} "));
    let signed = if *signed { ", signed" } else { "" };
    match version {
        Some(version) => format!("{arch}{format}, Linux {version}{signed}"),
        None => format!("{arch}{format}{signed}"),
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
    fn what_is_not_seen_does_not_reach_the_terminal() {
        let plain = "Ubuntu 24.04 é e\u{301} 日本語 \u{0928}\u{093f} 🐧 \\ \" ' …";
        assert_eq!(visible(plain), plain);
        assert_eq!(one_line(plain), plain);
        let unseen = [
            '\0',
            '\u{8}',
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e0101}',
            '\u{10ffff}',
        ];
        for c in unseen {
            let escape = c.escape_default().to_string();
            assert_eq!(visible(&format!("a{c}b")), format!("a{escape}b"));
            assert_eq!(one_line(&format!("{c}")), escape);
        }
        assert_eq!(one_line("a\tb\nukexec: c\r"), "a\\tb\\nukexec: c\\r");
    }

    #[test]
    fn json_stays_json_without_control_characters() {
        let text = "\u{1b}[0m\u{7f}\u{9b}\u{202e}\u{e0041}\u{feff}";
        let document = serde_json::json!({ "text": text });
        let text = json_text(&document);
        assert_eq!(visible(&text), text);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }
}
