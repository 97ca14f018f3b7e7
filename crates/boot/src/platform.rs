//! Architectures, and the facts of the machine that is to load a kernel.

use core::fmt;

use serde::{Deserialize, Serialize};

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
    /// Returns a machine of which nothing else is known.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        let byte_order = if arch == Arch::S390x {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        };
        Self {
            arch,
            byte_order,
            page_size: None,
            five_level_paging: None,
            efi_32bit: None,
        }
    }

    /// Returns the machine that `uname -m` names so.
    #[must_use]
    pub fn from_uname(machine: &str) -> Option<Self> {
        let mut found = Self::new(Arch::from_uname(machine)?);
        if matches!(machine, "aarch64_be" | "ppc64" | "s390x") {
            found.byte_order = ByteOrder::Big;
        }
        Some(found)
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
    /// Returns the architecture that `uname -m` names so.
    #[must_use]
    pub fn from_uname(machine: &str) -> Option<Self> {
        Some(match machine {
            "x86_64" => Self::X86_64,
            "i386" | "i486" | "i586" | "i686" => Self::X86,
            "aarch64" | "aarch64_be" => Self::Arm64,
            "riscv64" => Self::Riscv64,
            "riscv32" => Self::Riscv32,
            "loongarch64" => Self::LoongArch64,
            "loongarch32" => Self::LoongArch32,
            "ppc64" | "ppc64le" => Self::PowerPc64,
            "s390x" => Self::S390x,
            arm if arm.starts_with("arm") => Self::Arm,
            _ => return None,
        })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "x86",
            Self::X86_64 => "x86_64",
            Self::Arm => "arm",
            Self::Arm64 => "arm64",
            Self::Riscv32 => "riscv32",
            Self::Riscv64 => "riscv64",
            Self::LoongArch32 => "loongarch32",
            Self::LoongArch64 => "loongarch64",
            Self::PowerPc64 => "ppc64",
            Self::S390x => "s390x",
            Self::Other(number) => return write!(f, "ELF machine {number}"),
        })
    }
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
