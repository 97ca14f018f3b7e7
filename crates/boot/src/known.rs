//! Tables of files that are no kernels, each known by a few bytes alone.

use ukexec_pe::ReadAt;

use crate::bytes::{Fields, read};
use crate::error::BootError;
use crate::look_alike::LookAlike;

/// Returns what `image` is by the bytes that it begins with.
pub(crate) fn by_magic(
    head: Fields<'_>,
    image: &(impl ReadAt + ?Sized),
) -> Result<Option<LookAlike>, BootError> {
    for (magic, with, command) in COMPRESSIONS {
        if head.has(0, magic) {
            return Ok(Some(LookAlike::Compressed { with, command }));
        }
    }
    for (at, magic, look_alike) in MAGICS {
        if head.has(*at, magic) {
            return Ok(Some(look_alike.clone()));
        }
    }
    for &(at, magic, ref look_alike) in FAR_MAGICS {
        if read(image, at, magic.len())? == magic {
            return Ok(Some(look_alike.clone()));
        }
    }
    Ok(None)
}

const fn known(name: &'static str, advice: &'static str) -> LookAlike {
    LookAlike::Known { name, advice }
}

const OTHER: &str = "give a Linux kernel for a 64-bit machine";
const ITSELF: &str = "give the image itself";
const TAKE_OUT: &str = "take the kernel out of it, or give a parser for it with --parser";
const BOOTED: &str = "give the kernel or the UKI that it would boot";

pub(crate) const EMPTY: LookAlike = known("an empty file", ITSELF);
pub(crate) const TEXT: LookAlike = known("text", ITSELF);
pub(crate) const EFI_APPLICATION: LookAlike = known(
    "a UEFI program without a kernel, perhaps a boot loader",
    BOOTED,
);
pub(crate) const EFI_DRIVER: LookAlike = known("a UEFI driver", OTHER);
pub(crate) const EFI_PROGRAM_32: LookAlike = known(
    "a 32-bit UEFI program (PE32): a boot loader, or a UKI for 32-bit machines",
    "give a kernel or a UKI for a 64-bit machine",
);
pub(crate) const WINDOWS_PROGRAM: LookAlike = known("a Windows program", OTHER);
pub(crate) const DOS_PROGRAM: LookAlike = known("an MS-DOS program (MZ, and no PE header)", OTHER);
pub(crate) const PROGRAM: LookAlike = known("an ordinary program (ELF with an interpreter)", OTHER);
pub(crate) const OBJECT_FILE: LookAlike =
    known("an object file (ELF, not linked)", "give the linked kernel");
pub(crate) const BPF_OBJECT: LookAlike = known("a BPF object", "a parser is given with --parser");
pub(crate) const CORE_DUMP: LookAlike = known("a core dump", OTHER);
pub(crate) const XEN: LookAlike = known(
    "the Xen hypervisor",
    "give a Linux kernel; a hypervisor is loaded by kexec-tools (`kexec -l`)",
);
pub(crate) const XEN_UNIFIED: LookAlike = known(
    "a Xen unified image: the hypervisor, with a kernel in section .kernel",
    "take that kernel out (`objcopy -O binary --only-section=.kernel IMAGE kernel`, the initrd \
     is .ramdisk), or load the hypervisor with kexec-tools",
);
pub(crate) const MULTIBOOT: LookAlike = known(
    "a multiboot kernel, such as Xen",
    "give a Linux kernel; multiboot kernels are loaded by kexec-tools (`kexec -l`)",
);
/// As PowerPC's boot loaders want it: the kernel, compressed, is in a section.
pub(crate) const POWERPC_WRAPPER: LookAlike = known(
    "a 32-bit ELF file for PowerPC: a zImage, which wraps the kernel, or a 32-bit kernel",
    "give the 64-bit kernel itself (vmlinux)",
);
/// Where a zImage of 32-bit Arm says that it is one, and how.
pub(crate) const ARM_ZIMAGE_MAGIC: (usize, &[u8]) = (0x24, &[0x18, 0x28, 0x6f, 0x01]);
pub(crate) const ARM_ZIMAGE: LookAlike = known("a zImage for 32-bit Arm", OTHER);
const CPIO: LookAlike = known(
    "a cpio archive: an initrd",
    "give it with --initrd, and the kernel as the image",
);
const UBOOT: LookAlike = known("a U-Boot image", TAKE_OUT);
const ANDROID: LookAlike = known("an Android boot image", TAKE_OUT);
const DISK: LookAlike = known(
    "a disk image",
    "mount it, and give the kernel that lies in it",
);
const ARCHIVE: LookAlike = known(
    "an archive or a package",
    "unpack it, and give the kernel that lies in it",
);
const ENCRYPTED: LookAlike = known(
    "an encrypted disk (LUKS)",
    "open it, and give the kernel that lies in it",
);
const HTML: LookAlike = known(
    "an HTML page, perhaps a server's answer in place of a file",
    "download the image again",
);

/// Where it is, what it is, what it says.
type Magic<At> = (At, &'static [u8], LookAlike);

/// In the first 4 KiB.
const MAGICS: &[Magic<usize>] = &[
    (0, b"VZ", known("a UEFI terse executable (VZ)", OTHER)),
    (0, b"070701", CPIO),
    (0, b"070702", CPIO),
    (0, b"070707", CPIO),
    (0, &[0xc7, 0x71], CPIO),
    (ARM_ZIMAGE_MAGIC.0, ARM_ZIMAGE_MAGIC.1, ARM_ZIMAGE),
    (0, &[0x27, 0x05, 0x19, 0x56], UBOOT),
    (
        0,
        &[0xd0, 0x0d, 0xfe, 0xed],
        known("a device tree, or a FIT image", TAKE_OUT),
    ),
    (0, b"ANDROID!", ANDROID),
    (0, b"VNDRBOOT", ANDROID),
    (
        0,
        b"CHROMEOS",
        known("a ChromeOS kernel partition", TAKE_OUT),
    ),
    (0, b"<!DOCTYPE html", HTML),
    (0, b"<!doctype html", HTML),
    (0, b"<html", HTML),
    (
        0,
        &[0xcf, 0xfa, 0xed, 0xfe],
        known("a macOS program", OTHER),
    ),
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
];

/// Behind them: ISO 9660, btrfs.
const FAR_MAGICS: &[Magic<u64>] = &[(0x8001, b"CD001", DISK), (0x1_0040, b"_BHRfS_M", DISK)];

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
