//! The parent's end of a worker: what it is asked, how long it is waited for, how
//! it ends.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tracing_subscriber::filter::LevelFilter;
use ukexec_kexec::{SealedFile, close_on_exec};
use ukexec_sandbox::{Channel, ChannelError, Ending, Worker, spawn};

use crate::args;
use crate::image::{Content, Opened};
use crate::patience::{Patience, cpu_seconds};
use crate::protocol::{Answer, CUTS_MAX, Event, HashPlan, LIMITS, Request, Verification};
use crate::sources::{BadAnswer, Sources};
use crate::text;

/// Bytes that parts may have beyond their inputs: padding between them.
pub(crate) const SLACK: u64 = 1 << 20;

/// What the worker says of an image before it is taken over.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) cuts: Vec<Range<u64>>,
    pub(crate) hash: Option<HashPlan>,
}

/// A worker at work.
pub(crate) struct Work {
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
    pub(crate) fn start(args: &args::Unfolding, required: bool) -> anyhow::Result<Self> {
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

    pub(crate) fn send(&self, request: &Request, descriptor: BorrowedFd<'_>) -> anyhow::Result<()> {
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
    pub(crate) fn trust(
        &self,
        verification: Verification,
        bundle: &SealedFile,
    ) -> anyhow::Result<()> {
        self.send(&Request::Trust(Box::new(verification)), bundle.as_fd())
    }

    /// Asks where to cut `image`, and what to hash of it. A stream is sealed in
    /// one piece already.
    pub(crate) fn look(&self, image: &Opened) -> anyhow::Result<Looked> {
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
    pub(crate) fn answer(&self, sources: &mut Sources, mut left: u64) -> anyhow::Result<Answer> {
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
    pub(crate) fn end<T>(self, result: anyhow::Result<T>) -> anyhow::Result<T> {
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
pub(crate) fn output_limit(limits: &args::Limits) -> u64 {
    file_size(limits).saturating_mul(3)
}
