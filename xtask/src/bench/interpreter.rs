//! The rows of `ukexec-bpf`'s own bench: the interpreter beside rbpf, and arming a parser beside the start of a program.

use anyhow::{Context, Result, ensure};

use super::materials::Materials;
use super::outcome::Outcome;
use crate::command::Tool;
use crate::workspace;

/// Runs it, and makes a row of the pairs of each name.
///
/// # Errors
///
/// It does not build, fails, or prints something else.
pub(crate) fn measure(materials: &Materials, name: &str) -> Result<Vec<Outcome>> {
    let printed = Tool::new("cargo")
        .args(["bench", "--quiet", "--package", "ukexec-bpf"])
        .args(["--bench", "interpreter", "--"])
        .arg(materials.empty()?)
        .dir(workspace::root())
        .text()?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for line in printed.lines() {
        let (row, pair) = pair(line).with_context(|| format!("no pair: {line:?}"))?;
        let name = format!("{name}/{row}");
        match outcomes.last_mut() {
            Some(last) if last.name == name => last.pairs.push(pair),
            _ => outcomes.push(outcome(name, row, pair)),
        }
    }
    ensure!(!outcomes.is_empty(), "it printed nothing");
    Ok(outcomes)
}

fn outcome(name: String, row: &str, pair: [f64; 2]) -> Outcome {
    let (title, peer, target) = match row.strip_prefix("arm-") {
        Some(parser) => {
            let parser = parser.replacen('-', " of ", 1);
            let title = format!("Arming a parser 20 times: the {parser}");
            (title, "20 starts of an empty Rust program", None)
        }
        None => {
            let loops = row.replace("stacked-", "stacked ");
            let title = format!("10,000,000 instructions of {loops}");
            (title, "rbpf's interpreter", Some(1.0))
        }
    };
    Outcome {
        name,
        title,
        ours: "the interpreter".to_owned(),
        peer: peer.to_owned(),
        unit: "ms",
        target,
        pairs: vec![pair],
    }
}

/// The name, and both times in milliseconds.
fn pair(line: &str) -> Option<(&str, [f64; 2])> {
    let [name, ours, peer] = line.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let [ours, peer] = [ours, peer].map(|nanoseconds| nanoseconds.parse::<f64>().ok());
    Some((name, [ours? / 1e6, peer? / 1e6]))
}
