//! The rows of [`crate::downtime`]: from `exec` to `/init`, with and without `--expand-initrd`.

use anyhow::Result;

use super::materials::Materials;
use super::outcome::Outcome;
use crate::downtime::{self, Loader, Row};

/// Boots machines, and makes two rows of each compression.
///
/// # Errors
///
/// As [`downtime::measure`].
pub(crate) fn measure(materials: &Materials, name: &str) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for row in downtime::measure(materials.stand())? {
        let format = row.format;
        let target = match format {
            "xz" => Some(0.6),
            "gzip" => Some(0.95),
            _ => None,
        };
        let outcome = |what: &str, ours: Loader, peer: Loader, target| Outcome {
            name: format!("{name}/{format}-{what}"),
            title: format!("From exec to /init, Debian's initrd in {format}"),
            ours: shown(ours).to_owned(),
            peer: shown(peer).to_owned(),
            unit: "s",
            target,
            pairs: pairs(&row, ours, peer),
        };
        outcomes.push(outcome(
            "expanded",
            Loader::Expanding,
            Loader::Ukexec,
            target,
        ));
        outcomes.push(outcome("plain", Loader::Ukexec, Loader::KexecTools, None));
    }
    Ok(outcomes)
}

/// The processor time of the emulator: the clock says what else the host does.
fn pairs(row: &Row, ours: Loader, peer: Loader) -> Vec<[f64; 2]> {
    let side = |round: &[downtime::Times; 3], loader: Loader| {
        let downtime::Times { to_init, .. } = round[loader as usize];
        to_init.processor.as_secs_f64()
    };
    let rounds = row.rounds.iter();
    rounds
        .map(|round| [side(round, ours), side(round, peer)])
        .collect()
}

const fn shown(loader: Loader) -> &'static str {
    match loader {
        Loader::KexecTools => "kexec -l -s of kexec-tools",
        Loader::Ukexec => "ukexec load",
        Loader::Expanding => "ukexec load --expand-initrd",
    }
}
