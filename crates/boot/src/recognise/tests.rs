//! Files that are no kernels, and what they are called.

use expect_test::{Expect, expect};

use crate::identify;
use crate::testing::{self, AMD64, chain, pe, put};

/// Compares what is said of an image that is no kernel.
fn check(image: &[u8], expected: Expect) {
    expected.assert_eq(&chain(&identify(image).unwrap_err()));
}

#[test]
fn names_the_parts_of_uefi_boot() {
    check(
        &testing::zboot(),
        expect![
            "not a kernel but an EFI zboot image (zstd) that no parser unfolded; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
        ],
    );
    check(
        &pe(AMD64, 10, &[(".text", b"x"), (".linux", b"MZ")]),
        expect![
            "not a kernel but a unified kernel image that no parser unfolded; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
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
    let mut image = testing::zboot();
    put(&mut image, 0x18, &[0; 0x20]);
    check(
        &image,
        expect![
            "not a kernel but an EFI zboot image (compression unknown) that no parser unfolded; it takes a parser: leave out --no-embedded-parser, or give one with --parser"
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
    let first = [(".kernelp", &path[..]), (".initrdh", &hash)];
    check(
        &pe(AMD64, 10, &first),
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
fn a_path_may_be_in_utf_16() {
    let wide: Vec<u8> = "\\EFI\\ö\0behind"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    check(
        &pe(AMD64, 10, &[(".linux", &wide), (".linuxh", b"x")]),
        expect![[
            r#"not a kernel but a lanzaboote stub, whose sections hold paths and hashes of files (kernel: \EFI\ö); give the kernel that it names, with --initrd and --cmdline"#
        ]],
    );
}

#[test]
fn a_path_steers_no_terminal() {
    let path = b"\\EFI\\k\x1b[2J\n\0behind";
    check(
        &pe(AMD64, 10, &[(".linux", path), (".linuxh", b"x")]),
        expect![[
            r#"not a kernel but a lanzaboote stub, whose sections hold paths and hashes of files (kernel: \EFI\k\u{1b}[2J); give the kernel that it names, with --initrd and --cmdline"#
        ]],
    );
}

#[test]
fn names_xen() {
    let unified = [
        (".text", &b"x"[..]),
        (".config", b"x"),
        (".kernel", b"x"),
        (".ramdisk", b"x"),
        (".ucode", b"x"),
    ];
    check(
        &pe(AMD64, 10, &unified),
        expect![
            "not a kernel but a Xen unified image: the hypervisor, with a kernel in section .kernel; take that kernel out (`objcopy -O binary --only-section=.kernel IMAGE kernel`, the initrd is .ramdisk), or load the hypervisor with kexec-tools"
        ],
    );
    let sbat = b"sbat,1,SBAT Version,sbat,1,https://x\nxen,1,Linux Foundation,xen,4.19,https://y\n";
    check(
        &pe(AMD64, 10, &[(".text", b"x"), (".sbat", sbat)]),
        expect![
            "not a kernel but the Xen hypervisor; give a Linux kernel; a hypervisor is loaded by kexec-tools (`kexec -l`)"
        ],
    );
}

#[test]
fn names_multiboot_kernels() {
    let mut first = testing::elf32(3, 2, false);
    put(
        &mut first,
        0x1000,
        &testing::words([0x1bad_b002, 3, 0xe452_4ffb]),
    );
    check(
        &first,
        expect![
            "not a kernel but a multiboot kernel, such as Xen; give a Linux kernel; multiboot kernels are loaded by kexec-tools (`kexec -l`)"
        ],
    );
    let mut second = testing::elf(62, 2, false);
    let header = [0xe852_50d6, 0, 0x18, 0x17ad_af12];
    put(&mut second, 0x4008, &testing::words(header));
    check(
        &second,
        expect![
            "not a kernel but a multiboot kernel, such as Xen; give a Linux kernel; multiboot kernels are loaded by kexec-tools (`kexec -l`)"
        ],
    );
    let mut bare = vec![1; 0x40];
    put(
        &mut bare,
        0x10,
        &testing::words([0x1bad_b002, 0, 0xe452_4ffe]),
    );
    check(
        &bare,
        expect![
            "not a kernel but a multiboot kernel, such as Xen; give a Linux kernel; multiboot kernels are loaded by kexec-tools (`kexec -l`)"
        ],
    );
    // Elsewhere, or with a sum that is not 0, they are numbers like others.
    put(&mut bare, 0x10, &[1; 4]);
    put(
        &mut bare,
        0x12,
        &testing::words([0x1bad_b002, 0, 0xe452_4ffe]),
    );
    check(
        &bare,
        expect![
            "not a kernel but something unknown, beginning with 01 01 01 01 01 01 01 01; give the image itself"
        ],
    );
    put(
        &mut second,
        0x4008,
        &testing::words([0xe852_50d6, 0, 0x18, 0]),
    );
    assert!(identify(&second).is_ok());
}

#[test]
fn names_32_bit_elf_files() {
    check(
        &testing::elf32(20, 2, true),
        expect![
            "not a kernel but a 32-bit ELF file for PowerPC: a zImage, which wraps the kernel, or a 32-bit kernel; give the 64-bit kernel itself (vmlinux)"
        ],
    );
    check(
        &testing::elf32(40, 2, false),
        expect![
            "not a kernel but a 32-bit ELF file for Arm; give a Linux kernel for a 64-bit machine"
        ],
    );
    check(
        &testing::elf32(0x1234, 3, false),
        expect![
            "not a kernel but a 32-bit ELF file for machine 4660; give a Linux kernel for a 64-bit machine"
        ],
    );
    check(
        &testing::elf32(3, 1, false),
        expect!["not a kernel but an object file (ELF, not linked); give the linked kernel"],
    );
    let mut program = testing::elf32(3, 3, false);
    put(&mut program, 0x34, &[3]);
    check(
        &program,
        expect![
            "not a kernel but an ordinary program (ELF with an interpreter); give a Linux kernel for a 64-bit machine"
        ],
    );
    // It is one, also with program headers that are wrong.
    let mut broken = testing::elf32(20, 2, true);
    put(&mut broken, 0x1c, &[0xff; 4]);
    check(
        &broken,
        expect![
            "not a kernel but a 32-bit ELF file for PowerPC: a zImage, which wraps the kernel, or a 32-bit kernel; give the 64-bit kernel itself (vmlinux)"
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
    put(&mut pe32, testing::OPTIONAL, &0x10b_u16.to_le_bytes());
    check(
        &pe32,
        expect!["not a kernel but a Windows program; give a Linux kernel for a 64-bit machine"],
    );
    put(&mut pe32, testing::OPTIONAL + 68, &[10]);
    check(
        &pe32,
        expect![
            "not a kernel but a 32-bit UEFI program (PE32): a boot loader, or a UKI for 32-bit machines; give a kernel or a UKI for a 64-bit machine"
        ],
    );
    let mut dos = vec![0x90; 0x200];
    put(&mut dos, 0, b"MZ");
    put(&mut dos, 0x3c, &[0x50, 0, 0, 0]);
    check(
        &dos,
        expect![
            "not a kernel but an MS-DOS program (MZ without a PE header); give a Linux kernel for a 64-bit machine"
        ],
    );
    check(
        b"MZ\x90\0\x03",
        expect![
            "no sound PE: e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0x5; is the file cut off?"
        ],
    );
    check(
        &testing::elf(247, 1, false),
        expect!["not a kernel but a BPF object; a parser is given with --parser"],
    );
    check(
        &testing::elf(62, 1, false),
        expect!["not a kernel but an object file (ELF, not linked); give the linked kernel"],
    );
    check(
        &testing::elf(62, 4, false),
        expect!["not a kernel but a core dump; give a Linux kernel for a 64-bit machine"],
    );
    let mut program = testing::elf(62, 3, false);
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
        b"\x04\x22\x4d\x18\x64\x40",
        expect![
            "not a kernel but lz4-compressed data: a bare compressed kernel or an initrd; a kernel: unpack it first (`lz4 -dc <IMAGE >kernel`); an initrd: give it with --initrd"
        ],
    );
    check(
        b"\x02\x21\x4c\x18\x64\x40",
        expect![
            "not a kernel but lz4-compressed data: a bare compressed kernel or an initrd; a kernel: unpack it first (`lz4 -dc <IMAGE >kernel`); an initrd: give it with --initrd"
        ],
    );
    check(
        b"LZIP\x01",
        expect![
            "not a kernel but lzip-compressed data: a bare compressed kernel or an initrd; a kernel: unpack it first (`lzip -dc <IMAGE >kernel`); an initrd: give it with --initrd"
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
    let mut iso = vec![0; 0x8800];
    put(&mut iso, 0x8001, b"CD001");
    check(
        &iso,
        expect!["not a kernel but a disk image; mount it, and give the kernel that lies in it"],
    );
    check(
        "Grüße\n".as_bytes(),
        expect!["not a kernel but text; give the image itself"],
    );
    check(
        b"<!DOCTYPE html><title>404</title>",
        expect![
            "not a kernel but an HTML page, perhaps a server's answer in place of a file; download the image again"
        ],
    );
    check(
        b"PK\x03\x04\x14",
        expect![
            "not a kernel but an archive or a package; unpack it, and give the kernel that lies in it"
        ],
    );
    let mut zimage = vec![0; 64];
    put(&mut zimage, 0x24, &0x016f_2818_u32.to_le_bytes());
    let mut with_efi = pe(0x1c2, 10, &[]);
    put(&mut with_efi, testing::OPTIONAL, &0x10b_u16.to_le_bytes());
    put(&mut with_efi, 0x24, &0x016f_2818_u32.to_le_bytes());
    check(
        &with_efi,
        expect![
            "not a kernel but a zImage for 32-bit Arm; give a Linux kernel for a 64-bit machine"
        ],
    );
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
            "no sound PE: NumberOfSections at 0x46: expected an end by 0x100, found 0x120; is the file cut off?"
        ],
    );
}

#[test]
fn a_parser_container_is_named_by_its_sections() {
    let named = |e_machine, names: &[u8]| {
        let mut file = testing::elf(e_machine, 1, false);
        let table = file.len();
        put(&mut file, 0x28, &(table as u64).to_le_bytes());
        put(&mut file, 0x38, &[0, 0]);
        put(&mut file, 0x3c, &[1, 0, 0, 0]);
        let mut section = [0; 64];
        section[0x18..0x20].copy_from_slice(&(table as u64 + 64).to_le_bytes());
        section[0x20..0x28].copy_from_slice(&(names.len() as u64).to_le_bytes());
        file.extend(section);
        file.extend(names);
        file
    };
    check(
        &named(62, b"\0.bpf.1\0.shstrtab\0"),
        expect![
            "not a kernel but a parser container; it goes beside the image that its parsers are for: `ukexec load --parser X.bpf IMAGE`"
        ],
    );
    check(
        &named(247, b"\0.shstrtab\0.bpf.nested\0"),
        expect![
            "not a kernel but a parser container; it goes beside the image that its parsers are for: `ukexec load --parser X.bpf IMAGE`"
        ],
    );
    check(
        &named(247, b"\0.bpf.10\0.shstrtab\0x.bpf.1\0"),
        expect!["not a kernel but a BPF object; a parser is given with --parser"],
    );
}
