//! `ukexec load`: unfold and hand over to the running kernel.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ukexec_boot::{Arch, EMPTY_INITRD, Kernel, Machine, Problem};
use ukexec_bpf::Rope;
use ukexec_kexec::{LoadKind, LoadRequest, MachineState, Moved, load};

use crate::args::Load;
use crate::size::Size;
use crate::sources::Descriptor;
use crate::unfolding::{Access, Outcome};
use crate::{document, text};

pub(crate) fn run(args: &Load) -> anyhow::Result<()> {
    let outcome = Outcome::of(&args.image, &args.unfolding, Access::Snapshot)?;
    let kernel = outcome.identified()?;
    let kind = if args.unfolding.panic {
        LoadKind::Crash
    } else {
        LoadKind::Reboot
    };
    let plan = Plan::of(&outcome, kernel, kind)?;
    let machine = MachineState::read(Path::new("/"));
    if !args.json {
        text::out(&plan.text(&outcome, args.dry_run)?)?;
    }
    tell_notes(&outcome);
    plan.check(kernel, &machine, &outcome, args.dry_run)?;
    if args.dry_run {
        for obstacle in machine.obstacles(kind) {
            text::note(&format!("note: a load would be refused now: {obstacle}"));
        }
    } else {
        load(&plan.request())?;
    }
    // Told behind the call: a failure prints a document of its own.
    if args.json {
        text::json(&plan.document(&outcome, args.dry_run)?)?;
    }
    if !args.json && !args.dry_run {
        let boot = match kind {
            LoadKind::Reboot => "`ukexec exec` boots it",
            LoadKind::Crash => "the next panic boots it",
        };
        text::note(&format!("loaded; {boot}"));
    }
    Ok(())
}

fn tell_notes(outcome: &Outcome) {
    text::warn(outcome);
    if outcome.cmdline.is_none() {
        text::note(
            "note: neither the image nor you gave a command line; the kernel gets an empty one \
             (--cmdline or --reuse-cmdline gives it one)",
        );
    }
}

/// The running kernel would not take the image.
#[derive(Debug, thiserror::Error)]
#[error("this machine does not take {}: {problem}", image.display())]
pub(crate) struct NotTaken {
    image: PathBuf,
    problem: Problem,
    /// What a dry run would have passed; an empty object for a real one.
    pub(crate) plan: Value,
}

/// What is handed to `kexec_file_load(2)`.
struct Plan<'a> {
    kernel: KernelFd<'a>,
    initrd: Option<Descriptor>,
    /// The initrd is an empty archive that stands for none.
    empty_initrd: bool,
    cmdline: Vec<u8>,
    kind: LoadKind,
    moved: Moved,
}

/// The kernel's descriptor.
enum KernelFd<'a> {
    /// The file that the caller named: nothing was unfolded, so the kernel can
    /// look at the file's own signature and attributes.
    Original(BorrowedFd<'a>, u64),
    /// A part of an image.
    Part(Descriptor),
}

impl<'a> Plan<'a> {
    fn of(outcome: &'a Outcome, kernel: &Kernel, kind: LoadKind) -> anyhow::Result<Self> {
        let sources = &outcome.sources;
        let original = outcome
            .image
            .file
            .as_ref()
            .filter(|_| outcome.report.stages.is_empty());
        let kernel_fd = match original {
            Some(file) => KernelFd::Original(file.as_fd(), outcome.image.rope.len()),
            None => KernelFd::Part(sources.descriptor(&outcome.kernel)?),
        };
        let empty_initrd = outcome.initrd.is_none() && kernel.arch == Arch::X86_64;
        let initrd = match &outcome.initrd {
            Some(rope) => Some(sources.descriptor(rope)?),
            None if empty_initrd => Some(sources.descriptor(&Rope::from(EMPTY_INITRD.to_vec()))?),
            None => None,
        };
        let mut moved = outcome.image.moved;
        for initrd in &outcome.initrds {
            moved += initrd.moved;
        }
        for descriptor in kernel_fd.part().into_iter().chain(&initrd) {
            moved += descriptor.moved();
        }
        let cmdline = outcome.cmdline.clone().unwrap_or_default();
        Ok(Self {
            kernel: kernel_fd,
            initrd,
            empty_initrd,
            cmdline,
            kind,
            moved,
        })
    }

    fn request(&self) -> LoadRequest<'_> {
        let (kernel, unfolded) = match &self.kernel {
            KernelFd::Original(fd, _) => (*fd, false),
            KernelFd::Part(part) => (part.as_fd(), true),
        };
        let initrd = self.initrd.as_ref().map(|initrd| initrd.as_fd());
        let mut request = LoadRequest::new(kernel, initrd, &self.cmdline, self.kind);
        request.unfolded = unfolded;
        request
    }

    /// Refuses what this machine would refuse, and notes what it may.
    fn check(
        &self,
        kernel: &Kernel,
        state: &MachineState,
        outcome: &Outcome,
        dry_run: bool,
    ) -> anyhow::Result<()> {
        let (refusals, doubts): (Vec<Problem>, Vec<Problem>) = self
            .problems(kernel, state)
            .into_iter()
            .partition(Problem::is_refusal);
        for doubt in doubts {
            text::note(&format!("warning: {doubt}"));
        }
        let Some(problem) = refusals.into_iter().next() else {
            return Ok(());
        };
        let plan = if dry_run {
            self.document(outcome, dry_run)?
        } else {
            json!({})
        };
        Err(NotTaken {
            image: outcome.image.path.clone(),
            problem,
            plan,
        }
        .into())
    }

    /// Returns what this machine would say against it, beyond what any machine
    /// would.
    fn problems(&self, kernel: &Kernel, state: &MachineState) -> Vec<Problem> {
        let mut problems: Vec<Problem> = kernel
            .check_cmdline(self.cmdline.len())
            .into_iter()
            .collect();
        if let Some(mut machine) = state.machine.as_deref().and_then(Machine::from_uname) {
            machine.page_size = state.page_size;
            machine.five_level_paging = state.five_level_paging;
            machine.efi_32bit = state.efi_32bit;
            let everywhere = kernel.check(&Machine::new(kernel.arch));
            let here = kernel.check(&machine).into_iter();
            problems.extend(here.filter(|one| one.is_refusal() || !everywhere.contains(one)));
        }
        problems
    }
}

impl Plan<'_> {
    fn text(&self, outcome: &Outcome, dry_run: bool) -> anyhow::Result<String> {
        let mut text = text::stages(outcome);
        text.push_str(&text::parts(outcome, false)?);
        writeln!(
            text,
            "moved      {} in the kernel, {} through this process",
            Size(self.moved.in_kernel),
            Size(self.moved.through_user)
        )?;
        if dry_run {
            let request = self.request();
            let initrd = match &self.initrd {
                Some(initrd) if self.empty_initrd => {
                    format!("{} bytes, empty archive", initrd.len())
                }
                Some(initrd) => format!("{} bytes, {initrd}", initrd.len()),
                None => "none".to_owned(),
            };
            writeln!(
                text,
                "would call kexec_file_load(kernel: {} bytes, {}; initrd: {initrd}; \
                 cmdline: {} bytes with its NUL; flags: {:#x})",
                self.kernel.len(),
                self.kernel.kind(),
                request.cmdline_with_nul()?.len(),
                request.flags()
            )?;
        }
        Ok(text)
    }

    fn document(&self, outcome: &Outcome, dry_run: bool) -> anyhow::Result<Value> {
        let request = self.request();
        let mut document = document::of_outcome(outcome, false)?;
        document["load"] = json!({
            "dry_run": dry_run,
            "panic": self.kind == LoadKind::Crash,
            "kernel": { "size": self.kernel.len(), "descriptor": self.kernel.kind() },
            "initrd": self.initrd.as_ref().map(|initrd| json!({
                "size": initrd.len(),
                "descriptor": initrd.to_string(),
                "empty_archive": self.empty_initrd,
            })),
            "cmdline_len": request.cmdline_with_nul()?.len(),
            "flags": request.flags(),
            "bytes_moved": {
                "in_kernel": self.moved.in_kernel,
                "through_user": self.moved.through_user,
            },
        });
        Ok(document)
    }
}

impl KernelFd<'_> {
    fn part(&self) -> Option<&Descriptor> {
        match self {
            Self::Original(..) => None,
            Self::Part(part) => Some(part),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Original(_, len) => *len,
            Self::Part(part) => part.len(),
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::Original(..) => "the original file".to_owned(),
            Self::Part(part) => part.to_string(),
        }
    }
}
