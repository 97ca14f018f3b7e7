//! How kernels are packed, and how long their command lines may be.

use core::fmt;

/// How a kernel is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelFormat {
    /// x86 boot protocol (`bzImage`, and its forerunner `zImage`).
    BzImage,
    /// The flat image of arm64 and RISC-V (`Image`).
    Image,
    /// The uncompressed EFI image of LoongArch (`vmlinux.efi`).
    LoongArchPe,
    /// ELF (`vmlinux`).
    Elf,
    /// The flat image of s390 (`image`, `bzImage` in its build).
    S390Image,
}

impl fmt::Display for KernelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BzImage => "bzImage",
            Self::Image => "Image",
            Self::LoongArchPe => "LoongArch PE",
            Self::Elf => "ELF",
            Self::S390Image => "s390 image",
        })
    }
}

/// How long a command line may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CmdlineLimit {
    /// Most bytes, without the NUL at the end.
    pub(crate) bytes: u32,
    /// Who says so.
    pub(crate) source: &'static str,
    /// Whether a longer one is refused, or cut without a word.
    pub(crate) refused: bool,
}
