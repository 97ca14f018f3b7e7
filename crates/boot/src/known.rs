//! Tables of files that are no kernels, each known by a few bytes alone.

use ukexec_pe::ReadAt;

use crate::bytes::{Fields, HEAD_LEN, read, wide};
use crate::error::BootError;
use crate::look_alike::{Known, LookAlike};

/// Returns what `image` is by the bytes that it begins with.
pub(crate) fn by_magic(
    head: Fields<'_>,
    image: &(impl ReadAt + ?Sized),
) -> Result<Option<LookAlike>, BootError> {
    for (magic, with, command) in COMPRESSIONS {
        if head.has(0, magic) {
            return Ok(Some(LookAlike::compressed(with, command)));
        }
    }
    for &(at, magic, known) in MAGICS {
        let is_far = at.saturating_add(magic.len()) > HEAD_LEN;
        if head.has(at, magic) || (is_far && read(image, wide(at), magic.len())? == magic) {
            return Ok(Some(known.into()));
        }
    }
    Ok(None)
}

pub(crate) const OTHER: &str = "give a Linux kernel for a 64-bit machine";
pub(crate) const ITSELF: &str = "give the image itself";
const TAKE_OUT: &str = "take the kernel out of it, or give a parser for it with --parser";
pub(crate) const BOOTED: &str = "give the kernel or the UKI that it would boot";

pub(crate) const NEEDS_PARSER: &str =
    "it takes a parser: leave out --no-embedded-parser, or give one with --parser";

pub(crate) const UKI: Known = (
    "a unified kernel image that no parser unfolded",
    NEEDS_PARSER,
);
pub(crate) const DAMAGED_UKI: Known = ("a damaged unified kernel image", "get the image again");
pub(crate) const UKI_ADDON: Known = (
    "a UKI addon, which has no kernel",
    "give the UKI that it belongs to",
);
pub(crate) const LANZABOOTE_STUB: Known = (
    "a lanzaboote stub, whose sections hold paths and hashes of files",
    "give the kernel that it names, with --initrd and --cmdline",
);
pub(crate) const EMPTY: Known = ("an empty file", ITSELF);
pub(crate) const TEXT: Known = ("text", ITSELF);
pub(crate) const EFI_APPLICATION: Known = (
    "a UEFI program without a kernel, perhaps a boot loader",
    BOOTED,
);
pub(crate) const EFI_DRIVER: Known = ("a UEFI driver", OTHER);
pub(crate) const EFI_PROGRAM_32: Known = (
    "a 32-bit UEFI program (PE32): a boot loader, or a UKI for 32-bit machines",
    "give a kernel or a UKI for a 64-bit machine",
);
pub(crate) const WINDOWS_PROGRAM: Known = ("a Windows program", OTHER);
pub(crate) const DOS_PROGRAM: Known = ("an MS-DOS program (MZ without a PE header)", OTHER);
pub(crate) const PROGRAM: Known = ("an ordinary program (ELF with an interpreter)", OTHER);
pub(crate) const OBJECT_FILE: Known =
    ("an object file (ELF, not linked)", "give the linked kernel");
pub(crate) const PARSER_CONTAINER: Known = (
    "a parser container",
    "it goes beside the image that its parsers are for: `ukexec load --parser X.bpf IMAGE`",
);
pub(crate) const BPF_OBJECT: Known = ("a BPF object", "a parser is given with --parser");
pub(crate) const CORE_DUMP: Known = ("a core dump", OTHER);
pub(crate) const XEN: Known = (
    "the Xen hypervisor",
    "give a Linux kernel; a hypervisor is loaded by kexec-tools (`kexec -l`)",
);
pub(crate) const XEN_UNIFIED: Known = (
    "a Xen unified image: the hypervisor, with a kernel in section .kernel",
    "take that kernel out (`objcopy -O binary --only-section=.kernel IMAGE kernel`, the initrd \
     is .ramdisk), or load the hypervisor with kexec-tools",
);
pub(crate) const MULTIBOOT: Known = (
    "a multiboot kernel, such as Xen",
    "give a Linux kernel; multiboot kernels are loaded by kexec-tools (`kexec -l`)",
);
/// As PowerPC's boot loaders want it: the kernel, compressed, is in a section.
pub(crate) const POWERPC_WRAPPER: Known = (
    "a 32-bit ELF file for PowerPC: a zImage, which wraps the kernel, or a 32-bit kernel",
    "give the 64-bit kernel itself (vmlinux)",
);
/// A zImage may be a PE file as well.
pub(crate) const ARM_ZIMAGE: Magic = (
    0x24,
    &[0x18, 0x28, 0x6f, 0x01],
    ("a zImage for 32-bit Arm", OTHER),
);
const CPIO: Known = (
    "a cpio archive: an initrd",
    "give it with --initrd, and the kernel as the image",
);
const UBOOT: Known = ("a U-Boot image", TAKE_OUT);
const ANDROID: Known = ("an Android boot image", TAKE_OUT);
const DISK: Known = (
    "a disk image",
    "mount it, and give the kernel that lies in it",
);
const ARCHIVE: Known = (
    "an archive or a package",
    "unpack it, and give the kernel that lies in it",
);
const ENCRYPTED: Known = (
    "an encrypted disk (LUKS)",
    "open it, and give the kernel that lies in it",
);
const HTML: Known = (
    "an HTML page, perhaps a server's answer in place of a file",
    "download the image again",
);

/// Where it is, the bytes there, what they say.
pub(crate) type Magic = (usize, &'static [u8], Known);

const MAGICS: &[Magic] = &[
    (0, b"VZ", ("a UEFI terse executable (VZ)", OTHER)),
    (0, b"070701", CPIO),
    (0, b"070702", CPIO),
    (0, b"070707", CPIO),
    (0, &[0xc7, 0x71], CPIO),
    ARM_ZIMAGE,
    (0, &[0x27, 0x05, 0x19, 0x56], UBOOT),
    (
        0,
        &[0xd0, 0x0d, 0xfe, 0xed],
        ("a device tree, or a FIT image", TAKE_OUT),
    ),
    (0, b"ANDROID!", ANDROID),
    (0, b"VNDRBOOT", ANDROID),
    (0, b"CHROMEOS", ("a ChromeOS kernel partition", TAKE_OUT)),
    (0, b"<!DOCTYPE html", HTML),
    (0, b"<!doctype html", HTML),
    (0, b"<html", HTML),
    (0, &[0xcf, 0xfa, 0xed, 0xfe], ("a macOS program", OTHER)),
    (0, b"PK\x03\x04", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (0, b"!<arch>\n", ARCHIVE),
    (0, &[0xed, 0xab, 0xee, 0xdb], ARCHIVE),
    (0x101, b"ustar", ARCHIVE),
    (0, b"MSWIM\0\0\0", ARCHIVE),
    (0, b"LUKS\xba\xbe", ENCRYPTED),
    (0x200, b"EFI PART", DISK),
    (0, b"hsqs", DISK),
    (0, b"XFSB", DISK),
    (0, b"QFI\xfb", DISK),
    (0, b"KDMV", DISK),
    (0, b"vhdxfile", DISK),
    (0, b"conectix", DISK),
    (0x40, &[0x7f, 0x10, 0xda, 0xbe], DISK),
    // erofs, f2fs, ext2 to ext4.
    (0x400, &[0xe2, 0xe1, 0xf5, 0xe0], DISK),
    (0x400, &[0x10, 0x20, 0xf5, 0xf2], DISK),
    (0x438, &[0x53, 0xef], DISK),
    // A boot sector, and no kernel's.
    (0x1fe, &[0x55, 0xaa], DISK),
    // ISO 9660, btrfs.
    (0x8001, b"CD001", DISK),
    (0x1_0040, b"_BHRfS_M", DISK),
];

/// A stream's first bytes, its name, the command that unpacks it.
const COMPRESSIONS: &[(&[u8], &str, &str)] = &[
    (&[0x1f, 0x8b], "gzip", "gzip -dc"),
    (&[0x1f, 0x9d], "compress", "gzip -dc"),
    (&[0x1f, 0x1e], "pack", "gzip -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz", "xz -dc"),
    (&[0x5d, 0, 0], "lzma", "xz --format=lzma -dc"),
    (&[0x89, b'L', b'Z', b'O', 0], "lzo", "lzop -dc"),
    (b"LZIP", "lzip", "lzip -dc"),
    // The legacy format, which kernels unpack, and the frame format.
    (&[0x02, 0x21, 0x4c, 0x18], "lz4", "lz4 -dc"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4", "lz4 -dc"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd -dc"),
    // A skippable frame, as pzstd puts it in front.
    (&[0x50, 0x2a, 0x4d, 0x18], "zstd", "zstd -dc"),
];

/// Returns how people call the machine with that number in a 32-bit ELF header.
pub(crate) fn elf_machine(number: u16) -> Option<&'static str> {
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
