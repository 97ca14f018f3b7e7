//! `ukexec load`: unfold and hand over to the running kernel.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ukexec_boot::EMPTY_INITRD;
use ukexec_kexec::{LoadKind, LoadRequest, MachineState, Moved, Part, assemble, load};

use crate::args::Load;
use crate::protocol::{Identity, MachineFacts, Objection, Wanted};
use crate::read::shown;
use crate::size::Size;
use crate::sources::Descriptor;
use crate::text;
use crate::unfolding::{Access, Task, Unfolding};

pub(crate) fn run(args: &Load) -> anyhow::Result<()> {
    let machine = MachineState::read(Path::new("/"));
    let task = Task {
        path: &args.image,
        args: &args.unfolding,
        access: Access::Snapshot,
        report: Wanted::default(),
        machine: facts(&machine),
        extra: true,
    };
    let unfolding = task.run()?;
    let kernel = unfolding.identified()?;
    let kind = if args.unfolding.panic {
        LoadKind::Crash
    } else {
        LoadKind::Reboot
    };
    let plan = Plan::of(&unfolding, kernel, kind, &machine)?;
    if !args.json {
        text::out(&plan.text(&unfolding, args.dry_run)?)?;
    }
    tell_notes(&unfolding);
    plan.check(kernel, &unfolding, args.dry_run)?;
    if args.dry_run {
        for obstacle in machine.obstacles(kind) {
            text::note(&format!("note: a load would be refused now: {obstacle}"));
        }
    } else {
        load(&plan.request())?;
    }
    // Told behind the call: a failure prints a document of its own.
    if args.json {
        text::json(&plan.document(&unfolding, args.dry_run)?)?;
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

/// Returns what of this machine decides whether it takes a kernel.
fn facts(machine: &MachineState) -> Option<MachineFacts> {
    Some(MachineFacts {
        machine: machine.machine.clone()?,
        page_size: machine.page_size,
        five_level_paging: machine.five_level_paging,
        efi_32bit: machine.efi_32bit,
    })
}

fn tell_notes(unfolding: &Unfolding) {
    unfolding.warn();
    if unfolding.answer.cmdline.is_none() {
        text::note(
            "note: neither the image nor you gave a command line; the kernel gets an empty one \
             (--cmdline or --reuse-cmdline gives it one)",
        );
    }
}

/// The running kernel would not take the image.
#[derive(Debug, thiserror::Error)]
#[error("this machine does not take {}: {problem}", shown(image))]
pub(crate) struct NotTaken {
    image: PathBuf,
    problem: String,
    /// What a dry run would have passed; an empty object for a real one.
    pub(crate) plan: Value,
}

/// What is handed to `kexec_file_load(2)`.
struct Plan<'a> {
    kernel: KernelFd<'a>,
    initrd: Option<Descriptor<'a>>,
    /// The initrd is an empty archive that stands for none.
    empty_initrd: bool,
    cmdline: Vec<u8>,
    kind: LoadKind,
    moved: Moved,
}

/// The kernel's descriptor.
enum KernelFd<'a> {
    /// The file that the caller named: nothing was unfolded, and the kernel
    /// looks at the file's own signature and attributes.
    Original(BorrowedFd<'a>, u64),
    /// A part of an image.
    Part(Descriptor<'a>),
}

impl<'a> Plan<'a> {
    fn of(
        unfolding: &'a Unfolding,
        kernel: &Identity,
        kind: LoadKind,
        machine: &MachineState,
    ) -> anyhow::Result<Self> {
        let Unfolding {
            image,
            initrds,
            answer,
            sources,
        } = unfolding;
        // What was verified here is the snapshot. The file counts only for a
        // kernel that looks at it itself.
        let original = image.file.as_ref();
        let original = original.filter(|_| !answer.unfolded && machine.verifies_files());
        let kernel_fd = match original {
            Some(file) => KernelFd::Original(file.as_fd(), image.len()),
            None => KernelFd::Part(sources.descriptor(&answer.kernel)?),
        };
        let empty_initrd = answer.initrd.is_none() && kernel.x86_64;
        let initrd = match &answer.initrd {
            Some(spans) => Some(sources.descriptor(spans)?),
            None if empty_initrd => {
                let (sealed, moved) = assemble(&[Part::Bytes(&EMPTY_INITRD)])?;
                Some(Descriptor::Assembled(sealed, moved))
            }
            None => None,
        };
        let mut moved = image.moved;
        for initrd in initrds {
            moved += initrd.moved;
        }
        for descriptor in kernel_fd.part().into_iter().chain(&initrd) {
            moved += descriptor.moved();
        }
        let cmdline = answer.cmdline.clone().unwrap_or_default();
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
    fn check(&self, kernel: &Identity, unfolding: &Unfolding, dry_run: bool) -> anyhow::Result<()> {
        let (refusals, doubts): (Vec<&Objection>, Vec<&Objection>) =
            kernel.problems.iter().partition(|problem| problem.refused);
        for doubt in doubts {
            text::note(&format!("warning: {}", doubt.text));
        }
        let Some(problem) = refusals.into_iter().next() else {
            return Ok(());
        };
        let plan = if dry_run {
            self.document(unfolding, dry_run)?
        } else {
            json!({})
        };
        Err(NotTaken {
            image: unfolding.image.path.clone(),
            problem: problem.text.clone(),
            plan,
        }
        .into())
    }
}

impl Plan<'_> {
    fn text(&self, unfolding: &Unfolding, dry_run: bool) -> anyhow::Result<String> {
        let mut text = unfolding.answer.text.clone();
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

    fn document(&self, unfolding: &Unfolding, dry_run: bool) -> anyhow::Result<Value> {
        let request = self.request();
        let mut document = unfolding.answer.document.clone();
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

impl<'a> KernelFd<'a> {
    fn part(&self) -> Option<&Descriptor<'a>> {
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
