//! From an unfolded image to the worker's answer.

use std::error::Error;

use ukexec_boot::{Arch, Kernel, Platform};
use ukexec_bpf::{Piece, Rope};
use ukexec_kexec::ConditionVerdict;
use ukexec_signature::Algorithm;
use ukexec_stub::{ArchivePart, ExtraFile, Measurements, ObservedPcrs, Uki, extra_archives};
use ukexec_unfold::{PeBytes, selector_of};

use super::outcome::{Outcome, no_kernel};
use super::sources::Sources;
use crate::error::{Context as _, Failure, Result};
use crate::log::verbosity;
use crate::options::{Measure, Purpose};
use crate::protocol::{Answer, Identity, Objection, ObservedFiles, UnfoldRequest, bounds};
use crate::report::failure::sentence;
use crate::report::image::{ImageFile, ImageReport, Inspection};
use crate::report::measurements::{ComparisonReport, MeasureReport};
use crate::report::part::{Cmdline, KernelIdentity, KernelPart, Part};
use crate::report::{Findings, SCHEMA};

/// Returns the answer to `request`.
pub(crate) fn of(
    outcome: &Outcome,
    request: &UnfoldRequest,
    bundle: &Rope,
    sources: &mut Sources,
) -> Result<Answer> {
    let (report, initrd) = report(outcome, request, bundle)?;
    let measured = report.measured.as_ref();
    let comparison = measured.and_then(|it| it.comparison.as_ref());
    let disagreement = comparison.and_then(|it| it.disagreement(&request.name));
    let unfolded = !report.stages.is_empty();
    let (page, warnings) = (report.page(), report.warnings.clone());
    let document =
        serde_json::to_value(report).context(|| "the report cannot be put into words")?;
    let report = Findings { page, document };
    bounds::check_report(&report, request.budget.meter.log_lines)
        .context(|| "the image makes a report that is too long to print")?;
    Ok(Answer {
        report,
        warnings,
        unfolded,
        disagreement,
        identity: identity(outcome, request.purpose.platform()),
        kernel: sources.spans(&outcome.unfolded.kernel)?,
        initrd: initrd.map(|rope| sources.spans(&rope)).transpose()?,
        cmdline: outcome.unfolded.cmdline.clone(),
    })
}

/// Returns the report, and the initrd that the kernel gets.
fn report(
    outcome: &Outcome,
    request: &UnfoldRequest,
    bundle: &Rope,
) -> Result<(ImageReport, Option<Rope>)> {
    let mut warnings = outcome.warnings();
    let hash = request.purpose.hashes();
    let part = |rope| Part::new(rope, hash);
    let kernel = KernelPart {
        part: part(&outcome.unfolded.kernel)?,
        identity: KernelIdentity::new(&outcome.identity),
    };
    let cmdline = outcome.unfolded.cmdline.as_deref();
    let (mut inspection, mut extra, mut measured) = (None, None, None);
    let mut initrd = outcome.unfolded.initrd.clone();
    match &request.purpose {
        Purpose::Inspect { measure, .. } => {
            let uki = uki(outcome, request);
            // Where the profile is not known, neither is the system that it names.
            let os = uki.as_ref().ok().and_then(|uki| uki.as_ref()?.os_name());
            inspection = Some(Inspection { os });
            if let Some(measure) = measure {
                let measurements = uki.and_then(|uki| measurements(outcome, request, uki.as_ref()));
                let measurements = measurements.context(|| "it cannot be measured")?;
                measured = Some(measure_report(measurements, measure, request, bundle)?);
            }
        }
        Purpose::Load(_) => {
            let files = extra_files(&uki(outcome, request), &mut warnings);
            initrd = with_extra(outcome, &files)?;
            extra = Some(files);
        }
        Purpose::Unfold { .. } => {}
    }
    let report = ImageReport {
        schema: SCHEMA,
        image: ImageFile {
            path: outcome.path.clone(),
            size: outcome.image.len(),
        },
        layers: outcome.unfolded.report.layers.clone(),
        stages: outcome.unfolded.report.stages.clone(),
        kernel,
        initrd: outcome.unfolded.initrd.as_ref().map(part).transpose()?,
        cmdline: cmdline.map(|line| Cmdline::new(line, hash)).transpose()?,
        signatures: outcome.signatures.clone(),
        warnings: bounds::fitting(warnings),
        inspection,
        extra,
        measured,
    };
    Ok((report, initrd))
}

/// Returns the outermost image as systemd-stub sees it, with the profile that was
/// booted; `None` if it is no PE.
fn uki<'a>(outcome: &'a Outcome, request: &UnfoldRequest) -> Result<Option<Uki<'a, PeBytes<'a>>>> {
    let Some(pe) = &outcome.unfolded.pe else {
        return Ok(None);
    };
    let image = PeBytes(&outcome.image);
    let chosen = outcome
        .unfolded
        .report
        .stages
        .first()
        .and_then(|it| it.profile);
    let selector = match &request.profile {
        Some(profile) => Some(profile.as_bytes()),
        None => request.cmdline.as_deref().and_then(selector_of),
    };
    let uki = match (chosen, selector) {
        (Some(number), _) => Uki::new(image, pe, number)?,
        (None, Some(selector)) => Uki::select(image, pe, selector)?.context(|| {
            "the image's parser does not say which profile it took, and no built-in parser finds \
             it"
        })?,
        (None, None) => Uki::new(image, pe, 0)?,
    };
    Ok(Some(uki))
}

/// Returns the files to put behind the initrd, and warns of measurements that
/// kexec leaves out.
fn extra_files(
    uki: &Result<Option<Uki<'_, PeBytes<'_>>>>,
    warnings: &mut Vec<String>,
) -> Vec<ExtraFile> {
    let mut left_out = |error: &(dyn Error + 'static)| {
        let error = sentence(error);
        warnings.push(format!(
            "nothing is put into /.extra/ of the initrd: {error}"
        ));
        Vec::new()
    };
    let files = match uki {
        Ok(Some(uki)) => uki.extra_files().unwrap_or_else(|error| left_out(&error)),
        Ok(None) => Vec::new(),
        Err(error) => left_out(error),
    };
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
fn with_extra(outcome: &Outcome, files: &[ExtraFile]) -> Result<Option<Rope>> {
    if files.is_empty() {
        return Ok(outcome.unfolded.initrd.clone());
    }
    // Without an initrd, the files are all of it.
    let mut initrd = outcome.unfolded.initrd.clone().unwrap_or_default();
    for part in extra_archives(files, initrd.len()) {
        match part {
            ArchivePart::Bytes(bytes) => initrd.append(&Rope::from(bytes)),
            ArchivePart::Image(range) => initrd.append(&outcome.image.slice(range)?),
            ArchivePart::Zeros(len) => initrd.push(Piece::Zeros(len)),
        }
    }
    Ok(Some(initrd))
}

/// Returns the measurements that booting the image and loading it would make.
fn measurements(
    outcome: &Outcome,
    request: &UnfoldRequest,
    uki: Option<&Uki<'_, PeBytes<'_>>>,
) -> Result<Measurements> {
    let mut measurements = Measurements::default();
    let mut initrd = outcome.unfolded.initrd.clone();
    if let Some(uki) = uki {
        // The command line that a measured boot would have to pass so that the
        // kernel gets the same; none if it is the image's own.
        let asked =
            request.cmdline.is_some() || request.append.as_deref().is_some_and(|it| !it.is_empty());
        let cmdline = outcome.unfolded.cmdline.as_deref().filter(|_| asked);
        measurements.add_boot(&request.name, uki, cmdline)?;
        initrd = with_extra(outcome, &uki.extra_files()?)?;
    }
    // A kernel without a command line gets an empty one.
    let cmdline = outcome.unfolded.cmdline.as_deref().unwrap_or_default();
    let initrd = initrd.as_ref().map(PeBytes);
    measurements.add_load(cmdline, &PeBytes(&outcome.unfolded.kernel), initrd.as_ref())?;
    Ok(measurements)
}

/// Returns the report of `measurements`, compared with what was observed.
fn measure_report(
    measurements: Measurements,
    measure: &Measure,
    request: &UnfoldRequest,
    bundle: &Rope,
) -> Result<MeasureReport> {
    let mut comparison = None;
    if let Some(ObservedFiles { source, files }) = &request.observed {
        let mut observed = ObservedPcrs::default();
        for file in files {
            let bytes = bundle.slice(file.range.clone())?.to_vec()?;
            let added = observed.add(&bytes);
            added.context(|| format!("cannot compare with {}", file.name))?;
        }
        comparison = Some(ComparisonReport {
            against: measurements.compare(&observed, &measure.banks),
            source: source.clone(),
        });
    }
    let mut banks = measure.banks.clone();
    if banks.is_empty() {
        banks.push(Algorithm::Sha256);
    }
    Ok(MeasureReport {
        measurements,
        comparison,
        banks,
        events: verbosity() > 0,
    })
}

fn identity(outcome: &Outcome, platform: Option<&Platform>) -> Result<Identity, Box<Failure>> {
    match &outcome.identity {
        Ok(kernel) => Ok(Identity {
            x86_64: kernel.arch == Some(Arch::X86_64),
            release: kernel.release().map(str::to_owned),
            // The others look for the signature of a module behind the kernel, or
            // for none.
            signed: matches!(kernel.arch, Some(Arch::X86_64 | Arch::Arm64))
                .then_some(kernel.signed),
            problems: objections(kernel, outcome, platform),
        }),
        Err(error) => Err(no_kernel(outcome.innermost(), error)),
    }
}

/// Returns the objections to the kernel and its command line: those of every machine
/// that refuse it, and those of `platform` alone.
fn objections(kernel: &Kernel, outcome: &Outcome, platform: Option<&Platform>) -> Vec<Objection> {
    // Here, too, none is an empty one.
    let cmdline = outcome.unfolded.cmdline.as_deref().unwrap_or_default();
    let everywhere = kernel.check(&kernel.home());
    let here = platform.map(|platform| kernel.check(platform));
    let cmdline = kernel.check_cmdline(cmdline.len());
    let cmdline = cmdline.iter().map(|problem| (problem, true));
    let here = here.iter().flatten();
    let here = here.map(|problem| (problem, everywhere.contains(problem)));
    cmdline
        .chain(here.filter(|(problem, in_image)| problem.is_refusal() || !in_image))
        .map(|(problem, in_image)| Objection {
            text: problem.to_string(),
            verdict: if problem.is_refusal() {
                ConditionVerdict::Refused
            } else if problem.may_be_refusal() {
                ConditionVerdict::Unknown
            } else {
                ConditionVerdict::Warning
            },
            in_image,
        })
        .collect()
}
