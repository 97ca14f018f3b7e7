//! Identifying an image by the headers of each format, one after the other.

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use ukexec_pe::ReadAt;

use crate::arch::{Arch, ByteOrder};
use crate::bytes::{Fields, HEAD_LEN, read};
use crate::bzimage::{Setup, is_bzimage};
use crate::elf::Elf;
use crate::error::BootError;
use crate::format::KernelFormat;
use crate::image::Flat;
use crate::kernel::Kernel;
use crate::look_alike::LookAlike;
use crate::pe_headers::{identify_pe, look_at_pe};
use crate::problem::cut_off;
use crate::s390::Parmarea;

/// Identifies a kernel.
///
/// Reads headers only.
///
/// # Errors
///
/// The image is something else ([`BootError::look_alike`]), begins like a kernel
/// and is none, or cannot be read ([`BootError::is_read`]).
pub fn identify(image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let bytes = read(image, 0, HEAD_LEN)?;
    let head = Fields(&bytes);
    if let Some(zboot) = LookAlike::of_zboot(head) {
        return Err(zboot.into());
    }
    // These have a header of their own in front of, or beside, that of a PE.
    if is_bzimage(head) {
        return identify_bzimage(head, image);
    }
    if let Some(flat) = Flat::find(head, image.len()) {
        return Ok(identify_flat(&flat?, head, image));
    }
    if head.has(0, b"\x7fELF") {
        return identify_elf(head, image);
    }
    if head.has(0, b"MZ") {
        return identify_pe(head, image);
    }
    if let Some(kernel) = identify_s390(image)? {
        return Ok(kernel);
    }
    Err(LookAlike::of_bytes(head, image)?.into())
}

fn identify_bzimage(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let setup = Setup::read(head, image.len())?;
    let mut kernel = Kernel {
        memory_len: setup.memory_len(),
        cmdline_limit: setup.cmdline_limit(),
        faults: setup.faults(image.len()),
        setup: Some(setup),
        ..Kernel::bare(KernelFormat::BzImage, setup.arch(), image.len())
    };
    if let Some(at) = setup.version_at() {
        kernel.version = version_text(image, at)?;
    }
    look_at_pe(&mut kernel, head, image);
    Ok(kernel)
}

pub(crate) fn identify_flat(
    flat: &Flat,
    head: Fields<'_>,
    image: &(impl ReadAt + ?Sized),
) -> Kernel {
    let (size, len) = (flat.image_size, image.len());
    let mut kernel = Kernel {
        byte_order: flat.byte_order,
        memory_len: Some(size),
        page_size: flat.page_size,
        ..Kernel::bare(flat.format, flat.arch, len)
    };
    // The size in memory covers the file and what is zeroed behind it; a kernel
    // before Linux 3.17 has 0 here, which is a matter of `check`.
    if flat.format == KernelFormat::Image && size != 0 && size < len / 2 {
        let fault =
            format!("the size in memory ({size:#x}) is less than half of the file ({len:#x})");
        kernel.faults.push(fault);
    }
    look_at_pe(&mut kernel, head, image);
    kernel
}

fn identify_elf(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let elf = Elf::read(head, image)?;
    let (needed, len) = (elf.needed, image.len());
    Ok(Kernel {
        byte_order: elf.byte_order,
        memory_len: elf.memory_len,
        faults: match needed > len {
            true => vec![cut_off(needed, len)],
            false => Vec::new(),
        },
        ..Kernel::bare(KernelFormat::Elf, elf.arch, len)
    })
}

fn identify_s390(image: &(impl ReadAt + ?Sized)) -> Result<Option<Kernel>, BootError> {
    let bytes = read(image, Parmarea::AT, Parmarea::LEN)?;
    let Some(parmarea) = Parmarea::read(Fields(&bytes)) else {
        return Ok(None);
    };
    let mut kernel = Kernel {
        byte_order: ByteOrder::Big,
        cmdline_limit: Some(parmarea.cmdline_limit()),
        ..Kernel::bare(KernelFormat::S390Image, Arch::S390x, image.len())
    };
    if let Some(at) = parmarea.version_at {
        kernel.version = version_text(image, at)?;
    }
    Ok(Some(kernel))
}

impl Kernel {
    /// Returns a kernel of which nothing but this is known.
    fn bare(format: KernelFormat, arch: impl Into<Option<Arch>>, len: u64) -> Self {
        let arch = arch.into();
        Self {
            format,
            arch,
            byte_order: ByteOrder::Little,
            version: None,
            len,
            true_len: len,
            memory_len: None,
            cmdline_limit: arch.and_then(|arch| arch.row().cmdline_limit(format)),
            signed: false,
            faults: Vec::new(),
            setup: None,
            page_size: None,
        }
    }
}

fn version_text(image: &(impl ReadAt + ?Sized), at: u64) -> Result<Option<String>, BootError> {
    let bytes = read(image, at, VERSION_LEN)?;
    Ok(Fields(&bytes).text(0, VERSION_LEN))
}

/// Longest version text looked at.
const VERSION_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use std::io;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use std::error::Error as _;

    use super::*;
    use crate::arch::Platform;
    use crate::pe_headers::LINUX_PE_MAGIC;
    use crate::problem;
    use crate::testing::{self, AMD64, ARM64, chain, put, put_pe, sign};

    /// Compares what is known of a kernel.
    fn check(image: &[u8], expected: Expect) {
        let text = match identify(image) {
            Ok(kernel) => {
                let Kernel {
                    format,
                    arch,
                    byte_order,
                    version,
                    len,
                    true_len,
                    ..
                } = &kernel;
                let limit = kernel.cmdline_limit;
                let limit = limit.map(|limit| (limit.bytes, limit.source));
                let arch = arch.map_or("unknown".to_owned(), |arch| arch.to_string());
                format!(
                    "{format}, {arch}, {byte_order}\nversion: {version:?}\n\
                     length: {true_len} of {len}, signed: {}\nmemory: {:?}\ncmdline: {limit:?}\n\
                     faults: {:?}\n",
                    kernel.signed, kernel.memory_len, kernel.faults,
                )
            }
            Err(error) => chain(&error),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn identifies_a_bzimage() {
        check(
            &testing::bzimage(),
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
            length: 1088 of 1088, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
    }

    #[test]
    fn identifies_a_signed_bzimage_with_padding_behind() {
        let mut image = testing::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut image);
        image.resize(image.len() + 400, 0);
        check(
            &image,
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
            length: 1104 of 1504, signed: true
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
    }

    #[test]
    fn a_bzimage_may_name_no_version_or_one_outside() {
        let mut image = testing::bzimage();
        put(&mut image, 0x20e, &[0, 0]);
        assert_eq!(identify(&image).unwrap().version, None);
        put(&mut image, 0x20e, &[0xff, 0xff]);
        assert_eq!(identify(&image).unwrap().version, None);
        put(&mut image, 0x20e, &0x100_u16.to_le_bytes());
        put(&mut image, 0x300, b"\x90\x07\xff\0");
        assert_eq!(identify(&image).unwrap().version, None);
    }

    #[test]
    fn a_version_may_have_any_letters_and_steers_no_terminal() {
        let mut image = testing::bzimage();
        put(&mut image, 0x300, "6.6.6 (jürgen@höst) #1 SMP\0".as_bytes());
        let kernel = identify(&image).unwrap();
        assert_eq!(
            kernel.version.as_deref(),
            Some("6.6.6 (jürgen@höst) #1 SMP")
        );
        put(&mut image, 0x300, b"6.6.6\x1b[31m\n\xc2\x9b\0");
        let kernel = identify(&image).unwrap();
        assert_eq!(kernel.version.as_deref(), Some(r"6.6.6\u{1b}[31m\n\u{9b}"));
    }

    #[test]
    fn the_last_unit_of_syssize_need_not_be_whole() {
        let image = testing::bzimage();
        let cut_off = |len: usize| identify(&image[..len]).unwrap().faults;
        assert!(cut_off(image.len() - 15).is_empty());
        let (needed, found) = (1024 + 3 * 16 + 1, 1024 + 3 * 16);
        assert_eq!(cut_off(image.len() - 16), [problem::cut_off(needed, found)]);
    }

    #[test]
    fn an_old_header_does_not_tell_the_machine() {
        let mut image = testing::bzimage();
        put(&mut image, 0x206, &0x20b_u16.to_le_bytes());
        put(&mut image, 0x234, &[0, 0, 0, 0]);
        check(
            &image,
            expect![[r#"
            bzImage, unknown, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
            length: 1088 of 1088, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
        put(&mut image, 0x206, &0x203_u16.to_le_bytes());
        check(
            &image,
            expect![[r#"
            bzImage, unknown, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
            length: 1088 of 1088, signed: false
            memory: None
            cmdline: None
            faults: []
        "#]],
        );
    }

    /// Every way in which a PE header may be none, or lie.
    fn with_damaged_pe(kernel: &[u8], machine: u16) -> Vec<Vec<u8>> {
        let damaged = |damage: &dyn Fn(&mut Vec<u8>)| {
            let mut image = kernel.to_vec();
            put_pe(&mut image, machine, 10, &[(".text", 0x1c0..0x1d0)]);
            damage(&mut image);
            image
        };
        let certificates = testing::OPTIONAL + 112 + 4 * 8;
        vec![
            damaged(&|image| put(image, 0x3c, &[0; 4])),
            damaged(&|image| put(image, 0x3c, &[0xff; 4])),
            damaged(&|image| put(image, 0x40, b"NE")),
            damaged(&|image| put(image, 0x46, &[0xff; 2])),
            damaged(&|image| put(image, 0x54, &[0; 2])),
            damaged(&|image| put(image, testing::OPTIONAL + 160 + 20, &[0xff; 4])),
            // A certificate table that was cut off.
            damaged(&|image| {
                let end = image.len() as u32;
                put(image, certificates, &end.to_le_bytes());
                put(image, certificates + 4, &0x5f0_u32.to_le_bytes());
            }),
        ]
    }

    #[test]
    fn a_kernel_with_damaged_pe_headers_is_a_kernel_with_a_fault() {
        for (kernel, machine, arch) in [
            (testing::bzimage(), AMD64, Arch::X86_64),
            (testing::arm64(), ARM64, Arch::Arm64),
            (testing::riscv64(), 0x5064, Arch::Riscv64),
            (
                testing::loongarch64(),
                testing::LOONGARCH64,
                Arch::LoongArch64,
            ),
        ] {
            for (number, image) in with_damaged_pe(&kernel, machine).iter().enumerate() {
                let kernel = identify(image).unwrap();
                assert_eq!(kernel.arch, Some(arch), "{number}");
                let is_it = |fault: &String| fault.starts_with("its PE headers are damaged");
                assert!(kernel.faults.iter().any(is_it), "{arch} {number}");
                let problems = kernel.check(&kernel.home());
                assert!(!problems.iter().any(|it| it.is_refusal()), "{problems:?}");
            }
        }
    }

    #[test]
    fn a_zboot_image_with_damaged_pe_headers_is_one() {
        for image in with_damaged_pe(&testing::zboot(), ARM64) {
            let error = identify(&image).unwrap_err();
            assert!(error.look_alike().unwrap().is_for_parsers());
            let name = "not a kernel but an EFI zboot image (zstd)";
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn what_is_no_kernel_does_not_become_one_by_damage() {
        let mut image = testing::pe(AMD64, 10, &[(".text", b"x")]);
        put(&mut image, 0x38, &LINUX_PE_MAGIC.to_le_bytes());
        put(&mut image, 0x46, &[0xff; 2]);
        check(
            &image,
            expect![
                "not a kernel, and no well-formed PE file either: NumberOfSections at file offset 0x46: expected bytes inside the file, found 0xf8 to 0x2800d0 of a file that ends at 0x600; is the file cut off?"
            ],
        );
        put(&mut image, 0x3c, &[0; 4]);
        check(
            &image,
            expect![
                "not a kernel but an MS-DOS program (MZ, and no PE header); give a Linux kernel for a 64-bit machine"
            ],
        );
    }

    #[test]
    fn a_certificate_table_inside_a_section_cuts_nothing() {
        let mut image = testing::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut image);
        put(
            &mut image,
            testing::OPTIONAL + 112 + 4 * 8,
            &1032_u32.to_le_bytes(),
        );
        check(
            &image,
            expect![[r#"
                bzImage, x86_64, little-endian
                version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
                length: 1104 of 1104, signed: false
                memory: Some(16777216)
                cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
                faults: ["its PE headers are damaged, so that no signature fits: certificate table at file offset 0x408: expected it behind the sections, which end at 0x440"]
            "#]],
        );
    }

    #[test]
    fn a_bzimage_that_ends_in_its_header_is_cut_off() {
        check(
            &testing::bzimage()[..0x210],
            expect![
                "bzImage: the header needs 0x400 bytes, the file has 0x210; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn a_bzimage_with_broken_pe_headers_is_a_kernel() {
        let mut image = testing::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..5000)]);
        check(
            &image,
            expect![[r#"
                bzImage, x86_64, little-endian
                version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
                length: 1088 of 1088, signed: false
                memory: Some(16777216)
                cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
                faults: ["its PE headers are damaged, so that no signature fits: PointerToRawData of section 0 (.text) at file offset 0x10c: expected content inside the file, found 0x400 to 0x1388 of a file that ends at 0x440; is the file cut off?"]
            "#]],
        );
    }

    #[test]
    fn a_32_bit_bzimage_has_no_broken_pe_headers() {
        let mut image = testing::bzimage();
        put(&mut image, 0x236, &[0, 0]);
        put_pe(&mut image, 0x14c, 10, &[]);
        put(&mut image, testing::OPTIONAL, &0x10b_u16.to_le_bytes());
        check(
            &image,
            expect![[r#"
            bzImage, x86, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1")
            length: 1088 of 1088, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
    }

    #[test]
    fn identifies_arm64_images() {
        check(
            &testing::arm64(),
            expect![[r#"
            Image, arm64, little-endian
            version: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of arm64"))
            faults: []
        "#]],
        );
        let mut big = testing::arm64();
        put(&mut big, 0x18, &[0xf]);
        put_pe(&mut big, ARM64, 10, &[]);
        check(
            &big,
            expect![[r#"
            Image, arm64, big-endian
            version: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of arm64"))
            faults: []
        "#]],
        );
        check(
            &testing::arm64()[..0x3c],
            expect![
                "Image: the header needs 0x40 bytes, the file has 0x3c; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn identifies_riscv_images() {
        check(
            &testing::riscv64(),
            expect![[r#"
            Image, riscv64, little-endian
            version: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((1023, "COMMAND_LINE_SIZE of riscv (512 in older kernels)"))
            faults: []
        "#]],
        );
        let mut old = testing::riscv64();
        put(&mut old, 0x38, &[0; 4]);
        assert_eq!(identify(&old).unwrap().arch, Some(Arch::Riscv64));
        let mut new = testing::riscv64();
        put(&mut new, 0x30, &[0; 8]);
        assert_eq!(identify(&new).unwrap().arch, Some(Arch::Riscv64));
    }

    #[test]
    fn identifies_a_loongarch_kernel() {
        check(
            &testing::loongarch64(),
            expect![[r#"
            LoongArch PE, loongarch64, little-endian
            version: None
            length: 1536 of 1536, signed: false
            memory: Some(4096)
            cmdline: Some((4095, "COMMAND_LINE_SIZE of loongarch (512 in older kernels)"))
            faults: []
        "#]],
        );
    }

    #[test]
    fn identifies_elf_kernels() {
        check(
            &testing::elf(21, 3, true),
            expect![[r#"
            ELF, ppc64, big-endian
            version: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of powerpc"))
            faults: []
        "#]],
        );
        check(
            &testing::elf(62, 2, false),
            expect![[r#"
            ELF, x86_64, little-endian
            version: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: None
            faults: []
        "#]],
        );
        check(
            &testing::elf(40, 2, false),
            expect![[r#"
            ELF, ELF machine 40, little-endian
            version: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: None
            faults: []
        "#]],
        );
    }

    #[test]
    fn says_what_is_wrong_with_an_elf_file() {
        let edit = |at: usize, bytes: &[u8], expected: Expect| {
            let mut image = testing::elf(243, 2, false);
            put(&mut image, at, bytes);
            check(&image, expected);
        };
        edit(
            4,
            &[3],
            expect!["not a kernel: EI_CLASS of the ELF header: expected 2 (64-bit), found 0x3"],
        );
        edit(
            5,
            &[0],
            expect!["not a kernel: EI_DATA of the ELF header: expected 1 or 2, found 0x0"],
        );
        edit(
            0x10,
            &[9, 0],
            expect![
                "not a kernel: e_type of the ELF header: expected ET_EXEC (2) or ET_DYN (3), found 0x9"
            ],
        );
        edit(
            0x36,
            &[32, 0],
            expect!["not a kernel: e_phentsize of the ELF header: expected 56, found 0x20"],
        );
        edit(
            0x38,
            &[0, 0],
            expect!["not a kernel: e_phnum of the ELF header: expected program headers, found 0x0"],
        );
        edit(
            0x38,
            &[0xff, 0xff],
            expect!["not a kernel: e_phnum of the ELF header: expected at most 1000, found 0xffff"],
        );
        edit(
            0x20,
            &[0xff; 8],
            expect![
                "not a kernel: e_phoff of the ELF header: expected a table inside the file, found 0xffffffffffffffff"
            ],
        );
        edit(
            0x60,
            &[0xff; 8],
            expect![[r#"
                ELF, riscv64, little-endian
                version: None
                length: 272 of 272, signed: false
                memory: Some(12288)
                cmdline: None
                faults: ["the kernel needs 0xffffffffffffffff bytes, the file has 0x110: it was cut off, copy it again"]
            "#]],
        );
        check(
            &testing::elf(243, 2, false)[..0x30],
            expect![
                "ELF: the header needs 0x40 bytes, the file has 0x30; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn identifies_an_s390_image() {
        check(
            &testing::s390(),
            expect![[r#"
            s390 image, s390x, big-endian
            version: Some("6.12.1-s390x (builder@host) #1 SMP")
            length: 69632 of 69632, signed: false
            memory: None
            cmdline: Some((4094, "max_command_line_size of the kernel's parameter area"))
            faults: []
        "#]],
        );
        let mut old = testing::s390();
        put(&mut old, 0x10428, &[0; 16]);
        check(
            &old,
            expect![[r#"
            s390 image, s390x, big-endian
            version: None
            length: 69632 of 69632, signed: false
            memory: None
            cmdline: Some((894, "LEGACY_COMMAND_LINE_SIZE of s390"))
            faults: []
        "#]],
        );
    }

    /// Fails to read behind the first page.
    struct Broken;

    impl ReadAt for Broken {
        type Error = io::Error;

        fn len(&self) -> u64 {
            1 << 30
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            if offset >= 4096 {
                return Err(io::Error::other("medium broken"));
            }
            buf.fill(0);
            Ok(())
        }
    }

    #[test]
    fn says_where_reading_failed() {
        let error = identify(&Broken).unwrap_err();
        expect!["reading the image at 0x10000"].assert_eq(&error.to_string());
        assert!(error.is_read());
        let cause = error.source().unwrap();
        assert_eq!(cause.to_string(), "medium broken");
    }

    /// Asks everything there is to ask.
    fn exercise(image: &[u8]) {
        let _found = crate::find_banner(image, 1 << 20);
        match identify(image) {
            Ok(kernel) => {
                assert!(kernel.true_len <= kernel.len);
                for machine in [
                    "x86_64",
                    "aarch64",
                    "riscv64",
                    "loongarch64",
                    "ppc64",
                    "s390x",
                ] {
                    let mut machine = Platform::from_uname(machine).unwrap();
                    machine.page_size = Some(4096);
                    for problem in kernel.check(&machine) {
                        assert!(!problem.to_string().is_empty());
                    }
                }
                let _problem = kernel.check_cmdline(image.len());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }

    fn all_samples() -> Vec<Vec<u8>> {
        let mut signed = testing::bzimage();
        put_pe(&mut signed, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut signed);
        vec![
            testing::bzimage(),
            signed,
            testing::arm64(),
            testing::riscv64(),
            testing::loongarch64(),
            testing::zboot(),
            testing::elf(21, 3, true),
            testing::elf(243, 2, false),
            testing::elf32(20, 2, true),
            testing::elf32(3, 3, false),
            testing::s390()[..0x10900].to_vec(),
            testing::pe(
                AMD64,
                10,
                &[(".linux", b"x"), (".sbat", b"sbat,1\ngrub,3\n")],
            ),
        ]
    }

    #[test]
    fn takes_a_sample_cut_anywhere() {
        for sample in all_samples() {
            for len in 0..=sample.len() {
                exercise(&sample[..len]);
            }
        }
    }

    proptest! {
        #[test]
        fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            exercise(&bytes);
        }

        #[test]
        fn takes_any_edit_of_a_sample(
            sample in prop::sample::select(all_samples()),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut image = sample;
            for (at, byte) in edits {
                let at = at.index(image.len());
                image[at] = byte;
            }
            exercise(&image);
        }
    }
}
