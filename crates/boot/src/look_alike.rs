//! What an image is when it is no kernel.

use std::fmt;

use ukexec_pe::{PeImage, ReadAt, Section, Subsystem};

use crate::bytes::{Fields, read};

/// What an image is instead of a kernel.
///
/// `Display` names it, with its article; [`LookAlike::advice`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookAlike {
    /// Nothing.
    Empty,
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
    /// A UEFI application.
    EfiApplication,
    /// A UEFI driver.
    EfiDriver,
    /// A UEFI terse executable.
    TerseExecutable,
    /// A Windows program, library or driver.
    WindowsProgram,
    /// An MS-DOS program.
    DosProgram,
    /// An ELF program with an interpreter.
    Program,
    /// An unlinked ELF object.
    ObjectFile,
    /// A BPF object.
    BpfObject,
    /// An ELF core dump.
    CoreDump,
    /// Something compressed.
    Compressed {
        /// The compression's name.
        with: &'static str,
        /// The command that undoes it.
        command: &'static str,
    },
    /// A cpio archive.
    Cpio,
    /// A zImage of 32-bit Arm.
    ArmZImage,
    /// An image of the U-Boot boot loader.
    UBootImage,
    /// A device tree, perhaps one that holds a kernel (FIT).
    DeviceTree,
    /// An Android boot image.
    AndroidBoot,
    /// A disk with partitions, or a file system.
    DiskImage,
    /// Readable text.
    Text,
    /// None of these.
    Unknown {
        /// The first bytes, at most eight.
        head: Vec<u8>,
    },
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file"),
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
            Self::EfiApplication => {
                f.write_str("a UEFI program without a kernel, perhaps a boot loader")
            }
            Self::EfiDriver => f.write_str("a UEFI driver"),
            Self::TerseExecutable => f.write_str("a UEFI terse executable (VZ)"),
            Self::WindowsProgram => f.write_str("a Windows program"),
            Self::DosProgram => f.write_str("an MS-DOS program"),
            Self::Program => f.write_str("an ordinary program (ELF with an interpreter)"),
            Self::ObjectFile => f.write_str("an object file (ELF, not linked)"),
            Self::BpfObject => f.write_str("a BPF object"),
            Self::CoreDump => f.write_str("a core dump"),
            Self::Compressed { with, .. } => {
                write!(
                    f,
                    "{with}-compressed data: a bare compressed kernel or an initrd"
                )
            }
            Self::Cpio => f.write_str("a cpio archive: an initrd"),
            Self::ArmZImage => f.write_str("a zImage for 32-bit Arm"),
            Self::UBootImage => f.write_str("a U-Boot image"),
            Self::DeviceTree => f.write_str("a device tree, or a FIT image"),
            Self::AndroidBoot => f.write_str("an Android boot image"),
            Self::DiskImage => f.write_str("a disk image"),
            Self::Text => f.write_str("text"),
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
            Self::BootLoader { .. } | Self::EfiApplication => {
                "give the kernel or the UKI that it would boot"
            }
            Self::Compressed { command, .. } => {
                return format!(
                    "a kernel: unpack it first (`{command} <IMAGE >kernel`); an initrd: give it \
                     with --initrd"
                );
            }
            Self::BpfObject => "a parser is given with --parser",
            Self::Cpio => "give it with --initrd, and the kernel as the image",
            Self::ObjectFile => "give the linked kernel",
            Self::DeviceTree | Self::UBootImage | Self::AndroidBoot => {
                "take the kernel out of it, or give a parser for it with --parser"
            }
            Self::DiskImage => "mount it, and give the kernel that lies in it",
            Self::Empty | Self::Text | Self::Unknown { .. } => "give the image itself",
            Self::EfiDriver
            | Self::TerseExecutable
            | Self::WindowsProgram
            | Self::DosProgram
            | Self::Program
            | Self::CoreDump
            | Self::ArmZImage => "give a Linux kernel for a 64-bit machine",
        };
        advice.to_owned()
    }

    /// Names an image that begins like a zboot image.
    pub(crate) fn of_zboot(head: Fields<'_>) -> Option<Self> {
        // Linux 6.1 writes no 0x818223cd at 0x38, so this is all there is.
        if !head.has(0, b"MZ") || !head.has(4, b"zimg") {
            return None;
        }
        let compression = head
            .text(0x18, 0x20)
            .unwrap_or_else(|| "compression unknown".to_owned());
        Some(Self::Zboot { compression })
    }

    /// Names a PE file that is no kernel by itself.
    pub(crate) fn of_pe(pe: &PeImage, image: &(impl ReadAt + ?Sized)) -> Self {
        if pe.section(".linuxh").is_some() || pe.section(".initrdh").is_some() {
            let kernel = pe.section(".linux").and_then(|linux| path(linux, image));
            return Self::LanzabooteStub { kernel };
        }
        if pe.section(".linux").is_some() {
            return Self::Uki;
        }
        let parts = ADDON_PARTS.iter().filter(|name| pe.section(name).is_some());
        let sections: Vec<String> = parts.map(|&name| name.to_owned()).collect();
        if !sections.is_empty() {
            return Self::UkiAddon { sections };
        }
        match loader_name(pe, image) {
            Some(name) if name.starts_with("systemd-stub") => return Self::UkiStub { name },
            Some(name) if name.starts_with("systemd-addon") => {
                return Self::UkiAddon {
                    sections: Vec::new(),
                };
            }
            Some(name) => return Self::BootLoader { name },
            None => {}
        }
        Self::of_subsystem(pe.subsystem())
    }

    /// Names a PE file by what it is to run under.
    pub(crate) fn of_subsystem(subsystem: Subsystem) -> Self {
        match subsystem {
            Subsystem::EFI_APPLICATION => Self::EfiApplication,
            Subsystem::EFI_BOOT_SERVICE_DRIVER | Subsystem::EFI_RUNTIME_DRIVER => Self::EfiDriver,
            _ => Self::WindowsProgram,
        }
    }

    /// Names an image by its first bytes.
    pub(crate) fn of_bytes(head: Fields<'_>) -> Self {
        if head.0.is_empty() {
            return Self::Empty;
        }
        for (at, magic, look_alike) in MAGICS {
            if head.has(*at, magic) {
                return look_alike.clone();
            }
        }
        for (magic, with, command) in COMPRESSIONS {
            if head.has(0, magic) {
                return Self::Compressed { with, command };
            }
        }
        // A boot sector, and no kernel's.
        if head.has(0x1fe, &[0x55, 0xaa]) {
            return Self::DiskImage;
        }
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        if head.0.iter().all(is_text) {
            return Self::Text;
        }
        Self::Unknown {
            head: head.0.iter().take(8).copied().collect(),
        }
    }
}

/// Returns what a boot loader calls itself.
fn loader_name(pe: &PeImage, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    // systemd: `#### LoaderInfo: systemd-boot 252.39-1 ####`.
    if let Some(magic) = pe
        .section(".sdmagic")
        .and_then(|section| text(section, image))
    {
        let name = magic.trim_matches(|c| c == '#' || c == ' ');
        return Some(name.strip_prefix("LoaderInfo: ").unwrap_or(name).to_owned());
    }
    // SBAT: a line for the format, then one for each component:
    // name, generation, vendor, package, version, address.
    let sbat = pe
        .section(".sbat")
        .and_then(|section| text(section, image))?;
    let known = |name: &str| matches!(name, "shim" | "grub" | "refind" | "limine");
    sbat.lines().find_map(|line| {
        let mut fields = line.split(',');
        let name = fields.next().filter(|name| known(name))?;
        let version = fields.nth(3).unwrap_or_default();
        Some(format!("{name} {version}").trim_end().to_owned())
    })
}

/// Returns a section's first 4 KiB if they are text.
fn text(section: &Section, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    let content = section.content();
    let len = usize::try_from(content.end.checked_sub(content.start)?).ok()?;
    let bytes = read(image, content.start, len.min(4096)).ok()?;
    let bytes = bytes.split(|&byte| byte == 0).next()?;
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    (!text.is_empty()).then_some(text)
}

fn path(section: &Section, image: &(impl ReadAt + ?Sized)) -> Option<String> {
    text(section, image).filter(|path| path.len() < 512 && !path.contains(char::is_control))
}

/// What a UKI addon may hold (Unified Kernel Image specification, "Addons").
const ADDON_PARTS: &[&str] = &[
    ".cmdline", ".dtb", ".dtbauto", ".ucode", ".initrd", ".hwids", ".efifw",
];

const MAGICS: &[(usize, &[u8], LookAlike)] = &[
    (0, b"VZ", LookAlike::TerseExecutable),
    (0, b"070701", LookAlike::Cpio),
    (0, b"070702", LookAlike::Cpio),
    (0, b"070707", LookAlike::Cpio),
    (0x24, &[0x18, 0x28, 0x6f, 0x01], LookAlike::ArmZImage),
    (0, &[0x27, 0x05, 0x19, 0x56], LookAlike::UBootImage),
    (0, &[0xd0, 0x0d, 0xfe, 0xed], LookAlike::DeviceTree),
    (0, b"ANDROID!", LookAlike::AndroidBoot),
    (0x200, b"EFI PART", LookAlike::DiskImage),
    (0, b"hsqs", LookAlike::DiskImage),
    (0x438, &[0x53, 0xef], LookAlike::DiskImage),
];

const COMPRESSIONS: &[(&[u8], &str, &str)] = &[
    (&[0x1f, 0x8b], "gzip", "gzip -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz -dc"),
    (&[0x5d, 0, 0], "lzma", "xz --format=lzma -dc"),
    (&[0x89, b'L', b'Z', b'O', 0], "lzo", "lzop -dc"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4", "lz4 -dc"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd -dc"),
];

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::identify;
    use crate::samples::{self, AMD64, pe, put};

    /// Compares what is said of an image that is no kernel.
    fn check(image: &[u8], expected: Expect) {
        expected.assert_eq(&identify(image).unwrap_err().to_string());
    }

    #[test]
    fn names_the_parts_of_uefi_boot() {
        check(
            &samples::zboot(),
            expect![
                "not a kernel but an EFI zboot image (zstd) that no parser took apart; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
            ],
        );
        check(
            &pe(AMD64, 10, &[(".text", b"x"), (".linux", b"MZ")]),
            expect![
                "not a kernel but a unified kernel image that no parser took apart; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
            ],
        );
        check(
            &pe(AMD64, 10, &[(".cmdline", b"quiet"), (".dtb", b"x")]),
            expect![
                "not a kernel but a UKI addon, which has no kernel (.cmdline, .dtb); give the UKI that it belongs to"
            ],
        );
        check(
            &pe(AMD64, 10, &[(".text", b"x")]),
            expect![
                "not a kernel but a UEFI program without a kernel, perhaps a boot loader; give the kernel or the UKI that it would boot"
            ],
        );
        check(
            &pe(AMD64, 11, &[(".text", b"x")]),
            expect!["not a kernel but a UEFI driver; give a Linux kernel for a 64-bit machine"],
        );
        check(
            b"VZ\x64\x86\x05\x0b",
            expect![
                "not a kernel but a UEFI terse executable (VZ); give a Linux kernel for a 64-bit machine"
            ],
        );
    }

    #[test]
    fn names_a_zboot_image_without_a_compression() {
        let mut image = samples::zboot();
        put(&mut image, 0x18, &[0; 0x20]);
        check(
            &image,
            expect![
                "not a kernel but an EFI zboot image (compression unknown) that no parser took apart; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
            ],
        );
    }

    #[test]
    fn names_a_lanzaboote_stub() {
        let path = b"\\EFI\\nixos\\kernel-6.12.efi";
        let hash = [7; 32];
        let stub = [
            (".linux", &path[..]),
            (".linuxh", &hash),
            (".initrd", b"x"),
            (".initrdh", &hash),
        ];
        check(
            &pe(AMD64, 10, &stub),
            expect![[
                r#"not a kernel but a lanzaboote stub, whose sections hold paths and hashes of files (kernel: \EFI\nixos\kernel-6.12.efi); give the kernel that it names, with --initrd and --cmdline"#
            ]],
        );
        check(
            &pe(AMD64, 10, &[(".linux", b"\0"), (".linuxh", &hash)]),
            expect![
                "not a kernel but a lanzaboote stub, whose sections hold paths and hashes of files; give the kernel that it names, with --initrd and --cmdline"
            ],
        );
    }

    #[test]
    fn names_boot_loaders_by_what_they_say() {
        let magic = |text: &[u8]| pe(AMD64, 10, &[(".text", b"x"), (".sdmagic", text)]);
        check(
            &magic(b"#### LoaderInfo: systemd-boot 252.39-1 ####\0"),
            expect![
                "not a kernel but the boot loader systemd-boot 252.39-1; give the kernel or the UKI that it would boot"
            ],
        );
        check(
            &magic(b"#### LoaderInfo: systemd-stub 257.9 ####\0"),
            expect![
                "not a kernel but a UKI stub without a kernel (systemd-stub 257.9); build a UKI with it (`ukify build`), and give that"
            ],
        );
        check(
            &magic(b"#### LoaderInfo: systemd-addon 257.9 ####\0"),
            expect![
                "not a kernel but a UKI addon, which has no kernel; give the UKI that it belongs to"
            ],
        );
        check(
            &magic(b""),
            expect![
                "not a kernel but a UEFI program without a kernel, perhaps a boot loader; give the kernel or the UKI that it would boot"
            ],
        );
        let sbat = b"sbat,1,SBAT Version,sbat,1,https://x\n\
            grub,3,Free Software Foundation,grub,2.06,https://y\n\
            grub.debian,4,Debian,grub2,2.06-13,https://z\n";
        check(
            &pe(AMD64, 10, &[(".text", b"x"), (".sbat", sbat)]),
            expect![
                "not a kernel but the boot loader grub 2.06; give the kernel or the UKI that it would boot"
            ],
        );
        check(
            &pe(AMD64, 10, &[(".sbat", b"sbat,1\nshim\n")]),
            expect![
                "not a kernel but the boot loader shim; give the kernel or the UKI that it would boot"
            ],
        );
        check(
            &pe(AMD64, 10, &[(".sbat", b"sbat,1\nfwupd,1,x,y,z\n")]),
            expect![
                "not a kernel but a UEFI program without a kernel, perhaps a boot loader; give the kernel or the UKI that it would boot"
            ],
        );
    }

    #[test]
    fn names_programs() {
        check(
            &pe(AMD64, 3, &[(".text", b"x")]),
            expect!["not a kernel but a Windows program; give a Linux kernel for a 64-bit machine"],
        );
        let mut pe32 = pe(0x14c, 2, &[]);
        put(&mut pe32, samples::OPTIONAL, &0x10b_u16.to_le_bytes());
        check(
            &pe32,
            expect!["not a kernel but a Windows program; give a Linux kernel for a 64-bit machine"],
        );
        put(&mut pe32, samples::OPTIONAL + 68, &[10]);
        check(
            &pe32,
            expect![
                "not a kernel but a UEFI program without a kernel, perhaps a boot loader; give the kernel or the UKI that it would boot"
            ],
        );
        let mut dos = vec![0x90; 0x200];
        put(&mut dos, 0, b"MZ");
        put(&mut dos, 0x3c, &[0x50, 0, 0, 0]);
        check(
            &dos,
            expect!["not a kernel but an MS-DOS program; give a Linux kernel for a 64-bit machine"],
        );
        check(
            b"MZ\x90\0\x03",
            expect![
                "not a kernel, and no well-formed PE file either: e_lfanew at file offset 0x3c: expected 4 bytes there, found the end of the file at 0x5; is the file cut off?"
            ],
        );
        check(
            &samples::elf(247, 1, false),
            expect!["not a kernel but a BPF object; a parser is given with --parser"],
        );
        check(
            &samples::elf(62, 1, false),
            expect!["not a kernel but an object file (ELF, not linked); give the linked kernel"],
        );
        check(
            &samples::elf(62, 4, false),
            expect!["not a kernel but a core dump; give a Linux kernel for a 64-bit machine"],
        );
        let mut program = samples::elf(62, 3, false);
        put(&mut program, 0x40, &[3]);
        check(
            &program,
            expect![
                "not a kernel but an ordinary program (ELF with an interpreter); give a Linux kernel for a 64-bit machine"
            ],
        );
    }

    #[test]
    fn names_what_else_is_given_by_mistake() {
        check(
            b"",
            expect!["not a kernel but an empty file; give the image itself"],
        );
        check(
            b"#!/bin/sh\necho hello\n",
            expect!["not a kernel but text; give the image itself"],
        );
        check(
            b"\x1f\x8b\x08\0\0",
            expect![
                "not a kernel but gzip-compressed data: a bare compressed kernel or an initrd; a kernel: unpack it first (`gzip -dc <IMAGE >kernel`); an initrd: give it with --initrd"
            ],
        );
        check(
            b"\x28\xb5\x2f\xfd\x24",
            expect![
                "not a kernel but zstd-compressed data: a bare compressed kernel or an initrd; a kernel: unpack it first (`zstd -dc <IMAGE >kernel`); an initrd: give it with --initrd"
            ],
        );
        check(
            b"070701000000",
            expect![
                "not a kernel but a cpio archive: an initrd; give it with --initrd, and the kernel as the image"
            ],
        );
        check(
            b"\xd0\x0d\xfe\xed\0",
            expect![
                "not a kernel but a device tree, or a FIT image; take the kernel out of it, or give a parser for it with --parser"
            ],
        );
        check(
            b"\x27\x05\x19\x56\0",
            expect![
                "not a kernel but a U-Boot image; take the kernel out of it, or give a parser for it with --parser"
            ],
        );
        check(
            b"ANDROID!\0",
            expect![
                "not a kernel but an Android boot image; take the kernel out of it, or give a parser for it with --parser"
            ],
        );
        check(
            b"\xde\xad\xbe\xef\0\x01\x02\x03\x04",
            expect![
                "not a kernel but something unknown, beginning with de ad be ef 00 01 02 03; give the image itself"
            ],
        );
        let mut disk = vec![0; 1024];
        put(&mut disk, 0x1fe, &[0x55, 0xaa]);
        check(
            &disk,
            expect!["not a kernel but a disk image; mount it, and give the kernel that lies in it"],
        );
        let mut zimage = vec![0; 64];
        put(&mut zimage, 0x24, &0x016f_2818_u32.to_le_bytes());
        check(
            &zimage,
            expect![
                "not a kernel but a zImage for 32-bit Arm; give a Linux kernel for a 64-bit machine"
            ],
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_pe_file() {
        let mut image = pe(AMD64, 10, &[(".text", b"x")]);
        image.truncate(0x100);
        check(
            &image,
            expect![
                "not a kernel, and no well-formed PE file either: NumberOfSections at file offset 0x46: expected bytes inside the file, found 0xf8 to 0x120 of a file that ends at 0x100; is the file cut off?"
            ],
        );
    }
}
