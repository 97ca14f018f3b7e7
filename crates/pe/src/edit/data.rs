//! The sections' data in the file.

use core::ops::Range;

use super::draft::Draft;
use super::references::{Extent, Owner, overlap};
use super::{align_down, align_up};
use crate::headers::{POINTER_TO_RAW_DATA, SIZE_OF_HEADERS, SIZE_OF_RAW_DATA};
use crate::read::{len_of, wide};
use crate::{PeError, Section};

impl Draft {
    /// Adds `content` behind the data of all sections.
    pub(super) fn append_data(&mut self, content: &[u8]) -> Result<Range<u64>, PeError> {
        let size = align_up(wide(content.len()), self.file_alignment());
        if size == 0 {
            return Ok(0..0);
        }
        let end = self.end_of_data()?;
        if end > self.len() {
            self.pad_to(end)?;
        }
        let start = align_up(end, self.file_alignment());
        let room = start.saturating_sub(end).saturating_add(size);
        self.resize(end, 0, room, "make room for the section")?;
        self.put(POINTER_TO_RAW_DATA.0, start, content)?;
        Ok(start..start.saturating_add(size))
    }

    /// Puts `content` where the data in `own` is.
    pub(super) fn replace_data(
        &mut self,
        own: &Range<u64>,
        content: &[u8],
    ) -> Result<Range<u64>, PeError> {
        let alignment = self.file_alignment();
        let size = align_up(wide(content.len()), alignment);
        let old = len_of(own);
        let new = match own.end == self.len() {
            true => size,
            // The data behind keeps its alignment.
            false if size >= old => {
                old.saturating_add(align_up(size.saturating_sub(old), alignment))
            }
            false => old.saturating_sub(align_down(old.saturating_sub(size), alignment)),
        };
        self.resize(own.start, old, new, "make room for the section")?;
        self.put(POINTER_TO_RAW_DATA.0, own.start, content)?;
        Ok(own.start..own.start.saturating_add(size))
    }

    /// Returns the end of the sections' data, which may be a little behind the
    /// end of the file, and does not lie inside of anything.
    fn end_of_data(&self) -> Result<u64, PeError> {
        if self.fixed().is_some() {
            return Ok(self.len());
        }
        let headers = &self.image.headers;
        let claims = self.image.sections().iter().map(|section| {
            let entry = headers.entry_at(section.index());
            (section.raw_data(), SIZE_OF_RAW_DATA, entry)
        });
        let own_claim = (0..self.headers_end(), SIZE_OF_HEADERS, headers.optional);
        let mut end = 0;
        for (target, field, header) in claims.chain([own_claim]) {
            if target.end.saturating_sub(self.len()) >= self.file_alignment() {
                return Err(self.past_end(field.0, field.behind(header), &target));
            }
            end = end.max(target.end);
        }
        let mut extents = self.extents()?;
        extents.sort_by_key(|extent| extent.range.start);
        for Extent { range, .. } in extents {
            if range.start < end {
                end = end.max(range.end);
            }
        }
        Ok(end)
    }

    /// Returns the file range of the section's data, if no other data is in
    /// it.
    pub(super) fn own_data(&self, section: &Section) -> Result<Option<Range<u64>>, PeError> {
        let raw_data = section.raw_data();
        let own = raw_data.start..raw_data.end.min(self.len());
        let in_headers = own.start < self.image.headers.table.end;
        let shared = self
            .extents()?
            .iter()
            .filter(|extent| extent.owner != Owner::Section(section.index()))
            .any(|extent| overlap(&extent.range, &own));
        Ok((!own.is_empty() && !in_headers && !shared).then_some(own))
    }

    /// Returns `own` with the padding around it that was put there for it.
    pub(super) fn with_padding(
        &self,
        section: &Section,
        own: Range<u64>,
    ) -> Result<Removal, PeError> {
        let alignment = self.file_alignment();
        let extents = self.extents()?;
        let others = || {
            extents
                .iter()
                .filter(|extent| extent.owner != Owner::Section(section.index()))
        };
        let is_last = others()
            .filter(|extent| matches!(extent.owner, Owner::Section(_)))
            .all(|extent| extent.range.end <= own.start);
        if is_last {
            // The padding that `append_data` added in front of the section goes, too.
            let before = others()
                .map(|extent| extent.range.end)
                .filter(|&end| end <= own.start);
            let end = before
                .max()
                .unwrap_or(0)
                .max(self.headers_end())
                .min(own.start);
            let is_padding = own.start == align_up(end, alignment) && self.is_zero(end..own.start);
            let start = if is_padding { end } else { own.start };
            return Ok(Removal {
                len: own.end.saturating_sub(start),
                full: start..own.end,
            });
        }
        // The data behind moves, and keeps its alignment.
        let behind = others()
            .map(|extent| extent.range.start)
            .filter(|&start| start >= own.end);
        let next = behind.min().unwrap_or(self.len());
        let is_padding = next.saturating_sub(own.end) < alignment && self.is_zero(own.end..next);
        let end = if is_padding { next } else { own.end };
        Ok(Removal {
            len: align_down(end.saturating_sub(own.start), alignment),
            full: own.start..end,
        })
    }
}

/// Which bytes go with a section.
pub(super) struct Removal {
    pub(super) full: Range<u64>,
    /// How many of them; the rest becomes zeros.
    pub(super) len: u64,
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{Builder, KEEP, check};
    use crate::{attach, detach};

    #[test]
    fn a_shared_section_leaves_its_bytes() {
        let mut image = Builder::uki().build();
        // .cmdline and .osrel become the same bytes.
        let osrel = 0x148 + 40;
        let entry: Vec<u8> = image[osrel + 8..osrel + 36].to_vec();
        image[osrel + 48..osrel + 76].copy_from_slice(&entry);
        let edited = detach(&image, ".osrel", KEEP).unwrap();
        assert_eq!(edited.len(), image.len() - 0x200, "only the headers shrink");
        check(
            Ok(edited),
            &expect![[r#"
            0x143e bytes, headers 0x200, image 0x9000, initialized 0xe00
            .text    0x123 at 0x4000, 0x200 at 0x200, 0x60000020: \x90\x90\x90
            .cmdline 0x8 at 0x5000, 0x200 at 0x400, 0x40000040: ID=test\n
            .linux   0x777 at 0x7000, 0x800 at 0x800, 0x40000040: \x00\x01\x02
            .initrd  0x400 at 0x8000, 0x400 at 0x1000, 0x40000040: \xcd\xcd\xcd
        "#]],
        );
    }

    #[test]
    fn raw_data_cut_off_in_its_padding_is_padded() {
        let mut image = Builder::default().build();
        image.truncate(0x210);
        let edited = attach(&image, ".bpf", b"x", KEEP).unwrap();
        check(
            Ok(edited),
            &expect![[r#"
            0x600 bytes, headers 0x200, image 0x3000, initialized 0x200
            .text    0x4 at 0x1000, 0x200 at 0x200, 0x60000020: code
            .bpf     0x1 at 0x2000, 0x200 at 0x400, 0x40000040: x
        "#]],
        );
    }
}
