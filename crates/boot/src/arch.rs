//! Architectures, and the facts of the machine that is to load a kernel.
//!
//! A new architecture is a variant of [`Arch`] and a row of [`ARCHITECTURES`].
//! No other code knows how architectures differ, but for the headers of
//! [x86](crate::bzimage) and [s390](crate::s390), which no other has.

use core::fmt;

use serde::{Deserialize, Serialize};
use ukexec_pe::Machine;

use crate::format::{CmdlineLimit, KernelFormat};
use crate::image::FlatHeader;
use crate::problem::{EINVAL, ENOEXEC, Severity};

/// The facts of the machine that is to load a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Platform {
    /// The architecture of its kernel.
    pub arch: Arch,
    /// The byte order that its kernel runs in.
    pub byte_order: ByteOrder,
    /// Bytes in a page, if known.
    pub page_size: Option<u64>,
    /// Whether an x86 kernel uses 5-level paging, if known.
    pub five_level_paging: Option<bool>,
    /// Whether its UEFI firmware is 32-bit under a 64-bit kernel, if known.
    pub efi_32bit: Option<bool>,
}

impl Platform {
    /// Returns a machine of which nothing else is known, in its usual byte order.
    pub(crate) fn new(arch: Arch) -> Self {
        let usual = arch.row().uname.first();
        Self {
            arch,
            byte_order: usual.map_or(ByteOrder::Little, |(_, order)| *order),
            page_size: None,
            five_level_paging: None,
            efi_32bit: None,
        }
    }

    /// Returns the machine that `uname -m` names so.
    #[must_use]
    pub fn from_uname(machine: &str) -> Option<Self> {
        let is_name = |name: &str| match name.strip_suffix('*') {
            Some(start) => machine.starts_with(start),
            None => machine == name,
        };
        ARCHITECTURES.iter().find_map(|row| {
            let (_, byte_order) = *row.uname.iter().find(|(name, _)| is_name(name))?;
            Some(Self {
                byte_order,
                ..Self::new(row.arch)
            })
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
        let row = ARCHITECTURES
            .iter()
            .find(|row| row.elf_machine == Some(e_machine));
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
pub enum ByteOrder {
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
    /// Its names by `uname -m`, the usual one first; `*` stands for any end.
    uname: &'static [(&'static str, ByteOrder)],
    /// `e_machine` of 64-bit ELF files.
    elf_machine: Option<u16>,
    /// `Machine` of PE images, and how people call it.
    pub(crate) pe_machine: Option<(Machine, &'static str)>,
    /// The header of its flat image, where others have one of the kind.
    pub(crate) flat: Option<FlatHeader>,
    /// The limit of command lines that its source has, not the kernel's header.
    pub(crate) cmdline_limit: Option<(KernelFormat, CmdlineLimit)>,
    /// How `kexec_file_load` is there, if it is.
    pub(crate) loader: Option<Loader>,
}

/// The formats that an architecture's `kexec_file_load` loads.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) formats: &'static [KernelFormat],
    /// The same in words.
    pub(crate) takes: &'static str,
    /// The answer of its last loader to what it does not know.
    pub(crate) errno: &'static str,
    /// The answer to a kernel of the other byte order.
    pub(crate) other_order: Severity,
}

use ByteOrder::{Big, Little};
use KernelFormat::{BzImage, Elf, Image, LoongArchPe, S390Image};

const NOTHING_KNOWN: Row = Row {
    arch: Arch::Other(0),
    name: "",
    uname: &[],
    elf_machine: None,
    pe_machine: None,
    flat: None,
    cmdline_limit: None,
    loader: None,
};

static ARCHITECTURES: &[Row] = &[
    Row {
        arch: Arch::X86,
        name: "x86",
        uname: &[
            ("i386", Little),
            ("i486", Little),
            ("i586", Little),
            ("i686", Little),
        ],
        pe_machine: Some((Machine(0x014c), "i386")),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::X86_64,
        name: "x86_64",
        uname: &[("x86_64", Little)],
        elf_machine: Some(62),
        pe_machine: Some((Machine(0x8664), "x86_64")),
        loader: Some(Loader {
            formats: &[BzImage],
            takes: "a bzImage (vmlinuz)",
            errno: ENOEXEC,
            other_order: Severity::Refused(ENOEXEC),
        }),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::Arm,
        name: "arm",
        uname: &[("arm*", Little)],
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::Arm64,
        name: "arm64",
        uname: &[("aarch64", Little), ("aarch64_be", Big)],
        elf_machine: Some(183),
        pe_machine: Some((Machine(0xaa64), "arm64")),
        flat: Some(FlatHeader {
            format: Image,
            magics: &[(0x38, b"ARM\x64")],
            flags_at: Some(0x18),
            has_page_size: true,
        }),
        cmdline_limit: Some((
            Image,
            CmdlineLimit {
                bytes: 2047,
                source: "COMMAND_LINE_SIZE of arm64",
                refused: false,
            },
        )),
        loader: Some(Loader {
            formats: &[Image],
            takes: "an Image",
            errno: EINVAL,
            // Most processors run both.
            other_order: Severity::MayBeRefused(EINVAL),
        }),
    },
    Row {
        arch: Arch::Riscv32,
        name: "riscv32",
        uname: &[("riscv32", Little)],
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::Riscv64,
        name: "riscv64",
        uname: &[("riscv64", Little)],
        elf_machine: Some(243),
        pe_machine: Some((Machine(0x5064), "riscv64")),
        // Only 64-bit kernels have the header in use; those of 32 bits are ELF.
        flat: Some(FlatHeader {
            format: Image,
            magics: &[(0x38, b"RSC\x05"), (0x30, b"RISCV\0\0\0")],
            flags_at: Some(0x18),
            has_page_size: false,
        }),
        cmdline_limit: Some((
            Image,
            CmdlineLimit {
                bytes: 1023,
                source: "COMMAND_LINE_SIZE of riscv (512 in older kernels)",
                refused: false,
            },
        )),
        loader: Some(Loader {
            formats: &[Image, Elf],
            takes: "an Image or ELF",
            errno: EINVAL,
            other_order: Severity::Refused(EINVAL),
        }),
    },
    Row {
        arch: Arch::LoongArch32,
        name: "loongarch32",
        uname: &[("loongarch32", Little)],
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::LoongArch64,
        name: "loongarch64",
        uname: &[("loongarch64", Little)],
        elf_machine: Some(258),
        pe_machine: Some((Machine(0x6264), "loongarch64")),
        // Its PE headers identify it.
        flat: Some(FlatHeader {
            format: LoongArchPe,
            magics: &[],
            flags_at: None,
            has_page_size: false,
        }),
        // The running kernel puts its own words in front, and checks.
        cmdline_limit: Some((
            LoongArchPe,
            CmdlineLimit {
                bytes: 4095,
                source: "COMMAND_LINE_SIZE of loongarch (512 in older kernels)",
                refused: true,
            },
        )),
        loader: Some(Loader {
            formats: &[LoongArchPe, Elf],
            takes: "an uncompressed EFI kernel or ELF",
            errno: ENOEXEC,
            other_order: Severity::Refused(ENOEXEC),
        }),
    },
    Row {
        arch: Arch::PowerPc64,
        name: "ppc64",
        uname: &[("ppc64le", Little), ("ppc64", Big)],
        elf_machine: Some(21),
        cmdline_limit: Some((
            Elf,
            CmdlineLimit {
                bytes: 2047,
                source: "COMMAND_LINE_SIZE of powerpc",
                refused: true,
            },
        )),
        loader: Some(Loader {
            formats: &[Elf],
            takes: "ELF (vmlinux)",
            errno: ENOEXEC,
            // The ELF loader reads both.
            other_order: Severity::Unnoticed,
        }),
        ..NOTHING_KNOWN
    },
    Row {
        arch: Arch::S390x,
        name: "s390x",
        uname: &[("s390x", Big)],
        elf_machine: Some(22),
        loader: Some(Loader {
            formats: &[S390Image, Elf],
            takes: "an s390 image or ELF",
            errno: EINVAL,
            other_order: Severity::Refused(EINVAL),
        }),
        ..NOTHING_KNOWN
    },
];

impl Row {
    /// Returns the rows whose flat image has the header that others have, too.
    pub(crate) fn flat_images() -> impl Iterator<Item = (&'static Self, &'static FlatHeader)> {
        let rows = ARCHITECTURES.iter();
        rows.filter_map(|row| Some((row, row.flat.as_ref()?)))
    }

    /// Returns the limit of command lines that the source has for kernels of
    /// `format`.
    pub(crate) fn cmdline_limit(&self, format: KernelFormat) -> Option<CmdlineLimit> {
        let (of, limit) = self.cmdline_limit?;
        (of == format).then_some(limit)
    }
}
