//! Architectures, and the facts of the machine that is to load a kernel.
//!
//! A new architecture is a variant of [`Arch`] and a row of [`ARCHITECTURES`].
//! No other code knows how architectures differ, but for the headers of
//! [x86](crate::bzimage) and [s390](crate::s390), which no other has.

use core::fmt;

use serde::{Deserialize, Serialize};
use ukexec_pe::Machine;

use crate::format::{CmdlineLimit, KernelFormat};
use crate::problem::{EINVAL, ENOEXEC, ENOSYS, Severity};

use ByteOrder::{Big, Little};
use KernelFormat::{BzImage, Elf, Image, LoongArchPe, S390Image};

/// The facts of the machine that is to load a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Platform {
    /// The architecture of its kernel.
    pub arch: Arch,
    /// The byte order that its kernel runs in.
    pub(crate) byte_order: ByteOrder,
    /// Bytes in a page, if known.
    pub page_size: Option<u64>,
    /// Whether an x86 kernel uses 5-level paging, if known.
    pub five_level_paging: Option<bool>,
    /// Whether its UEFI firmware is 32-bit under a 64-bit kernel, if known.
    pub efi_32bit: Option<bool>,
}

impl Platform {
    pub(crate) fn new(arch: Arch, byte_order: ByteOrder) -> Self {
        Self {
            arch,
            byte_order,
            page_size: None,
            five_level_paging: None,
            efi_32bit: None,
        }
    }

    /// Returns a machine of which nothing else is known, in its usual byte order.
    pub(crate) fn usual(arch: Arch) -> Self {
        let only_big = arch.row().little.is_empty() && !arch.row().big.is_empty();
        Self::new(arch, if only_big { Big } else { Little })
    }

    /// Returns the machine that `uname -m` names so.
    #[must_use]
    pub fn from_uname(machine: &str) -> Option<Self> {
        let is_name = |name: &&str| match name.strip_suffix('*') {
            Some(start) => machine.starts_with(start),
            None => machine == *name,
        };
        ARCHITECTURES.iter().find_map(|row| {
            let little = row.little.iter().any(is_name).then_some(Little);
            let byte_order = little.or(row.big.iter().any(is_name).then_some(Big))?;
            Some(Self::new(row.arch, byte_order))
        })
    }
}

/// The architecture that a kernel is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Arch {
    /// 32-bit x86.
    X86,
    /// 64-bit x86.
    X86_64,
    /// 32-bit Arm.
    Arm,
    /// 64-bit Arm.
    Arm64,
    /// 32-bit RISC-V.
    Riscv32,
    /// 64-bit RISC-V.
    Riscv64,
    /// 32-bit LoongArch.
    LoongArch32,
    /// 64-bit LoongArch.
    LoongArch64,
    /// 64-bit PowerPC.
    PowerPc64,
    /// IBM Z.
    S390x,
    /// Another one, by its number in an ELF header.
    Other(u16),
}

impl Arch {
    pub(crate) fn row(self) -> &'static Row {
        let row = ARCHITECTURES.iter().find(|row| row.arch == self);
        row.unwrap_or(&NOTHING_KNOWN)
    }

    /// Returns the architecture of 64-bit ELF files with this `e_machine`.
    pub(crate) fn of_elf(e_machine: u16) -> Self {
        let mut rows = ARCHITECTURES.iter();
        let row = rows.find(|row| row.elf_machine == Some(e_machine));
        row.map_or(Self::Other(e_machine), |row| row.arch)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(number) => write!(f, "ELF machine {number}"),
            _ => f.write_str(self.row().name),
        }
    }
}

/// Returns how people call the processor of a PE image, if they see any.
#[must_use]
pub fn machine_name(machine: Machine) -> Option<&'static str> {
    let mut named = ARCHITECTURES.iter().filter_map(|row| row.pe_machine);
    named.find_map(|(known, name)| (known == machine).then_some(name))
}

/// Which end of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum ByteOrder {
    /// The low one.
    Little,
    /// The high one.
    Big,
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Little => "little-endian",
            Self::Big => "big-endian",
        })
    }
}

/// All that is particular to an architecture.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) arch: Arch,
    name: &'static str,
    /// Its names by `uname -m` in little-endian byte order; `*` stands for any end.
    little: &'static [&'static str],
    /// The same in big-endian byte order.
    big: &'static [&'static str],
    /// `e_machine` of 64-bit ELF files.
    elf_machine: Option<u16>,
    /// `Machine` of PE images, and how people call it.
    pub(crate) pe_machine: Option<(Machine, &'static str)>,
    /// The formats that `kexec_file_load` loads, its own first; none where Linux has no
    /// such system call.
    pub(crate) formats: &'static [KernelFormat],
    /// The same in words.
    pub(crate) takes: &'static str,
    /// The answer of its last loader to what it does not know.
    pub(crate) errno: &'static str,
    /// The answer to a kernel of the other byte order.
    pub(crate) other_order: fn(&'static str) -> Severity,
    /// The limit of command lines for kernels of its own format, where Linux's source
    /// has one and the kernel's header does not.
    cmdline_limit: Option<CmdlineLimit>,
    /// Where a flat image may have a magic, and which; PE headers identify one that has none.
    pub(crate) magics: &'static [(usize, &'static [u8])],
    /// Where a flat image has flags.
    pub(crate) flags_at: Option<usize>,
    /// Whether these flags have the size of pages, as those of arm64 do.
    pub(crate) has_page_size: bool,
}

impl Row {
    /// Returns the rows whose flat image has the header that others have, too, and
    /// its format.
    pub(crate) fn flat_images() -> impl Iterator<Item = (&'static Self, KernelFormat)> {
        ARCHITECTURES.iter().filter_map(|row| match row.formats {
            [format @ (Image | LoongArchPe), ..] => Some((row, *format)),
            _ => None,
        })
    }

    /// Returns the limit of command lines that the source has for kernels of
    /// `format`.
    pub(crate) fn cmdline_limit(&self, format: KernelFormat) -> Option<CmdlineLimit> {
        self.cmdline_limit
            .filter(|_| self.formats.first() == Some(&format))
    }
}

const fn limit(bytes: u32, source: &'static str, refused: bool) -> Option<CmdlineLimit> {
    Some(CmdlineLimit {
        bytes,
        source,
        refused,
    })
}

const NOTHING_KNOWN: Row = Row {
    arch: Arch::Other(0),
    name: "",
    little: &[],
    big: &[],
    elf_machine: None,
    pe_machine: None,
    formats: &[],
    takes: "",
    errno: ENOSYS,
    other_order: Severity::Refused,
    cmdline_limit: None,
    magics: &[],
    flags_at: None,
    has_page_size: false,
};

static ARCHITECTURES: &[Row] = &[
    Row {
        arch: Arch::X86,
        name: "x86",
        little: &["i386", "i486", "i586", "i686"],
        pe_machine: Some((Machine(0x014c), "i386")),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::X86_64,
        name: "x86_64",
        little: &["x86_64"],
        elf_machine: Some(62),
        pe_machine: Some((Machine(0x8664), "x86_64")),
        formats: &[BzImage],
        takes: "a bzImage (vmlinuz)",
        errno: ENOEXEC,
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::Arm,
        name: "arm",
        little: &["arm*"],
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::Arm64,
        name: "arm64",
        little: &["aarch64"],
        big: &["aarch64_be"],
        elf_machine: Some(183),
        pe_machine: Some((Machine(0xaa64), "arm64")),
        formats: &[Image],
        takes: "an Image",
        errno: EINVAL,
        // Most processors run both.
        other_order: Severity::MayBeRefused,
        cmdline_limit: limit(2047, "COMMAND_LINE_SIZE of arm64", false),
        magics: &[(0x38, b"ARM\x64")],
        flags_at: Some(0x18),
        has_page_size: true,
    },
    Row {
        arch: Arch::Riscv32,
        name: "riscv32",
        little: &["riscv32"],
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::Riscv64,
        name: "riscv64",
        little: &["riscv64"],
        elf_machine: Some(243),
        pe_machine: Some((Machine(0x5064), "riscv64")),
        formats: &[Image, Elf],
        takes: "an Image or ELF",
        errno: EINVAL,
        cmdline_limit: limit(
            1023,
            "COMMAND_LINE_SIZE of riscv (512 in older kernels)",
            false,
        ),
        // Only 64-bit kernels have the header in use; those of 32 bits are ELF.
        magics: &[(0x38, b"RSC\x05"), (0x30, b"RISCV\0\0\0")],
        flags_at: Some(0x18),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::LoongArch32,
        name: "loongarch32",
        little: &["loongarch32"],
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::LoongArch64,
        name: "loongarch64",
        little: &["loongarch64"],
        elf_machine: Some(258),
        pe_machine: Some((Machine(0x6264), "loongarch64")),
        formats: &[LoongArchPe, Elf],
        takes: "an uncompressed EFI kernel or ELF",
        errno: ENOEXEC,
        // The running kernel puts its own words in front, and checks.
        cmdline_limit: limit(
            4095,
            "COMMAND_LINE_SIZE of loongarch (512 in older kernels)",
            true,
        ),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::PowerPc64,
        name: "ppc64",
        little: &["ppc64le"],
        big: &["ppc64"],
        elf_machine: Some(21),
        formats: &[Elf],
        takes: "ELF (vmlinux)",
        errno: ENOEXEC,
        // The ELF loader reads both.
        other_order: |_| Severity::Unnoticed,
        cmdline_limit: limit(2047, "COMMAND_LINE_SIZE of powerpc", true),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::S390x,
        name: "s390x",
        big: &["s390x"],
        elf_machine: Some(22),
        formats: &[S390Image, Elf],
        takes: "an s390 image or ELF",
        errno: EINVAL,
        ..NOTHING_KNOWN
    },
];
