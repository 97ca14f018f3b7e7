//! From an unfolded image to the worker's answer.

use std::borrow::Cow;
use std::error::Error;
use std::mem;

use ukexec_boot::{Arch, Kernel, Platform, Problem, SetupHeader};
use ukexec_bpf::{Piece, Rope};
use ukexec_kexec::ConditionVerdict;
use ukexec_layout::{DeviceTree, KernelHeader};
use ukexec_pe::{PeImage, UncheckedPe};
use ukexec_signature::{Algorithm, has_appended};
use ukexec_stub::{
    Boot, ExtraFile, Measurements, ObservedPcrs, Profile, Uki, repeated_resources, section_cmdline,
    with_text,
};
use ukexec_unfold::{Leftovers, PeBytes, selector_of};

use super::additions::{Additions, Machine, has_console, section};
use super::initrd;
use super::outcome::{Facts, Job, Parts, no_kernel};
use super::sources::Sources;
use crate::digest::digest_state;
use crate::error::{Context as _, ErrorKind, Failure, LoaderError, Result};
use crate::log::verbosity;
use crate::options::{Measure, Purpose};
use crate::protocol::beside::Beside;
use crate::protocol::bounds::{COMPANIONS_MAX, Room};
use crate::protocol::{
    Answer, BootFacts, Identity, NamedTree, Objection, ObservedFiles, PlacedKernel, Subject,
    TreeFrom, UnfoldRequest, Work, bounds,
};
use crate::report::companion::CompanionReport;
use crate::report::failure::{self, sentence};
use crate::report::image::{ImageFile, ImageReport, Program, Scope, profile_name};
use crate::report::measurements::{ComparisonReport, MeasureReport};
use crate::report::part::{Cmdline, InitrdPart, KernelPart};
use crate::report::{Findings, ReportForm, SCHEMA, one_line};

/// Returns the answer to a request, about an image with these `facts` and `parts`,
/// and the parts that it names. A failure has the report of what is known, whose
/// warnings become the `notes`.
pub(crate) fn of(
    facts: &Facts,
    parts: Result<Parts>,
    job: Job<'_>,
    sources: &mut Sources,
    notes: &mut Vec<String>,
) -> Result<(Answer, Parts)> {
    let request = job.request;
    let mut report = known(facts);
    report.scope = Scope {
        layers: request.purpose.is_inspection(),
        sections: request.purpose.details().texts,
        stages: job.verbose,
    };
    let added = parts.and_then(|mut parts| {
        add_parts(&mut report, facts, &mut parts, job, sources)?;
        Ok(parts)
    });
    let measures = matches!(
        &request.purpose,
        Purpose::Inspect {
            measure: Some(_),
            ..
        }
    );
    if measures && added.is_err() && report.kernel.is_none() {
        report.warnings.push(NOT_MEASURED.to_owned());
        report.unmeasured = Some(NOT_MEASURED);
    }
    report.warnings = bounds::fitting(mem::take(&mut report.warnings));
    let (unfolded, warnings) = (!report.stages.is_empty(), report.warnings.clone());
    let measured = report.measured.as_ref();
    let comparison = measured.and_then(|it| it.comparison.as_ref());
    let disagreement = comparison.and_then(|it| it.disagreement(&request.name));
    let parts = match added {
        Ok(parts) => parts,
        Err(error) => {
            *notes = warnings;
            let error = with_profiles(error, request, &report.profiles);
            // Where a part cannot even be read, the failure says enough.
            let _unread = add_left(&mut report, facts, request);
            // A report that is too long has less to say than the failure.
            return Err(error.with_report(printed(&report, request).ok()));
        }
    };
    let (kernel, initrd) = match request.purpose.is_inspection() {
        // The report says all of them that anybody asked for. Whether they can be handed over is
        // left to who loads or unfolds: in too many pieces, or too long for `ulimit -f`.
        true => Default::default(),
        false => {
            let initrd = parts.initrd.as_ref().map(|it| sources.spans(it));
            (sources.spans(&parts.kernel)?, initrd.transpose()?)
        }
    };
    let answer = Answer {
        report: printed(&report, request)?,
        warnings,
        unfolded,
        disagreement,
        identity: identity(facts, &parts, request.purpose.platform()),
        kernel,
        initrd,
        cmdline: parts.cmdline.clone(),
        device_tree: parts.device_tree.clone(),
        boot: parts.boot.clone(),
    };
    Ok((answer, parts))
}

/// Why an image has no measurements.
const NOT_MEASURED: &str = "not measured: no kernel of the image is known";

/// Returns the `error`, with the `profiles` of the image if it has not the one that
/// was asked for.
fn with_profiles(error: LoaderError, request: &UnfoldRequest, profiles: &[Profile]) -> LoaderError {
    let Some(asked) = &request.profile else {
        return error;
    };
    let is_asked = |it: &Profile| it.id.as_ref() == Some(asked) || it.number.to_string() == *asked;
    if error.kind() != ErrorKind::Format || profiles.iter().any(is_asked) {
        return error;
    }
    let names: Vec<String> = profiles.iter().map(profile_name).collect();
    let offered = match names.as_slice() {
        [] => "the image has no profiles".to_owned(),
        names => format!("the image has the profiles {}", names.join(", ")),
    };
    let error = error.with_note(offered);
    // The first stage has to find it, if the list is complete.
    match error.place().stage == Some(1) && profiles.len() < Profile::LISTED_MAX {
        true => error.context(format!("there is no profile {}", one_line(asked))),
        false => error,
    }
}

/// Returns `report` in the form of the `request`, unless it is too long to print.
fn printed(report: &ImageReport, request: &UnfoldRequest) -> Result<Findings> {
    let report = match request.form {
        ReportForm::Page => Findings::Page(report.page()),
        ReportForm::Document => Findings::Document(
            serde_json::to_value(report).context(|| "the report cannot be put into words")?,
        ),
    };
    bounds::check_report(&report, request.form, request.budget.meter.log_lines)
        .context(|| "the image makes a report that is too long to print")?;
    Ok(report)
}

/// Returns the report of an image without its parts.
fn known(facts: &Facts) -> ImageReport {
    let outermost = facts.layers.first();
    let mut report = ImageReport {
        schema: SCHEMA,
        image: ImageFile {
            path: facts.path.clone(),
            size: facts.image.len(),
            kind: outermost.map(|layer| layer.kind.clone()),
            arch: outermost.and_then(|layer| layer.arch.clone()),
            ..ImageFile::default()
        },
        layers: facts.layers.clone(),
        stages: facts.stages.clone(),
        signatures: facts.signatures.clone(),
        warnings: facts.warnings.clone(),
        ..ImageReport::default()
    };
    let Some(pe) = in_file(facts) else {
        return report;
    };
    let pe = &*pe;
    let repeated = repeated_resources(pe).into_iter();
    let repeated =
        repeated.map(|name| format!("section {name} is there more than once; the first counts"));
    report.warnings.extend(repeated);
    let image = PeBytes(&facts.image);
    match Profile::list(&image, pe) {
        Ok((profiles, more)) => {
            report.profiles = profiles;
            let more = (more > 0)
                .then(|| format!("the report has no room for all profiles: {more} left out"));
            report.warnings.extend(more);
        }
        Err(error) => {
            let error = sentence(&error);
            report
                .warnings
                .push(format!("its profiles cannot be listed: {error}"));
        }
    }
    // Without a stage, nobody chose another profile than the first.
    let profile = facts.stages.first().and_then(|stage| stage.profile);
    if let Ok(uki) = Uki::new(image, pe, profile.unwrap_or(0)) {
        report.image.os = uki.os_name();
        report.image.uname = uki.kernel_release();
        let program = uki.program();
        report.stub = program.map(|(name, version)| Program { name, version });
    }
    report
}

/// Adds the parts to the report, and then to the parts what a boot adds to them.
fn add_parts(
    report: &mut ImageReport,
    facts: &Facts,
    parts: &mut Parts,
    job: Job<'_>,
    sources: &mut Sources,
) -> Result<()> {
    let request = job.request;
    let progress = &sources.progress;
    let hash = request.purpose.hashes();
    if hash {
        let initrd = parts.initrd.as_ref().map_or(0, Rope::len);
        progress.begin(
            Work::Hashing,
            Some(parts.kernel.len().saturating_add(initrd)),
        );
    }
    let is_inner = facts.has_inner_kernel();
    let kernel = KernelPart::new(&parts.kernel, &parts.identity, is_inner, hash);
    report.kernel = Some(kernel?);
    let initrd = parts.initrd.as_ref();
    report.initrd = initrd.map(|it| InitrdPart::new(it, hash)).transpose()?;
    let adds = match &request.purpose {
        Purpose::Unfold { .. } | Purpose::Attach => false,
        Purpose::Inspect { .. } | Purpose::Load { .. } => true,
    };
    report.cmdline = cmdline(parts, hash)?;
    if adds {
        add_additions(report, facts, parts, job, sources)?;
    }
    if let (Some(expansion), Some(initrd)) = (&request.expand_initrd, &mut parts.initrd) {
        sources.progress.begin(Work::Expanding, None);
        let expanded = initrd::expand(initrd, expansion, parts.output_left, sources)?;
        // Only there, Linux has a purgatory that hashes what was loaded, by kexec_file_load.
        let arch = parts.identity.as_ref().ok().and_then(|kernel| kernel.arch);
        let is_hashed = arch == Some(Arch::X86_64) && expansion.may_hash;
        report.warnings.extend(expanded.warnings(is_hashed));
        report.expanded = Some(expanded);
    }
    Ok(())
}

fn cmdline(parts: &Parts, hash: bool) -> Result<Option<Cmdline>> {
    let line = parts.cmdline.as_deref();
    Ok(line.map(|line| Cmdline::new(line, hash)).transpose()?)
}

/// Adds to the parts what a boot adds, and to the report what that is.
fn add_additions(
    report: &mut ImageReport,
    facts: &Facts,
    parts: &mut Parts,
    job: Job<'_>,
    sources: &Sources,
) -> Result<()> {
    let Job {
        request,
        bundle,
        policy,
        ..
    } = job;
    let uki = uki(facts, request);
    if uki.is_err() {
        // Where the profile is not known, neither is the system that it names.
        report.image.os = None;
        report.image.uname = None;
    }
    let booted = uki.as_ref().ok().and_then(Option::as_ref);
    // Only an image with a kernel in it begins with a stub.
    let booted = booted.filter(|uki| uki.has(".linux"));
    let beside = &request.beside;
    let machine = Machine::read(beside, bundle)?;
    let mut additions = Additions::judge(beside, booted, &machine, policy, sources)?;
    list_companions(report, mem::take(&mut additions.listed));
    parts.boot.boot_secret = additions.add_secrets(beside, booted, bundle, sources)?;
    parts.boot.pcrsig = booted.is_some_and(|uki| uki.has(".pcrsig"));
    let files = match request.extra_files {
        true => extra_files(&uki, &request.purpose, &mut report.warnings),
        false => Vec::new(),
    };
    add_initrd(parts, facts, request, booted, &additions, &files)?;
    report.extra = Some(files);
    // The command line that a measured boot would have to pass so that the kernel gets the
    // same; none if it is the image's own.
    let append = request.append.as_deref().unwrap_or_default();
    let asked = parts.is_given || !append.is_empty();
    let passed = parts.cmdline.clone().filter(|_| asked);
    if let (Some(line), Some(_), false) = (&mut parts.cmdline, booted, parts.is_given) {
        // The image's own; parsers hand over bytes.
        let own = line.len().saturating_sub(parts.appended);
        let text = section_cmdline(line.get(..own).unwrap_or_default());
        line.splice(..own, text.into_bytes());
    }
    let line = parts.cmdline.as_deref();
    parts.cmdline = additions.cmdline(line, parts.appended, beside)?;
    report.cmdline = cmdline(parts, request.purpose.hashes())?;
    let measure = match &request.purpose {
        Purpose::Inspect { measure, .. } => measure.as_ref(),
        Purpose::Unfold { .. } | Purpose::Load { .. } | Purpose::Attach => {
            let line = parts.cmdline.as_deref();
            parts.boot.console = console_note(line, beside);
            let note = |uki| additions.device_tree_note(uki, &facts.image, &machine);
            match &request.device_tree {
                None => {
                    let found = booted.map(note).transpose().map(Option::flatten);
                    let is_x86 = parts
                        .identity
                        .as_ref()
                        .is_ok_and(|it| it.arch == Some(Arch::X86_64));
                    let advice = if is_x86 { "" } else { DTB_IMAGE };
                    parts.boot.device_tree = match found {
                        Ok(note) => note.map(|note| note + advice),
                        Err(error) => Some(format!(
                            "nobody knows the image's device tree: {}",
                            sentence(&error)
                        )),
                    };
                }
                Some(TreeFrom::Given(file)) => {
                    let bytes = bundle.slice(file.range.clone())?;
                    parts.device_tree = Some(device_tree(&file.name, &bytes)?);
                }
                Some(TreeFrom::Image) => {
                    let chosen = |uki| additions.device_tree(uki, &facts.image, &machine);
                    let chosen = booted.map(chosen).transpose()?.flatten();
                    let (name, tree) = chosen.context(|| NO_TREE)?;
                    parts.device_tree = Some(device_tree(name, &tree)?);
                }
            }
            report.warnings.extend(parts.boot.notes());
            None
        }
    };
    let Some(measure) = measure else {
        return Ok(());
    };
    let loaded = [Some(&parts.kernel), parts.initrd.as_ref()];
    let loaded = loaded.into_iter().flatten().map(Rope::len);
    let lens = loaded.chain(booted.map(Measurements::len_to_read));
    let total = lens.fold(0, u64::saturating_add);
    sources.progress.begin(Work::Measuring, Some(total));
    let options = request.load_options.as_deref();
    let options = options.map(|it| with_text(it, &String::from_utf8_lossy(append)));
    let boot = Boot {
        options: options.as_deref(),
        ..additions.boot(&machine, passed.as_deref())
    };
    let measured = uki.and_then(|uki| measurements(parts, &request.name, uki.as_ref(), &boot));
    let measured = measured.context(|| "it cannot be measured")?;
    let measured = report.measured.insert(measure_report(measured, measure));
    if let Some(observed) = &request.observed {
        let against = compare(&measured.measurements, observed, measure, bundle)?;
        report.warnings.extend(against.warning());
        measured.comparison = Some(against);
    }
    Ok(())
}

/// Takes the device tree apart that `name` has.
fn device_tree(name: &str, tree: &Rope) -> Result<Box<NamedTree>> {
    let failed = || format!("{name}: no device tree for a kernel");
    let (len, max) = (tree.len(), DeviceTree::MAX_LEN);
    if len > max {
        let text = format!("expected at most {max} bytes, found {len}");
        return Err(LoaderError::new(text)).context(failed);
    }
    let tree = DeviceTree::read(&tree.to_vec()?).context(failed);
    let tree = tree.map_err(|error| error.of_kind(ErrorKind::Format))?;
    let name = name.to_owned();
    Ok(Box::new(NamedTree { name, tree }))
}

const DTB_IMAGE: &str = "; --dtb=image takes it along";

/// Why there is no device tree to take along.
const NO_TREE: &str = "--dtb=image: the image has no device tree for this machine";

/// Adds the companions to the report, as far as it has room for them.
fn list_companions(report: &mut ImageReport, mut companions: Vec<CompanionReport>) {
    let passed_over = companions.iter().filter_map(CompanionReport::warning);
    report.warnings.extend(passed_over);
    let mut room = Room::new(COMPANIONS_MAX);
    room.shorten(&mut companions);
    report.companions = Some(companions);
    if room.left_out > 0 {
        let left_out = room.left_out;
        report.warnings.push(format!(
            "the report has no room for all companions: {left_out} left out"
        ));
    }
}

/// Puts the initrd together that the kernel gets, with `files` of the image, which is
/// booted as `uki`.
fn add_initrd(
    parts: &mut Parts,
    facts: &Facts,
    request: &UnfoldRequest,
    uki: Option<&Uki<'_, PeBytes<'_>>>,
    additions: &Additions,
    files: &[ExtraFile],
) -> Result<()> {
    let sections = files.iter().map(|it| section(it, &facts.image));
    let sections = sections.collect::<Result<Vec<Rope>>>()?;
    let own = [".ucode", ".initrd"].into_iter();
    let own = own.filter(|name| uki.is_some_and(|uki| uki.has(name)));
    let callers = usize::from(!request.initrds.is_empty() || additions.has_entry_files());
    let is_joined = own.count() + callers > 1;
    let is_padded = is_joined && !request.replaces_initrd;
    if let (true, Some(initrd)) = (is_padded, &mut parts.initrd) {
        // The stub pads each of several parts.
        let padding = initrd.len().wrapping_neg() % 4;
        initrd.push(Piece::Zeros(padding));
    }
    let initrd = additions.initrd(parts.initrd.as_ref(), sections);
    let (len, max) = (initrd.len(), request.part_max);
    if len > max {
        return Err(LoaderError::new(format!(
            "the initrd has {len} bytes with all that goes along; expected at most {max}, those \
             that went in and the budget"
        ))
        .of_kind(ErrorKind::Budget));
    }
    parts.initrd = (len > 0 || parts.initrd.is_some()).then_some(initrd);
    Ok(())
}

/// Returns a note if the running kernel's line says which console it has, and `line` does
/// not.
fn console_note(line: Option<&[u8]>, beside: &Beside) -> Option<String> {
    let has_console = has_console(line.unwrap_or_default());
    (!has_console && !beside.console.is_empty()).then(|| {
        let consoles = beside.console.join(" ");
        format!("the command line has no console=, the running kernel's has {consoles}")
    })
}

/// Returns the headers of the outermost image, if it is a PE: of a damaged one, those
/// that are left.
fn in_file(facts: &Facts) -> Option<Cow<'_, PeImage>> {
    if let Some(sound) = &facts.pe {
        return Some(Cow::Borrowed(sound));
    }
    let damaged = UncheckedPe::parse(&PeBytes(&facts.image)).ok()?;
    Some(Cow::Owned(damaged.in_file()))
}

/// Adds the parts of an image that was not unfolded to the report: those that parsers
/// handed over, and where none ran, the image's own command line.
fn add_left(report: &mut ImageReport, facts: &Facts, request: &UnfoldRequest) -> Result<()> {
    if report.kernel.is_some() {
        return Ok(());
    }
    let hash = request.purpose.hashes();
    let Leftovers {
        initrd, cmdline, ..
    } = &facts.left;
    let mut cmdline = cmdline.clone();
    let selects = request
        .cmdline
        .as_deref()
        .is_some_and(|it| selector_of(it).is_some());
    if facts.stages.is_empty() && request.profile.is_none() && !selects {
        let pe = in_file(facts);
        let uki = pe
            .as_deref()
            .map(|pe| Uki::new(PeBytes(&facts.image), pe, 0));
        let line = uki.transpose()?.map(|uki| uki.cmdline()).transpose()?;
        cmdline = line.filter(|it| !it.is_empty()).map(String::into_bytes);
    }
    report.cmdline = cmdline.map(|it| Cmdline::new(&it, hash)).transpose()?;
    let initrd = initrd.as_ref();
    report.initrd = initrd.map(|it| InitrdPart::new(it, hash)).transpose()?;
    Ok(())
}

/// Returns the outermost image as systemd-stub sees it, with the profile that was
/// booted; `None` if it is no PE.
fn uki<'a>(facts: &'a Facts, request: &UnfoldRequest) -> Result<Option<Uki<'a, PeBytes<'a>>>> {
    let Some(pe) = &facts.pe else {
        return Ok(None);
    };
    let image = PeBytes(&facts.image);
    let chosen = facts.stages.first().and_then(|stage| stage.profile);
    let selector = match &request.profile {
        Some(profile) => Some(profile.as_bytes()),
        None => request.cmdline.as_deref().and_then(selector_of),
    };
    let uki = match (chosen, selector) {
        (Some(number), _) => Uki::new(image, pe, number)?,
        (None, Some(selector)) => Uki::select(image, pe, selector)?.context(|| {
            "the image's parser does not say which profile it chose, and no built-in parser finds \
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
    purpose: &Purpose,
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
    if let (Purpose::Load { .. }, Some(file)) = (purpose, files.iter().find(signs)) {
        warnings.push(format!(
            "{}: secrets that a TPM seals to this image's PCR 11 ({}) stay locked; \
             `inspect --measure` prints the values",
            BootFacts::NO_PCR,
            file.section
        ));
    }
    files
}

/// Returns the measurements that booting the image and loading it would make.
fn measurements(
    parts: &Parts,
    name: &str,
    uki: Option<&Uki<'_, PeBytes<'_>>>,
    boot: &Boot<'_, PeBytes<'_>>,
) -> Result<Measurements> {
    let mut measurements = Measurements::default();
    if let Some(uki) = uki {
        measurements.add_boot(name, uki, boot)?;
    }
    // A kernel without a command line gets an empty one.
    let cmdline = parts.cmdline.as_deref().unwrap_or_default();
    let initrd = parts.initrd.as_ref().map(PeBytes);
    measurements.add_load(
        cmdline,
        &PeBytes(&parts.kernel),
        initrd.as_ref(),
        digest_state,
    )?;
    Ok(measurements)
}

/// Returns `measurements` compared with what was observed.
fn compare(
    measurements: &Measurements,
    ObservedFiles { source, files }: &ObservedFiles,
    measure: &Measure,
    bundle: &Rope,
) -> Result<ComparisonReport> {
    let mut observed = ObservedPcrs::default();
    for file in files {
        let bytes = bundle.slice(file.range.clone())?.to_vec()?;
        let added = observed.add(&bytes);
        added.context(|| format!("cannot compare with {}", file.name))?;
    }
    Ok(ComparisonReport {
        against: measurements.compare(&observed, &measure.banks),
        source: source.clone(),
    })
}

/// Returns the report of `measurements`.
fn measure_report(measurements: Measurements, measure: &Measure) -> MeasureReport {
    let mut banks = measure.banks.clone();
    if banks.is_empty() {
        banks.push(Algorithm::Sha256);
    }
    MeasureReport {
        measurements,
        comparison: None,
        banks,
        events: verbosity() > 0,
    }
}

fn identity(
    facts: &Facts,
    parts: &Parts,
    platform: Option<&Platform>,
) -> Result<Identity, Box<Failure>> {
    match &parts.identity {
        Ok(kernel) => Ok(Identity {
            x86_64: kernel.arch == Some(Arch::X86_64),
            format: kernel.format.to_string(),
            release: kernel.release().map(str::to_owned),
            // The others look for the signature of a module behind the kernel, or
            // for none.
            signed: matches!(kernel.arch, Some(Arch::X86_64 | Arch::Arm64))
                .then_some(kernel.signed),
            memory: kernel.memory_len(),
            header: header(kernel, &parts.kernel).map_err(|error| Box::new(failure::of(&error))),
            appended: has_appended(&PeBytes(&parts.kernel)).ok(),
            problems: objections(kernel, parts, platform),
        }),
        Err(error) => {
            let path = facts.innermost();
            Err(no_kernel(path, error, facts.has_inner_kernel()))
        }
    }
}

/// Returns what the header of `kernel`, whose file is `bytes`, says of its place.
fn header(kernel: &Kernel, bytes: &Rope) -> Result<PlacedKernel> {
    if kernel.arch != Some(Arch::X86_64) {
        return Ok(PlacedKernel::Image(KernelHeader::new(kernel)?));
    }
    let head = bytes.slice(0..bytes.len().min(SETUP_MAX))?.to_vec()?;
    let header = SetupHeader::read(&head).map(PlacedKernel::BzImage);
    header.context(|| NO_SETUP)
}

/// The setup header of a bzImage ends before.
const SETUP_MAX: u64 = 1024;
const NO_SETUP: &str = "kexec_load is done for a bzImage with a 64-bit entry that may lie \
                        anywhere, which this kernel is not";

/// Returns the objections to the kernel and its command line: those of every machine
/// that refuse it, and those of `platform` alone.
fn objections(kernel: &Kernel, parts: &Parts, platform: Option<&Platform>) -> Vec<Objection> {
    // Here, too, none is an empty one.
    let cmdline = parts.cmdline.as_deref().unwrap_or_default();
    let everywhere = kernel.check(&kernel.home());
    let here = platform.map(|platform| kernel.check(platform));
    let cmdline = kernel.check_cmdline(cmdline.len());
    let cmdline = cmdline.iter().map(|problem| (problem, Subject::Cmdline));
    let here = here.iter().flatten();
    let here = here.map(|problem| match everywhere.contains(problem) {
        true => (problem, Subject::Kernel),
        false => (problem, Subject::Machine),
    });
    let is_new = |problem: &Problem, subject| problem.is_refusal() || subject == Subject::Machine;
    here.filter(|(problem, subject)| is_new(problem, *subject))
        .chain(cmdline)
        .map(|(problem, subject)| Objection {
            text: problem.to_string(),
            fault: problem.fault().to_owned(),
            verdict: if problem.is_refusal() {
                ConditionVerdict::Refused
            } else if problem.may_be_refusal() {
                ConditionVerdict::Unknown
            } else {
                ConditionVerdict::Warning
            },
            subject,
        })
        .collect()
}
