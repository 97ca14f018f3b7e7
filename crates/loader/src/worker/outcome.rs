//! From a request to a kernel.

use std::error::Error;
use std::mem;
use std::sync::Arc;

use ukexec_boot::{BootError, Kernel, KernelFormat, LookAlike, find_banner, identify};
use ukexec_bpf::Rope;
use ukexec_pe::PeImage;
use ukexec_unfold::{
    Gate, Input, LayerAtGate, Leftovers, Options, ParserFile, ParserOrigin, PeBytes, Report,
    SignatureRefusal, StageReport, UnfoldError, Unfolded, built_in_parsers, selector_of,
    unfold_with,
};

use super::additions;
use super::given_line;
use super::initrd;
use super::progress::ProgressSender;
use super::sources::Sources;
use super::trust_policy::TrustPolicy;
use super::verify::Verifier;
use crate::error::{Context as _, ErrorKind, Failure, LoaderError, Place, Result};
use crate::options::Purpose;
use crate::protocol::bounds::{self, Room};
use crate::protocol::bundle::Bundled;
use crate::protocol::{BootFacts, CallersInitrd, NamedTree, UnfoldRequest, Work};
use crate::report::failure::sentence;
use crate::report::layers::LayerReport;
use crate::report::sections::Details;
use crate::report::signature::SignatureReport;

/// Why the options of a boot entry do not count.
const GAVE_WAY: &str = "the options of the entry do not count: a good signature is required, so \
                        that the image decides on its command line";

/// A kernel's banner is looked for in so many bytes.
const BANNER_LIMIT: u64 = 256 << 20;

/// A request, and what it is done with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) request: &'a UnfoldRequest,
    /// The files that the request names.
    pub(crate) bundle: &'a Rope,
    pub(crate) policy: &'a TrustPolicy,
    /// Whether people see stages.
    pub(crate) verbose: bool,
}

/// The facts about an image, as far as it was taken apart.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Where the image is.
    pub(crate) path: String,
    /// All of the image.
    pub(crate) image: Rope,
    /// Its headers, if it is a sound PE.
    pub(crate) pe: Option<PeImage>,
    pub(crate) layers: Vec<LayerReport>,
    pub(crate) stages: Vec<StageReport>,
    /// The reports about the layers' signatures.
    pub(crate) signatures: Vec<SignatureReport>,
    /// What parsers had handed over when they failed.
    pub(crate) left: Leftovers,
    /// Things worth a look that stopped nothing, in words.
    pub(crate) warnings: Vec<String>,
}

/// The parts of an image that was taken apart.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The kernel in its true length: without what a section holds behind its
    /// certificates.
    pub(crate) kernel: Rope,
    pub(crate) initrd: Option<Rope>,
    /// Without a NUL.
    pub(crate) cmdline: Option<Vec<u8>>,
    /// Bytes at its end that the caller appended.
    pub(crate) appended: usize,
    /// Whether the line is another than that of the image.
    pub(crate) is_given: bool,
    /// The kind of kernel, or why it is none.
    pub(crate) identity: Result<Kernel, BootError>,
    /// The device tree that was asked for.
    pub(crate) device_tree: Option<Box<NamedTree>>,
    /// The facts that a boot by kexec depends on.
    pub(crate) boot: BootFacts,
    /// Bytes that decompression may still write.
    pub(crate) output_left: u64,
}

/// Unfolds the image of a request as far as the policy lets it. Where that fails, the
/// facts that are known come out all the same. Warnings are put into `notes` as
/// they are found.
pub(crate) fn unfold(
    job: Job<'_>,
    notes: &mut Vec<String>,
    sources: &mut Sources,
) -> Result<(Facts, Result<Parts>)> {
    let Job {
        request,
        bundle,
        policy,
        ..
    } = job;
    let image = sources.rope(&request.image)?;
    let mut admission = Admission {
        has_more_parsers: request.parser.is_some() || !request.parsers.is_empty(),
        details: request.purpose.details(),
        hopeless: None,
        pe: None,
        layers: Vec::new(),
        identity: None,
        progress: Arc::clone(&sources.progress),
        verifier: Verifier {
            policy,
            hashed: request.hashed.as_ref(),
            sealed: request.sealed,
            embedded_parsers: request.embedded_parsers,
            had_pe: false,
            found: Vec::new(),
        },
    };
    notes.extend(policy.notes());
    let mut left = Leftovers::default();
    let mut whole_initrd = None;
    let mut budget = request.budget.clone();
    let (mut report, parts) = match ready(request, bundle, policy, &image, sources, notes) {
        Err(error) => (Report::default(), Err(error)),
        Ok((mut input, options)) => {
            if request.replaces_initrd {
                whole_initrd = Some(input.initrd.take());
            }
            match unfold_with(input, &options, &mut admission, sources, &mut budget) {
                Ok(mut unfolded) => (mem::take(&mut unfolded.report), Ok(unfolded)),
                Err(error) => {
                    left = error.left().clone();
                    (error.report().clone(), Err(admission.failure(error)))
                }
            }
        }
    };
    let Admission {
        pe,
        mut layers,
        identity,
        verifier,
        ..
    } = admission;
    for (layer, met) in layers.iter_mut().zip(mem::take(&mut report.layers)) {
        layer.add(met);
    }
    notes.extend(shorten(
        &mut layers,
        &mut report.stages,
        request.budget.meter.log_lines,
    ));
    let mut signatures = verifier.found;
    if parts.is_ok() || !report.stages.is_empty() {
        // A warning about damaged headers says more.
        let is_sound = |it: &&SignatureReport| {
            let mut layers = layers.iter();
            !layers.any(|layer| layer.path == it.name() && layer.pe_fault.is_some())
        };
        let weighed = signatures.iter().filter(is_sound);
        notes.extend(weighed.filter_map(SignatureReport::warning));
    }
    notes.extend(shorten_signers(&mut signatures));
    let gave_way = parts.as_ref().is_ok_and(|unfolded| unfolded.gave_way);
    notes.extend(uncovered(request, gave_way, policy, &signatures));
    let mut facts = Facts {
        path: request.path.clone(),
        image,
        pe,
        layers,
        stages: report.stages,
        signatures,
        left,
        warnings: report.warnings.iter().map(ToString::to_string).collect(),
    };
    facts.warnings.extend(notes.iter().cloned());
    let parts = parts.and_then(|mut unfolded| {
        let identity = identity.context(|| "the kernel did not come by the gate")?;
        if let Some(whole) = whole_initrd {
            unfolded.initrd = whole;
        }
        let parts = Parts::new(unfolded, identity, &mut facts, request, sources)?;
        let output_left = budget.output;
        Ok(Parts {
            output_left,
            ..parts
        })
    });
    Ok((facts, parts))
}

impl Parts {
    /// Returns the parts of `unfolded`, whose kernel is what `identity` says, and
    /// adds warnings about it to `facts`.
    fn new(
        unfolded: Unfolded,
        mut identity: Result<Kernel, BootError>,
        facts: &mut Facts,
        request: &UnfoldRequest,
        sources: &Sources,
    ) -> Result<Self> {
        let is_load = request.purpose.platform().is_some();
        let Unfolded {
            mut kernel,
            initrd,
            cmdline,
            appended,
            gave_way,
            ..
        } = unfolded;
        if gave_way {
            facts.warnings.push(GAVE_WAY.to_owned());
        }
        match &mut identity {
            Ok(identity) => {
                // A section may be padded behind a signed kernel. A decompressed
                // kernel has its true length already.
                if !sources.is_decompressed(&kernel) {
                    kernel = kernel.slice(0..identity.true_len)?;
                }
                // A bzImage is compressed behind its header.
                if identity.version.is_none() && identity.format != KernelFormat::BzImage {
                    identity.version = find_banner(&PeBytes(&kernel), BANNER_LIMIT)?;
                }
                // On a machine that the kernel is for. A load is refused by some.
                let problems = identity.check(&identity.home());
                let problems = problems
                    .iter()
                    .filter(|problem| !(is_load && problem.is_refusal()));
                facts.warnings.extend(problems.map(ToString::to_string));
            }
            // A parser may have handed over anything: a person may want to see it.
            Err(error) if facts.stages.is_empty() => {
                return Err(no_kernel(facts.innermost(), error, false).into());
            }
            Err(_) => {}
        }
        Ok(Self {
            kernel,
            initrd,
            cmdline,
            appended,
            is_given: request.cmdline.is_some() && !gave_way,
            identity,
            device_tree: None,
            boot: BootFacts::default(),
            output_left: 0,
        })
    }
}

impl Facts {
    /// Returns whether the kernel is one of several files in the image, and not the
    /// image itself, or all that was compressed.
    pub(crate) fn has_inner_kernel(&self) -> bool {
        self.pe.is_some() && !self.stages.is_empty()
    }

    /// Returns the path of the innermost layer.
    pub(crate) fn innermost(&self) -> &str {
        let layer = self.layers.last();
        layer.map_or(&self.path, |layer| &layer.path)
    }
}

/// Refuses an outermost image that is hopeless, asks the verifier about all others,
/// and keeps what the headers of each layer say.
struct Admission<'a> {
    has_more_parsers: bool,
    details: Details,
    /// The failure of a hopeless image, which is the same as when no unfolding has
    /// begun.
    hopeless: Option<Box<Failure>>,
    /// The headers of the outermost image.
    pe: Option<PeImage>,
    layers: Vec<LayerReport>,
    /// What the newest layer is.
    identity: Option<Result<Kernel, BootError>>,
    progress: Arc<ProgressSender>,
    verifier: Verifier<'a>,
}

impl Admission<'_> {
    /// Returns the failure that `error` is.
    fn failure(&mut self, error: UnfoldError) -> LoaderError {
        match self.hopeless.take() {
            Some(failure) => failure.into(),
            None => error.into(),
        }
    }

    /// Refuses the outermost image if it is hopeless.
    fn check_hope(
        &mut self,
        layer: &LayerAtGate<'_>,
        identity: &Result<Kernel, BootError>,
    ) -> Result<(), String> {
        let more = self.has_more_parsers || layer.pe.is_some() || !self.layers.is_empty();
        check_hopeless(identity, layer.path, more).map_err(|failure| {
            let message = failure.message.clone();
            self.hopeless = Some(failure);
            message
        })
    }
}

impl Gate for Admission<'_> {
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let LayerAtGate {
            path, image, pe, ..
        } = *layer;
        let identity = identify(&PeBytes(image));
        self.progress.begin(Work::Hashing, Some(image.len()));
        let admitted = match self.check_hope(layer, &identity) {
            Ok(()) => self.verifier.admit(layer),
            Err(message) => {
                self.verifier.list(layer);
                Err(message.into())
            }
        };
        let is_outermost = self.layers.is_empty();
        let details = Details {
            texts: self.details.texts && is_outermost,
            hash: self.details.hash,
        };
        if let Some(pe) = pe.filter(|_| details.hash) {
            let sections = pe.sections().iter().map(|it| it.content());
            let total = sections.map(|it| it.end.saturating_sub(it.start)).sum();
            self.progress.begin(Work::Hashing, Some(total));
        }
        let report = LayerReport::new(path, image, pe, &identity, details)?;
        self.progress.begin(Work::Unfolding, None);
        if is_outermost {
            self.pe = pe.cloned();
        }
        self.layers.push(report);
        self.identity = Some(identity);
        admitted
    }

    fn requires_signatures(&self) -> bool {
        self.verifier.requires_signatures()
    }

    fn verify_signature(&mut self, image: &Rope) -> Result<(), SignatureRefusal> {
        self.verifier.verify_signature(image)
    }
}

/// Refuses an image whose headers say that no parser that comes with ukexec takes
/// it apart, and that it is no kernel either: it need not even be copied then.
/// Where it may be `more`, since there are other parsers or it may carry one, it
/// may be anything.
pub(super) fn check_hopeless(
    identity: &Result<Kernel, BootError>,
    name: &str,
    more: bool,
) -> Result<(), Box<Failure>> {
    match identity {
        Ok(_) => Ok(()),
        Err(error)
            if more
                || error.is_read()
                || error.look_alike().is_some_and(LookAlike::is_for_parsers) =>
        {
            Ok(())
        }
        Err(error) => Err(no_kernel(name, error, false)),
    }
}

/// Returns the failure of the layer at `path`, which is no kernel. What to do is said
/// of one that somebody gave, not of one that `is_inner`.
pub(super) fn no_kernel(path: &str, error: &BootError, is_inner: bool) -> Box<Failure> {
    let place = Place {
        layer: Some(path.to_owned()),
        offset: error.offset(),
        ..Place::default()
    };
    let reason = match is_inner {
        true => error.reason(),
        false => sentence(error),
    };
    let message = format!("{path}: {reason}");
    Box::new(Failure {
        kind: ErrorKind::Format,
        place,
        ..Failure::new(message)
    })
}

/// Returns the input of the unfolding, and its options.
fn ready(
    request: &UnfoldRequest,
    bundle: &Rope,
    policy: &TrustPolicy,
    image: &Rope,
    sources: &Sources,
    notes: &mut Vec<String>,
) -> Result<(Input, Options)> {
    let mut initrds = Vec::new();
    if given_line::has_stub(image) {
        let archives = additions::entry_archives(&request.beside, sources)?;
        initrds.extend(archives.into_iter().map(|(_, archive)| archive));
    }
    let of_entry = request.linux_entry.as_ref().map_or(0, Vec::len);
    for (index, CallersInitrd { name, spans }) in request.initrds.iter().enumerate() {
        let key = if index < of_entry {
            "initrd"
        } else {
            "--initrd"
        };
        let rope = sources.rope(spans)?;
        // A kernel would find nothing in some.
        notes.extend(initrd::warning(
            key,
            name,
            &rope,
            request.purpose.command(),
        )?);
        initrds.push(rope);
    }
    let initrd = initrd::join(initrds);
    let input = Input {
        image: image.clone(),
        initrd: (!initrd.is_empty()).then_some(initrd),
        cmdline: request.cmdline.clone(),
        append: request.append.clone(),
    };
    Ok((input, options(request, bundle, policy, notes)?))
}

/// Leaves out of a report all that would make it too long to print, and returns
/// notes about that; parsers may have printed `log_lines`.
fn shorten(
    layers: &mut [LayerReport],
    stages: &mut [StageReport],
    log_lines: u32,
) -> impl Iterator<Item = String> {
    let mut room = bounds::SECTIONS_MAX;
    let (mut left_out, mut texts) = (0, 0);
    for pe in layers.iter_mut().filter_map(|layer| layer.pe.as_mut()) {
        pe.unlisted += bounds::shorten(&mut pe.sections, &mut room);
        pe.unlisted += bounds::shorten(&mut pe.holes, &mut room);
        left_out += pe.unlisted;
        texts += pe.texts_left_out;
    }
    let asked = layers.iter_mut().flat_map(|layer| &mut layer.asked);
    let asked = asked.map(|asked| &mut asked.log);
    let logs = stages.iter_mut().map(|stage| &mut stage.log).chain(asked);
    bounds::shorten_logs(logs, log_lines);
    let notes = [(left_out, "sections"), (texts, "texts of sections")];
    let notes = notes.into_iter().filter(|(count, _)| *count > 0);
    notes.map(|(count, more)| format!("the report has no room for all {more}: {count} left out"))
}

/// As [`shorten`], of signers.
fn shorten_signers(signatures: &mut [SignatureReport]) -> Option<String> {
    let mut room = Room::new(bounds::SIGNERS_MAX);
    // Who signed the inner layers says more than other certificates do.
    signatures
        .iter_mut()
        .for_each(|it| room.shorten(&mut it.signers));
    signatures
        .iter_mut()
        .for_each(|it| room.shorten(&mut it.certificates));
    let left_out = room.left_out;
    let more =
        || format!("the report has no room for all signers and certificates: {left_out} left out");
    (left_out > 0).then(more)
}

/// Returns a warning of what the caller gives beside an image whose signature is
/// good: no signature covers that.
fn uncovered(
    request: &UnfoldRequest,
    gave_way: bool,
    policy: &TrustPolicy,
    signatures: &[SignatureReport],
) -> Option<String> {
    let image = signatures.first().filter(|image| image.is_good())?;
    let names: Vec<&str> = request.initrds.iter().map(|it| it.name.as_str()).collect();
    let initrds = (!names.is_empty()).then(|| format!("the initrd ({})", names.join(", ")));
    // Words that choose a profile of the image are no line.
    let line = request
        .cmdline
        .as_deref()
        .map(|line| match selector_of(line) {
            Some(selector) => line.get(1 + selector.len()..).unwrap_or_default(),
            None => line,
        });
    let line = line.filter(|_| !gave_way);
    let words = line.into_iter().chain(request.append.as_deref());
    // An empty line in place of that which was signed is one, too.
    let replaces = request.overrides_line && policy.required().is_some();
    let replaces = replaces && request.cmdline.is_some();
    let has_words = replaces || words.flatten().any(|byte| !byte.is_ascii_whitespace());
    let cmdline = has_words.then(|| "the command line".to_owned());
    // Where a good signature is required, a parser has one of its own.
    let parser = request
        .parser
        .as_ref()
        .filter(|_| policy.required().is_none());
    let parser = parser.map(|parser| format!("the parser ({})", parser.name));
    let given: Vec<String> = [initrds, cmdline, parser].into_iter().flatten().collect();
    let image = image.name();
    let given = given.split_last().map(|(last, others)| match others {
        [] => last.clone(),
        _ => format!("{} and {last}", others.join(", ")),
    })?;
    let giver = match request.is_entrys_line {
        true => "the entry gives",
        false => "you gave",
    };
    let advice = match policy.required() {
        Some(_) if request.overrides_line && has_words => {
            "; personality.cmdline = \"refuse\" in ukexec.conf refuses a command line"
        }
        _ => "",
    };
    Some(format!(
        "the signature of {image} does not cover {given} that {giver}{advice}"
    ))
}

fn options(
    request: &UnfoldRequest,
    bundle: &Rope,
    policy: &TrustPolicy,
    notes: &mut Vec<String>,
) -> Result<Options> {
    let mut parsers = Vec::new();
    for parser in &request.parsers {
        let parser = parser_file(parser, ParserOrigin::ParsersD, bundle)?;
        match policy.admits(&parser) {
            Ok(()) => parsers.push(parser),
            Err(error) => {
                let why = sentence(&error);
                notes.push(format!("parser {} is left out: {why}", parser.name));
            }
        }
    }
    if !matches!(request.purpose, Purpose::Attach) {
        parsers.extend(built_in_parsers());
    }
    let given = request.parser.as_ref();
    let parser = given
        .map(|parser| parser_file(parser, ParserOrigin::Given, bundle))
        .transpose()?;
    if let Some(parser) = &parser {
        let failed = || format!("parser {} may not run", parser.name);
        policy.admits(parser).context(failed)?;
    }
    Ok(Options {
        parser,
        embedded_parsers: request.embedded_parsers,
        profile: request.profile.clone(),
        image_decides_cmdline: policy.required().is_some() && !request.overrides_line,
        cmdline_gives_way: request.is_entrys_line,
        cmdline_is_literal: request.literal_cmdline,
        kdump: request.panic,
        parsers,
        image_name: request.name.clone(),
    })
}

fn parser_file(parser: &Bundled, origin: ParserOrigin, bundle: &Rope) -> Result<ParserFile> {
    let object = bundle.slice(parser.range.clone())?.to_vec()?;
    Ok(ParserFile {
        name: parser.name.clone(),
        object: object.into(),
        origin,
    })
}
