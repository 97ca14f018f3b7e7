//! What `inspect`, `unfold` and `load` share: from arguments to what a worker
//! found. Nothing here looks at a byte of an image.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tracing_subscriber::filter::LevelFilter;
use ukexec_kexec::{MemfdWriter, SealedFile, close_on_exec};
use ukexec_pe::AuthenticodeRanges;
use ukexec_sandbox::{Channel, ChannelError, Ending, Worker, spawn};
use ukexec_signature::Hasher;

use crate::args;
use crate::image::{Content, Image, Opened, join_initrds, name};
use crate::parsers_d::{self, PARSER_MAX};
use crate::patience::{Patience, cpu_seconds};
use crate::protocol::{
    Allowance, Answer, Bundled, CUTS_MAX, Event, HashPlan, Hashed, Identity, Job, LIMITS,
    MachineFacts, Policy, Request, Verification, Wanted,
};
use crate::read;
use crate::sources::{BadAnswer, Sources};
use crate::text;
use crate::trust;

/// Whether the image is read where it lies or taken over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `inspect` and `unfold` read what they need.
    OnDisk,
    /// `load` looks at nothing that could change.
    Snapshot,
}

impl Access {
    /// Returns where bytes are read if only what is verified counts
    /// (`required`): a file on disk can change between the verdict on it and
    /// the use of it.
    fn where_verified(self, required: bool) -> Self {
        if required { Self::Snapshot } else { self }
    }
}

/// An image to take apart.
#[derive(Clone, Debug)]
pub(crate) struct Task<'a> {
    /// Where it is.
    pub(crate) path: &'a Path,
    /// How, and what with.
    pub(crate) args: &'a args::Unfolding,
    /// Where it is read.
    pub(crate) access: Access,
    /// What to tell.
    pub(crate) report: Wanted,
    /// The machine that is to take the kernel, if one is.
    pub(crate) machine: Option<MachineFacts>,
}

/// An image that was taken apart.
#[derive(Debug)]
pub(crate) struct Unfolding {
    /// The image, and what it took to have it.
    pub(crate) image: Image,
    /// The caller's initrds.
    pub(crate) initrds: Vec<Image>,
    /// What the worker found. Its spans were checked.
    pub(crate) answer: Answer,
    /// Where the spans' bytes are.
    pub(crate) sources: Sources,
}

impl Task<'_> {
    /// Opens the image and has a worker take it apart. The worker is gone when
    /// this returns.
    pub(crate) fn run(&self) -> anyhow::Result<Unfolding> {
        let image = Opened::open(self.path)?;
        let trust = trust::verification(&self.args.verify, self.thorough())?;
        let required = trust
            .as_ref()
            .is_some_and(|(rules, _)| rules.policy == Policy::Require);
        let work = Work::start(self.args, required)?;
        let task = Task {
            access: self.access.where_verified(required),
            ..self.clone()
        };
        let done = task.have_done(image, trust, &work);
        work.end(done)
    }

    fn have_done(
        &self,
        image: Opened,
        trust: Option<(Verification, SealedFile)>,
        work: &Work,
    ) -> anyhow::Result<Unfolding> {
        let verified = match trust {
            Some((verification, bundle)) => {
                work.trust(verification, &bundle)?;
                true
            }
            None => false,
        };
        let looked = if verified || self.access == Access::Snapshot {
            work.look(&image)?
        } else {
            Looked::default()
        };
        let mut sources = Sources::default();
        let (image, hashed) = self.bring(image, looked, &mut sources)?;
        let mut initrds = Vec::new();
        for path in &self.args.initrd {
            let initrd = Opened::open(path)?;
            let (initrd, _) = self.bring(initrd, Looked::default(), &mut sources)?;
            initrds.push(initrd);
        }
        for (descriptor, len) in sources.given() {
            work.send(&Request::Source { len }, descriptor)?;
        }
        let (mut job, bundle) = self.job(&image, &initrds)?;
        job.hashed = hashed;
        work.send(&Request::Unfold(Box::new(job)), bundle.as_fd())?;
        let mut answer = work.answer(&mut sources, output_limit(&self.args.limits))?;
        // What comes out is never longer than what went in and the budget.
        let inputs: u64 = initrds.iter().chain([&image]).map(Image::len).sum();
        let budget = self.args.limits.max_output.0;
        let limit = inputs.saturating_add(budget).saturating_add(SLACK);
        sources.check(&answer.kernel, limit)?;
        sources.check(answer.initrd.as_deref().unwrap_or_default(), limit)?;
        if let (Access::Snapshot, Some(initrd)) = (self.access, &mut answer.initrd) {
            sources.grow(initrd)?;
        }
        sources.seal_all()?;
        Ok(Unfolding {
            image,
            initrds,
            answer,
            sources,
        })
    }

    /// Returns whether to tell of every signature: that costs a pass over the
    /// bytes of inner layers too.
    fn thorough(&self) -> bool {
        self.report.layers
    }

    /// Brings a file into reach, and hashes it on the way if that is wanted.
    fn bring(
        &self,
        file: Opened,
        looked: Looked,
        sources: &mut Sources,
    ) -> anyhow::Result<(Image, Option<Hashed>)> {
        let Looked { cuts, hash } = looked;
        let Some(plan) = hash else {
            let image = match self.access {
                Access::OnDisk => file.leave(sources),
                Access::Snapshot => file.snapshot(&cuts, None, sources)?,
            };
            return Ok((image, None));
        };
        let ranges = AuthenticodeRanges {
            ranges: plan.ranges.clone(),
            padding: plan.padding,
        };
        let Ok(mut hasher) = Hasher::new(&ranges, plan.algorithms) else {
            // These cannot be hashed in one pass: the worker will, in another.
            return Ok((file.snapshot(&cuts, None, sources)?, None));
        };
        let mut at = 0;
        let mut tap = |bytes: &[u8]| {
            // What does not fit the plan is missing at the end.
            let _told_by_finish = hasher.update(at, bytes);
            at += bytes.len() as u64;
        };
        let image = file.snapshot(&cuts, Some(&mut tap), sources)?;
        let digests = hasher
            .finish()
            .context("the file changed while it was being taken over")?;
        Ok((image, Some(Hashed { plan, digests })))
    }

    /// Returns what the worker is to do, and a bundle of the small files for it.
    fn job(&self, image: &Image, initrds: &[Image]) -> anyhow::Result<(Job, SealedFile)> {
        let args = self.args;
        let mut bundle = Bundle::new()?;
        let given = args.parser.as_deref();
        let parser = given.map(|path| bundle.add_file(path)).transpose()?;
        let mut parsers = Vec::new();
        for (name, object) in parsers_d::all(&args.parsers_dir)? {
            parsers.push(bundle.add(name, &object)?);
        }
        let bundle = bundle.writer.finish()?;
        let job = Job {
            path: image.path.to_string_lossy().into_owned(),
            name: name(&image.path),
            image: image.spans.clone(),
            sealed: image.sealed,
            hashed: None,
            initrd: join_initrds(initrds),
            bundle_len: bundle.len(),
            parser,
            parsers,
            embedded_parsers: !args.no_embedded_parser,
            profile: args.profile.clone(),
            cmdline: cmdline(args)?,
            append: args.append.clone(),
            panic: args.panic,
            extra: self.access == Access::Snapshot,
            budget: Allowance::from(&args.limits),
            report: self.report,
            machine: self.machine.clone(),
        };
        Ok((job, bundle))
    }
}

impl Unfolding {
    /// Returns the kernel's identity, or as an error what it is instead.
    pub(crate) fn identified(&self) -> anyhow::Result<&Identity> {
        match &self.answer.identity {
            Ok(kernel) => Ok(kernel),
            Err(failure) => Err(failure.clone().into()),
        }
    }

    /// Like [`Unfolding::identified`], but what a parser handed over may be
    /// anything: a person may want to see it.
    pub(crate) fn unfolded_or_kernel(&self) -> anyhow::Result<()> {
        if self.answer.unfolded {
            Ok(())
        } else {
            self.identified().map(|_kernel| ())
        }
    }

    /// Tells the warnings on stderr.
    pub(crate) fn warn(&self) {
        for warning in &self.answer.warnings {
            text::note(&format!("warning: {warning}"));
        }
    }
}

/// Bytes that parts may have beyond their inputs: padding between them.
const SLACK: u64 = 1 << 20;

/// What the worker says of an image before it is taken over.
#[derive(Debug, Default)]
struct Looked {
    cuts: Vec<Range<u64>>,
    hash: Option<HashPlan>,
}

/// A worker at work.
struct Work {
    worker: Worker,
    channel: Channel,
    /// How long it is waited for, all in all.
    patience: Patience,
}

/// What a worker that hung up may still take to end.
const FAREWELL: Duration = Duration::from_secs(5);

impl Work {
    /// Starts a worker; one that does nothing in a sandbox with gaps, if only
    /// what is verified counts.
    fn start(args: &args::Unfolding, required: bool) -> anyhow::Result<Self> {
        if args.no_sandbox && required {
            bail!(
                "--no-sandbox: a good signature is required, and so is the sandbox that looks \
                 for it (--verify=auto and --verify=off go on without)"
            );
        }
        if args.no_sandbox {
            text::note("warning: --no-sandbox: whoever made the image may do what you may do");
        }
        // Where the kernel cannot do it, the worker looks for what came along.
        let _told_by_the_worker = close_on_exec();
        let arguments = worker_arguments(args, required);
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let (worker, channel) = spawn(&arguments).context("no worker can be started")?;
        let patience = Patience::new(&args.limits);
        channel.set_timeout(Some(patience.whole()))?;
        Ok(Self {
            worker,
            channel,
            patience,
        })
    }

    fn send(&self, request: &Request, descriptor: BorrowedFd<'_>) -> anyhow::Result<()> {
        let frame = serde_json::to_vec(request).context("a request cannot be put into words")?;
        // A worker that is gone has said why, or its ending does.
        let _told_when_it_answers = self.channel.send(&frame, &[descriptor]);
        Ok(())
    }

    /// Waits for what the worker says next, and tells its log. A failure is an
    /// error, and so is that it says nothing more.
    fn event(&self) -> anyhow::Result<Event> {
        loop {
            let wait = |deadline| self.channel.receive_before(LIMITS, deadline);
            let message = match self.patience.spend(wait) {
                Err(ChannelError::TimedOut) => return Err(self.patience.is_over().into()),
                message => message,
            };
            let Some(message) = message.context("the worker cannot be heard")? else {
                return Err(Silent.into());
            };
            let event = serde_json::from_slice(&message.frame)
                .map_err(|error| BadAnswer::new(format!("what makes no sense ({error})")))?;
            match event {
                Event::Log(line) => text::err(&line),
                Event::Failed(failure) => return Err(failure.into()),
                event => return Ok(event),
            }
        }
    }

    /// Tells the worker what to trust.
    fn trust(&self, verification: Verification, bundle: &SealedFile) -> anyhow::Result<()> {
        self.send(&Request::Trust(Box::new(verification)), bundle.as_fd())
    }

    /// Asks where to cut `image`, and what to hash of it. A stream is sealed in
    /// one piece already.
    fn look(&self, image: &Opened) -> anyhow::Result<Looked> {
        let Content::File(file, len) = &image.content else {
            return Ok(Looked::default());
        };
        self.send(&Request::Look { len: *len }, file.as_fd())?;
        match self.event()? {
            Event::Looked { cuts, hash } if cuts.len() <= CUTS_MAX => Ok(Looked { cuts, hash }),
            event => Err(not_asked_for(&event)),
        }
    }

    /// Does what the worker asks for until it answers. What it writes is memory
    /// of this machine: at most `left` bytes, and the last output may be as
    /// long again as the sandbox lets it.
    fn answer(&self, sources: &mut Sources, mut left: u64) -> anyhow::Result<Answer> {
        loop {
            let written = match self.event()? {
                Event::Output => {
                    let output = sources.add_output()?;
                    self.send(&Request::Output, output)?;
                    0
                }
                Event::Written(id) => sources.seal(id)?,
                Event::Freed(id) => sources.free(id)?,
                Event::Done(answer) if answer.document.is_object() => return Ok(*answer),
                event => return Err(not_asked_for(&event)),
            };
            let rest = left.checked_sub(written);
            left = rest.ok_or_else(|| BadAnswer::new("more output than there can be"))?;
        }
    }

    /// Ends the worker. Nothing that it wrote is open for writing from then on,
    /// and if `result` is that it said nothing, its ending tells why.
    fn end<T>(self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        let Self {
            worker, channel, ..
        } = self;
        match result {
            Err(error) if error.is::<Silent>() => {
                drop(channel);
                let ending = worker
                    .wait_or_kill(FAREWELL)
                    .context("the worker cannot be waited for")?;
                Err(Ended { ending }.into())
            }
            result => {
                drop(channel);
                worker.kill().context("the worker cannot be ended")?;
                result
            }
        }
    }
}

/// The worker has hung up without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the worker has hung up")]
struct Silent;

/// The worker is gone without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the worker, which takes the image apart, {ending}; nothing was done with the image")]
struct Ended {
    ending: Ending,
}

fn not_asked_for(event: &Event) -> anyhow::Error {
    let event = format!("{event:?}");
    let word = event.split(['(', ' ']).next().unwrap_or_default();
    BadAnswer::new(format!("{word:?} that nobody asked for in this way")).into()
}

/// Returns the worker's command line.
fn worker_arguments(args: &args::Unfolding, required: bool) -> Vec<String> {
    let limits = &args.limits;
    // The budget's private memory, a decompressor's window, and the program.
    let address_space = limits.max_memory.0.saturating_add(512 << 20);
    let seconds = cpu_seconds(limits);
    let mut arguments = vec![
        "worker".to_owned(),
        format!("--address-space={address_space}"),
        format!("--file-size={}", file_size(limits)),
        format!("--cpu-seconds={seconds}"),
    ];
    if args.no_sandbox {
        arguments.push("--no-sandbox".to_owned());
    }
    if required {
        arguments.push("--require-sandbox".to_owned());
    }
    #[cfg(feature = "escape")]
    if let Ok(attempt) = std::env::var("UKEXEC_ESCAPE") {
        arguments.push(format!("--escape={attempt}"));
    }
    let verbose = match LevelFilter::current() {
        LevelFilter::TRACE => "-vvv",
        LevelFilter::DEBUG => "-vv",
        LevelFilter::INFO => "-v",
        _ => return arguments,
    };
    arguments.push(verbose.to_owned());
    arguments
}

/// Returns how long an output of a worker may be, in bytes.
fn file_size(limits: &args::Limits) -> u64 {
    let output = limits.max_output.0.saturating_add(limits.max_memory.0);
    output.saturating_add(SLACK)
}

/// Returns how long all outputs of a worker may be together, in bytes. It unfolds
/// twice where it looks for the image's own command line first, and then writes
/// out what it has in memory.
fn output_limit(limits: &args::Limits) -> u64 {
    file_size(limits).saturating_mul(3)
}

/// Small files, one behind the other in sealed memory.
pub(crate) struct Bundle {
    pub(crate) writer: MemfdWriter,
}

impl Bundle {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let writer = MemfdWriter::new("ukexec-bundle")?;
        Ok(Self { writer })
    }

    pub(crate) fn add(&mut self, name: String, bytes: &[u8]) -> anyhow::Result<Bundled> {
        let start = self.writer.len();
        self.writer.write_all(bytes)?;
        let range = start..self.writer.len();
        Ok(Bundled { name, range })
    }

    fn add_file(&mut self, path: &Path) -> anyhow::Result<Bundled> {
        let failed = || format!("cannot read parser {}", path.display());
        self.add(
            name(path),
            &read::whole(path, PARSER_MAX).with_context(failed)?,
        )
    }
}

fn cmdline(args: &args::Unfolding) -> anyhow::Result<Option<String>> {
    if args.reuse_cmdline {
        let running = fs::read_to_string("/proc/cmdline")
            .context("cannot read the running kernel's command line for --reuse-cmdline")?;
        return Ok(Some(reused(&running, args.panic)));
    }
    Ok(args.cmdline.clone())
}

/// Returns the running kernel's command line without what was only for it: the
/// boot loader's `BOOT_IMAGE=`, `initrd=`, and in a crash kernel the
/// reservation for the next one.
fn reused(running: &str, panic: bool) -> String {
    let drop = |word: &&str| {
        word.starts_with("BOOT_IMAGE=")
            || word.starts_with("initrd=")
            || (panic && word.starts_with("crashkernel="))
    };
    running
        .split_ascii_whitespace()
        .filter(|word| !drop(word))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_verified_is_taken_over_first() {
        for access in [Access::OnDisk, Access::Snapshot] {
            assert_eq!(access.where_verified(true), Access::Snapshot);
            assert_eq!(access.where_verified(false), access);
        }
    }

    #[test]
    fn a_reused_command_line_loses_what_was_the_boot_loaders() {
        let running = "BOOT_IMAGE=/vmlinuz root=/dev/vda1  quiet crashkernel=256M initrd=\\i.img\n";
        assert_eq!(
            reused(running, false),
            "root=/dev/vda1 quiet crashkernel=256M"
        );
        assert_eq!(reused(running, true), "root=/dev/vda1 quiet");
    }
}
