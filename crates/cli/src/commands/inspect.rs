//! `ukexec inspect`: what would this image boot?

use std::fmt::Write as _;

use ukexec_bpf::Rope;
use ukexec_unfold::Layer;

use crate::args::Inspect;
use crate::unfolding::{Access, Outcome};
use crate::{document, text};

/// An os-release file of more bytes is not shown.
const OS_RELEASE_LIMIT: u64 = 64 << 10;

pub(crate) fn run(args: &Inspect) -> anyhow::Result<()> {
    let outcome = Outcome::of(&args.image, &args.unfolding, Access::OnDisk)?;
    outcome.unfolded_or_kernel()?;
    let os = os(&outcome);
    if args.output.json {
        let mut document = document::of_outcome(&outcome, args.output.hash)?;
        document["os"] = serde_json::json!(os);
        text::json(&document)?;
    } else {
        let mut report = text::layers(&outcome);
        report.push('\n');
        report.push_str(&text::stages(&outcome));
        if let Some(os) = os {
            writeln!(report, "os         {os}")?;
        }
        report.push_str(&text::parts(&outcome, args.output.hash)?);
        text::out(&report)?;
    }
    text::warn(&outcome);
    Ok(())
}

/// Returns the name of the operating system as the outermost image's
/// `.osrel` section tells it (os-release(5)).
fn os(outcome: &Outcome) -> Option<String> {
    let outermost = outcome.report.layers.first()?;
    let bytes = section(outermost, ".osrel", &outcome.image.rope)?;
    let text = String::from_utf8_lossy(&bytes);
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
            Some(value.trim_matches(['"', '\'']).to_owned())
        })
    };
    field("PRETTY_NAME")
        .or_else(|| field("NAME"))
        .or_else(|| field("ID"))
}

fn section(layer: &Layer, name: &str, rope: &Rope) -> Option<Vec<u8>> {
    let sections = &layer.pe.as_ref()?.sections;
    let content = sections
        .iter()
        .find(|section| section.name == name)?
        .content
        .clone();
    if content.end - content.start > OS_RELEASE_LIMIT {
        return None;
    }
    rope.slice(content).ok()?.to_vec().ok()
}
