//! An image that was taken apart: its parts, and what the worker says of it.

use std::ops::Range;

use ukexec_kexec::{Condition, LoadKind, MoreFlags, Moved, Part, Readers};

use super::input::Image;
use super::sources::{CheckedSpans, Sources};
use crate::error::{LoaderError, Result};
use crate::options::{DeviceTreeFrom, EntryName, Syscall};
use crate::protocol::{Answer, Identity};
use crate::report::Findings;

/// An image that was taken apart.
#[derive(Debug)]
pub struct Unfolding {
    /// The image, and how many bytes were moved to bring it into reach.
    pub(crate) image: Image,
    /// The caller's initrds.
    pub(crate) initrds: Vec<Image>,
    /// The worker's answer, without the parts.
    pub(crate) answer: Answer,
    /// The kernel; empty after an inspection, which asks for no parts.
    pub(crate) kernel: CheckedSpans,
    /// The initrd; absent is `None`, and so is that of an inspection.
    pub(crate) initrd: Option<CheckedSpans>,
    /// Where the parts' bytes are.
    pub(crate) sources: Sources,
    /// How many bytes were moved to bring companions and secrets into reach.
    pub(crate) beside: Moved,
    /// The occasion on which the kernel boots.
    pub(crate) kind: LoadKind,
    /// Whether the file itself is handed over where the image is the kernel.
    pub(crate) own_file: bool,
    /// Flags of newer kernels for the call.
    pub(crate) more_flags: MoreFlags,
    /// The call that is asked for, and the device tree.
    pub(crate) syscall: Syscall,
    pub(crate) device_tree: DeviceTreeFrom,
    /// Whether it hands UEFI over to a kernel of x86_64.
    pub(crate) efi: bool,
    /// Where `kexec_load(2)` may place a kernel for a reboot.
    pub(crate) window: Range<u64>,
    /// Whether a good signature is required.
    pub(crate) required: bool,
    /// Whether digests of the parts are reported.
    pub(crate) hash: bool,
    /// The boot entry that it was chosen by.
    pub(crate) entry: Option<EntryName>,
    /// Whether the initrd was unpacked as far as that can be done.
    pub(crate) expands: bool,
    /// Parts of the next system that fail after its boot, and those that a word of the command
    /// line switches off.
    pub(crate) after: Vec<Condition>,
}

impl Unfolding {
    /// Returns the kernel's identity, or as an error what it is instead.
    pub(crate) fn identified(&self) -> Result<&Identity> {
        match &self.answer.identity {
            Ok(kernel) => Ok(kernel),
            Err(failure) => Err(failure.clone().into()),
        }
    }

    /// Returns who may read the parts: who may read all that they are made of.
    #[must_use]
    pub fn readers(&self) -> Readers {
        let initrds = self.initrds.iter();
        initrds.fold(self.image.readers, |readers, initrd| {
            readers.and(initrd.readers)
        })
    }

    /// Refuses measurements that do not agree with those of the machine that they
    /// were compared with.
    ///
    /// # Errors
    ///
    /// A register differs, or nothing could be compared.
    pub fn agreed(&self) -> Result<()> {
        match &self.answer.disagreement {
            Some(disagreement) => Err(LoaderError::new(disagreement.as_str())
                .with_report(Some(self.answer.report.clone()))),
            None => Ok(()),
        }
    }

    /// Has `write` write each part under its name, absent ones left out. Returns how
    /// many bytes were moved. An image that was only inspected has no parts.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub fn write_parts<E: From<LoaderError>>(
        &self,
        mut write: impl FnMut(&'static str, &[Part<'_>]) -> Result<Moved, E>,
    ) -> Result<Moved, E> {
        let sources = &self.sources;
        let mut written = write("kernel", &sources.parts_of(&self.kernel)?)?;
        if let Some(initrd) = &self.initrd {
            written += write("initrd", &sources.parts_of(initrd)?)?;
        }
        if let Some(cmdline) = &self.answer.cmdline {
            written += write("cmdline", &[Part::Bytes(cmdline)])?;
        }
        Ok(written)
    }

    /// Returns how the kernel is packed, such as `bzImage`, if it is one, and whether a parser
    /// took it out of the image.
    #[must_use]
    pub fn kernel_format(&self) -> (Option<&str>, bool) {
        let identity = self.answer.identity.as_ref().ok();
        (identity.map(|it| it.format.as_str()), self.answer.unfolded)
    }

    /// Returns whether the kernel gets a command line that somebody wrote: the image's maker
    /// or the caller.
    #[must_use]
    pub fn has_cmdline(&self) -> bool {
        self.answer.cmdline.is_some()
    }

    /// Returns the warnings: things worth a look that stopped nothing.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.answer.warnings
    }

    /// Returns the report.
    #[must_use]
    pub fn report(&self) -> &Findings {
        &self.answer.report
    }
}
