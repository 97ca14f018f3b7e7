//! The bytes of a section.

use std::io;

use ukexec_pe::{ByteRanges, ReadAt, Section};

/// The bytes of a section as they are in memory: those of the file, and zeros
/// behind them where `VirtualSize` is more.
#[derive(Debug)]
pub(crate) struct SectionBytes<'a, R> {
    image: &'a R,
    section: &'a Section,
}

impl<'a, R: ReadAt> SectionBytes<'a, R> {
    pub(crate) fn new(image: &'a R, section: &'a Section) -> Self {
        Self { image, section }
    }

    /// Returns how many bytes there are.
    pub(crate) fn size(&self) -> u32 {
        match self.section.virtual_size() {
            // It says nothing.
            0 => self.section.size_of_raw_data(),
            size => size,
        }
    }

    /// Returns how many bytes the section table says there are in memory.
    pub(crate) fn virtual_size(&self) -> u32 {
        self.section.virtual_size()
    }

    /// Returns which bytes of the image they are.
    pub(crate) fn ranges(&self) -> ByteRanges {
        let content = self.section.content();
        let len = content.end.saturating_sub(content.start);
        ByteRanges {
            padding: self.len().saturating_sub(len),
            ..ByteRanges::from(content)
        }
    }

    /// Returns the bytes in front, at most `max`.
    pub(crate) fn front(&self, max: u32) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.size().min(max)).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl<R: ReadAt> ReadAt for SectionBytes<'_, R> {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.size().into()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let content = self.section.content();
        let past_end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let len = u64::try_from(buf.len()).map_err(io::Error::other)?;
        let end = offset.checked_add(len).ok_or_else(past_end)?;
        if end > self.len() {
            return Err(past_end());
        }
        let at = content.start.saturating_add(offset).min(content.end);
        let in_file = usize::try_from(content.end.saturating_sub(at).min(len));
        let (bytes, zeros) = buf.split_at_mut(in_file.map_err(io::Error::other)?);
        zeros.fill(0);
        self.image.read_at(at, bytes).map_err(io::Error::other)
    }
}

/// Sections that hold a text.
const TEXTS: [&str; 7] = [
    ".osrel", ".cmdline", ".uname", ".profile", ".sbat", ".pcrpkey", ".pcrsig",
];

/// So many bytes of a text are shown.
const TEXT_MAX: u32 = 64 << 10;

/// Returns the text of `section`, its first 64 KiB, if it is one that holds a text
/// and can be read. NULs at the end are padding; those inside are part of it, so that
/// nothing hides behind one.
pub fn section_text(image: &impl ReadAt, section: &Section) -> Option<String> {
    if !TEXTS.iter().any(|name| *section.name() == *name) {
        return None;
    }
    let bytes = SectionBytes::new(image, section);
    let front = bytes.front(TEXT_MAX).ok()?;
    let text = String::from_utf8_lossy(&front);
    let more = if bytes.size() > TEXT_MAX { "…" } else { "" };
    Some(format!("{}{more}", text.trim_end_matches('\0')))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_pe::PeImage;

    use super::*;
    use crate::Uki;
    use crate::testing::image;

    /// Shows section `.linux` of an image with these sizes of it in the section
    /// table.
    fn check_size(virtual_size: u32, size_of_raw_data: u32, expected: Expect) {
        let mut image = image(&[(".linux", &[b'x'; 0x200])]);
        let entry = 0x40 + 24 + 240;
        image[entry + 8..entry + 12].copy_from_slice(&virtual_size.to_le_bytes());
        image[entry + 16..entry + 20].copy_from_slice(&size_of_raw_data.to_le_bytes());
        let pe = PeImage::parse(&image).unwrap();
        let uki = Uki::new(&image, &pe, 0).unwrap();
        let text = match uki.section(".linux") {
            Ok(Some(bytes)) => {
                let all = bytes.front(u32::MAX).unwrap();
                let count = all.iter().take_while(|byte| **byte == b'x').count();
                assert!(all[count..].iter().all(|byte| *byte == 0));
                let mut buf = vec![1; all.len() - 1];
                bytes.read_at(1, &mut buf).unwrap();
                assert_eq!(buf, all[1..]);
                bytes.read_at(all.len() as u64, &mut []).unwrap();
                for at in [2, all.len() as u64, u64::MAX] {
                    let error = bytes.read_at(at, &mut buf).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
                format!("{count} of {} bytes: {:x?}", all.len(), bytes.ranges())
            }
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn a_section_is_as_long_as_in_memory() {
        check_size(
            0x102,
            0x200,
            expect!["258 of 258 bytes: ByteRanges { ranges: [1000..1102], padding: 0 }"],
        );
        check_size(
            0x210,
            0x200,
            expect!["512 of 528 bytes: ByteRanges { ranges: [1000..1200], padding: 10 }"],
        );
        check_size(
            0x210,
            0,
            expect!["0 of 528 bytes: ByteRanges { ranges: [0..0], padding: 210 }"],
        );
        check_size(
            0,
            0x200,
            expect!["512 of 512 bytes: ByteRanges { ranges: [1000..1200], padding: 0 }"],
        );
        check_size(0, 0, expect!["none"]);
        check_size(
            0x200 + (16 << 20),
            0x200,
            expect!["512 of 16777728 bytes: ByteRanges { ranges: [1000..1200], padding: 1000000 }"],
        );
        check_size(
            0x201 + (16 << 20),
            0x200,
            expect![
                "section .linux: expected at most 16777216 zeros behind its content, found 16777217"
            ],
        );
        check_size(
            u32::MAX,
            0x200,
            expect![
                "section .linux: expected at most 16777216 zeros behind its content, found 4294966783"
            ],
        );
    }
}
