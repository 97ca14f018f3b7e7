//! What an image is when it is no kernel.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What an image is instead of a kernel.
///
/// `Display` names it, with its article; [`LookAlike::advice`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookAlike {
    /// An EFI zboot image that no parser took apart.
    Zboot {
        /// What its header says of the payload's compression.
        compression: String,
    },
    /// A unified kernel image that no parser took apart.
    Uki,
    /// Parts for a UKI, without a kernel.
    UkiAddon {
        /// The names of these parts.
        sections: Vec<String>,
    },
    /// A lanzaboote stub, which names its kernel by path and hash.
    LanzabooteStub {
        /// The kernel's path on the EFI system partition, if it is text.
        kernel: Option<String>,
    },
    /// The program that a UKI begins with, without its parts.
    UkiStub {
        /// Its name, with a version.
        name: String,
    },
    /// A boot loader that says its name.
    BootLoader {
        /// The name, with a version where there is one.
        name: String,
    },
    /// A 32-bit ELF file.
    Elf32 {
        /// `e_machine` of its header: the processor that runs it.
        machine: u16,
    },
    /// Something compressed.
    Compressed {
        /// The compression's name.
        with: &'static str,
        /// The command that undoes it.
        command: &'static str,
    },
    /// Something of which nothing matters but what it is.
    Known {
        /// Its kind, with an article.
        name: &'static str,
        /// Advice: how to come to the kernel.
        advice: &'static str,
    },
    /// None of these.
    Unknown {
        /// The first bytes, at most eight.
        head: Vec<u8>,
    },
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zboot { compression } => {
                write!(
                    f,
                    "an EFI zboot image ({compression}) that no parser took apart"
                )
            }
            Self::Uki => f.write_str("a unified kernel image that no parser took apart"),
            Self::UkiAddon { sections } => {
                f.write_str("a UKI addon, which has no kernel")?;
                if sections.is_empty() {
                    return Ok(());
                }
                write!(f, " ({})", sections.join(", "))
            }
            Self::LanzabooteStub { kernel } => {
                f.write_str("a lanzaboote stub, whose sections hold paths and hashes of files")?;
                kernel
                    .as_ref()
                    .map_or(Ok(()), |path| write!(f, " (kernel: {path})"))
            }
            Self::UkiStub { name } => write!(f, "a UKI stub without a kernel ({name})"),
            Self::BootLoader { name } => write!(f, "the boot loader {name}"),
            Self::Elf32 { machine } => match elf_machine(*machine) {
                Some(name) => write!(f, "a 32-bit ELF file for {name}"),
                None => write!(f, "a 32-bit ELF file for machine {machine}"),
            },
            Self::Compressed { with, .. } => {
                write!(
                    f,
                    "{with}-compressed data: a bare compressed kernel or an initrd"
                )
            }
            Self::Known { name, .. } => f.write_str(name),
            Self::Unknown { head } => {
                f.write_str("something unknown, beginning with")?;
                head.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}

impl LookAlike {
    /// Returns what to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        let advice = match self {
            Self::Zboot { .. } | Self::Uki => {
                "it takes a parser: leave out --no-embedded-parser, or give one with --parser"
            }
            Self::UkiStub { .. } => "build a UKI with it (`ukify build`), and give that",
            Self::UkiAddon { .. } => "give the UKI that it belongs to",
            Self::LanzabooteStub { .. } => {
                "give the kernel that it names, with --initrd and --cmdline"
            }
            Self::BootLoader { .. } => "give the kernel or the UKI that it would boot",
            Self::Elf32 { .. } => "give a Linux kernel for a 64-bit machine",
            Self::Compressed { command, .. } => {
                return format!(
                    "a kernel: unpack it first (`{command} <IMAGE >kernel`); an initrd: give it \
                     with --initrd"
                );
            }
            Self::Known { advice, .. } => advice,
            Self::Unknown { .. } => "give the image itself",
        };
        advice.to_owned()
    }
}

/// Returns how people call the machine with that number in an ELF header.
fn elf_machine(number: u16) -> Option<&'static str> {
    let known = ELF_MACHINES.iter().find(|(known, _)| *known == number);
    known.map(|(_, name)| *name)
}

/// `e_machine` of what has no other word here.
const ELF_MACHINES: &[(u16, &str)] = &[
    (2, "SPARC"),
    (3, "x86"),
    (4, "m68k"),
    (8, "MIPS"),
    (15, "PA-RISC"),
    (20, "PowerPC"),
    (22, "s390"),
    (40, "Arm"),
    (42, "SuperH"),
    (62, "x32"),
    (93, "ARC"),
    (94, "Xtensa"),
    (189, "MicroBlaze"),
    (243, "RISC-V"),
    (252, "C-SKY"),
    (258, "LoongArch"),
];
