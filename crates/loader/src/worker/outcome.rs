//! From a request to a kernel.

use std::error::Error;

use ukexec_boot::{BootError, Kernel, LookAlike, find_banner, identify};
use ukexec_bpf::Rope;
use ukexec_pe::PeImage;
use ukexec_unfold::{
    Gate, Input, LayerAtGate, Options, ParserFile, ParserOrigin, PeBytes, Report, Unfolded,
    built_in_parsers, unfold_with,
};

use super::initrd;
use super::sources::Sources;
use super::trust_policy::TrustPolicy;
use super::verify::Verifier;
use crate::error::{Context as _, ErrorKind, Failure, LoaderError, Place, Result};
use crate::protocol::bounds;
use crate::protocol::bundle::Bundled;
use crate::protocol::{CallersInitrd, UnfoldRequest};
use crate::report::failure::sentence;
use crate::report::signature::SignatureReport;

/// A kernel's banner is looked for in so many bytes.
const BANNER_LIMIT: u64 = 256 << 20;

/// An image that was taken apart.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Where the image is.
    pub(crate) path: String,
    /// All of the image.
    pub(crate) image: Rope,
    /// The parts and the report. The kernel has its true length: without what a
    /// section holds behind its certificates.
    pub(crate) unfolded: Unfolded,
    /// The kind of kernel, or why it is none.
    pub(crate) identity: Result<Kernel, BootError>,
    /// The reports about the layers' signatures.
    pub(crate) signatures: Vec<SignatureReport>,
    /// Other things worth a look.
    notes: Vec<String>,
}

impl Outcome {
    /// Unfolds the image of `request` as far as `policy` let it. Warnings
    /// are put into `notes` as they are found, for those whom a failure leaves
    /// without an outcome.
    pub(crate) fn of(
        request: &UnfoldRequest,
        bundle: &Rope,
        policy: &TrustPolicy,
        notes: &mut Vec<String>,
        sources: &mut Sources,
    ) -> Result<Self> {
        let image = sources.rope(&request.image)?;
        notes.extend(policy.notes());
        let initrd = callers_initrd(request, sources, notes)?;
        let input = Input {
            image: image.clone(),
            initrd: (!initrd.is_empty()).then_some(initrd),
            cmdline: request.cmdline.clone(),
            append: request.append.clone(),
        };
        let options = options(request, bundle, policy, notes)?;
        let mut admission = Admission {
            hopeless: None,
            has_more_parsers: request.parser.is_some() || !request.parsers.is_empty(),
            verifier: Verifier {
                policy,
                hashed: request.hashed.as_ref(),
                sealed: request.sealed,
                embedded_parsers: request.embedded_parsers,
                had_pe: false,
                found: Vec::new(),
            },
        };
        let mut budget = request.budget.clone();
        let mut unfolded = unfold_with(input, &options, &mut admission, sources, &mut budget)
            .map_err(|error| match admission.hopeless.take() {
                Some(failure) => failure.into(),
                None => LoaderError::from(error),
            })?;
        let log_lines = request.budget.meter.log_lines;
        notes.extend(shorten(&mut unfolded.report, log_lines));
        let signatures = admission.verifier.found;
        let mut identity = identify(&PeBytes(&unfolded.kernel));
        if let Ok(identity) = &mut identity {
            // A section may be padded behind a signed kernel. A decompressed
            // kernel has its true length already.
            if !sources.is_decompressed(&unfolded.kernel) {
                unfolded.kernel = unfolded.kernel.slice(0..identity.true_len)?;
            }
            if identity.version.is_none() {
                identity.version = find_banner(&PeBytes(&unfolded.kernel), BANNER_LIMIT)?;
            }
        }
        Ok(Self {
            path: request.path.clone(),
            image,
            unfolded,
            identity,
            signatures,
            notes: notes.clone(),
        })
    }

    /// Returns things worth a look that stopped nothing, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .unfolded
            .report
            .warnings
            .iter()
            .map(ToString::to_string)
            .chain(self.notes.iter().cloned())
            .collect();
        match &self.identity {
            // A machine that the kernel is for.
            Ok(kernel) => {
                let problems = kernel.check(&kernel.home());
                warnings.extend(problems.iter().map(ToString::to_string));
            }
            Err(error) => {
                let error = sentence(error);
                warnings.push(format!("what was unfolded is not a kernel: {error}"));
            }
        }
        warnings
    }

    /// Returns the path of the innermost layer.
    pub(crate) fn innermost(&self) -> &str {
        let layer = self.unfolded.report.layers.last();
        layer.map_or(&self.path, |layer| &layer.path)
    }
}

/// Refuses an outermost image that is hopeless, and asks the verifier about all
/// others.
struct Admission<'a> {
    has_more_parsers: bool,
    /// Its failure, which is the same as when no unfolding has begun.
    hopeless: Option<Box<Failure>>,
    verifier: Verifier<'a>,
}

impl Gate for Admission<'_> {
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.verifier.found.is_empty() {
            let more = self.has_more_parsers;
            if let Err(failure) = check_hopeless(layer.pe, layer.image, layer.path, more) {
                let message = failure.message.clone();
                self.hopeless = Some(failure);
                return Err(message.into());
            }
        }
        self.verifier.admit(layer)
    }
}

/// Refuses an image whose headers say that no parser that comes with ukexec takes
/// it apart, and that it is no kernel either: it need not even be copied then.
/// `pe` is its headers, if they are those of a sound PE. Where there are more
/// parsers than those (`has_more_parsers`), it may be anything.
pub(super) fn check_hopeless(
    pe: Option<&PeImage>,
    image: &Rope,
    name: &str,
    has_more_parsers: bool,
) -> Result<(), Box<Failure>> {
    // A sound PE may carry a parser.
    if has_more_parsers || pe.is_some() {
        return Ok(());
    }
    match identify(&PeBytes(image)) {
        Ok(_) => Ok(()),
        Err(error)
            if error.is_read() || error.look_alike().is_some_and(LookAlike::is_for_parsers) =>
        {
            Ok(())
        }
        Err(error) => Err(no_kernel(name, &error)),
    }
}

/// Returns the failure of the layer at `path`, which is no kernel.
pub(super) fn no_kernel(path: &str, error: &BootError) -> Box<Failure> {
    let place = Place {
        layer: Some(path.to_owned()),
        offset: error.offset(),
        ..Place::default()
    };
    let message = format!("{path}: {}", sentence(error));
    Box::new(Failure {
        kind: ErrorKind::Format,
        message,
        errno: None,
        place,
    })
}

/// Returns the caller's initrds, and adds to `notes` those that a kernel would find
/// nothing in.
fn callers_initrd(
    request: &UnfoldRequest,
    sources: &Sources,
    notes: &mut Vec<String>,
) -> Result<Rope> {
    let mut initrds = Vec::new();
    for CallersInitrd { name, spans } in &request.initrds {
        let rope = sources.rope(spans)?;
        notes.extend(initrd::doubt(name, &rope, request.purpose.command())?);
        initrds.push(rope);
    }
    Ok(initrd::join(initrds))
}

/// Leaves out of `report` all that would make it too long to print, and returns
/// a note about that; parsers may have printed `log_lines`.
fn shorten(report: &mut Report, log_lines: u32) -> Option<String> {
    let Report { layers, stages, .. } = report;
    let pes = layers.iter_mut().filter_map(|layer| layer.pe.as_mut());
    let left_out = bounds::shorten_lists(pes.map(|pe| &mut pe.sections));
    let asked = layers.iter_mut().flat_map(|layer| &mut layer.asked);
    let asked = asked.map(|asked| &mut asked.log);
    let logs = stages.iter_mut().map(|stage| &mut stage.log).chain(asked);
    bounds::shorten_logs(logs, log_lines);
    (left_out > 0).then(|| format!("the report has no room for {left_out} more sections"))
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
            Err(error) => notes.push(format!("parser {} is left out: {error}", parser.name)),
        }
    }
    parsers.extend(built_in_parsers());
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
        image_decides_cmdline: policy.required().is_some(),
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
