//! Units of systemd that the packages bring, as systemd itself reads them.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::command::Tool;
use crate::stand::Stand;
use crate::workspace;

use super::{Named, read};

pub(super) const CASES: &[Named] = &[Named::new("units/systemd-analyze", verify)];

/// systemd has nothing to say of the unit, for IDs of every kind, and has of a misspelt one.
fn verify(stand: &Stand) -> Result<()> {
    let name = "ukexec-load@.service";
    let unit = workspace::root().join("dist/systemd").join(name);
    let unit = String::from_utf8(read(&unit)?)?;
    let shipped = "/usr/bin/ukexec ";
    ensure!(unit.contains(shipped), "the unit runs no {shipped}");
    let built = format!("{} ", stand.ukexec_path().display());
    let unit = unit.replace(shipped, &built);
    for id in ["newest", "debian.efi@main", "linux-6.12.1+deb13-amd64.conf"] {
        let escaped = Tool::new("systemd-escape")
            .args(["--template", name, id])
            .text()?;
        let said = analyze(&stand.file(escaped.trim(), &unit)?)?;
        ensure!(
            said.is_empty(),
            "of the unit for {id}, systemd says: {said}"
        );
    }
    let misspelt = unit.replace("Before=", "Befor=");
    let said = analyze(&stand.file("misspelt@newest.service", misspelt)?)?;
    ensure!(
        said.contains("Befor"),
        "of a misspelt unit, systemd says {said:?}"
    );
    Ok(())
}

/// Returns the complaints about a unit. The pages that it names are not installed here.
fn analyze(unit: &Path) -> Result<String> {
    let output = Tool::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(unit)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
