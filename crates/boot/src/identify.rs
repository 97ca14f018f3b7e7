//! Identifying an image by the headers of each format, one after the other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

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
        needed: setup.needed(),
        faults: setup.faults(),
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
        // LoongArch has its entry there.
        text_offset: (flat.format == KernelFormat::Image).then_some(flat.text_offset),
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
    let len = image.len();
    Ok(Kernel {
        byte_order: elf.byte_order,
        memory_len: elf.memory_len,
        needed: elf.needed,
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
            needed: 0,
            memory_len: None,
            cmdline_limit: arch.and_then(|arch| arch.row().cmdline_limit(format)),
            signed: false,
            faults: Vec::new(),
            setup: None,
            page_size: None,
            text_offset: None,
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

    use expect_test::expect;
    use proptest::prelude::*;

    use std::error::Error as _;

    use super::*;
    use crate::arch::Platform;
    use crate::testing::{self, AMD64, put_pe, sign};

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
