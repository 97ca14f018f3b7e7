//! Which bytes of an image its signatures cover.
//!
//! Spec: "Windows Authenticode Portable Executable Signature Format",
//! "Calculating the PE Image Hash", with the zero padding that signing tools
//! add. Digests and certificates themselves are not read here.

use alloc::vec::Vec;
use core::ops::Range;

use crate::headers::{
    CERTIFICATE_TABLE, CHECK_SUM, DATA_DIRECTORIES, DIRECTORY_CERTIFICATES, DIRECTORY_LEN, Field,
    NUMBER_OF_RVA_AND_SIZES, POINTER_TO_RAW_DATA, SECTION_HEADER_LEN, SIZE_OF_HEADERS,
    SIZE_OF_IMAGE, SIZE_OF_RAW_DATA, VIRTUAL_ADDRESS,
};
use crate::read::wide;
use crate::{ByteRanges, PeError, PeImage};

impl PeImage {
    /// Returns which bytes go into this image's Authenticode digest: all but
    /// `CheckSum`, data directory 4 and the certificate table.
    ///
    /// They ascend wherever sections have neither gaps nor overlaps. Where
    /// they have, the order and even double hashing of bytes is what the
    /// algorithm asks for and firmware does. The padding is less than 8 bytes.
    /// A signed image has none left to add, and firmware hashes none of an
    /// unsigned one; some tools do.
    ///
    /// # Errors
    ///
    /// No firmware would accept the image as signed: headers or raw data pass the
    /// end, bytes lie behind the certificate table, sections overlap so much that
    /// the sum of their sizes passes the end, or headers contradict themselves.
    pub fn authenticode_ranges(&self) -> Result<ByteRanges, PeError> {
        let certificates = self.certificates();
        let signed_end = match &certificates {
            Some(table) if table.end != self.file_len => {
                let directory = self.headers.directory_at(DIRECTORY_CERTIFICATES);
                let expected = "a table that ends with the file";
                return refuse(Field(CERTIFICATE_TABLE, 0), directory, expected, table.end);
            }
            Some(table) => table.start,
            None => self.file_len,
        };

        let mut hashed = Hashed::default();
        self.hash_headers(signed_end, &mut hashed)?;
        self.hash_sections(signed_end, &mut hashed)?;
        // The rest starts behind as many bytes as were hashed, not behind the
        // last section: that is the specification's word.
        let rest = u64::from(self.headers.size_of_headers).saturating_add(hashed.sections);
        if rest > signed_end {
            return refuse(
                SIZE_OF_HEADERS,
                self.headers.optional,
                "headers and sections that do not take more bytes than the file has",
                rest,
            );
        }
        hashed.push(rest..signed_end);
        self.check_headers()?;
        let padding = match certificates {
            Some(_) => 0,
            None => signed_end.next_multiple_of(8).saturating_sub(signed_end),
        };
        Ok(ByteRanges {
            ranges: hashed.ranges,
            padding,
        })
    }

    /// Returns the file ranges behind the headers and before the certificate
    /// table that `covered`, this image's, leaves out: bytes that anybody can
    /// change without a signature knowing. Firmware never loads them; a reader of
    /// the whole file does.
    #[must_use]
    pub fn uncovered(&self, covered: &ByteRanges) -> Vec<Range<u64>> {
        let signed_end = self.certificates().map_or(self.file_len, |it| it.start);
        let mut ranges = covered.ranges.clone();
        ranges.push(signed_end..signed_end);
        ranges.sort_by_key(|range| range.start);
        let mut uncovered = Vec::new();
        let mut at = u64::from(self.headers.size_of_headers);
        for range in ranges {
            if range.start > at {
                uncovered.push(at..range.start);
            }
            at = at.max(range.end);
        }
        uncovered
    }

    /// Checks of the headers what firmware checks before it looks for a
    /// signature: EDK II, `PeCoffLoaderGetPeHeader`.
    fn check_headers(&self) -> Result<(), PeError> {
        let headers = &self.headers;
        let room = headers.table.start.saturating_sub(headers.optional);
        let directories = wide(headers.directories.len());
        let used = directories
            .saturating_mul(DIRECTORY_LEN)
            .saturating_add(wide(DATA_DIRECTORIES.1));
        if room != used {
            return refuse(
                NUMBER_OF_RVA_AND_SIZES,
                self.headers.optional,
                "as many directories, 16 at most, as SizeOfOptionalHeader has room for",
                directories,
            );
        }
        let size = u64::from(headers.size_of_image);
        let table_end = headers.table.end.saturating_add(SECTION_HEADER_LEN);
        if size <= headers.size_of_headers.into() || size < table_end {
            return refuse(
                SIZE_OF_IMAGE,
                self.headers.optional,
                "more than SizeOfHeaders, and room for one more section header",
                size,
            );
        }
        self.sections().iter().try_for_each(|section| {
            let (address, offset) = (section.rva, section.pointer_to_raw_data());
            let entry = headers.entry_at(section.index());
            let least = headers.size_of_headers;
            let expected = "raw data behind the headers, in the file and in memory";
            if section.size_of_raw_data() == 0 {
                Ok(())
            } else if address < least {
                refuse(VIRTUAL_ADDRESS, entry, expected, address)
            } else if offset < least {
                refuse(POINTER_TO_RAW_DATA, entry, expected, offset)
            } else {
                Ok(())
            }
        })
    }

    fn hash_headers(&self, signed_end: u64, hashed: &mut Hashed) -> Result<(), PeError> {
        let size = u64::from(self.headers.size_of_headers);
        let check_sum = CHECK_SUM.behind(self.headers.optional);
        let directory = self.headers.directory_at(DIRECTORY_CERTIFICATES);
        if size < self.headers.table.end || size > signed_end {
            return refuse(
                SIZE_OF_HEADERS,
                self.headers.optional,
                "a size that covers the section table and lies inside the signed part of the file",
                size,
            );
        }
        let left_out = match self.headers.directories.len() > DIRECTORY_CERTIFICATES {
            true => directory..directory.saturating_add(8),
            false => size..size,
        };
        hashed.push(0..check_sum);
        hashed.push(check_sum.saturating_add(4)..left_out.start);
        hashed.push(left_out.end..size);
        Ok(())
    }

    fn hash_sections(&self, signed_end: u64, hashed: &mut Hashed) -> Result<(), PeError> {
        let mut sections: Vec<_> = self
            .sections()
            .iter()
            .filter(|section| section.size_of_raw_data() != 0)
            .collect();
        sections.sort_by_key(|section| section.pointer_to_raw_data());
        for section in sections {
            let raw_data = section.raw_data();
            if raw_data.end > signed_end {
                return refuse(
                    SIZE_OF_RAW_DATA,
                    self.headers.entry_at(section.index()),
                    "raw data inside the signed part of the file",
                    section.size_of_raw_data(),
                );
            }
            hashed.sections = hashed
                .sections
                .saturating_add(section.size_of_raw_data().into());
            hashed.push(raw_data);
        }
        Ok(())
    }
}

/// Refuses `field` of the header at `header`.
fn refuse<T>(
    field: Field,
    header: u64,
    expected: &str,
    found: impl Into<u64>,
) -> Result<T, PeError> {
    let at = field.behind(header);
    Err(PeError::authenticode(field.0, at, expected, found.into()))
}

#[derive(Default)]
struct Hashed {
    ranges: Vec<Range<u64>>,
    /// Sum of `SizeOfRawData`.
    sections: u64,
}

impl Hashed {
    fn push(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use sha2::{Digest as _, Sha256};

    use crate::PeImage;
    use crate::testing::{Builder, put};

    fn check(builder: &Builder, edit: impl FnOnce(&mut Vec<u8>), expected: &Expect) {
        let mut image = builder.build();
        edit(&mut image);
        let text = match PeImage::parse(&image).unwrap().authenticode_ranges() {
            Ok(hashed) => {
                let mut sha256 = Sha256::new();
                for range in &hashed.ranges {
                    sha256.update(&image[range.start as usize..range.end as usize]);
                }
                sha256.update(vec![0; hashed.padding as usize]);
                let digest: String = sha256
                    .finalize()
                    .iter()
                    .map(|byte| format!("{byte:02X}"))
                    .collect();
                format!("{:x?} + {} zeros: {digest}", hashed.ranges, hashed.padding)
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    fn odd() -> Builder {
        Builder {
            overlay: b"odd".to_vec(),
            ..Builder::default()
        }
    }

    /// The digests are those that sbsign 0.9.4 put into signatures of these
    /// images, and that osslsigncode 2.5 calculated and found there.
    #[test]
    fn agrees_with_signing_tools() {
        check(
            &Builder::uki(),
            |_| {},
            &expect![
                "[0..98, 9c..e8, f0..163e] + 2 zeros: 0443C689AC51855E8263A3EB0384AC1BFC0BF0C87BC00449D83BCA58B8D7B8BC"
            ],
        );
        check(
            &Builder::zboot(),
            |_| {},
            &expect![
                "[0..98, 9c..e8, f0..600] + 0 zeros: 0B909FEAC3FFB7CB40413B663B4FE8683DFF182FA402EF3D1D78006BADCEDB60"
            ],
        );
        check(
            &odd(),
            |_| {},
            &expect![
                "[0..98, 9c..e8, f0..403] + 5 zeros: 2DB2FF5E96D44DC33ADB8F8F093AFF6A43BD6E5C1D5034C3CC21E47945FF1066"
            ],
        );
    }

    #[test]
    fn signing_does_not_change_the_digest() {
        let sign = |image: &mut Vec<u8>| odd().put_certificates(image, &[0x55; 24]);
        check(
            &odd(),
            sign,
            &expect![
                "[0..98, 9c..e8, f0..408] + 0 zeros: 2DB2FF5E96D44DC33ADB8F8F093AFF6A43BD6E5C1D5034C3CC21E47945FF1066"
            ],
        );
        let checksum = |image: &mut Vec<u8>| put(image, 0x98, 0x1234_5678);
        check(
            &odd(),
            checksum,
            &expect![
                "[0..98, 9c..e8, f0..403] + 5 zeros: 2DB2FF5E96D44DC33ADB8F8F093AFF6A43BD6E5C1D5034C3CC21E47945FF1066"
            ],
        );
    }

    #[test]
    fn an_image_that_cannot_be_signed_has_nothing_to_skip() {
        let builder = Builder {
            directories: 4,
            ..Builder::default()
        };
        check(
            &builder,
            |_| {},
            &expect![
                "[0..98, 9c..400] + 0 zeros: F8252EDA2A865FCADEFB85229A63DFE6FC456CAFA030C4360E93501B67328003"
            ],
        );
    }

    #[test]
    fn gaps_are_hashed_the_way_firmware_does() {
        // The section moves up: the headers end before it begins, and the rest
        // starts as many bytes too early.
        let gap = |image: &mut Vec<u8>| {
            put(image, 0x148 + 16, 0x100);
            put(image, 0x148 + 20, 0x300);
        };
        check(
            &Builder::default(),
            gap,
            &expect![
                "[0..98, 9c..e8, f0..200, 300..400, 300..400] + 0 zeros: 3B3EC20FF96714819F55CE1AD5F2188F4B01268A5F0C90598DF044BEC553C5CD"
            ],
        );
    }

    #[test]
    fn bytes_in_gaps_are_uncovered() {
        let uncovered = |builder: &Builder, edit: fn(&mut Vec<u8>)| {
            let mut image = builder.build();
            edit(&mut image);
            let image = PeImage::parse(&image).unwrap();
            image.uncovered(&image.authenticode_ranges().unwrap())
        };
        for builder in [odd(), Builder::uki(), Builder::zboot()] {
            assert_eq!(uncovered(&builder, |_| {}), []);
        }
        let gap = |image: &mut Vec<u8>| {
            put(image, 0x148 + 16, 0x100);
            put(image, 0x148 + 20, 0x300);
        };
        assert_eq!(
            uncovered(&Builder::default(), gap),
            std::slice::from_ref(&(0x200..0x300))
        );
        let signed = |image: &mut Vec<u8>| odd().put_certificates(image, &[0x55; 24]);
        assert_eq!(uncovered(&odd(), signed), []);
    }

    #[test]
    fn refuses_what_firmware_refuses() {
        let signed = |edit: fn(&mut Vec<u8>)| {
            move |image: &mut Vec<u8>| {
                odd().put_certificates(image, &[0x55; 24]);
                edit(image);
            }
        };
        check(
            &odd(),
            signed(|image| image.push(0)),
            &expect![
                "Authenticode digest: certificate table (data directory 4) at 0xe8: expected a table that ends with the file, found 0x420"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x94, 0x409)),
            &expect![
                "Authenticode digest: SizeOfHeaders at 0x94: expected a size that covers the section table and lies inside the signed part of the file, found 0x409"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x94, 0x147)),
            &expect![
                "Authenticode digest: SizeOfHeaders at 0x94: expected a size that covers the section table and lies inside the signed part of the file, found 0x147"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x94, 0x400)),
            &expect![
                "Authenticode digest: SizeOfHeaders at 0x94: expected headers and sections that do not take more bytes than the file has, found 0x600"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x148 + 16, 0x300)),
            &expect![
                "Authenticode digest: SizeOfRawData at 0x158: expected raw data inside the signed part of the file, found 0x300"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0xc4, 15)),
            &expect![
                "Authenticode digest: NumberOfRvaAndSizes at 0xc4: expected as many directories, 16 at most, as SizeOfOptionalHeader has room for, found 0xf"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x90, 0x200)),
            &expect![
                "Authenticode digest: SizeOfImage at 0x90: expected more than SizeOfHeaders, and room for one more section header, found 0x200"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x148 + 12, 0x1ff)),
            &expect![
                "Authenticode digest: VirtualAddress at 0x154: expected raw data behind the headers, in the file and in memory, found 0x1ff"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x148 + 20, 0x1ff)),
            &expect![
                "Authenticode digest: PointerToRawData at 0x15c: expected raw data behind the headers, in the file and in memory, found 0x1ff"
            ],
        );
        check(
            &odd(),
            signed(|image| put(image, 0x148 + 16, 0xffff_ffff)),
            &expect![
                "Authenticode digest: SizeOfRawData at 0x158: expected raw data inside the signed part of the file, found 0xffffffff"
            ],
        );
    }
}
