//! What the worker tells of an unfolding.

use anyhow::Context as _;
use serde_json::{Value, json};
use ukexec_boot::{Arch, Kernel, Platform, Problem};

use super::extra::{Extra, File};
use super::measure::Measurements;
use super::outcome::{Outcome, no_kernel};
use super::sources::Sources;
use super::uki::Uki;
use super::verify::Found;
use crate::options::Purpose;
use crate::protocol::{Answer, Failure, Identity, Job, Objection, bounds};
use crate::report::size::Size;
use crate::report::{document, text};

/// An os-release file of more bytes is not shown.
const OS_RELEASE_LIMIT: u64 = 64 << 10;

/// Returns the answer to `job`.
pub(crate) fn of(outcome: &Outcome, job: &Job, sources: &mut Sources) -> anyhow::Result<Answer> {
    let mut warnings = outcome.warnings();
    let mut document = document::of_outcome(outcome, job.purpose.hashes())?;
    let signatures = outcome.signatures.iter().map(Found::document);
    document["signatures"] = signatures.collect();
    let mut os_name = None;
    if job.purpose.is_inspection() {
        os_name = os(outcome, job);
        document["os"] = json!(os_name);
    }
    let mut text = report(outcome, &job.purpose, os_name.as_deref())?;
    let mut initrd = outcome.initrd.clone();
    if let Purpose::Load(_) = job.purpose {
        let extra = extra(outcome, job, &mut warnings);
        initrd = extra.behind(initrd.as_ref());
        document["extra"] = extra.files.iter().map(extra_document).collect();
        text.push_str(&extra_text(&extra));
    }
    if let Purpose::Inspect { measure: true, .. } = job.purpose {
        let measurements = Measurements::of(outcome, job).context("it cannot be measured")?;
        document["measurements"] = measurements.document();
        text.push_str(&measurements.text());
    }
    let warnings = bounds::fitting(warnings);
    document["warnings"] = json!(warnings);
    bounds::check_report(&text, &document, job.budget.meter.log_lines)
        .context("the image makes a report that is too long to print")?;
    Ok(Answer {
        text,
        document,
        warnings,
        unfolded: !outcome.report.stages.is_empty(),
        identity: identity(outcome, job.purpose.platform()),
        kernel: sources.spans(&outcome.kernel)?,
        initrd: initrd.map(|rope| sources.spans(&rope)).transpose()?,
        cmdline: outcome.cmdline.clone(),
    })
}

/// Returns the report for people.
fn report(outcome: &Outcome, purpose: &Purpose, os: Option<&str>) -> anyhow::Result<String> {
    let mut report = String::new();
    if purpose.is_inspection() {
        report.push_str(&text::layers(outcome));
        report.push('\n');
    }
    report.push_str(&text::stages(outcome));
    if let Some(os) = os {
        text::line(&mut report, format_args!("os         {os}"));
    }
    report.push_str(&text::parts(outcome, purpose.hashes())?);
    for found in &outcome.signatures {
        text::line(&mut report, format_args!("signature  {}", found.text()));
        for detail in found.details() {
            text::line(&mut report, format_args!("           {detail}"));
        }
    }
    Ok(report)
}

/// Returns what goes behind the initrd, and warns of what kexec leaves out.
fn extra(outcome: &Outcome, job: &Job, warnings: &mut Vec<String>) -> Extra {
    let extra = match Uki::of(outcome, job) {
        Ok(Some(uki)) => Extra::of(&uki),
        Ok(None) => Ok(Extra::default()),
        Err(error) => Err(error),
    };
    let extra = extra.unwrap_or_else(|error| {
        warnings.push(format!(
            "nothing is put into /.extra/ of the initrd: {error:#}"
        ));
        Extra::default()
    });
    let signs = |file: &&File| matches!(file.section, ".pcrsig" | ".pcrpkey");
    if let Some(file) = extra.files.iter().find(signs) {
        warnings.push(format!(
            "the image has {}, but kexec extends no PCR: what a TPM keeps for PCR 11 as this \
             image's own boot measures it stays locked (inspect --measure tells the values)",
            file.section
        ));
    }
    extra
}

fn extra_text(extra: &Extra) -> String {
    let line = |file: &File| {
        let File {
            section,
            path,
            content,
        } = file;
        format!("extra      /{path} ({section}), {}\n", Size(content.len()))
    };
    extra.files.iter().map(line).collect()
}

fn extra_document(file: &File) -> Value {
    json!({
        "path": format!("/{}", file.path),
        "section": file.section,
        "size": file.content.len(),
    })
}

fn identity(outcome: &Outcome, platform: Option<&Platform>) -> Result<Identity, Failure> {
    match &outcome.identity {
        Ok(kernel) => Ok(Identity {
            x86_64: kernel.arch == Some(Arch::X86_64),
            problems: problems(kernel, outcome, platform)
                .iter()
                .map(|problem| Objection {
                    text: problem.to_string(),
                    refused: problem.is_refusal(),
                })
                .collect(),
        }),
        Err(error) => Err(no_kernel(outcome.innermost(), error)),
    }
}

/// Returns what `platform` would say against the kernel, beyond what any machine
/// would.
fn problems(kernel: &Kernel, outcome: &Outcome, platform: Option<&Platform>) -> Vec<Problem> {
    let cmdline = outcome.cmdline.as_deref().unwrap_or_default();
    let mut problems: Vec<Problem> = kernel.check_cmdline(cmdline.len()).into_iter().collect();
    if let Some(platform) = platform {
        let everywhere = kernel.check(&kernel.home());
        let here = kernel.check(platform).into_iter();
        problems.extend(here.filter(|one| one.is_refusal() || !everywhere.contains(one)));
    }
    problems
}

/// Returns the name of the operating system as the outermost image's
/// `.osrel` section tells it (os-release(5)).
fn os(outcome: &Outcome, job: &Job) -> Option<String> {
    let release = Uki::of(outcome, job).ok()??.section(".osrel").ok()??;
    if release.len() > OS_RELEASE_LIMIT {
        return None;
    }
    let bytes = release.to_vec().ok()?;
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
