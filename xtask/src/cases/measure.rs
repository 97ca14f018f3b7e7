//! The measurements of a measured boot, compared with those that systemd predicts, and with a
//! machine's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::command::Tool;
use crate::materials::{OS_RELEASE, Stub, Target, stub};
use crate::setup::SYSTEMD_MEASURE;
use crate::stand::{Stand, check_words, text_at};
use crate::uki::{Section, objcopy};

use super::running::namespace;
use super::{Named, noise, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("measure/pcr-11-of-stub-252", pcr_11),
    Named::new("measure/lines-are-those-of-systemd", lines),
    Named::new("measure/a-tpm-says-the-phase", tpm),
];

/// The banks, as both programs take them.
const BANKS: [&str; 2] = ["--bank=sha256", "--bank=sha384"];

/// Makes an image, and returns it with the command that has `systemd-measure` calculate the value
/// of PCR 11 in each phase of its boot.
fn measured(stand: &Stand) -> Result<(PathBuf, Tool)> {
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
    let mut tool = Tool::new(SYSTEMD_MEASURE).arg("calculate").args(BANKS);
    for (name, file) in &sections {
        tool = tool.arg(format!("--{}={}", &name[1..], file.display()));
    }
    Ok((image, tool))
}

fn pcr_11(stand: &Stand) -> Result<()> {
    let (image, tool) = measured(stand)?;
    let expected = document_of(&tool.arg("--json=short").text()?)?;
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

/// Programs can compare the lines of both.
fn lines(stand: &Stand) -> Result<()> {
    let (image, tool) = measured(stand)?;
    let theirs = tool.text()?;
    let [sha256, sha384] = BANKS;
    let ours = stand.ukexec(&[&"inspect", &image, &"--measure", &sha256, &sha384])?;
    let lines = ours.lines().filter(|line| line.starts_with("11:"));
    ensure!(
        lines.eq(theirs.lines()),
        "expected these lines:\n{theirs}found:\n{ours}"
    );
    let values = stand.file("values", &theirs)?;
    stand.ukexec(&[&"inspect", &image, &"--against", &values])?;
    // One digit decides.
    let (start, rest) = theirs.split_at("11:sha256=".len());
    let digit = if rest.starts_with('0') { "1" } else { "0" };
    let values = stand.file("values", format!("{start}{digit}{}", &rest[1..]))?;
    let message = stand.fails(&[&"inspect", &image, &"--against", &values])?;
    check_words(&message, &["does not lead to PCR 11 SHA-256"])
}

/// The files in which Linux shows the registers of a TPM.
fn tpm(stand: &Stand) -> Result<()> {
    const SETUP: &str = "mount -t tmpfs none /sys/class && mkdir -p /sys/class/tpm/tpm0 && \
                         cp -r \"$1\"/* /sys/class/tpm/tpm0/";
    let (image, tool) = measured(stand)?;
    let theirs = tool.text()?;
    let mut value = |phase: usize| -> Result<String> {
        let line = theirs.lines().nth(2 * phase);
        let digits = line.and_then(|line| line.strip_prefix("11:sha256="));
        Ok(format!(
            "{}\n",
            digits.context("no value of SHA-256")?.to_uppercase()
        ))
    };
    let registers = stand.path("registers");
    let bank = registers.join("pcr-sha256");
    fs::create_dir_all(&bank)?;
    fs::write(bank.join("12"), format!("{}\n", "0".repeat(64)))?;
    fs::write(bank.join("4"), format!("{}\n", "F".repeat(64)))?;
    let inspect = |folder: &Path| {
        let tool = namespace(SETUP, &[folder.as_os_str()])?.arg(stand.ukexec_path());
        tool.arg("inspect")
            .arg(&image)
            .args(["--against", "tpm", "--json"])
            .output()
    };
    for (phase, code, verdicts) in [
        (Some(0), 0, ["equal", "ahead", "ahead", "ahead"]),
        (Some(3), 0, ["passed", "passed", "passed", "equal"]),
        (None, 1, ["different"; 4]),
    ] {
        let digits = phase.map_or_else(|| Ok(format!("{}\n", "A".repeat(64))), &mut value)?;
        fs::write(bank.join("11"), digits)?;
        let output = inspect(&registers)?;
        ensure!(output.status.code() == Some(code), "{phase:?}: {output:?}");
        let report = document_of(&String::from_utf8_lossy(&output.stdout))?;
        let against = report.pointer("/against").and_then(Value::as_array);
        let pcr_11 = against.context("no comparison")?.iter().take(4);
        let found: Vec<&str> = pcr_11
            .filter_map(|it| it.get("verdict")?.as_str())
            .collect();
        ensure!(found == verdicts, "{phase:?}: {found:?}");
    }
    // A machine without a TPM.
    let empty = stand.path("empty");
    fs::create_dir_all(empty.join("power"))?;
    let output = inspect(&empty)?;
    ensure!(output.status.code() == Some(4), "without a TPM: {output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    check_words(&message, &["/sys/class/tpm/tpm0/pcr-sha256/11", "no TPM"])
}

fn phases(report: &Value) -> Result<&Vec<Value>> {
    let phases = report.pointer("/measurements/pcr11/phases");
    let phases = phases.and_then(Value::as_array);
    phases.ok_or_else(|| anyhow!("the report has no phases"))
}

fn document_of(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("this is no JSON: {text}"))
}
