//! The parent: it opens files, hands them to a worker, and checks the answer.
//! Nothing here looks at a byte of an image.

mod beside;
pub(crate) mod border;
mod companions;
pub(crate) mod entries;
pub(crate) mod input;
pub(crate) mod log;
mod observed;
mod progress;
pub(crate) mod sources;
pub(crate) mod unfolding;
pub(crate) mod waiting;
pub(crate) mod worker_process;

use std::io::Write as _;
use std::mem;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use ukexec_kexec::{
    Condition, ConditionId, LoadKind, MemfdWriter, Moved, Readers, SealedFile, device_of,
    shown_path,
};
use ukexec_layout::DeviceTree;
use ukexec_signature::{Hasher, TakenDigests};
use ukexec_stub::{CompanionFolder, CompanionKind};

use self::beside::Machine;
use self::companions::{Copies, Listing};
use self::entries::{ChosenEntry, EntryParts};
use self::input::{Image, InputBytes, InputFile};
use self::progress::ShownProgress;
use self::sources::Sources;
use self::unfolding::Unfolding;
use self::worker_process::{SLACK, WorkerProcess, output_limit};
use crate::after_exec::{LastBoot, NextBoot};
use crate::config::loader_variables::LoaderVariables;
use crate::config::policy::{Config, Personality, SmbiosPolicy};
use crate::config::{parsers_d, running_cmdline, trust};
use crate::console::Console;
use crate::digest::digest_state;
use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::files::{base_name, read_named, shown};
use crate::options::{
    CmdlineFrom, Companions, DeviceTreeFrom, EntryName, LoaderOptions, Purpose, Syscall,
};
use crate::protocol::beside::{Beside, CompanionFile};
use crate::protocol::bundle::Bundle;
use crate::protocol::{
    Answer, BootFacts, CallersInitrd, Expansion, Request, SnapshotPlan, TreeFrom, UnfoldRequest,
    Verification,
};
use crate::report::Findings;
use crate::report::failure::sentence;

/// Whether the image is read where it lies or taken over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// `inspect` and `unfold` read what they need.
    OnDisk,
    /// `load` looks at nothing that could change.
    Snapshot,
}

impl Access {
    /// Returns where bytes are read for `purpose`, if only what is verified counts
    /// (`required`) or not: a file on disk can change between the verdict on it
    /// and the use of it.
    fn of(purpose: &Purpose, required: bool) -> Self {
        match purpose {
            Purpose::Inspect { .. } | Purpose::Unfold { .. } if !required => Self::OnDisk,
            _ => Self::Snapshot,
        }
    }
}

/// The files beside an image.
enum Found {
    /// They go along.
    Taken(Listing),
    /// They stay where they are; the warning names them.
    Left(Option<String>),
}

/// A worker that gets ready to take an image apart, while its caller does something else.
#[derive(Debug)]
pub struct ReadyWorker {
    config: Config,
    trust: Option<(Verification, SealedFile)>,
    work: WorkerProcess,
}

impl ReadyWorker {
    /// Starts a worker for an image that `options` are about. Its log goes to `console`.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, or there is no worker to be had.
    pub fn start(options: &LoaderOptions, console: &Arc<dyn Console>) -> Result<Self> {
        options.check()?;
        let config = trust::config(options)?;
        let trust = trust::verification(&config, &**console)?;
        let required = requires_good(trust.as_ref());
        let work = WorkerProcess::start(options, required, console)?;
        Ok(Self {
            config,
            trust,
            work,
        })
    }

    /// As [`unfold`], by this worker.
    ///
    /// # Errors
    ///
    /// As of [`unfold`].
    pub fn unfold(
        self,
        path: &Path,
        options: &LoaderOptions,
        purpose: &Purpose,
        console: &Arc<dyn Console>,
    ) -> Result<Unfolding> {
        let image = InputFile::open(path, &**console)?;
        self.unfold_opened(image, EntryParts::default(), options, purpose, console)
    }

    /// As [`unfold`], by this worker, of the image of a boot `entry`.
    ///
    /// # Errors
    ///
    /// As of [`unfold`].
    pub fn unfold_entry(
        self,
        entry: ChosenEntry,
        options: &LoaderOptions,
        purpose: &Purpose,
        console: &Arc<dyn Console>,
    ) -> Result<Unfolding> {
        let ChosenEntry { image, parts, .. } = entry;
        self.unfold_opened(image, parts, options, purpose, console)
    }

    fn unfold_opened(
        self,
        image: InputFile,
        parts: EntryParts,
        options: &LoaderOptions,
        purpose: &Purpose,
        console: &Arc<dyn Console>,
    ) -> Result<Unfolding> {
        let Self {
            config,
            mut trust,
            work,
        } = self;
        let required = requires_good(trust.as_ref());
        if let Some((verification, _)) = &mut trust {
            verification.thorough = purpose.is_inspection();
        }
        let last = last_boot(purpose, &config)?;
        let path = image.path.clone();
        let unfolder = Unfolder {
            path: &path,
            options,
            purpose,
            access: Access::of(purpose, required),
            smbios: config.smbios.unwrap_or_default(),
            personality: config.personality.unwrap_or_default(),
            required,
            expands: expands(&config, options, purpose),
            last,
            console: &**console,
        };
        let done = unfolder.unfold(image, parts, trust, &work);
        work.end(done).map_err(|error| match purpose {
            Purpose::Inspect { .. } | Purpose::Load { .. } => error,
            // The error is what there is to say where no report is asked for.
            Purpose::Unfold { .. } | Purpose::Attach => error.without_page(),
        })
    }
}

/// Returns what is left of the last boot, which a load has to look at.
fn last_boot(purpose: &Purpose, config: &Config) -> Result<LastBoot> {
    let Purpose::Load { .. } = purpose else {
        return Ok(LastBoot::default());
    };
    let variables = LoaderVariables::open(config.efivars.as_deref())?;
    Ok(LastBoot::of(Path::new("/"), &variables))
}

fn requires_good(trust: Option<&(Verification, SealedFile)>) -> bool {
    trust.is_some_and(|(trust, _)| trust.enforcement.is_require())
}

/// Opens the image at `path` and has a worker take it apart as `options` say.
/// The worker is gone when this returns.
///
/// `path` may be `-` for standard input. Warnings are in the result; the worker's
/// log and notes of this process go to `console` meanwhile.
///
/// # Errors
///
/// Faults of the image, of the files beside it, and of the machine; a worker
/// that died, or that was taken over and gave an answer that cannot be true.
pub fn unfold(
    path: &Path,
    options: &LoaderOptions,
    purpose: &Purpose,
    console: &Arc<dyn Console>,
) -> Result<Unfolding> {
    let image = InputFile::open(path, &**console)?;
    let ready = ReadyWorker::start(options, console)?;
    ready.unfold_opened(image, EntryParts::default(), options, purpose, console)
}

/// Has a worker run the parser that `image` carries, as every unfolding of it
/// begins, and returns things worth a look. `path` is where the image will be.
///
/// Nothing is verified: an image is signed when its parser is in it.
///
/// # Errors
///
/// The parser faults, hands over no kernel, or would not run at all. Faults of
/// what it handed over are no error.
pub fn try_attached(
    path: &Path,
    image: &[u8],
    readers: Readers,
    options: &LoaderOptions,
    console: &Arc<dyn Console>,
) -> Result<Vec<String>> {
    let mut writer = MemfdWriter::new("ukexec-image")?;
    writer.write_all(image)?;
    let image = InputFile {
        path: path.to_owned(),
        readers,
        opened: None,
        content: InputBytes::Stream(writer.finish()?),
    };
    let work = WorkerProcess::start(options, false, console)?;
    let unfolder = Unfolder {
        path,
        options,
        purpose: &Purpose::Attach,
        access: Access::OnDisk,
        smbios: SmbiosPolicy::None,
        personality: Personality::default(),
        required: false,
        expands: false,
        last: LastBoot::default(),
        console: &**console,
    };
    let done = unfolder.unfold(image, EntryParts::default(), None, &work);
    match work.end(done) {
        Ok(unfolding) if unfolding.answer.unfolded => Ok(unfolding.answer.warnings),
        Ok(unfolding) => {
            let why = unfolding.answer.warnings.join("; ");
            Err(LoaderError::new(format!("the parser would not run: {why}")))
        }
        // The parser is done then.
        Err(error) if error.place().stage.is_some_and(|stage| stage > 1) => {
            Ok(vec![sentence(&error)])
        }
        Err(error) => Err(error.without_page()),
    }
}

/// Takes one image apart, with a worker.
struct Unfolder<'a> {
    path: &'a Path,
    options: &'a LoaderOptions,
    purpose: &'a Purpose,
    access: Access,
    smbios: SmbiosPolicy,
    personality: Personality,
    required: bool,
    /// Whether the initrd is unpacked.
    expands: bool,
    last: LastBoot,
    console: &'a dyn Console,
}

impl Unfolder<'_> {
    fn unfold(
        &self,
        image: InputFile,
        parts: EntryParts,
        trust: Option<(Verification, SealedFile)>,
        work: &WorkerProcess,
    ) -> Result<Unfolding> {
        if let (DeviceTreeFrom::File(file), true) = (&self.options.device_tree, self.required) {
            let file = shown(file);
            let text = format!(
                "no signature covers the device tree {file}, and a good one is required; give \
                 --dtb=image, or leave it out"
            );
            return Err(LoaderError::new(text).of_kind(ErrorKind::Signature));
        }
        let verified = trust.is_some();
        if let Some((verification, bundle)) = trust {
            work.send(&Request::Trust(Box::new(verification)), bundle.as_fd())?;
        }
        let parsers = match self.purpose {
            Purpose::Attach => Vec::new(),
            _ => parsers_d::all(&self.options.parsers_dirs)?,
        };
        let mut plan = if verified || self.access == Access::Snapshot {
            let has_more_parsers = self.options.parser.is_some() || !parsers.is_empty();
            work.look(&image, has_more_parsers, self.initrd_lens(&parts.initrds))?
        } else {
            SnapshotPlan::default()
        };
        let mut sources = Sources::default();
        let hopeless = plan.hopeless;
        let (beside, copied, notes) = match self.companions(&image, &plan)? {
            Found::Taken(listing) => self.take(listing, parts.extra, &mut sources)?,
            Found::Left(warning) => {
                let warning = warning.or_else(|| companions::extra_warning(&parts.extra));
                (None, Moved::default(), Vec::from_iter(warning))
            }
        };
        let sent = send_sources(&sources, 0, work)?;
        if let (Some(grows), Some(beside)) = (&mut plan.grows, &beside) {
            let is_in_front = |it: &CompanionFile| {
                it.kind == CompanionKind::Addon || it.folder == CompanionFolder::Entry
            };
            if beside.companions.iter().any(is_in_front) {
                grows.room += work.front(&image, &beside.companions)?;
            }
        }
        let (image, hashed) = match hopeless {
            true => (image.leave(&mut sources)?, None),
            false => self.bring(image, plan, &mut sources)?,
        };
        let mut initrds = Vec::new();
        let callers = self.options.initrds.iter();
        let callers = callers.map(|path| InputFile::open(path, self.console));
        let all = parts.initrds.into_iter().map(Ok).chain(callers);
        for initrd in all.filter(|_| !hopeless) {
            let initrd = initrd?;
            let (initrd, _) = self.bring(initrd, SnapshotPlan::default(), &mut sources)?;
            initrds.push(initrd);
        }
        send_sources(&sources, sent, work)?;
        let (mut request, bundle) = self.request(&image, &initrds, parsers, beside)?;
        request.hashed = hashed;
        // No part is longer than all that went in and the budget.
        let inputs: u64 = initrds.iter().chain([&image]).map(Image::len).sum();
        let budget = self.options.budget.output.saturating_add(SLACK);
        let inputs = inputs.saturating_add(copied.total());
        let part_max = inputs.saturating_add(budget);
        request.part_max = part_max;
        let progress = ShownProgress::new(self.console, base_name(self.path));
        request.shows_progress = progress.is_shown();
        work.send(&Request::Unfold(Box::new(request)), bundle.as_fd())?;
        let limit = output_limit(&self.options.budget);
        let mut answer = work.answer(&mut sources, limit, progress)?;
        if hopeless {
            // What was not copied can change, and nothing of it is used.
            let text = format!(
                "{} changed while it was read; try again when nothing writes to it",
                shown(self.path)
            );
            return Err(LoaderError::new(text).of_kind(ErrorKind::File));
        }
        let asks = self.options.device_tree != DeviceTreeFrom::Machine;
        if answer.device_tree.is_some() != asks {
            let names = if asks {
                "no device tree"
            } else {
                "a device tree"
            };
            return Err(border::names(format!("{names} against the request")));
        }
        work.begin_end();
        let kernel = sources.check(mem::take(&mut answer.kernel), part_max)?;
        let initrd = answer.initrd.take();
        let mut initrd = initrd.map(|it| sources.check(it, part_max)).transpose()?;
        if let (Purpose::Load { .. }, Some(initrd)) = (self.purpose, &mut initrd) {
            sources.grow(initrd)?;
        }
        sources.seal_all()?;
        // The caller knows of it who names another one.
        let stays = parts.device_tree.filter(|_| !asks);
        answer.warnings.extend(stays.clone());
        answer.warnings.extend(parts.notes);
        let after = self.after(&image, &answer, stays.as_deref());
        if after.iter().any(|it| it.id == ConditionId::Pcrsig) {
            // It says the same, of this machine.
            answer
                .warnings
                .retain(|it| !it.starts_with(BootFacts::NO_PCR));
        }
        self.add_warnings(&mut answer, notes);
        add_entry(&mut answer.report, self.options.entry.as_ref());
        Ok(Unfolding {
            image,
            initrds,
            answer,
            kernel,
            initrd,
            sources,
            beside: copied,
            kind: self.options.kind,
            own_file: self.options.own_file && !self.required,
            more_flags: self.options.more_flags,
            syscall: self.options.syscall,
            device_tree: self.options.device_tree.clone(),
            efi: self.options.efi,
            window: self.options.window.clone(),
            required: self.required,
            hash: self.purpose.hashes(),
            entry: self.options.entry.clone(),
            expands: self.expands,
            after,
        })
    }

    /// Returns what will not work after a boot of the `image`. `device_tree` is why the
    /// kernel does not get that of the boot entry.
    fn after(&self, image: &Image, answer: &Answer, device_tree: Option<&str>) -> Vec<Condition> {
        let file = image.file.as_ref();
        self.last.conditions(&NextBoot {
            image: &image.path,
            device: file.and_then(|file| device_of(file.as_fd())),
            entry: self.options.entry.as_ref(),
            device_tree,
            facts: &answer.boot,
            cmdline: answer.cmdline.as_deref().unwrap_or_default(),
            kind: self.options.kind,
            root: Path::new("/"),
        })
    }

    /// Returns the lengths of the initrds: those of the entry, and those of the caller.
    fn initrd_lens(&self, entrys: &[InputFile]) -> Vec<u64> {
        // A hint: where it is wrong, a part is copied once more.
        let len_of = |path: &PathBuf| path.metadata().map_or(0, |it| it.len());
        let callers = self.options.initrds.iter().map(len_of);
        entrys.iter().map(InputFile::len).chain(callers).collect()
    }

    /// Looks for files beside `image`: to take them, or to name them.
    fn companions(&self, image: &InputFile, plan: &SnapshotPlan) -> Result<Found> {
        let LoaderOptions {
            companions,
            partitions,
            ..
        } = self.options;
        let companions = companions.as_ref().unwrap_or(&Companions::Auto);
        let is_named = matches!(companions, Companions::Folders { .. });
        let has_some = !plan.hopeless && (is_named || !plan.no_stub);
        Ok(match self.purpose {
            Purpose::Attach => Found::Left(None),
            purpose if purpose.takes_companions(self.options) => Found::Taken(match has_some {
                true => Listing::find(image, companions, partitions)?,
                false => Listing::default(),
            }),
            _ if has_some => Found::Left(companions::warning(image)),
            _ => Found::Left(None),
        })
    }

    /// Takes the files of `listing`, the `extra` files of an entry, and the caller's secrets
    /// over. Returns how many bytes were moved for it, too, and warnings.
    fn take(
        &self,
        listing: Listing,
        extra: Vec<(String, InputFile)>,
        sources: &mut Sources,
    ) -> Result<(Option<Beside>, Moved, Vec<String>)> {
        let strict = self.options.companions == Some(Companions::Strict);
        let credentials = &self.options.credentials;
        let mut copies = Copies::take(listing, credentials, strict, sources, self.console)?;
        copies.add_extra(extra, sources)?;
        let Copies {
            companions,
            credentials,
            passed_over,
            warnings,
            moved,
        } = copies;
        let beside = Beside {
            companions,
            credentials,
            passed_over,
            strict,
            ..Beside::default()
        };
        Ok((Some(beside), moved, warnings))
    }

    /// Adds the warnings about things that the worker cannot know or need not
    /// look at, and about files `beside` the image.
    fn add_warnings(&self, answer: &mut Answer, beside: Vec<String>) {
        // No line reserves nothing.
        let line = answer.cmdline.as_deref().unwrap_or_default();
        let is_crash = self.options.kind == LoadKind::Crash;
        if is_crash && running_cmdline::reserves_memory(line) {
            answer.warnings.push(
                "the command line has crashkernel=, for which the crash kernel sets aside memory \
                 that it needs itself: give it a line without (--cmdline)"
                    .to_owned(),
            );
        }
        let append = self.options.append.as_deref().unwrap_or_default();
        if running_cmdline::is_for_init(line, append) {
            answer.warnings.push(
                "--append: the command line has \" -- \" before this text, so the kernel passes it \
                 to init"
                    .to_owned(),
            );
        }
        if answer.unfolded {
            answer.warnings.extend(beside);
        }
        if let Findings::Document(document) = &mut answer.report {
            document["warnings"] = answer.warnings.clone().into();
        }
    }

    /// Brings a file into reach, and hashes it on the way if that is wanted.
    fn bring(
        &self,
        file: InputFile,
        plan: SnapshotPlan,
        sources: &mut Sources,
    ) -> Result<(Image, Option<TakenDigests>)> {
        let SnapshotPlan {
            cuts, grows, hash, ..
        } = plan;
        if hash.is_none() && self.access == Access::OnDisk {
            return Ok((file.leave(sources)?, None));
        }
        // If one pass cannot hash the ranges, the worker does so in another.
        let Some(mut hasher) = hash.and_then(|request| Hasher::new(request, digest_state).ok())
        else {
            return Ok((
                file.snapshot(&cuts, grows, None, self.console, sources)?,
                None,
            ));
        };
        let mut at = 0;
        let mut tap = |bytes: &[u8]| {
            // Bytes that do not fit the request are missing at the end.
            let _finish_refuses = hasher.update(at, bytes);
            at += bytes.len() as u64;
        };
        let image = file.snapshot(&cuts, grows, Some(&mut tap), self.console, sources)?;
        let digests = hasher
            .finish()
            .context(|| "the file changed while it was being taken over")?;
        Ok((image, Some(digests)))
    }

    /// Returns how the initrd is unpacked, if it is.
    fn expansion(&self) -> Option<Expansion> {
        let Purpose::Load { room, .. } = self.purpose else {
            return None;
        };
        let (room, of) = room.for_kind(self.options.kind);
        let of = of.to_owned();
        let memory = self.options.budget.meter.memory;
        let expansion = Expansion {
            room,
            of,
            memory,
            may_hash: self.options.syscall != Syscall::Load,
        };
        self.expands.then_some(expansion)
    }

    /// Returns the request to unfold `image`, and a bundle of the small files
    /// for it.
    fn request(
        &self,
        image: &Image,
        initrds: &[Image],
        listed: Vec<(String, Vec<u8>)>,
        mut beside: Option<Beside>,
    ) -> Result<(UnfoldRequest, SealedFile)> {
        let options = self.options;
        let mut bundle = Bundle::new()?;
        let given = options.parser.as_deref();
        let parser = given.map(|path| bundle.add_file(path)).transpose()?;
        let mut parsers = Vec::new();
        for (name, object) in listed {
            parsers.push(bundle.add(name, &object)?);
        }
        let observed = self.purpose.against();
        let observed = observed
            .map(|against| observed::add(against, &mut bundle, self.console))
            .transpose()?;
        if let Some(beside) = &mut beside {
            let machine = Machine {
                root: Path::new("/"),
                console: self.console,
            };
            machine.add(options, self.smbios, self.purpose, &mut bundle, beside)?;
        }
        let device_tree = match &options.device_tree {
            DeviceTreeFrom::Machine => None,
            DeviceTreeFrom::Image => Some(TreeFrom::Image),
            DeviceTreeFrom::File(path) => {
                let (bytes, _) = read_named(path, DeviceTree::MAX_LEN)
                    .context(|| format!("cannot read device tree {}", shown(path)))?;
                Some(TreeFrom::Given(bundle.add(shown(path), &bytes)?))
            }
        };
        let bundle = bundle.seal()?;
        let cmdline = match &options.cmdline {
            CmdlineFrom::Image => None,
            CmdlineFrom::Caller(line) | CmdlineFrom::Entry(line) => Some(line.clone()),
            CmdlineFrom::RunningKernel => Some(running_cmdline::read(options.kind)?),
        };
        let request = UnfoldRequest {
            path: image.path.to_string_lossy().into_owned(),
            name: shown(&image.path),
            image: image.spans.clone(),
            sealed: image.sealed,
            hashed: None,
            part_max: 0,
            initrds: initrds.iter().map(callers_initrd).collect(),
            replaces_initrd: options.replaces_initrd,
            extra_files: options.extra_files,
            expand_initrd: self.expansion(),
            beside: beside.unwrap_or_default(),
            bundle_len: bundle.len(),
            parser,
            parsers,
            embedded_parsers: options.embedded_parsers,
            profile: options.profile.clone(),
            cmdline,
            append: options.append.clone(),
            is_entrys_line: matches!(options.cmdline, CmdlineFrom::Entry(_)),
            literal_cmdline: options.literal_cmdline,
            overrides_line: options.literal_cmdline && self.personality.allows_line(),
            linux_entry: options.entry.as_ref().and_then(|it| it.linux.clone()),
            load_options: None,
            panic: options.kind == LoadKind::Crash,
            device_tree,
            observed,
            budget: options.budget.clone(),
            purpose: self.purpose.clone(),
            form: options.form,
            shows_progress: false,
        };
        Ok((request, bundle))
    }
}

/// Returns whether the initrd is unpacked. The memory for a crash kernel is small, so that for
/// one only the caller's word counts.
fn expands(config: &Config, options: &LoaderOptions, purpose: &Purpose) -> bool {
    let asked = match options.kind {
        LoadKind::Reboot => config.expand_initrd,
        LoadKind::Crash => options.config.expand_initrd,
    };
    matches!(purpose, Purpose::Load { .. }) && asked == Some(true)
}

/// Adds the boot entry that an image was chosen by to its report.
fn add_entry(report: &mut Findings, entry: Option<&EntryName>) {
    let title = entry.and_then(|it| it.title.as_ref());
    match (report, entry) {
        (Findings::Document(document), _) => {
            let entry = entry.map(|it| json!({ "id": it.id, "title": it.title }));
            document["entry"] = entry.into();
        }
        (Findings::Page(page), Some(entry)) => {
            let title = title.map_or_else(String::new, |title| format!(", {title}"));
            let of_image = mem::take(page);
            page.title("entry", format!("{}{title}", entry.id));
            page.append(of_image);
        }
        (Findings::Page(_), None) => {}
    }
}

/// Sends the sources behind the first `sent`, and returns how many are sent then.
fn send_sources(sources: &Sources, sent: usize, work: &WorkerProcess) -> Result<usize> {
    let mut count = sent;
    for source in sources.given().skip(sent) {
        let (descriptor, len) = source?;
        work.send(&Request::Source { len }, descriptor)?;
        count += 1;
    }
    Ok(count)
}

fn callers_initrd(image: &Image) -> CallersInitrd {
    CallersInitrd {
        name: shown_path(&image.path),
        spans: image.spans.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_verified_is_taken_over_first() {
        for (purpose, access) in [
            (Purpose::Unfold { hash: false }, Access::OnDisk),
            (
                Purpose::load(&ukexec_kexec::MachineState::default(), false),
                Access::Snapshot,
            ),
        ] {
            assert_eq!(Access::of(&purpose, true), Access::Snapshot);
            assert_eq!(Access::of(&purpose, false), access);
        }
    }
}
