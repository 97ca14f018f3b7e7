//! Layers and stages for people. For machines they are what
//! [`ukexec_unfold::Report`] makes of them.

use std::fmt::{self, Write as _};

use ukexec_boot::machine_name;
use ukexec_pe::{Machine, Subsystem};
use ukexec_unfold::{Layer, PeSummary, StageReport};

use super::printable::one_line;
use super::size::Size;

/// Returns a layer, its sections and its parser.
pub(super) fn layer(layer: &Layer) -> String {
    let mut text = String::new();
    let pe = layer.pe.as_ref().map(|pe| format!(", {}", pe_line(pe)));
    // An image that is no PE has no words about one.
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

/// Adds one line to a report, for any names in it.
pub(super) fn line(report: &mut String, text: fmt::Arguments<'_>) {
    report.push_str(&one_line(&text.to_string()));
    report.push('\n');
}

fn pe_line(pe: &PeSummary) -> String {
    let machine = match machine_name(Machine(pe.machine)) {
        Some(name) => name.to_owned(),
        None => format!("machine {:#06x}", pe.machine),
    };
    let subsystem = match Subsystem(pe.subsystem) {
        Subsystem::EFI_APPLICATION => "EFI application".to_owned(),
        Subsystem::EFI_BOOT_SERVICE_DRIVER => "EFI boot service driver".to_owned(),
        Subsystem::EFI_RUNTIME_DRIVER => "EFI runtime driver".to_owned(),
        Subsystem::WINDOWS_GUI | Subsystem::WINDOWS_CUI => "Windows program".to_owned(),
        Subsystem(other) => format!("subsystem {other}"),
    };
    let signed = if pe.certificates.is_some() {
        "signed"
    } else {
        "not signed"
    };
    format!("{machine} {subsystem}, {signed}")
}

/// Returns the lines about a stage, and those that its parser printed.
pub(super) fn stage(stage: &StageReport) -> String {
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
