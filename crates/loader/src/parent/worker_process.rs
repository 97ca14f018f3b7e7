//! The parent's end of a worker: it starts the worker, sends requests, waits
//! for a limited time, and ends the worker.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ukexec_kexec::close_on_exec;
use ukexec_sandbox::{Channel, Confinement, SandboxError, Strictness, Worker, spawn};
use ukexec_unfold::Budget;

use crate::console::Console;
use crate::error::{Context as _, LoaderError, Result};
use crate::files::IMAGE_LEN_MAX;
use crate::log::verbosity;
use crate::options::LoaderOptions;
use crate::parent::border;
use crate::parent::input::{InputBytes, InputFile};
use crate::parent::log::Log;
use crate::parent::progress::ShownProgress;
use crate::parent::sources::Sources;
use crate::parent::waiting::{WaitBudget, cpu_seconds};
use crate::protocol::beside::CompanionFile;
use crate::protocol::bounds;
use crate::protocol::facts::{Facts, FactsOf};
use crate::protocol::line::short_line;
use crate::protocol::settings::{Settings, WORKER};
use crate::protocol::{
    Answer, CUTS_MAX, Ending, Event, Grows, LIMITS, LookRequest, Request, SnapshotPlan,
};
use crate::report::ReportForm;
use crate::report::failure::find;

/// Bytes that parts may have beyond their inputs: padding between them.
pub(crate) const SLACK: u64 = 1 << 20;

/// A worker at work.
pub(crate) struct WorkerProcess {
    worker: Worker,
    channel: Channel,
    /// The time that the parent still waits for it, all in all.
    waiting: WaitBudget,
    /// Its words meanwhile.
    log: Log,
    /// The lines that parsers may print.
    log_lines: u32,
    /// For whom its report is.
    form: ReportForm,
}

impl fmt::Debug for WorkerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, .. } = self;
        f.debug_tuple("WorkerProcess").field(worker).finish()
    }
}

/// Descriptors that may be open at once: sections, initrds, outputs.
const DESCRIPTORS: u64 = 1024;

/// The time that a worker may take to end after it hung up.
const FAREWELL: Duration = Duration::from_secs(5);

/// The time that the parent reads on from a closed channel: nothing new comes,
/// but the last words may still lie in it.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl WorkerProcess {
    /// Starts a worker. If a good signature is `required`, the worker does
    /// nothing in a sandbox with gaps.
    pub(crate) fn start(
        options: &LoaderOptions,
        required: bool,
        console: &Arc<dyn Console>,
    ) -> Result<Self> {
        if !options.sandbox && required {
            return Err(LoaderError::new(
                "--no-sandbox: a good signature is required, and so is the sandbox that looks \
                 for it; leave the option out",
            ));
        }
        if !options.sandbox {
            console.warn("--no-sandbox: the maker of the image may do all that you may do");
        }
        // Where the kernel cannot do it, the worker looks for stray
        // descriptors.
        let _told_by_the_worker = close_on_exec();
        let settings = settings(options, required);
        let log_bytes = settings.log_bytes;
        let settings = serde_json::to_string(&settings).context(|| "no worker can be started")?;
        let arguments = [WORKER, &settings].map(OsStr::new);
        let (worker, channel) = spawn(&arguments).context(|| "no worker can be started")?;
        Ok(Self {
            worker,
            channel,
            waiting: WaitBudget::new(&options.budget),
            log: Log::new(log_bytes, Arc::clone(console)),
            log_lines: options.budget.meter.log_lines,
            form: options.form,
        })
    }

    pub(crate) fn send(&self, request: &Request, descriptor: BorrowedFd<'_>) -> Result<()> {
        self.send_before(request, descriptor, None)
    }

    /// Sends a request that the worker waits for. It has read all before, so
    /// the channel is empty and has room for this.
    fn send_wanted(&self, request: &Request, descriptor: BorrowedFd<'_>) -> Result<()> {
        let until = Instant::now() + FAREWELL;
        self.send_before(request, descriptor, Some(until))
    }

    fn send_before(
        &self,
        request: &Request,
        descriptor: BorrowedFd<'_>,
        until: Option<Instant>,
    ) -> Result<()> {
        let frame = serde_json::to_vec(request).context(|| "a request cannot be put into words")?;
        let sent = self.waiting.spend(|deadline| {
            let deadline = until.map_or(deadline, |until| until.min(deadline));
            self.channel.send_before(&frame, &[descriptor], deadline)
        });
        match sent {
            Err(error) if error.is_timed_out() && until.is_some() => {
                Err(border::names("what it wants and does not take"))
            }
            Err(error) if error.is_timed_out() => Err(self.waiting.is_over()),
            Err(closed) if closed.is_closed() => Err(self.last_words(closed)),
            sent => sent.context(|| "the worker cannot be asked"),
        }
    }

    /// Returns why a worker is gone: by its own words or by its ending. If it
    /// is not gone, the error is that the channel is `closed` all the same.
    fn last_words(&self, closed: SandboxError) -> LoaderError {
        let until = Instant::now() + LAST_WORDS;
        loop {
            match self.event_before(until) {
                Ok(_it_hoped_for_more) => {}
                Err(error) if is_timeout(&error) => {
                    return LoaderError::from(closed).context("the worker cannot be asked");
                }
                Err(error) => return error,
            }
        }
    }

    /// Waits for the worker's next event, and prints its log meanwhile. A
    /// failure is an error, and so is a worker that hangs up.
    fn event(&self) -> Result<Event> {
        match self.waiting.spend(|deadline| self.event_before(deadline)) {
            Err(error) if is_timeout(&error) => Err(self.waiting.is_over()),
            event => event,
        }
    }

    fn event_before(&self, deadline: Instant) -> Result<Event> {
        loop {
            let message = self.channel.receive_before(LIMITS, deadline);
            let Some(message) = message.context(|| "the worker cannot be heard")? else {
                return Err(LoaderError::new(HungUp));
            };
            let event = serde_json::from_slice(&message.frame).map_err(|error| {
                // The worker may have chosen words of it.
                let error = short_line(&error.to_string());
                border::sends(format_args!("what makes no sense ({error})"))
            })?;
            match event {
                Event::Log(line) => self.log.print(line)?,
                Event::Failed(ending) => return Err(self.ending(*ending)),
                event => return Ok(event),
            }
        }
    }

    /// Returns the failure that a worker ends with.
    fn ending(&self, ending: Ending) -> LoaderError {
        let Ending { failure, report } = ending;
        let check = |report| border::check_report(report, self.form, self.log_lines);
        let checked = report.as_ref().map_or(Ok(()), check);
        match checked.and_then(|()| border::check_failure(&failure)) {
            Err(error) => error,
            Ok(()) => LoaderError::from(Box::new(failure)).with_report(report),
        }
    }

    /// Asks where to cut `image`, and what to hash of it. A stream is sealed in
    /// one piece already.
    pub(crate) fn look(
        &self,
        image: &InputFile,
        has_more_parsers: bool,
        initrds: Vec<u64>,
    ) -> Result<SnapshotPlan> {
        let InputBytes::File(file, len) = &image.content else {
            return Ok(SnapshotPlan::default());
        };
        let request = LookRequest {
            len: *len,
            has_more_parsers,
            initrds,
        };
        self.send(&Request::Look(Box::new(request)), file.as_fd())?;
        match self.event()? {
            Event::Looked(plan) if plan.cuts.len() <= CUTS_MAX => {
                if let Some(Grows { room, .. }) = plan.grows
                    && room > IMAGE_LEN_MAX
                {
                    return Err(border::names(format!("{room} bytes of room in front")));
                }
                if let Some(request) = &plan.hash {
                    border::check_hashed(&request.ranges)?;
                }
                Ok(plan)
            }
            event => Err(not_asked_for(&event)),
        }
    }

    /// Asks how much of `companions`, whose sources were sent, comes in front of the
    /// initrd of `image`.
    pub(crate) fn front(&self, image: &InputFile, companions: &[CompanionFile]) -> Result<u64> {
        let InputBytes::File(file, len) = &image.content else {
            return Ok(0);
        };
        let request = Request::Front {
            len: *len,
            companions: companions.to_vec(),
        };
        self.send(&request, file.as_fd())?;
        match self.event()? {
            Event::Front(front) if front <= IMAGE_LEN_MAX => Ok(front),
            event => Err(not_asked_for(&event)),
        }
    }

    /// Asks what the `file` of a boot entry, of `len` bytes, says.
    pub(crate) fn facts(&self, of: FactsOf, len: u64, file: BorrowedFd<'_>) -> Result<Facts> {
        self.send(&Request::Facts { of, len }, file)?;
        match self.event()? {
            Event::Facts(facts) => {
                border::check_facts(&facts)?;
                Ok(*facts)
            }
            event => Err(not_asked_for(&event)),
        }
    }

    /// Serves the worker until it answers. Its outputs are memory of this
    /// machine: at most `left` bytes, and the last output may be as long again
    /// as the sandbox allows.
    pub(crate) fn answer(
        &self,
        sources: &mut Sources,
        mut left: u64,
        mut progress: ShownProgress,
    ) -> Result<Answer> {
        loop {
            let written = match self.event()? {
                Event::Progress(now) if progress.is_shown() => {
                    progress.show(now)?;
                    0
                }
                Event::Output => {
                    let output = sources.add_output()?;
                    self.send_wanted(&Request::Output, output)?;
                    0
                }
                // The time that this takes depends on the worker's writes.
                Event::Written(id) => self.waiting.spend(|_| sources.seal(id))?,
                Event::Freed(id) => self.waiting.spend(|_| sources.free(id))?,
                Event::Done(answer) => {
                    border::check_answer(&answer, self.form, self.log_lines)?;
                    return Ok(*answer);
                }
                event => return Err(not_asked_for(&event)),
            };
            let rest = left.checked_sub(written);
            left = rest.ok_or_else(|| border::names("more output than there can be"))?;
        }
    }

    /// Lets the worker, which has answered, begin to end while this process goes on.
    pub(crate) fn begin_end(&self) {
        self.worker.begin_kill();
    }

    /// Ends the worker: it can write to no output from then on. If it hung up
    /// without an answer, the error names its ending.
    pub(crate) fn end<T>(self, result: Result<T>) -> Result<T> {
        let Self {
            worker,
            channel,
            log,
            ..
        } = self;
        let result = match result {
            Err(error) if find::<HungUp>(&error).is_some() => {
                drop(channel);
                let ending = worker
                    .wait_or_kill(FAREWELL)
                    .context(|| "the worker cannot be waited for")?;
                Err(LoaderError::new(format!(
                    "the worker, which takes the image apart, {ending}; nothing was done with the \
                     image"
                )))
            }
            result => {
                drop(channel);
                worker.kill().context(|| "the worker cannot be ended")?;
                result
            }
        };
        log.finish();
        result
    }
}

/// The worker has hung up without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the worker has hung up")]
struct HungUp;

fn not_asked_for(event: &Event) -> LoaderError {
    let word = event.name();
    border::names(format!("{word:?} that nobody asked for in this way"))
}

fn is_timeout(error: &LoaderError) -> bool {
    find(error).is_some_and(SandboxError::is_timed_out)
}

/// Returns the settings that a worker starts with.
fn settings(options: &LoaderOptions, required: bool) -> Settings {
    let budget = &options.budget;
    let confinement = Confinement {
        // The budget's private memory, a decompressor's window, and the program.
        address_space: budget.meter.memory.saturating_add(512 << 20),
        cpu_seconds: cpu_seconds(budget),
        file_size: file_size(budget),
        descriptors: DESCRIPTORS,
    };
    let strictness = if required {
        Strictness::Require
    } else {
        Strictness::BestEffort
    };
    let verbose = verbosity();
    Settings {
        confinement: options.sandbox.then_some((confinement, strictness)),
        log_bytes: bounds::log_max(verbose, budget.meter.log_lines),
        verbose,
        #[cfg(feature = "escape")]
        escape: std::env::var("UKEXEC_ESCAPE").ok(),
    }
}

/// Returns how long an output of a worker may be, in bytes.
fn file_size(budget: &Budget) -> u64 {
    let output = budget.output.saturating_add(budget.meter.memory);
    output.saturating_add(SLACK)
}

/// Returns how long all outputs of a worker may be together, in bytes: those of
/// the unfolding, and those that it writes out of its memory.
pub(crate) fn output_limit(budget: &Budget) -> u64 {
    file_size(budget).saturating_mul(2)
}
