//! Telling what an image is.

use std::ops::Range;

use ukexec_pe::{Machine, PeImage, ReadAt, Subsystem};

use crate::bytes::{Fields, read};
use crate::bzimage::{Setup, is_bzimage};
use crate::check::Fault;
use crate::elf::Elf;
use crate::error::BootError;
use crate::image::Flat;
use crate::kernel::{Arch, ByteOrder, CmdlineLimit, Header, Kernel, KernelFormat};
use crate::look_alike::LookAlike;
use crate::s390::Parmarea;

/// Identifies a kernel.
///
/// Reads headers only.
///
/// # Errors
///
/// [`BootError::NotAKernel`] with what the image is instead;
/// [`BootError::TooShort`], [`BootError::Elf`] and [`BootError::Pe`] where it
/// begins like something it is not; [`BootError::Read`] if it cannot be read.
pub fn identify(image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let bytes = read(image, 0, HEAD_LEN)?;
    let head = Fields(&bytes);
    if let Some(zboot) = LookAlike::of_zboot(head) {
        return Err(BootError::NotAKernel(zboot));
    }
    // These have a header of their own in front of, or beside, that of a PE.
    if is_bzimage(head) {
        return identify_bzimage(head, image);
    }
    if let Some(flat) = Flat::read(head, image.len()) {
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
    Err(BootError::NotAKernel(LookAlike::of_bytes(head)))
}

fn identify_bzimage(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let setup = Setup::read(head, image.len())?;
    let mut kernel = Kernel {
        arch: setup.arch(),
        memory_len: Some(u64::from(setup.init_size)),
        cmdline_limit: setup.cmdline_limit(),
        faults: setup.faults(image.len()),
        header: Header::BzImage(setup),
        ..Kernel::bare(KernelFormat::BzImage, Arch::X86_64, image.len())
    };
    if let Some(at) = setup.version_at() {
        kernel.version = version_text(image, at)?;
    }
    kernel.look_at_pe(head, image);
    Ok(kernel)
}

fn identify_flat(flat: &Flat, head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Kernel {
    let mut kernel = Kernel {
        byte_order: flat.byte_order,
        memory_len: Some(flat.image_size),
        cmdline_limit: flat.cmdline_limit(),
        faults: flat.faults(image.len()),
        header: match flat.arch {
            Arch::Arm64 => Header::Arm64(flat.arm64()),
            _ => Header::Plain,
        },
        ..Kernel::bare(flat.format, flat.arch, image.len())
    };
    kernel.look_at_pe(head, image);
    kernel
}

fn identify_elf(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let elf = Elf::read(head, image)?;
    let len = image.len();
    let mut faults = Vec::new();
    if elf.needed > len {
        faults.push(Fault::CutOff {
            needed: elf.needed,
            found: len,
        });
    }
    Ok(Kernel {
        byte_order: elf.byte_order,
        memory_len: elf.memory_len,
        cmdline_limit: (elf.arch == Arch::PowerPc64).then_some(CmdlineLimit {
            bytes: 2047,
            source: "COMMAND_LINE_SIZE of powerpc",
            refused: true,
        }),
        faults,
        ..Kernel::bare(KernelFormat::Elf, elf.arch, len)
    })
}

/// A PE file without another kernel header: LoongArch, or no kernel.
fn identify_pe(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Kernel, BootError> {
    let pe = match (PeImage::parse(image), PeKind::read(head, image)) {
        (Ok(pe), _) => pe,
        (Err(_), PeKind::None) => return Err(BootError::NotAKernel(LookAlike::DosProgram)),
        (Err(_), PeKind::Pe32 { subsystem }) => {
            return Err(BootError::NotAKernel(LookAlike::of_subsystem(subsystem)));
        }
        (Err(error), PeKind::Other) => return Err(BootError::Pe(error)),
    };
    let is_linux = head.u32(0x38) == Some(LINUX_PE_MAGIC);
    let is_loongarch = pe.machine() == Machine::LOONGARCH64;
    if !is_linux || !is_loongarch || pe.section(".linux").is_some() {
        return Err(BootError::NotAKernel(LookAlike::of_pe(&pe, image)));
    }
    let flat = Flat::read_loongarch(head, image.len())?;
    Ok(identify_flat(&flat, head, image))
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
    fn bare(format: KernelFormat, arch: Arch, len: u64) -> Self {
        Self {
            format,
            arch,
            byte_order: ByteOrder::Little,
            version: None,
            len,
            true_len: len,
            memory_len: None,
            cmdline_limit: None,
            signed: false,
            faults: Vec::new(),
            header: Header::Plain,
        }
    }

    /// Looks for a signature, and for the true end, which it tells. A kernel
    /// boots without PE headers, so damaged ones are a fault and no error.
    fn look_at_pe(&mut self, head: Fields<'_>, image: &(impl ReadAt + ?Sized)) {
        if !head.has(0, b"MZ") {
            return;
        }
        match PeImage::parse(image) {
            Ok(pe) => {
                if let Some(certificates) = pe.certificates() {
                    self.end_behind(&certificates, &pe);
                }
            }
            // That of a 32-bit kernel, which is refused for being one.
            Err(_) if matches!(PeKind::read(head, image), PeKind::Pe32 { .. }) => {}
            Err(error) => self.faults.push(Fault::BrokenPe {
                reason: error.to_string(),
            }),
        }
    }

    /// Takes the end of `certificates` as the kernel's, unless they lie where
    /// sections have their bytes: nothing signed such a file, and cutting there
    /// would cut the kernel.
    fn end_behind(&mut self, certificates: &Range<u64>, pe: &PeImage) {
        let sections = pe.sections().iter().map(|section| section.content().end);
        let sections_end = sections.max().unwrap_or(0);
        if certificates.start < sections_end {
            let reason = format!(
                "certificate table at file offset {:#x}: expected it behind the sections, which \
                 end at {sections_end:#x}",
                certificates.start
            );
            self.faults.push(Fault::BrokenPe { reason });
            return;
        }
        self.signed = true;
        self.true_len = certificates.end.min(self.len);
    }
}

fn version_text(image: &(impl ReadAt + ?Sized), at: u64) -> Result<Option<String>, BootError> {
    let bytes = read(image, at, VERSION_LEN)?;
    Ok(Fields(&bytes).text(0, VERSION_LEN))
}

/// Which kind of file begins with `MZ`, told from as little as that takes.
enum PeKind {
    /// No PE: programs of the days before it have code, not an offset, at 0x3c.
    None,
    /// A 32-bit one, which has another layout than what `pe` reads.
    Pe32 { subsystem: Subsystem },
    /// Another, good or broken.
    Other,
}

impl PeKind {
    fn read(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Self {
        let at = head.u32(0x3c).map_or(u64::MAX, u64::from);
        let bytes = read(image, at, 0x80).unwrap_or_default();
        let headers = Fields(&bytes);
        match headers.0.first_chunk() {
            Some(b"PE\0\0") => {}
            Some(_) => return Self::None,
            // Cut off, as the error of `pe` will say.
            None => return Self::Other,
        }
        // Both kinds have Magic at 0 and Subsystem at 68 of the optional header.
        match (headers.u16(24), headers.u16(24 + 68)) {
            (Some(0x10b), Some(subsystem)) => Self::Pe32 {
                subsystem: Subsystem(subsystem),
            },
            _ => Self::Other,
        }
    }
}

/// Every header but those of s390 and ELF segments lies in here.
const HEAD_LEN: usize = 4096;
/// Longest version text looked at.
const VERSION_LEN: usize = 256;
/// Linux `include/linux/pe.h`.
const LINUX_PE_MAGIC: u32 = 0x8182_23cd;

#[cfg(test)]
mod tests {
    use std::io;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::check::Machine as BootMachine;
    use crate::samples::{self, AMD64, ARM64, put, put_pe, sign};

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
                let limit = kernel
                    .cmdline_limit
                    .map(|limit| (limit.bytes, limit.source));
                format!(
                    "{format}, {arch}, {byte_order}\nversion: {version:?}, release: {:?}\n\
                     length: {true_len} of {len}, signed: {}\nmemory: {:?}\ncmdline: {limit:?}\n\
                     faults: {:?}\n",
                    kernel.release(),
                    kernel.signed,
                    kernel.memory_len,
                    kernel.faults,
                )
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn identifies_a_bzimage() {
        check(
            &samples::bzimage(),
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1"), release: Some("6.1.0-56-amd64")
            length: 1088 of 1088, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
    }

    #[test]
    fn identifies_a_signed_bzimage_with_padding_behind() {
        let mut image = samples::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut image);
        image.resize(image.len() + 400, 0);
        check(
            &image,
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1"), release: Some("6.1.0-56-amd64")
            length: 1104 of 1504, signed: true
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: []
        "#]],
        );
    }

    #[test]
    fn a_bzimage_may_name_no_version_or_one_outside() {
        let mut image = samples::bzimage();
        put(&mut image, 0x20e, &[0, 0]);
        assert_eq!(identify(&image).unwrap().version, None);
        put(&mut image, 0x20e, &[0xff, 0xff]);
        assert_eq!(identify(&image).unwrap().version, None);
        put(&mut image, 0x20e, &0x100_u16.to_le_bytes());
        put(&mut image, 0x300, b"6.1\x07\0");
        assert_eq!(identify(&image).unwrap().version, None);
    }

    #[test]
    fn a_certificate_table_inside_a_section_cuts_nothing() {
        let mut image = samples::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut image);
        put(
            &mut image,
            samples::OPTIONAL + 112 + 4 * 8,
            &1032_u32.to_le_bytes(),
        );
        check(
            &image,
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1"), release: Some("6.1.0-56-amd64")
            length: 1104 of 1104, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: [BrokenPe { reason: "certificate table at file offset 0x408: expected it behind the sections, which end at 0x440" }]
        "#]],
        );
    }

    #[test]
    fn a_bzimage_that_ends_in_its_header_is_cut_off() {
        check(
            &samples::bzimage()[..0x210],
            expect![
                "bzImage: the header needs 0x400 bytes, the file has 0x210; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn a_bzimage_with_broken_pe_headers_is_a_kernel() {
        let mut image = samples::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..5000)]);
        check(
            &image,
            expect![[r#"
            bzImage, x86_64, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1"), release: Some("6.1.0-56-amd64")
            length: 1088 of 1088, signed: false
            memory: Some(16777216)
            cmdline: Some((2016, "cmdline_size of the kernel's header, less room for elfcorehdr="))
            faults: [BrokenPe { reason: "PointerToRawData of section 0 (.text) at file offset 0x10c: expected content inside the file, found 0x400 to 0x1388 of a file that ends at 0x440; is the file cut off?" }]
        "#]],
        );
    }

    #[test]
    fn a_32_bit_bzimage_has_no_broken_pe_headers() {
        let mut image = samples::bzimage();
        put(&mut image, 0x236, &[0, 0]);
        put_pe(&mut image, 0x14c, 10, &[]);
        put(&mut image, samples::OPTIONAL, &0x10b_u16.to_le_bytes());
        check(
            &image,
            expect![[r#"
            bzImage, x86, little-endian
            version: Some("6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1"), release: Some("6.1.0-56-amd64")
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
            &samples::arm64(),
            expect![[r#"
            Image, arm64, little-endian
            version: None, release: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of arm64"))
            faults: []
        "#]],
        );
        let mut big = samples::arm64();
        put(&mut big, 0x18, &[0xf]);
        put_pe(&mut big, ARM64, 10, &[]);
        check(
            &big,
            expect![[r#"
            Image, arm64, big-endian
            version: None, release: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of arm64"))
            faults: []
        "#]],
        );
        check(
            &samples::arm64()[..0x3c],
            expect![
                "Image: the header needs 0x40 bytes, the file has 0x3c; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn identifies_riscv_images() {
        check(
            &samples::riscv64(),
            expect![[r#"
            Image, riscv64, little-endian
            version: None, release: None
            length: 512 of 512, signed: false
            memory: Some(4096)
            cmdline: Some((1023, "COMMAND_LINE_SIZE of riscv (512 in older kernels)"))
            faults: []
        "#]],
        );
        let mut old = samples::riscv64();
        put(&mut old, 0x38, &[0; 4]);
        assert_eq!(identify(&old).unwrap().arch, Arch::Riscv64);
        let mut new = samples::riscv64();
        put(&mut new, 0x30, &[0; 8]);
        assert_eq!(identify(&new).unwrap().arch, Arch::Riscv64);
    }

    #[test]
    fn identifies_a_loongarch_kernel() {
        check(
            &samples::loongarch64(),
            expect![[r#"
            LoongArch PE, loongarch64, little-endian
            version: None, release: None
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
            &samples::elf(21, 3, true),
            expect![[r#"
            ELF, ppc64, big-endian
            version: None, release: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: Some((2047, "COMMAND_LINE_SIZE of powerpc"))
            faults: []
        "#]],
        );
        check(
            &samples::elf(62, 2, false),
            expect![[r#"
            ELF, x86_64, little-endian
            version: None, release: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: None
            faults: []
        "#]],
        );
        check(
            &samples::elf(40, 2, false),
            expect![[r#"
            ELF, ELF machine 40, little-endian
            version: None, release: None
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
            let mut image = samples::elf(243, 2, false);
            put(&mut image, at, bytes);
            check(&image, expected);
        };
        edit(
            4,
            &[1],
            expect!["not a kernel: EI_CLASS of the ELF header: expected 2 (64-bit), found 0x1"],
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
            version: None, release: None
            length: 272 of 272, signed: false
            memory: Some(12288)
            cmdline: None
            faults: [CutOff { needed: 18446744073709551615, found: 272 }]
        "#]],
        );
        check(
            &samples::elf(243, 2, false)[..0x30],
            expect![
                "ELF: the header needs 0x40 bytes, the file has 0x30; it was cut off: copy it again"
            ],
        );
    }

    #[test]
    fn identifies_an_s390_image() {
        check(
            &samples::s390(),
            expect![[r#"
            s390 image, s390x, big-endian
            version: Some("6.12.1-s390x (builder@host) #1 SMP"), release: Some("6.12.1-s390x")
            length: 69632 of 69632, signed: false
            memory: None
            cmdline: Some((4094, "max_command_line_size of the kernel's parameter area"))
            faults: []
        "#]],
        );
        let mut old = samples::s390();
        put(&mut old, 0x10428, &[0; 16]);
        check(
            &old,
            expect![[r#"
            s390 image, s390x, big-endian
            version: None, release: None
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
    fn tells_where_reading_failed() {
        let error = identify(&Broken).unwrap_err();
        expect!["reading the image at 0x10000: medium broken"].assert_eq(&error.to_string());
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
                    let mut machine = BootMachine::from_uname(machine).unwrap();
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
        let mut signed = samples::bzimage();
        put_pe(&mut signed, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut signed);
        vec![
            samples::bzimage(),
            signed,
            samples::arm64(),
            samples::riscv64(),
            samples::loongarch64(),
            samples::zboot(),
            samples::elf(21, 3, true),
            samples::elf(243, 2, false),
            samples::pe(
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
