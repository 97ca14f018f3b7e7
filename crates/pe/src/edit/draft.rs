//! An image that is being edited: bytes that can move, with what points at
//! them.

use alloc::vec::Vec;
use core::ops::Range;

use super::references::overlap;
use crate::checksum::checksum;
use crate::headers::{
    CERTIFICATE_TABLE, CHECK_SUM, DIRECTORY_CERTIFICATES, FILE_ALIGNMENT, Field, SECTION_ALIGNMENT,
};
use crate::read::{array_at, slice, u32_at, wide};
use crate::{EditOptions, PeError, PeImage};

/// Bytes of an image and the view of them, kept in step.
pub(super) struct Draft {
    pub(super) bytes: Vec<u8>,
    pub(super) image: PeImage,
    pub(super) format: Format,
    keeps_checksum: bool,
}

/// Which bytes may move.
#[derive(Clone, Copy)]
pub(super) enum Format {
    /// Nothing but what is listed above goes by file offset.
    Free,
    /// Only the payload offset comes on top.
    Zboot,
    /// A kernel whose loaders other than UEFI go by file offset.
    Fixed(&'static str),
}

impl Draft {
    /// Starts to edit `image`.
    ///
    /// `room` is how many bytes the edit may add, so that memory is asked for
    /// once.
    pub(super) fn open(image: &[u8], options: EditOptions, room: usize) -> Result<Self, PeError> {
        let view = PeImage::parse(image)?;
        check_alignment(&view)?;
        let mut bytes = Vec::with_capacity(image.len().saturating_add(room));
        bytes.extend_from_slice(image);
        let mut draft = Self {
            format: Format::of(image),
            image: view,
            bytes,
            keeps_checksum: false,
        };
        draft.keeps_checksum = draft.has_right_checksum();
        draft.check_zboot()?;
        draft.drop_signature(options)?;
        Ok(draft)
    }

    /// Returns the edited image, with its checksum right if it was before.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, PeError> {
        if self.keeps_checksum
            && let Some(checksum) = self.checksum()
        {
            self.put_optional(CHECK_SUM, checksum.into())?;
        }
        // The result is an image that this crate reads again.
        PeImage::parse(&self.bytes)?;
        Ok(self.bytes)
    }

    /// Returns the length of the file.
    pub(super) fn len(&self) -> u64 {
        wide(self.bytes.len())
    }

    /// Returns the end of the headers and of the section table.
    pub(super) fn headers_end(&self) -> u64 {
        let headers = &self.image.headers;
        headers.table.end.max(headers.size_of_headers.into())
    }

    /// Returns how the format is called if its file data must stay where it
    /// is.
    pub(super) fn fixed(&self) -> Option<&'static str> {
        match self.format {
            Format::Fixed(format) => Some(format),
            Format::Free | Format::Zboot => None,
        }
    }

    /// Returns `FileAlignment`, a power of two up to 64 KiB.
    pub(super) fn file_alignment(&self) -> u64 {
        self.image.headers.file_alignment.into()
    }

    /// Returns whether all bytes in `range` are there and zero.
    pub(super) fn is_zero(&self, range: Range<u64>) -> bool {
        slice(&self.bytes, range).is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
    }

    /// Writes `bytes` at `at`.
    pub(super) fn put(&mut self, field: &str, at: u64, bytes: &[u8]) -> Result<(), PeError> {
        let (len, end) = (wide(bytes.len()), self.len());
        slice_mut(&mut self.bytes, at..at.saturating_add(len))
            .ok_or_else(|| PeError::truncated(field, at, len, end))?
            .copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a 32-bit `value` to a field of the header at `start`.
    pub(super) fn put_u32(&mut self, field: Field, start: u64, value: u64) -> Result<(), PeError> {
        let narrow =
            u32::try_from(value).map_err(|_too_large| PeError::too_large(field.0, value))?;
        self.put(field.0, field.behind(start), &narrow.to_le_bytes())
    }

    /// Writes a 32-bit `value` to a field of the optional header.
    pub(super) fn put_optional(&mut self, field: Field, value: u64) -> Result<(), PeError> {
        self.put_u32(field, self.image.headers.optional, value)
    }

    /// Moves the entries of the section table in `from` to `to`.
    pub(super) fn move_entries(&mut self, from: Range<u64>, to: u64) -> Result<(), PeError> {
        let field = "section table";
        let entries = slice(&self.bytes, from.clone()).map(<[u8]>::to_vec);
        let entries = entries.ok_or_else(|| self.past_end(field, from.start, &from))?;
        self.put(field, to, &entries)
    }

    /// Looks at the headers again, after they were written.
    pub(super) fn refresh(&mut self) -> Result<(), PeError> {
        self.image = PeImage::parse(&self.bytes)?;
        Ok(())
    }

    /// Makes the `old` bytes at `at` into `new` zero bytes; what lies behind
    /// moves, and what points there follows. `purpose` says in words what for.
    pub(super) fn resize(
        &mut self,
        at: u64,
        old: u64,
        new: u64,
        purpose: &str,
    ) -> Result<(), PeError> {
        let tail = at.saturating_add(old);
        if old == new {
            return self.clear(purpose, at..tail);
        }
        let moved = |position: u64| match position < tail {
            true => position,
            false => position.saturating_sub(old).saturating_add(new),
        };
        let mut pointers = Vec::new();
        if tail < self.len() {
            if let Some(format) = self.fixed() {
                return Err(PeError::fixed_layout(format, purpose, tail));
            }
            pointers = self.pointers()?;
        }
        let len = self.bytes.len();
        let (start, end) = (clamp(at, len), clamp(tail, len));
        let new =
            usize::try_from(new).map_err(|_no_memory_for_it| PeError::too_large(purpose, new))?;
        self.bytes.splice(start..end, core::iter::repeat_n(0, new));
        for pointer in pointers.iter().filter(|pointer| pointer.target >= tail) {
            let field = Field(pointer.field, 0);
            self.put_u32(field, moved(pointer.at), moved(pointer.target))?;
        }
        self.refresh()
    }

    /// Adds zeros until the file has `len` bytes.
    pub(super) fn pad_to(&mut self, len: u64) -> Result<(), PeError> {
        let end = self.len();
        self.resize(end, 0, len.saturating_sub(end), "padding")
    }

    /// Removes the certificate table, if the caller wants that.
    fn drop_signature(&mut self, options: EditOptions) -> Result<(), PeError> {
        let Some(certificates) = self.image.certificates() else {
            return Ok(());
        };
        if !options.drop_signature {
            return Err(PeError::signed(&certificates));
        }
        let directory = self.image.headers.directory_at(DIRECTORY_CERTIFICATES);
        let extents = self.extents()?;
        if let Some(extent) = extents
            .iter()
            .find(|extent| overlap(&extent.range, &certificates))
        {
            return Err(PeError::mismatch(
                CERTIFICATE_TABLE,
                directory,
                "a table with no other data in it",
                extent.range.start,
            ));
        }
        self.put(CERTIFICATE_TABLE, directory, &[0; 8])?;
        // Tables lie at the end, where they are cut off. Bytes behind one
        // nevertheless stay where they are: nobody knows what they are.
        let is_last = extents
            .iter()
            .all(|extent| extent.range.end <= certificates.start)
            && self.is_zero(certificates.end..self.len());
        match is_last {
            true => self
                .bytes
                .truncate(clamp(certificates.start, self.bytes.len())),
            false => self.clear("certificate table", certificates)?,
        }
        self.refresh()
    }

    /// Makes the bytes in `range` zeros.
    fn clear(&mut self, field: &str, range: Range<u64>) -> Result<(), PeError> {
        slice_mut(&mut self.bytes, range.clone())
            .map(|bytes| bytes.fill(0))
            .ok_or_else(|| self.past_end(field, range.start, &range))
    }

    pub(super) fn past_end(&self, field: &str, at: u64, target: &Range<u64>) -> PeError {
        PeError::past_end(field, at, target, self.len())
    }

    /// Returns the checksum that belongs into the image's own field.
    fn checksum(&self) -> Option<u32> {
        Some(checksum(&self.bytes, self.checksum_at()?))
    }

    fn has_right_checksum(&self) -> bool {
        let stored = self.checksum_at().and_then(|at| u32_at(&self.bytes, at));
        stored.is_some() && stored == self.checksum()
    }

    fn checksum_at(&self) -> Option<usize> {
        usize::try_from(CHECK_SUM.behind(self.image.headers.optional)).ok()
    }
}

impl Format {
    fn of(image: &[u8]) -> Self {
        let has = |at, magic: &[u8]| image.get(at..).is_some_and(|rest| rest.starts_with(magic));
        if has(4, b"zimg") {
            return Self::Zboot;
        }
        if has(0x202, b"HdrS") && has(0x1fe, &[0x55, 0xaa]) {
            return Self::Fixed("a bzImage");
        }
        if has(0x38, b"ARM\x64") {
            return Self::Fixed("an arm64 Image");
        }
        if has(0x30, b"RISCV\0\0\0") || has(0x38, b"RSC\x05") {
            return Self::Fixed("a riscv Image");
        }
        // LINUX_PE_MAGIC: kernels with no other mark, such as loongarch's.
        if array_at(image, 0x38).map(u32::from_le_bytes) == Some(0x8182_23cd) {
            return Self::Fixed("a Linux kernel");
        }
        Self::Free
    }
}

fn check_alignment(image: &PeImage) -> Result<(), PeError> {
    let headers = &image.headers;
    let check = |field: Field, found: u32, expected, max| {
        let at = field.behind(headers.optional);
        match found.is_power_of_two() && found <= max {
            true => Ok(()),
            false => Err(PeError::mismatch(field.0, at, expected, found)),
        }
    };
    check(
        FILE_ALIGNMENT,
        headers.file_alignment,
        "a power of two up to 0x10000",
        0x1_0000,
    )?;
    check(
        SECTION_ALIGNMENT,
        headers.section_alignment,
        "a power of two",
        u32::MAX,
    )
}

/// Returns `at` as a position in `len` bytes: their end, if it lies behind.
fn clamp(at: u64, len: usize) -> usize {
    usize::try_from(at).map_or(len, |at| at.min(len))
}

fn slice_mut(bytes: &mut [u8], range: Range<u64>) -> Option<&mut [u8]> {
    bytes.get_mut(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::read::u32_at;
    use crate::testing::{Builder, Checksum, DROP, KEEP, check, is_checksum_right, put};
    use crate::{PeImage, attach, detach};

    /// Makes `builder`'s image look like a kernel of fixed layout.
    fn kernel(builder: &Builder, magic: &[(usize, &[u8])]) -> Vec<u8> {
        let mut image = builder.build();
        for (at, magic) in magic {
            image[*at..at + magic.len()].copy_from_slice(magic);
        }
        image
    }

    #[test]
    fn kernels_of_fixed_layout_only_get_what_moves_nothing() {
        let roomy = Builder {
            e_lfanew: 0x48,
            spare_entries: 4,
            overlay: b"odd".to_vec(),
            ..Builder::default()
        };
        let kernels: [&[(usize, &[u8])]; 5] = [
            &[(0x1fe, b"\x55\xaa"), (0x202, b"HdrS")],
            &[(0x38, b"ARM\x64")],
            &[(0x30, b"RISCV\0\0\0")],
            &[(0x38, b"RSC\x05")],
            &[(0x38, b"\xcd\x23\x82\x81")],
        ];
        let mut texts = String::new();
        for magic in kernels {
            let full = Builder {
                e_lfanew: 0xc0,
                ..Builder::default()
            };
            let refused = attach(&kernel(&full, magic), ".bpf", b"x", KEEP).err();
            texts += &format!("{}\n", refused.unwrap());

            let image = kernel(&roomy, magic);
            let edited = attach(&image, ".bpf", b"x", KEEP).unwrap();
            assert_eq!(edited[0x200..image.len()], image[0x200..]);
            let more = attach(&edited, ".bpf2", b"y", KEEP).unwrap();
            texts += &format!("{}\n", detach(&more, ".bpf", KEEP).err().unwrap());
            assert_eq!(detach(&more, ".bpf2", KEEP).unwrap(), edited);
        }
        expect![[r#"
            file data from file offset 0x1f0 on would have to move to make room in the section table, but the layout of a bzImage is fixed
            file data from file offset 0xa00 on would have to move to close the gap of a removed section, but the layout of a bzImage is fixed
            file data from file offset 0x200 on would have to move to make room in the section table, but the layout of an arm64 Image is fixed
            file data from file offset 0xa00 on would have to move to close the gap of a removed section, but the layout of an arm64 Image is fixed
            file data from file offset 0x200 on would have to move to make room in the section table, but the layout of a riscv Image is fixed
            file data from file offset 0xa00 on would have to move to close the gap of a removed section, but the layout of a riscv Image is fixed
            file data from file offset 0x200 on would have to move to make room in the section table, but the layout of a riscv Image is fixed
            file data from file offset 0xa00 on would have to move to close the gap of a removed section, but the layout of a riscv Image is fixed
            file data from file offset 0x200 on would have to move to make room in the section table, but the layout of a Linux kernel is fixed
            file data from file offset 0xa00 on would have to move to close the gap of a removed section, but the layout of a Linux kernel is fixed
        "#]].assert_eq(&texts);
    }

    #[test]
    fn signed_images_are_refused_or_lose_their_signature() {
        let builder = Builder::zboot();
        let plain = builder.build();
        let mut image = plain.clone();
        builder.put_certificates(&mut image, &[0x30; 16]);
        check(
            attach(&image, ".bpf", b"x", KEEP),
            &expect![[r#"
            editing breaks its signature (certificate table at 0x600 to 0x610)
        "#]],
        );
        check(
            detach(&image, ".payload", KEEP),
            &expect![[r#"
            editing breaks its signature (certificate table at 0x600 to 0x610)
        "#]],
        );
        let edited = attach(&image, ".bpf", b"x", DROP).unwrap();
        assert_eq!(edited, attach(&plain, ".bpf", b"x", KEEP).unwrap());
    }

    #[test]
    fn data_behind_a_dropped_signature_stays() {
        let builder = Builder::default();
        let mut image = builder.build();
        builder.put_certificates(&mut image, &[0x30; 16]);
        image.extend(b"behind");
        let edited = attach(&image, ".bpf", b"x", DROP).unwrap();
        assert!(edited.ends_with(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0behind"));
        assert_eq!(PeImage::parse(&edited).unwrap().certificates(), None);
        // A table with a section in it cannot go.
        put(&mut image, builder.directory(4), 0x200);
        check(
            attach(&image, ".bpf", b"x", DROP),
            &expect![[r#"
            certificate table (data directory 4) at 0xe8: expected a table with no other data in it, found 0x200
        "#]],
        );
    }

    #[test]
    fn a_checksum_is_right_if_it_was() {
        let edited = |checksum| {
            let image = Builder {
                checksum,
                ..Builder::uki()
            }
            .build();
            let edited = attach(&image, ".bpf", b"x", KEEP).unwrap();
            assert_eq!(detach(&edited, ".bpf", KEEP).unwrap(), image);
            (
                is_checksum_right(&edited),
                u32_at(&edited, 0x98) == u32_at(&image, 0x98),
            )
        };
        assert_eq!(edited(Checksum::Right), (true, false));
        assert_eq!(edited(Checksum::Stale), (false, true));
        assert_eq!(edited(Checksum::Zero), (false, true));
    }
}
