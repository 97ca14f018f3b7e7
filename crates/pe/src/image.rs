//! The view of an image: headers that were checked once.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::headers::{CERTIFICATE_TABLE, DIRECTORY_CERTIFICATES, Headers, POINTER_TO_RAW_DATA};
use crate::read::{Front, read};
use crate::{PeError, ReadAt, Section};

/// The machine an image is for; a file may say anything.
///
/// Spec: PE format, "Machine Types".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Machine(pub u16);

/// The environment that runs an image; a file may have any value.
///
/// Spec: PE format, "Windows Subsystem".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subsystem(pub u16);

impl Subsystem {
    /// A Windows program with windows.
    pub const WINDOWS_GUI: Self = Self(2);
    /// A Windows program on a console.
    pub const WINDOWS_CUI: Self = Self(3);
    /// A UEFI application: kernels, boot loaders and unified kernel images.
    pub const EFI_APPLICATION: Self = Self(10);
    /// A UEFI driver that is gone once the operating system runs.
    pub const EFI_BOOT_SERVICE_DRIVER: Self = Self(11);
    /// A UEFI driver that stays.
    pub const EFI_RUNTIME_DRIVER: Self = Self(12);
}

/// A PE32+ image whose headers were checked.
///
/// There is no value of this type unless all headers, the section table, the
/// content of every section and the certificate table lie inside the file, so
/// that nothing here can fail afterwards. It holds no bytes of the image.
#[derive(Clone, Debug)]
pub struct PeImage {
    pub(crate) file_len: u64,
    pub(crate) headers: Headers,
    pub(crate) sections: Vec<Section>,
}

impl PeImage {
    /// Checks the headers of `image`.
    ///
    /// An image whose headers lie in its first 4096 bytes is read in one go,
    /// any other in one read for each of its headers; the rest of the file is
    /// never touched. Memory is bounded by the length of the section table.
    ///
    /// # Errors
    ///
    /// Reading fails ([`PeError::is_read`]), the image is a 32-bit one
    /// ([`PeError::is_pe32`]), or a field is wrong, which the error names.
    pub fn parse(image: &(impl ReadAt + ?Sized)) -> Result<Self, PeError> {
        let image = Self::read(image)?;
        image.check_contents()?;
        image.check_certificates()?;
        Ok(image)
    }

    /// Reads the headers. Contents and certificates may lie outside the file.
    pub(crate) fn read(image: &(impl ReadAt + ?Sized)) -> Result<Self, PeError> {
        let read = |at, len| read(image, at, len);
        let file = Front::new(image.len(), &read)?;
        let headers = Headers::read(&file)?;
        let sections = headers.read_sections(&file)?;
        Ok(Self {
            file_len: file.len,
            headers,
            sections,
        })
    }

    /// Returns the machine that the image is for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.headers.machine
    }

    /// Returns `ImageBase`: the address that the linker laid the image out for.
    #[must_use]
    pub fn image_base(&self) -> u64 {
        self.headers.image_base
    }

    /// Returns what runs the image.
    #[must_use]
    pub fn subsystem(&self) -> Subsystem {
        self.headers.subsystem
    }

    /// Returns whether UEFI firmware starts this image as an application.
    /// Kernels, boot loaders and unified kernel images all are; drivers and
    /// Windows programs are not.
    #[must_use]
    pub fn is_efi_application(&self) -> bool {
        self.headers.subsystem == Subsystem::EFI_APPLICATION
    }

    /// Returns the sections, in the order of the section table.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Returns the section of that name; the first, if several have it.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == *name)
    }

    /// Returns the file range of the certificate table, where signatures are,
    /// or `None` for an image without any. It lies inside the file, behind the
    /// section table.
    #[must_use]
    pub fn certificates(&self) -> Option<Range<u64>> {
        // The only directory that holds a file offset and not an RVA.
        let table = self.headers.directories.get(DIRECTORY_CERTIFICATES)?;
        let start = u64::from(table.virtual_address);
        (table.size != 0).then(|| start..start.saturating_add(table.size.into()))
    }

    /// Returns where to cut the file so that each section's content is a piece
    /// of its own: the ranges of [`Section::content`] that are not empty,
    /// ascending and disjoint. Of ranges that overlap only the one that starts
    /// first (and then ends last) is there.
    #[must_use]
    pub fn cuts(&self) -> Vec<Range<u64>> {
        let mut contents: Vec<_> = self
            .sections
            .iter()
            .map(Section::content)
            .filter(|content| !content.is_empty())
            .collect();
        contents.sort_by_key(|content| (content.start, core::cmp::Reverse(content.end)));
        let mut free_from = 0;
        contents.retain(|content| {
            let disjoint = content.start >= free_from;
            if disjoint {
                free_from = content.end;
            }
            disjoint
        });
        contents
    }

    /// Returns the bytes of the file that neither the headers nor the raw data of a
    /// section nor the certificate table covers: ascending, disjoint, not empty.
    /// The last one is an overlay if it ends with the file.
    ///
    /// The headers end where `SizeOfHeaders` says, but no later than the first
    /// section begins.
    #[must_use]
    pub fn holes(&self) -> Vec<Range<u64>> {
        let raw_data = self.sections.iter().map(Section::raw_data);
        let mut covered: Vec<_> = raw_data.chain(self.certificates()).collect();
        covered.retain(|range| !range.is_empty());
        covered.sort_by_key(|range| range.start);
        let first = covered.first().map_or(self.file_len, |first| first.start);
        let headers_end = first.min(self.headers.size_of_headers.into());
        let mut end = headers_end.max(self.headers.table.end);
        let mut holes = Vec::new();
        covered.push(self.file_len..self.file_len);
        for range in covered {
            let start = range.start.min(self.file_len);
            if start > end {
                holes.push(end..start);
            }
            end = end.max(range.end);
        }
        holes
    }

    fn check_contents(&self) -> Result<(), PeError> {
        let is_outside = |section: &&Section| section.content().end > self.file_len;
        let Some(section) = self.sections.iter().find(is_outside) else {
            return Ok(());
        };
        let (index, name) = (section.index, &section.name);
        let entry = self.headers.entry_at(section.index());
        Err(PeError::past_end(
            &format!("PointerToRawData of section {index} ({name})"),
            POINTER_TO_RAW_DATA.behind(entry),
            &section.content(),
            self.file_len,
        ))
    }

    fn check_certificates(&self) -> Result<(), PeError> {
        let Some(target) = self.certificates() else {
            return Ok(());
        };
        let at = self.headers.directory_at(DIRECTORY_CERTIFICATES);
        if target.end > self.file_len {
            return Err(PeError::past_end(
                CERTIFICATE_TABLE,
                at,
                &target,
                self.file_len,
            ));
        }
        if target.start < self.headers.table.end {
            let expected = "a file offset behind the section table";
            return Err(PeError::mismatch(
                CERTIFICATE_TABLE,
                at,
                expected,
                target.start,
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::testing::{Builder, put};

    /// Offsets in the image of [`Builder::default`].
    const COFF: usize = 0x40;
    const OPTIONAL: usize = COFF + 24;
    const TABLE: usize = OPTIONAL + 112 + 8 * 16;

    /// Shows what an image says after `edit`.
    fn check(edit: impl FnOnce(&mut Vec<u8>), expected: &Expect) {
        let mut image = Builder::default().build();
        edit(&mut image);
        let text = match PeImage::parse(&image) {
            Ok(image) => format!(
                "{} sections, certificates {:x?}, cuts {:x?}",
                image.sections().len(),
                image.certificates(),
                image.cuts()
            ),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn reads_what_the_builder_wrote() {
        let image = PeImage::parse(&Builder::uki().build()).unwrap();
        assert_eq!(image.machine(), Machine(0x8664));
        assert_eq!(image.subsystem(), Subsystem::EFI_APPLICATION);
        assert!(image.is_efi_application());
        assert_eq!(image.headers.address_of_entry_point, 0x4000);
        assert_eq!(image.headers.size_of_headers, 0x400);
        assert_eq!(image.headers.size_of_image, 0x9000);
        assert_eq!(image.certificates(), None);
        let linux = image.section(".linux").unwrap();
        assert_eq!(
            (linux.index(), linux.rva, linux.virtual_size()),
            (3, 0x7000, 0x777)
        );
        assert_eq!(
            (linux.pointer_to_raw_data(), linux.size_of_raw_data()),
            (0xa00, 0x800)
        );
        assert_eq!(linux.content(), 0xa00..0x1177);
        assert_eq!(image.section(".cmdline").unwrap().content(), 0x800..0x805);
        assert!(image.section(".cmdlin").is_none());
        assert!(image.section(".cmdline\0").is_none());
        assert!(image.section("").is_none());
    }

    #[test]
    fn the_first_of_two_sections_wins() {
        let sections = vec![(".a", b"1".to_vec()), (".b", vec![2]), (".b", vec![3])];
        let image = PeImage::parse(
            &Builder {
                sections,
                ..Builder::default()
            }
            .build(),
        )
        .unwrap();
        assert_eq!(image.section(".b").map(Section::index), Some(1));
    }

    #[test]
    fn holes_are_what_nothing_covers() {
        let holes = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut image = Builder::default().build();
            edit(&mut image);
            PeImage::parse(&image).unwrap().holes()
        };
        assert_eq!(holes(&|_| {}), []);
        assert_eq!(holes(&|image| image.resize(0x500, 0)), vec![0x400..0x500]);
        // The headers' own size does not cover more than lies in front of the sections.
        let size_of_headers = OPTIONAL + 60;
        assert_eq!(
            holes(&|image| put(image, size_of_headers, 0x1ff)),
            vec![0x1ff..0x200]
        );
        assert_eq!(holes(&|image| put(image, size_of_headers, 0x7fff_ffff)), []);
        let behind = |image: &mut Vec<u8>| {
            image.resize(0x800, 0);
            put(image, TABLE + 20, 0x300);
            put(image, OPTIONAL + 112 + 32, 0x600);
            put(image, OPTIONAL + 112 + 36, 0x100);
        };
        assert_eq!(holes(&behind), [0x200..0x300, 0x500..0x600, 0x700..0x800]);
        assert_eq!(
            holes(&|image| put(image, TABLE + 16, 0)),
            vec![0x200..0x400]
        );
    }

    #[test]
    fn only_efi_applications_are_efi_applications() {
        for subsystem in [0, 2, 3, 11, 12, 13] {
            let image = Builder {
                subsystem,
                ..Builder::default()
            }
            .build();
            assert!(
                !PeImage::parse(&image).unwrap().is_efi_application(),
                "{subsystem}"
            );
        }
    }

    #[test]
    fn accepts_a_minimal_image() {
        check(
            |_| {},
            &expect!["1 sections, certificates None, cuts [200..204]"],
        );
        check(
            |image| put(image, COFF + 4, 0),
            &expect!["0 sections, certificates None, cuts []"],
        );
    }

    #[test]
    fn names_what_is_not_a_pe_image() {
        check(
            |image| image.clear(),
            &expect![
                "e_magic at 0x0: expected 2 bytes there, found the end of the file at 0x0; is the file cut off?"
            ],
        );
        check(
            |image| image[..2].copy_from_slice(b"VZ"),
            &expect![[
                r#"e_magic at 0x0: expected "MZ", found "VZ": this is a UEFI terse executable (TE), as firmware volumes hold them, not a PE image"#
            ]],
        );
        check(
            |image| image[..2].copy_from_slice(b"\x7fE"),
            &expect![[r#"e_magic at 0x0: expected "MZ", found "\x7fE": this is not a PE image"#]],
        );
        check(
            |image| put(image, COFF, 0x454e),
            &expect![[r#"Signature at 0x40: expected 0x4550 ("PE\0\0"), found 0x454e"#]],
        );
        check(
            |image| image[OPTIONAL] = 0x0b - 1,
            &expect!["Magic at 0x58: expected 0x20b (PE32+), found 0x20a"],
        );
        check(
            |image| image[OPTIONAL + 1] = 1,
            &expect![
                "Magic at 0x58: expected 0x20b (PE32+), found 0x10b: this is a 32-bit PE32 image, and only 64-bit ones are supported"
            ],
        );
    }

    #[test]
    fn headers_that_lie_are_refused() {
        check(
            |image| put(image, 0x3c, 0x3f0),
            &expect![
                "e_lfanew at 0x3c: expected an end by 0x400, found 0x408; is the file cut off?"
            ],
        );
        check(
            |image| put(image, 0x3c, 0xffff_fff0),
            &expect![
                "e_lfanew at 0x3c: expected an end by 0x400, found 0x100000008; is the file cut off?"
            ],
        );
        check(
            |image| image[COFF + 20..COFF + 22].fill(0),
            &expect![
                "SizeOfOptionalHeader at 0x54: expected the size of an optional header (images have one, object files not), found 0x0"
            ],
        );
        check(
            |image| image[COFF + 20] = 0x6f,
            &expect![
                "SizeOfOptionalHeader at 0x54: expected at least 0x70, the size of a PE32+ header without directories, found 0x6f"
            ],
        );
        check(
            |image| image[COFF + 21] = 0xff,
            &expect![
                "SizeOfOptionalHeader at 0x54: expected an end by 0x400, found 0x10048; is the file cut off?"
            ],
        );
        check(
            |image| put(image, OPTIONAL + 108, 17),
            &expect![
                "NumberOfRvaAndSizes at 0xc4: expected no more directories than SizeOfOptionalHeader has room for, found 0x11"
            ],
        );
        check(
            |image| put(image, OPTIONAL + 108, 0xffff_ffff),
            &expect![
                "NumberOfRvaAndSizes at 0xc4: expected no more directories than SizeOfOptionalHeader has room for, found 0xffffffff"
            ],
        );
        check(
            |image| image[COFF + 6..COFF + 8].fill(0xff),
            &expect![
                "NumberOfSections at 0x46: expected an end by 0x400, found 0x280120; is the file cut off?"
            ],
        );
    }

    #[test]
    fn sections_that_pass_the_end_are_refused() {
        check(
            |image| put(image, TABLE + 20, 0x3fd),
            &expect![
                "PointerToRawData of section 0 (.text) at 0x15c: expected an end by 0x400, found 0x401; is the file cut off?"
            ],
        );
        check(
            |image| put(image, TABLE + 20, 0xffff_ffff),
            &expect![
                "PointerToRawData of section 0 (.text) at 0x15c: expected an end by 0x400, found 0x100000003; is the file cut off?"
            ],
        );
        let both = |image: &mut Vec<u8>| {
            put(image, TABLE + 8, 0xffff_ffff);
            put(image, TABLE + 16, 0xffff_ffff);
            put(image, TABLE + 20, 0xffff_ffff);
            image[TABLE..TABLE + 8].copy_from_slice(b".\x1b[2J\xff\xff\xff");
        };
        check(
            both,
            &expect![[
                r#"PointerToRawData of section 0 (.\u{1b}[2J\xff\xff\xff) at 0x15c: expected an end by 0x400, found 0x1fffffffe; is the file cut off?"#
            ]],
        );
        // Without content nothing can lie outside, and padding may.
        check(
            |image| put(image, TABLE + 20, 0x3fc),
            &expect!["1 sections, certificates None, cuts [3fc..400]"],
        );
        check(
            |image| put(image, TABLE + 16, 0xffff_ffff),
            &expect!["1 sections, certificates None, cuts [200..204]"],
        );
        check(
            |image| {
                put(image, TABLE + 16, 0);
                put(image, TABLE + 20, 0xffff_ffff);
            },
            &expect!["1 sections, certificates None, cuts []"],
        );
    }

    #[test]
    fn refuses_certificates_that_pass_the_end() {
        let certificates = |start, size| {
            move |image: &mut Vec<u8>| {
                put(image, OPTIONAL + 112 + 32, start);
                put(image, OPTIONAL + 112 + 36, size);
            }
        };
        check(
            certificates(0x300, 0x100),
            &expect!["1 sections, certificates Some(300..400), cuts [200..204]"],
        );
        check(
            certificates(0x300, 0),
            &expect!["1 sections, certificates None, cuts [200..204]"],
        );
        check(
            certificates(0x300, 0x101),
            &expect![
                "certificate table (data directory 4) at 0xe8: expected an end by 0x400, found 0x401; is the file cut off?"
            ],
        );
        check(
            certificates(0xffff_ffff, 0xffff_ffff),
            &expect![
                "certificate table (data directory 4) at 0xe8: expected an end by 0x400, found 0x1fffffffe; is the file cut off?"
            ],
        );
        check(
            certificates(0, 8),
            &expect![
                "certificate table (data directory 4) at 0xe8: expected a file offset behind the section table, found 0x0"
            ],
        );
    }

    #[test]
    fn cuts_are_disjoint_and_ascend() {
        let section = |entry: usize, pointer, size| {
            move |image: &mut Vec<u8>| {
                put(image, TABLE + 40 * entry + 8, size);
                put(image, TABLE + 40 * entry + 16, size);
                put(image, TABLE + 40 * entry + 20, pointer);
            }
        };
        check(
            |image| {
                image[COFF + 6] = 5;
                section(0, 0x300, 0x40)(image);
                section(1, 0x200, 0x80)(image);
                section(2, 0x200, 0x100)(image);
                section(3, 0x33f, 1)(image);
                section(4, 0x340, 1)(image);
            },
            &expect!["5 sections, certificates None, cuts [200..300, 300..340, 340..341]"],
        );
    }

    #[test]
    fn every_cut_off_image_is_refused() {
        let whole = Builder::uki().build();
        let view = PeImage::parse(&whole).unwrap();
        let content_end = view
            .sections()
            .iter()
            .map(|section| section.content().end)
            .max();
        let content_end = usize::try_from(content_end.unwrap()).unwrap();
        let mut errors = Vec::new();
        for len in 0..content_end {
            let error = PeImage::parse(&whole[..len]).unwrap_err().to_string();
            let what = error.split(" at ").next().unwrap().to_owned();
            if errors.last().is_none_or(|(_, last)| *last != what) {
                errors.push((len, what));
            }
        }
        PeImage::parse(&whole[..content_end]).unwrap();
        let errors: Vec<_> = errors
            .iter()
            .map(|(len, what)| format!("{len:#x}: {what}\n"))
            .collect();
        expect![[r#"
            0x0: e_magic
            0x2: e_lfanew
            0x58: SizeOfOptionalHeader
            0x148: NumberOfSections
            0x210: PointerToRawData of section 0 (.text)
            0x523: PointerToRawData of section 1 (.osrel)
            0x608: PointerToRawData of section 2 (.cmdline)
            0x805: PointerToRawData of section 3 (.linux)
            0x1177: PointerToRawData of section 4 (.initrd)
        "#]]
        .assert_eq(&errors.concat());
    }

    /// Counts reads, and fails from a certain one on.
    struct Spy {
        bytes: Vec<u8>,
        reads: RefCell<Vec<(u64, usize)>>,
        fails_at: usize,
    }

    impl ReadAt for Spy {
        type Error = io::Error;

        fn len(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            self.reads.borrow_mut().push((offset, buf.len()));
            if self.reads.borrow().len() > self.fails_at {
                return Err(io::Error::other("the disk is gone"));
            }
            self.bytes.read_at(offset, buf).map_err(io::Error::other)
        }
    }

    fn spy(builder: &Builder, fails_at: usize) -> (Result<PeImage, PeError>, Vec<(u64, usize)>) {
        let bytes = builder.build();
        let spy = Spy {
            bytes,
            reads: RefCell::default(),
            fails_at,
        };
        (PeImage::parse(&spy), spy.reads.into_inner())
    }

    #[test]
    fn reads_little_and_rarely() {
        let big = vec![(".linux", vec![1; 1 << 20])];
        let near = Builder {
            sections: big.clone(),
            ..Builder::default()
        };
        assert_eq!(spy(&near, 9).1, [(0, 4096)]);
        let far = Builder {
            e_lfanew: 0x2000,
            sections: big,
            ..Builder::default()
        };
        assert_eq!(
            spy(&far, 9).1,
            [(0, 4096), (0x2000, 24), (0x2018, 240), (0x2108, 40)]
        );
        let many = vec![(".dtbauto", b"x".to_vec()); 96];
        let many = Builder {
            sections: many,
            ..Builder::default()
        };
        let (image, reads) = spy(&many, 9);
        assert_eq!(image.unwrap().sections().len(), 96);
        assert_eq!(reads, [(0, 4096), (0x148, 96 * 40)]);
    }

    #[test]
    fn takes_as_many_sections_as_the_header_can_say() {
        let most = Builder {
            sections: vec![(".dtbauto", Vec::new()); 0xffff],
            ..Builder::default()
        };
        assert_eq!(spy(&most, 9).0.unwrap().sections().len(), 0xffff);
    }

    #[test]
    fn says_where_reading_failed() {
        let far = Builder {
            e_lfanew: 0x2000,
            ..Builder::default()
        };
        let error = spy(&far, 2).0.unwrap_err();
        expect!["reading 240 bytes at 0x2018 failed"].assert_eq(&error.to_string());
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "the disk is gone");
    }
}
