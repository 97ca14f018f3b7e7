//! The worker: the process that looks at untrusted bytes.
//!
//! It is this program, started once more, and gives all its rights away before
//! it reads anything: no files, no network, no processes. Its images come
//! through its channel as descriptors, and it answers in numbers
//! ([`crate::protocol`]).

mod additions;
mod answer;
mod channel;
#[cfg(feature = "escape")]
mod escape;
mod given_line;
mod initrd;
pub(crate) mod outcome;
mod progress;
mod sources;
mod trust_policy;
mod verify;

use std::cmp::Reverse;
use std::env;
use std::ops::Range;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;

use ukexec_boot::identify;
use ukexec_bpf::Rope;
use ukexec_entries::{ImageSummary, LoaderConf, Type1};
use ukexec_kexec::settle_signals;
use ukexec_pe::{PeImage, Section};
use ukexec_sandbox::{attach, confine};
use ukexec_stub::Uki;
use ukexec_unfold::PeBytes;

use self::additions::{Additions, Machine};
use self::channel::{LogWriter, ParentChannel};
use self::outcome::{Job, check_hopeless};
use self::sources::Sources;
use self::trust_policy::TrustPolicy;
use crate::error::{Context as _, Failure, LoaderError, Result};
use crate::files::IMAGE_LEN_MAX;
use crate::log::start_log;
use crate::protocol::beside::{Beside, CompanionFile};
use crate::protocol::facts::{Facts, FactsOf};
use crate::protocol::settings::Settings;
use crate::protocol::{CUTS_MAX, Ending, Event, Grows, LookRequest, Request, SnapshotPlan};
use crate::report::failure;

pub use self::initrd::join as join_initrds;

/// Runs as the worker until the parent has no more to ask or has had an image unfolded, if this
/// process was started as one; returns at once if it was not.
///
/// Every program that takes images apart with this crate calls this first in
/// `main`, and ends with the code that it returns: the worker is the same
/// program, started once more. In all of them, a file that gets longer than `ulimit -f`
/// allows is an error from then on, and no longer ends the process.
#[must_use]
pub fn run_as_worker() -> Option<ExitCode> {
    settle_signals();
    Settings::of_args(env::args_os()).map(|settings| run(&settings))
}

fn run(settings: &Settings) -> ExitCode {
    // Without a parent, nobody wants to know of a failure: a person started this.
    let Ok(channel) = attach() else {
        return ExitCode::FAILURE;
    };
    let parent = Arc::new(ParentChannel::new(channel, settings.log_bytes));
    tell_panics(&parent);
    let log = Arc::clone(&parent);
    start_log(settings.verbose, move || LogWriter(Arc::clone(&log)));
    let entered = enter(settings, &parent);
    #[cfg(feature = "escape")]
    if let Some(way) = &settings.escape {
        escape::attempt(way);
        escape::lie(way, &parent);
        escape::flood(way, &parent);
    }
    match entered.and_then(|()| serve(&parent, settings.verbose > 0)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let ending = Ending {
                failure: failure::of(&error),
                report: error.report().cloned(),
            };
            let _gone = parent.send(&Event::Failed(Box::new(ending)));
            ExitCode::FAILURE
        }
    }
}

/// Gives away all rights, or as many as this kernel can take.
fn enter(settings: &Settings, parent: &ParentChannel) -> Result<()> {
    let Some((confinement, strictness)) = &settings.confinement else {
        return Ok(());
    };
    let missing = confine(confinement, *strictness);
    for missing in missing.context(|| "the worker cannot be confined")? {
        parent.log(&format!("warning: the sandbox is not complete: {missing}"))?;
    }
    Ok(())
}

/// Answers the parent until it hangs up, or has an image unfolded.
fn serve(parent: &Arc<ParentChannel>, verbose: bool) -> Result<()> {
    let mut sources = Sources::new(parent);
    let mut policy = TrustPolicy::default();
    while let Some((request, descriptor)) = parent.receive()? {
        let descriptor = descriptor.context(|| "a request came without its descriptor")?;
        match request {
            Request::Trust(verification) => {
                let bundle = sources::rope(descriptor, verification.bundle_len);
                policy = TrustPolicy::new(&verification, &bundle)?;
            }
            Request::Look(request) => {
                let image = sources::rope(descriptor, request.len);
                parent.send(&Event::Looked(look(&image, &request, &policy)))?;
            }
            Request::Front { len, companions } => {
                let image = sources::rope(descriptor, len);
                let front = front(&image, companions, &policy, &sources);
                // Its faults are for the unfolding.
                parent.send(&Event::Front(front.unwrap_or_default()))?;
            }
            Request::Facts { of, len } => {
                let file = sources::rope(descriptor, len);
                parent.send(&Event::Facts(Box::new(facts(of, &file))))?;
            }
            Request::Source { len } => sources.take_in(descriptor, len),
            Request::Unfold(mut request) => {
                if request.shows_progress {
                    sources.progress.start();
                }
                let bundle = sources::rope(descriptor, request.bundle_len);
                let image = sources.rope(&request.image)?;
                let mut notes = given_line::settle(&mut request, &image, &bundle)?;
                let job = Job {
                    request: &request,
                    bundle: &bundle,
                    policy: &policy,
                    verbose,
                };
                let answered = answer(job, &mut sources, parent, &mut notes);
                if answered.is_err() {
                    warn(parent, notes)?;
                }
                // The last question: this process is gone by the time that its parent asks.
                return answered;
            }
            Request::Output => {
                return Err(LoaderError::new("an output came that was not asked for"));
            }
        }
    }
    Ok(())
}

/// Logs a failure's `notes`: something that the worker passed over may be why
/// it failed.
fn warn(parent: &ParentChannel, notes: impl IntoIterator<Item = String>) -> Result<()> {
    for note in notes {
        parent.log(&format!("ukexec: warning: {note}"))?;
    }
    Ok(())
}

/// Unfolds what a request names and sends the answer.
fn answer(
    job: Job<'_>,
    sources: &mut Sources,
    parent: &ParentChannel,
    notes: &mut Vec<String>,
) -> Result<()> {
    let (facts, parts) = outcome::unfold(job, notes, sources)?;
    // Sources that the answer names are freed with the parts, after it is sent.
    let (answer, _parts) = answer::of(&facts, parts, job, sources, notes)?;
    parent.send(&Event::Done(Box::new(answer)))
}

/// Returns where to cut an image so that its largest sections are parts of their
/// own, what to hash of it, and whether it is worth a copy at all.
fn look(image: &Rope, request: &LookRequest, policy: &TrustPolicy) -> SnapshotPlan {
    // Its faults are for the unfolding: it need be no PE.
    match PeImage::parse(&PeBytes(image)) {
        Ok(pe) => {
            let cuts = largest(pe.cuts());
            SnapshotPlan {
                grows: grows(&pe, &cuts, &request.initrds),
                cuts,
                hash: policy.digests_needed(&pe, image),
                // It may carry a parser.
                hopeless: false,
                no_stub: pe.section(".linux").is_none(),
            }
        }
        Err(_) => SnapshotPlan {
            hopeless: !request.has_more_parsers
                && check_hopeless(&identify(&PeBytes(image)), "", false).is_err(),
            no_stub: true,
            ..SnapshotPlan::default()
        },
    }
}

/// Returns which of `cuts` is the initrd, and how much comes in front of it where
/// systemd-stub puts it together: microcode and the caller's `initrds`, each on a
/// multiple of 4.
fn grows(pe: &PeImage, cuts: &[Range<u64>], initrds: &[u64]) -> Option<Grows> {
    let named = |name: &'static str| {
        let sections = pe.sections().iter();
        sections
            .filter(move |it| *it.name() == *name)
            .map(Section::content)
    };
    let len = |range: &Range<u64>| range.end.saturating_sub(range.start);
    let initrd = named(".initrd").max_by_key(len)?;
    let cut = cuts.iter().position(|cut| *cut == initrd)?;
    let front = named(".ucode").next().map(|it| len(&it)).into_iter();
    let front = front.chain(initrds.iter().copied());
    let padded = front.map(|len| len.saturating_add(len.wrapping_neg() % 4));
    let room = padded.fold(0, u64::saturating_add);
    Some(Grows { cut, room })
}

/// Returns how many bytes of `companions` come in front of the initrd of `image`.
fn front(
    image: &Rope,
    companions: Vec<CompanionFile>,
    policy: &TrustPolicy,
    sources: &Sources,
) -> Result<u64> {
    let beside = Beside {
        companions,
        ..Beside::default()
    };
    let image = PeBytes(image);
    let Ok(pe) = PeImage::parse(&image) else {
        return Ok(0);
    };
    let uki = Uki::new(image, &pe, 0)?;
    let machine = Machine::default();
    let additions = Additions::judge(&beside, Some(&uki), &machine, policy, sources)?;
    // More than that is refused when the initrd is put together.
    Ok(additions.front_len().min(IMAGE_LEN_MAX))
}

/// Returns what the `file` of a boot entry says.
fn facts(of: FactsOf, file: &Rope) -> Facts {
    // A file that got shorter meanwhile is one that cannot be read.
    let bytes = || file.to_vec().map_err(|error| failure::sentence(&error));
    match of {
        FactsOf::LoaderConf => Facts::LoaderConf(bytes().map(|it| LoaderConf::parse(&it))),
        FactsOf::Type1 => Facts::Type1(Box::new(bytes().and_then(|it| Type1::parse(&it)))),
        FactsOf::Image => Facts::Image(ImageSummary::read(&PeBytes(file))),
    }
}

/// Returns the largest of `cuts`, in their order. Each takes a descriptor; the
/// parent assembles the other sections later.
fn largest(mut cuts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    cuts.sort_by_key(|cut| Reverse(cut.end - cut.start));
    cuts.truncate(CUTS_MAX);
    cuts.sort_by_key(|cut| cut.start);
    cuts
}

/// Reports a panic to the parent, which no input should be able to cause.
fn tell_panics(parent: &Arc<ParentChannel>) {
    let parent = Arc::clone(parent);
    panic::set_hook(Box::new(move |panic| {
        let message = format!("a bug in ukexec, please report it: {panic}");
        let _gone = parent.send(&Event::Failed(Box::new(Failure::new(message).into())));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_largest_sections_become_parts() {
        let cuts: Vec<Range<u64>> = (0..1000)
            .map(|n| n * 1000..n * 1000 + n % 500 + 1)
            .collect();
        let kept = largest(cuts);
        assert_eq!(kept.len(), CUTS_MAX);
        assert!(kept.iter().all(|cut| cut.end - cut.start > 480));
        assert!(kept.is_sorted_by_key(|cut| cut.start));
    }
}
