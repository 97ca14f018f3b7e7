//! Faults of a kernel, and how `kexec_file_load(2)` answers them.

use alloc::string::String;
use core::fmt;

use crate::format::KernelFormat;
use crate::platform::{Arch, ByteOrder};

/// Something about a kernel that a machine will not like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What it is.
    pub fault: KernelFault,
    /// How `kexec_file_load` answers it.
    pub severity: Severity,
}

impl Problem {
    /// Returns whether the kernel is refused for certain.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.severity, Severity::Refused(_))
    }

    pub(crate) fn refused(errno: FileLoadErrno, fault: KernelFault) -> Self {
        Self {
            fault,
            severity: Severity::Refused(errno),
        }
    }

    pub(crate) fn may_be_refused(errno: FileLoadErrno, fault: KernelFault) -> Self {
        Self {
            fault,
            severity: Severity::MayBeRefused(errno),
        }
    }

    pub(crate) fn taken(fault: KernelFault) -> Self {
        Self {
            fault,
            severity: Severity::Taken,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        match self.severity {
            Severity::Refused(errno) => write!(f, " (kexec_file_load would answer {errno})"),
            Severity::MayBeRefused(errno) => write!(f, " (kexec_file_load may answer {errno})"),
            Severity::Taken => f.write_str(" (kexec_file_load would not notice)"),
        }
    }
}

/// How `kexec_file_load` answers a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// It refuses.
    Refused(FileLoadErrno),
    /// It refuses under conditions that are not to be seen from here.
    MayBeRefused(FileLoadErrno),
    /// It does not look; what boots may not work.
    Taken,
}

/// An answer of `kexec_file_load`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileLoadErrno {
    /// `EINVAL`.
    Einval,
    /// `ENOEXEC`.
    Enoexec,
    /// `ENOSYS`.
    Enosys,
}

impl fmt::Display for FileLoadErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Einval => "EINVAL",
            Self::Enoexec => "ENOEXEC",
            Self::Enosys => "ENOSYS",
        })
    }
}

/// A fault of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelFault {
    /// It runs on something else.
    #[error("the kernel is for {kernel}, this machine is {machine}: give one for {machine}")]
    WrongArch {
        /// The architecture it is built for.
        kernel: Arch,
        /// The machine's architecture.
        machine: Arch,
    },
    /// The machine loads other formats.
    #[error("the kernel is packed as {format}, and {machine} loads {takes} only: give {takes}")]
    WrongFormat {
        /// How it is packed.
        format: KernelFormat,
        /// The machine's architecture.
        machine: Arch,
        /// What it loads.
        takes: &'static str,
    },
    /// The architecture has no `kexec_file_load`.
    #[error("Linux has no kexec_file_load on {machine}: use kexec-tools there")]
    NoFileLoad {
        /// The machine's architecture.
        machine: Arch,
    },
    /// The other byte order.
    #[error("the kernel is {kernel}, this machine's is {machine}: give a {machine} one")]
    WrongByteOrder {
        /// The kernel's.
        kernel: ByteOrder,
        /// The machine's.
        machine: ByteOrder,
    },
    /// Made for other pages.
    #[error(
        "the kernel wants pages of {} KiB, this machine uses {} KiB: its processor must know both",
        needed >> 10, running >> 10
    )]
    PageSize {
        /// Bytes in a page of the kernel.
        needed: u64,
        /// Bytes in a page of the machine.
        running: u64,
    },
    /// Bytes are missing at the end.
    #[error(
        "the kernel needs {needed:#x} bytes, the file has {found:#x}: it was cut off, copy it again"
    )]
    CutOff {
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Its PE headers are damaged.
    #[error("its PE headers are damaged, so that no signature fits: {reason}")]
    BrokenPe {
        /// The fault in them.
        reason: String,
    },
    /// bzImage: the boot sector's signature is missing.
    #[error("boot_flag at 0x1fe: expected 0xaa55, found {found:#x}: the file is damaged")]
    NoBootFlag {
        /// What is there.
        found: u16,
    },
    /// bzImage: too old.
    #[error(
        "boot protocol {}.{:02}, and 2.12 (Linux 3.8) is needed: give a newer kernel",
        found >> 8, found & 0xff
    )]
    OldProtocol {
        /// Major in the high byte.
        found: u16,
    },
    /// bzImage: a zImage.
    #[error("a zImage, which loads below 1 MiB: build it as bzImage")]
    ZImage,
    /// bzImage: no 64-bit entry.
    #[error("a 32-bit kernel (XLF_KERNEL_64 is not set): give a 64-bit one")]
    Kernel32Bit,
    /// bzImage: must lie below 4 GiB.
    #[error(
        "a kernel that cannot be loaded above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G is not set): \
         build it with CONFIG_RELOCATABLE"
    )]
    NotAbove4G,
    /// bzImage: runs at one address only.
    #[error("a kernel that is not relocatable: build it with CONFIG_RELOCATABLE")]
    NotRelocatable,
    /// The firmware is 32-bit.
    #[error("this machine's UEFI firmware is 32-bit: boot with efi=noruntime to kexec")]
    Efi32Bit,
    /// bzImage: cannot start in 5-level paging mode.
    #[error(
        "a kernel without 5-level paging (XLF_5LEVEL is not set), which the running one uses: \
         boot with no5lvl, or give a newer kernel"
    )]
    NoFiveLevelPaging,
    /// Image: the size in memory is 0.
    #[error("the size in memory is 0, as before Linux 3.17 or in a zboot image: give a bare Image")]
    NoImageSize,
    /// Image: the size in memory is far below the file's.
    #[error("the size in memory ({image_size:#x}) is less than half of the file ({found:#x})")]
    SmallImageSize {
        /// What the header says.
        image_size: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The command line is too long.
    #[error("the command line has {len} bytes, at most {limit} are taken ({source_of_limit})")]
    CmdlineTooLong {
        /// Bytes of the command line.
        len: usize,
        /// Most bytes.
        limit: u32,
        /// Who says so.
        source_of_limit: &'static str,
    },
}
