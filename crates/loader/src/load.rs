//! From an unfolded image to `kexec_file_load(2)`.

use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};
use ukexec_boot::EMPTY_INITRD;
use ukexec_kexec::{KexecError, LoadKind, LoadRequest, MachineState, Moved, Part, assemble, load};

use crate::files::shown;
use crate::parent::Unfolding;
use crate::parent::sources::Descriptor;
use crate::protocol::Identity;
use crate::report::size::Size;

/// The running kernel would not take the image.
#[derive(Debug, thiserror::Error)]
#[error("this machine does not take {}: {problem}", shown(image))]
pub struct NotTaken {
    image: PathBuf,
    problem: String,
    /// What a dry run would have passed; an empty object for a real one.
    pub plan: Value,
}

/// What is handed to `kexec_file_load(2)`.
#[derive(Debug)]
pub struct LoadPlan<'a> {
    unfolding: &'a Unfolding,
    identity: &'a Identity,
    kernel: KernelFd<'a>,
    initrd: Option<Descriptor<'a>>,
    /// The initrd is an empty archive that stands for none.
    empty_initrd: bool,
    cmdline: Vec<u8>,
    kind: LoadKind,
    moved: Moved,
    dry_run: bool,
}

/// The kernel's descriptor.
#[derive(Debug)]
enum KernelFd<'a> {
    /// The file that the caller named: nothing was unfolded, and the kernel
    /// looks at the file's own signature and attributes.
    Original(BorrowedFd<'a>, u64),
    /// A part of an image.
    Part(Descriptor<'a>),
}

impl<'a> LoadPlan<'a> {
    /// Returns how `machine` is given what was unfolded for [`Purpose::Load`]; a
    /// `dry_run` is only told.
    ///
    /// # Errors
    ///
    /// What was unfolded is no kernel, or the parts cannot be put together.
    pub fn new(
        unfolding: &'a Unfolding,
        machine: &MachineState,
        dry_run: bool,
    ) -> anyhow::Result<Self> {
        let identity = unfolding.identified()?;
        let Unfolding {
            image,
            initrds,
            answer,
            kernel,
            initrd,
            sources,
            kind,
        } = unfolding;
        // What was verified here is the snapshot. The file counts only for a
        // kernel that looks at it itself.
        let original = image.file.as_ref();
        let original = original.filter(|_| !answer.unfolded && machine.verifies_files());
        let kernel_fd = match original {
            Some(file) => KernelFd::Original(file.as_fd(), image.len()),
            None => KernelFd::Part(sources.descriptor(kernel)?),
        };
        let empty_initrd = initrd.is_none() && identity.x86_64;
        let initrd = match initrd {
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
            unfolding,
            identity,
            kernel: kernel_fd,
            initrd,
            empty_initrd,
            cmdline,
            kind: *kind,
            moved,
            dry_run,
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

    /// Returns what is worth a look but refused by nobody, in words.
    pub fn notes(&self) -> Vec<String> {
        let answer = &self.unfolding.answer;
        let warning = |text: &String| format!("warning: {text}");
        let mut notes: Vec<String> = answer.warnings.iter().map(warning).collect();
        if answer.cmdline.is_none() {
            notes.push(
                "note: neither the image nor you gave a command line; the kernel gets an empty \
                 one (--cmdline or --reuse-cmdline gives it one)"
                    .to_owned(),
            );
        }
        let doubts = self.identity.problems.iter().filter(|it| !it.refused);
        notes.extend(doubts.map(|doubt| warning(&doubt.text)));
        notes
    }

    /// Refuses what this machine would refuse.
    ///
    /// # Errors
    ///
    /// [`NotTaken`].
    pub fn check(&self) -> anyhow::Result<()> {
        let mut refusals = self.identity.problems.iter().filter(|it| it.refused);
        let Some(problem) = refusals.next() else {
            return Ok(());
        };
        let plan = if self.dry_run {
            self.document()?
        } else {
            json!({})
        };
        Err(NotTaken {
            image: self.unfolding.image.path.clone(),
            problem: problem.text.clone(),
            plan,
        }
        .into())
    }

    /// Makes the call, unless this is a dry run.
    ///
    /// # Errors
    ///
    /// The kernel's, with the cause that the machine's state suggests.
    pub fn load(&self) -> Result<(), KexecError> {
        if self.dry_run {
            return Ok(());
        }
        load(&self.request())
    }
}

impl LoadPlan<'_> {
    /// Returns the report for people.
    ///
    /// # Errors
    ///
    /// A command line that no kernel takes.
    pub fn text(&self) -> anyhow::Result<String> {
        Ok(format!("{}{}", self.unfolding.answer.text, self.report()?))
    }

    /// Returns the report for machines, as `docs/json.md` describes it.
    ///
    /// # Errors
    ///
    /// As [`text`](Self::text).
    pub fn document(&self) -> anyhow::Result<Value> {
        let mut document = self.unfolding.answer.document.clone();
        document["load"] = serde_json::to_value(self.report()?)?;
        Ok(document)
    }

    fn report(&self) -> anyhow::Result<LoadReport> {
        let request = self.request();
        Ok(LoadReport {
            dry_run: self.dry_run,
            panic: self.kind == LoadKind::Crash,
            kernel: KernelReport {
                size: self.kernel.len(),
                descriptor: self.kernel.kind(),
            },
            initrd: self.initrd.as_ref().map(|initrd| InitrdReport {
                size: initrd.len(),
                descriptor: initrd.to_string(),
                empty_archive: self.empty_initrd,
            }),
            cmdline_len: request.cmdline_with_nul()?.len(),
            flags: request.flags(),
            bytes_moved: BytesMoved {
                in_kernel: self.moved.in_kernel,
                through_user: self.moved.through_user,
            },
        })
    }
}

/// What `kexec_file_load(2)` is given: `load` of the document.
#[derive(Debug, Serialize)]
struct LoadReport {
    dry_run: bool,
    panic: bool,
    kernel: KernelReport,
    initrd: Option<InitrdReport>,
    /// With its NUL.
    cmdline_len: usize,
    flags: u32,
    bytes_moved: BytesMoved,
}

#[derive(Debug, Serialize)]
struct KernelReport {
    size: u64,
    descriptor: String,
}

#[derive(Debug, Serialize)]
struct InitrdReport {
    size: u64,
    descriptor: String,
    /// It stands for none.
    empty_archive: bool,
}

#[derive(Debug, Serialize)]
struct BytesMoved {
    in_kernel: u64,
    through_user: u64,
}

impl fmt::Display for LoadReport {
    /// Writes what was moved; for a dry run also what the call would be given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BytesMoved {
            in_kernel,
            through_user,
        } = self.bytes_moved;
        let (in_kernel, through_user) = (Size(in_kernel), Size(through_user));
        writeln!(
            f,
            "moved      {in_kernel} in the kernel, {through_user} through this process"
        )?;
        if !self.dry_run {
            return Ok(());
        }
        let KernelReport { size, descriptor } = &self.kernel;
        let initrd = match &self.initrd {
            Some(initrd) if initrd.empty_archive => {
                format!("{} bytes, empty archive", initrd.size)
            }
            Some(initrd) => format!("{} bytes, {}", initrd.size, initrd.descriptor),
            None => "none".to_owned(),
        };
        let (cmdline_len, flags) = (self.cmdline_len, self.flags);
        writeln!(
            f,
            "would call kexec_file_load(kernel: {size} bytes, {descriptor}; initrd: {initrd}; \
             cmdline: {cmdline_len} bytes with its NUL; flags: {flags:#x})"
        )
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
