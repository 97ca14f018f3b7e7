//! The measurements of a measured boot, compared with those that systemd predicts.

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::command::Tool;
use crate::materials::{OS_RELEASE, Stub, Target, stub};
use crate::setup::SYSTEMD_MEASURE;
use crate::stand::{Stand, text_at};
use crate::uki::{Section, objcopy};

use super::{Named, noise, stock_kernel};

pub(super) const CASES: &[Named] = &[Named::new("measure/pcr-11-of-stub-252", pcr_11)];

/// `systemd-measure` computes the value of PCR 11 in each phase of the boot.
fn pcr_11(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let sections = [
        (".osrel", stand.file("osrel", OS_RELEASE)?),
        (".cmdline", stand.file("cmdline", "console=ttyS0")?),
        (".pcrpkey", stand.file("pcrpkey", "not really a key")?),
        (".initrd", stand.file("initrd", noise(100_003))?),
        (".linux", kernel),
    ];
    let image = stand.path("uki.efi");
    let named: Vec<Section<'_>> = sections
        .iter()
        .map(|(name, file)| Section { name, file })
        .collect();
    objcopy(&stub(Target::X86_64, Stub::V252)?, &named, &image)?;
    let mut tool = Tool::new(SYSTEMD_MEASURE).args(["calculate", "--json=short"]);
    tool = tool.args(["--bank=sha256", "--bank=sha384"]);
    for (name, file) in &sections {
        tool = tool.arg(format!("--{}={}", &name[1..], file.display()));
    }
    let expected = document_of(&tool.text()?)?;
    let report = stand.ukexec_json(&[&"inspect", &image, &"--measure", &"--json"])?;
    for bank in ["sha256", "sha384"] {
        let phases = phases(&report)?;
        let theirs = expected
            .pointer(&format!("/{bank}"))
            .and_then(Value::as_array);
        let theirs = theirs.with_context(|| format!("systemd-measure tells no {bank}"))?;
        ensure!(
            theirs.len() == phases.len(),
            "it tells {} phases",
            theirs.len()
        );
        for (theirs, ours) in theirs.iter().zip(phases) {
            let phase = text_at(theirs, "/phase")?;
            ensure!(
                phase == text_at(ours, "/phase")?,
                "{phase} is another phase"
            );
            let [theirs, ours] = [
                text_at(theirs, "/hash")?,
                text_at(ours, &format!("/value/{bank}"))?,
            ];
            ensure!(
                theirs == ours,
                "{bank} at {phase}: expected {theirs}, found {ours}"
            );
        }
    }
    Ok(())
}

fn phases(report: &Value) -> Result<&Vec<Value>> {
    let phases = report.pointer("/measurements/pcr11/phases");
    let phases = phases.and_then(Value::as_array);
    phases.ok_or_else(|| anyhow!("the report has no phases"))
}

fn document_of(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("this is no JSON: {text}"))
}
