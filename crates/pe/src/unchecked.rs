//! Headers that need not be sound, and the sound image that is left of a damaged one.

use alloc::vec::Vec;
use core::ops::Range;

use crate::headers::DIRECTORY_CERTIFICATES;
use crate::{Machine, PeError, PeImage, ReadAt, Section, Subsystem};

/// The headers of a file that need be no sound PE32+ image, for those who show
/// them: contents and certificates may lie outside the file.
#[derive(Clone, Debug)]
pub struct UncheckedPe(PeImage);

impl From<PeImage> for UncheckedPe {
    fn from(sound: PeImage) -> Self {
        Self(sound)
    }
}

impl UncheckedPe {
    /// Reads the headers of `image`, as [`PeImage::parse`] does.
    ///
    /// # Errors
    ///
    /// Reading fails, the image is a 32-bit one, or a field is wrong without which
    /// there is no section table.
    pub fn parse(image: &(impl ReadAt + ?Sized)) -> Result<Self, PeError> {
        PeImage::read(image).map(Self)
    }

    /// Returns the machine that the image is for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.0.machine()
    }

    /// Returns what runs the image.
    #[must_use]
    pub fn subsystem(&self) -> Subsystem {
        self.0.subsystem()
    }

    /// Returns `ImageBase`, as [`PeImage::image_base`] does.
    #[must_use]
    pub fn image_base(&self) -> u64 {
        self.0.image_base()
    }

    /// Returns the sections, in the order of the section table. What they name as
    /// their content need not be in the file.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        self.0.sections()
    }

    /// Returns the file range that the headers name for the certificate table. It
    /// need not be in the file.
    #[must_use]
    pub fn certificates(&self) -> Option<Range<u64>> {
        self.0.certificates()
    }

    /// Returns the bytes of the file that nothing covers, as [`PeImage::holes`] does.
    #[must_use]
    pub fn holes(&self) -> Vec<Range<u64>> {
        self.0.holes()
    }

    /// Returns the sound image that is left of a damaged one: without the sections
    /// whose content is not all in the file, and with so much of the certificate
    /// table as is. It is for those who show an image. The file itself stays damaged:
    /// no signature covers what is left, and it does not boot.
    #[must_use]
    pub fn in_file(&self) -> PeImage {
        let mut image = self.0.clone();
        let len = image.file_len;
        image.sections.retain(|it| it.content().end <= len);
        let first = image.headers.table.end;
        let table = image.certificates().unwrap_or_default();
        let left = match table.start >= first {
            true => table.end.min(len).saturating_sub(table.start),
            false => 0,
        };
        let directory = image.headers.directories.get_mut(DIRECTORY_CERTIFICATES);
        if let Some(directory) = directory {
            // It is no longer than it was.
            directory.size = u32::try_from(left).unwrap_or(directory.size);
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Builder, put};

    /// The certificate table's directory in the image of [`Builder::uki`].
    const CERTIFICATES: usize = 0x40 + 24 + 112 + 32;

    #[test]
    fn a_cut_file_still_has_sections() {
        let mut image = Builder::uki().build();
        let whole = PeImage::parse(&image).unwrap();
        image.truncate(0x700);
        PeImage::parse(&image).unwrap_err();
        let cut = UncheckedPe::parse(&image).unwrap();
        assert_eq!(cut.sections(), whole.sections());
        assert_eq!(
            (cut.machine(), cut.image_base()),
            (whole.machine(), whole.image_base())
        );
        image.truncate(0x150);
        UncheckedPe::parse(&image).unwrap_err();
    }

    #[test]
    fn what_is_left_of_a_damaged_image_is_in_the_file() {
        let mut image = Builder::uki().build();
        let len = image.len();
        image.resize(len + 0x100, 0);
        put(&mut image, CERTIFICATES, len);
        put(&mut image, CERTIFICATES + 4, 0x100);
        let whole = UncheckedPe::from(PeImage::parse(&image).unwrap());
        assert_eq!(whole.in_file().certificates(), whole.certificates());
        assert_eq!(whole.in_file().sections(), whole.sections());
        image.truncate(len + 0x80);
        let left = UncheckedPe::parse(&image).unwrap().in_file();
        let len = u64::try_from(len).unwrap();
        assert_eq!(left.certificates(), Some(len..len + 0x80));
        assert_eq!(left.sections(), whole.sections());
        image.truncate(0x900);
        let cut = UncheckedPe::parse(&image).unwrap();
        assert_eq!(cut.certificates(), Some(len..len + 0x100));
        let left = cut.in_file();
        assert_eq!(left.certificates(), None);
        assert!(left.section(".cmdline").is_some());
        assert!(left.section(".linux").is_none());
        // One in front of the sections is none.
        put(&mut image, CERTIFICATES, 0x10);
        let nowhere = UncheckedPe::parse(&image).unwrap();
        assert_eq!(nowhere.in_file().certificates(), None);
    }
}
