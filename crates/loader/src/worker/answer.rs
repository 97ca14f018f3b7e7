//! What the worker tells of an unfolding.

use anyhow::Context as _;
use serde_json::json;
use ukexec_boot::{Arch, Kernel, Platform, Problem};
use ukexec_bpf::{Piece, Rope, RopeError};
use ukexec_stub::{ArchivePart, ExtraFile, Measurements, Uki, extra_archives, selector_of};
use ukexec_unfold::PeBytes;

use super::outcome::{Outcome, no_kernel};
use super::sources::Sources;
use super::verify::Found;
use crate::options::Purpose;
use crate::protocol::{Answer, Failure, Identity, Job, Objection, bounds};
use crate::report::size::Size;
use crate::report::{document, text};

/// Returns the answer to `job`.
pub(crate) fn of(outcome: &Outcome, job: &Job, sources: &mut Sources) -> anyhow::Result<Answer> {
    let mut warnings = outcome.warnings();
    let mut document = document::of_outcome(outcome, job.purpose.hashes())?;
    let signatures = outcome.signatures.iter().map(Found::document);
    document["signatures"] = signatures.collect();
    let uki = uki(outcome, job);
    let mut os_name = None;
    if job.purpose.is_inspection() {
        os_name = uki.as_ref().ok().and_then(|uki| uki.as_ref()?.os_name());
        document["os"] = json!(os_name);
    }
    let mut text = report(outcome, &job.purpose, os_name.as_deref())?;
    let mut initrd = outcome.initrd.clone();
    if let Purpose::Load(_) = job.purpose {
        let files = extra_files(&uki, &mut warnings);
        initrd = with_extra(outcome, &files)?;
        document["extra"] = json!(files);
        files.iter().for_each(|file| extra_text(&mut text, file));
    }
    if let Purpose::Inspect { measure: true, .. } = job.purpose {
        let measurements = uki.and_then(|uki| measurements(outcome, job, uki.as_ref()));
        let measurements = measurements.context("it cannot be measured")?;
        document["measurements"] = json!(measurements);
        text.push_str(&measurements.to_string());
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

/// Returns the outermost image as systemd-stub sees it, with the profile that was
/// booted; `None` if it is no PE.
fn uki<'a>(outcome: &'a Outcome, job: &Job) -> anyhow::Result<Option<Uki<'a, PeBytes<'a>>>> {
    let Some(pe) = &outcome.pe else {
        return Ok(None);
    };
    let image = PeBytes(&outcome.image);
    let chosen = outcome.report.stages.first().and_then(|it| it.profile);
    let selector = match &job.profile {
        Some(profile) => Some(profile.as_bytes()),
        None => job.cmdline.as_deref().and_then(selector_of),
    };
    let uki = match (chosen, selector) {
        (Some(number), _) => Uki::new(image, pe, number)?,
        (None, Some(selector)) => Uki::select(image, pe, selector)?.context(
            "the image's parser does not say which profile it took, and no built-in parser finds \
             it",
        )?,
        (None, None) => Uki::new(image, pe, 0)?,
    };
    Ok(Some(uki))
}

/// Returns what goes behind the initrd, and warns of what kexec leaves out.
fn extra_files(
    uki: &anyhow::Result<Option<Uki<'_, PeBytes<'_>>>>,
    warnings: &mut Vec<String>,
) -> Vec<ExtraFile> {
    let files = match uki {
        Ok(Some(uki)) => uki.extra_files().map_err(|error| error.to_string()),
        Ok(None) => Ok(Vec::new()),
        Err(error) => Err(format!("{error:#}")),
    };
    let files = files.unwrap_or_else(|error| {
        warnings.push(format!(
            "nothing is put into /.extra/ of the initrd: {error}"
        ));
        Vec::new()
    });
    let signs = |file: &&ExtraFile| matches!(file.section, ".pcrsig" | ".pcrpkey");
    if let Some(file) = files.iter().find(signs) {
        warnings.push(format!(
            "the image has {}, but kexec extends no PCR: what a TPM keeps for PCR 11 as this \
             image's own boot measures it stays locked (inspect --measure tells the values)",
            file.section
        ));
    }
    files
}

/// Returns the initrd with `files` of the image behind it.
fn with_extra(outcome: &Outcome, files: &[ExtraFile]) -> Result<Option<Rope>, RopeError> {
    if files.is_empty() {
        return Ok(outcome.initrd.clone());
    }
    let mut initrd = outcome.initrd.clone().unwrap_or_default();
    for part in extra_archives(files, initrd.len()) {
        match part {
            ArchivePart::Bytes(bytes) => initrd.append(&Rope::from(bytes)),
            ArchivePart::Image(range) => initrd.append(&outcome.image.slice(range)?),
            ArchivePart::Zeros(len) => initrd.push(Piece::Zeros(len)),
        }
    }
    Ok(Some(initrd))
}

fn extra_text(report: &mut String, file: &ExtraFile) {
    let ExtraFile {
        path,
        section,
        size,
        ..
    } = file;
    let size = Size((*size).into());
    text::line(
        report,
        format_args!("extra      {path} ({section}), {size}"),
    );
}

/// Returns what booting the image and loading it would measure.
fn measurements(
    outcome: &Outcome,
    job: &Job,
    uki: Option<&Uki<'_, PeBytes<'_>>>,
) -> anyhow::Result<Measurements> {
    let mut measurements = Measurements::default();
    let mut initrd = outcome.initrd.clone();
    if let Some(uki) = uki {
        // The command line that a measured boot would have to pass so that the
        // kernel gets the same; none if it is the image's own.
        let asked = job.cmdline.is_some() || job.append.as_deref().is_some_and(|it| !it.is_empty());
        let cmdline = outcome.cmdline.as_deref().filter(|_| asked);
        measurements.add_boot(&job.name, uki, cmdline)?;
        initrd = with_extra(outcome, &uki.extra_files()?)?;
    }
    let cmdline = outcome.cmdline.as_deref().unwrap_or_default();
    let initrd = initrd.as_ref().map(PeBytes);
    measurements.add_load(cmdline, &PeBytes(&outcome.kernel), initrd.as_ref())?;
    Ok(measurements)
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
