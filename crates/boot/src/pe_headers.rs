//! PE headers in front of a kernel: where it ends and whether it is signed, and
//! which kernel it is where nothing else says so.

use alloc::format;

use ukexec_pe::{Machine, PeImage, ReadAt, Subsystem, UncheckedPe};

use crate::arch::{Arch, Row};
use crate::bytes::{Fields, read};
use crate::error::BootError;
use crate::format::KernelFormat;
use crate::identify::identify_flat;
use crate::image::{Flat, has_entry};
use crate::kernel::Kernel;
use crate::known;
use crate::look_alike::LookAlike;
use crate::problem::broken_pe;

/// Identifies a PE file without another kernel header: LoongArch, or no kernel.
pub(crate) fn identify_pe(
    head: Fields<'_>,
    image: &(impl ReadAt + ?Sized),
) -> Result<Kernel, BootError> {
    if let Some(arm) = LookAlike::of_arm_zimage(head) {
        return Err(arm.into());
    }
    let pe = PeImage::parse(image);
    let kind = PeKind::read(head, image)?;
    if let Some(flat) = flat(head, pe.as_ref().ok(), &kind, image.len()) {
        return Ok(identify_flat(&flat?, head, image));
    }
    Err(match (pe, kind) {
        (Ok(pe), _) => LookAlike::of_pe(&pe, image).into(),
        (Err(_), PeKind::None) => LookAlike::from(known::DOS_PROGRAM).into(),
        (Err(_), PeKind::Pe32 { subsystem }) => LookAlike::of_pe32(subsystem).into(),
        (Err(error), PeKind::Other { .. }) => match UncheckedPe::parse(image) {
            Ok(headers) if headers.sections().iter().any(|it| *it.name() == *".linux") => {
                BootError::damaged(known::DAMAGED_UKI.into(), error)
            }
            _ => error.into(),
        },
    })
}

/// Reads the header of a flat image that nothing but the DOS header and the
/// machine identifies. The loaders of such images look at the DOS header alone;
/// where a damaged PE header does not name the machine, that has to do here too.
fn flat(
    head: Fields<'_>,
    pe: Option<&PeImage>,
    kind: &PeKind,
    len: u64,
) -> Option<Result<Flat, BootError>> {
    if head.u32(0x38) != Some(LINUX_PE_MAGIC) {
        return None;
    }
    let machine = match (pe, kind) {
        (Some(pe), _) if pe.section(".linux").is_some() => return None,
        (Some(pe), _) => Some(pe.machine()),
        (None, PeKind::Pe32 { .. }) => return None,
        (
            None,
            PeKind::Other {
                machine: Some(machine),
            },
        ) => Some(*machine),
        (None, PeKind::Other { machine: None } | PeKind::None) if has_entry(head) => None,
        (None, PeKind::Other { machine: None } | PeKind::None) => return None,
    };
    let is_it = |row: &Row| match (machine, row.pe_machine) {
        (Some(machine), Some((known, _))) => machine == known,
        (machine, _) => machine.is_none(),
    };
    let mut images = Row::flat_images();
    let (row, format) = images.find(|(row, _)| row.magics.is_empty() && is_it(row))?;
    Some(Flat::read(row, format, head, len))
}

/// Looks for a signature, and for the true end, which follows from it. A kernel
/// boots without PE headers, so damaged ones are a fault and no error.
pub(crate) fn look_at_pe(kernel: &mut Kernel, head: Fields<'_>, image: &(impl ReadAt + ?Sized)) {
    if !head.has(0, b"MZ") {
        return;
    }
    let pe = match PeImage::parse(image) {
        Ok(pe) => pe,
        // The headers of 32-bit kernels, which are refused for being 32-bit.
        Err(error) if error.is_pe32() && matches!(kernel.arch, Some(Arch::X86) | None) => return,
        Err(error) => {
            let is_flat = matches!(
                kernel.format,
                KernelFormat::Image | KernelFormat::LoongArchPe
            );
            // Nothing else says how long such a kernel is.
            if is_flat && let Ok(headers) = UncheckedPe::parse(image) {
                let sections = headers.sections().iter();
                let ends = sections.map(|section| section.content().end);
                kernel.needed = ends.max().unwrap_or(0);
            }
            return kernel.faults.push(broken_pe(error));
        }
    };
    let Some(certificates) = pe.certificates() else {
        return;
    };
    // Nothing signed a file whose certificates lie where sections have their
    // bytes, and cutting there would cut the kernel.
    let sections = pe.sections().iter().map(|section| section.content().end);
    let sections_end = sections.max().unwrap_or(0);
    if certificates.start < sections_end {
        kernel.faults.push(broken_pe(format!(
            "certificate table at {:#x}: expected it behind the sections, which end \
             at {sections_end:#x}",
            certificates.start
        )));
        return;
    }
    kernel.signed = true;
    kernel.true_len = certificates.end.min(kernel.len);
}

/// Which kind of file begins with `MZ`, by as little as that takes.
enum PeKind {
    /// No PE: programs of the days before it have code, not an offset, at 0x3c.
    None,
    /// A 32-bit one, which has another layout than what `pe` reads.
    Pe32 { subsystem: Subsystem },
    /// Another, good or broken; the machine, if the file is no shorter.
    Other { machine: Option<Machine> },
}

impl PeKind {
    fn read(head: Fields<'_>, image: &(impl ReadAt + ?Sized)) -> Result<Self, BootError> {
        let Some(at) = head.u32(0x3c) else {
            return Ok(Self::Other { machine: None });
        };
        let bytes = read(image, at.into(), 0x80)?;
        let headers = Fields(&bytes);
        match headers.0.first_chunk() {
            Some(b"PE\0\0") => {}
            Some(_) => return Ok(Self::None),
            // Cut off, as the error of `pe` will say.
            None => return Ok(Self::Other { machine: None }),
        }
        // Both kinds have Magic at 0 and Subsystem at 68 of the optional header.
        Ok(match (headers.u16(24), headers.u16(24 + 68)) {
            (Some(0x10b), Some(subsystem)) => Self::Pe32 {
                subsystem: Subsystem(subsystem),
            },
            _ => Self::Other {
                machine: headers.u16(4).map(Machine),
            },
        })
    }
}

/// Linux `include/linux/pe.h`.
const LINUX_PE_MAGIC: u32 = 0x8182_23cd;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::identify;
    use crate::testing::{self, AMD64, ARM64, check, check_change, put, put_pe, sign};

    #[test]
    fn identifies_a_signed_bzimage_with_padding_behind() {
        let mut image = testing::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..1088)]);
        sign(&mut image);
        image.resize(image.len() + 400, 0);
        check_change(
            &testing::bzimage(),
            &image,
            expect!["length: 1104 of 1504, signed: true"],
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
                let is_it = |fault: &String| fault.starts_with("damaged PE headers");
                assert!(kernel.faults.iter().any(is_it), "{arch} {number}");
                // Where a section is not all there, nothing else says how long it is.
                let problems = kernel.check(&kernel.home());
                let is_refused = problems.iter().any(|it| it.is_refusal());
                assert_eq!(is_refused, kernel.is_cut(), "{arch} {number}: {problems:?}");
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
                "no sound PE: NumberOfSections at 0x46: expected an end by 0x600, found 0x2800d0; is the file cut off?"
            ],
        );
        put(&mut image, 0x3c, &[0; 4]);
        check(
            &image,
            expect![
                "not a kernel but an MS-DOS program (MZ without a PE header); give a Linux kernel for a 64-bit machine"
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
        check_change(
            &testing::bzimage(),
            &image,
            expect![[r#"
                length: 1104 of 1104, signed: false
                faults: ["damaged PE headers, which no signature fits: certificate table at 0x408: expected it behind the sections, which end at 0x440"]"#]],
        );
    }

    #[test]
    fn a_bzimage_with_broken_pe_headers_is_a_kernel() {
        let mut image = testing::bzimage();
        put_pe(&mut image, AMD64, 10, &[(".text", 1024..5000)]);
        check_change(
            &testing::bzimage(),
            &image,
            expect![[
                r#"faults: ["damaged PE headers, which no signature fits: PointerToRawData of section 0 (.text) at 0x10c: expected an end by 0x440, found 0x1388; is the file cut off?"]"#
            ]],
        );
    }

    #[test]
    fn a_32_bit_bzimage_has_no_broken_pe_headers() {
        let mut image = testing::bzimage();
        put(&mut image, 0x236, &[0, 0]);
        put_pe(&mut image, 0x14c, 10, &[]);
        put(&mut image, testing::OPTIONAL, &0x10b_u16.to_le_bytes());
        check_change(
            &testing::bzimage(),
            &image,
            expect!["bzImage, x86, little-endian"],
        );
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
}
