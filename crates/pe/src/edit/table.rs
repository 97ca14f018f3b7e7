//! The section table, the headers around it, and addresses in memory.

use alloc::format;
use core::ops::Range;

use super::draft::Draft;
use super::{align_down, align_up};
use crate::headers::{
    NUMBER_OF_SECTIONS, POINTER_TO_RAW_DATA, SECTION_HEADER_LEN, SIZE_OF_HEADERS, SIZE_OF_IMAGE,
    SIZE_OF_INITIALIZED_DATA, SIZE_OF_RAW_DATA, VIRTUAL_ADDRESS, VIRTUAL_SIZE,
};
use crate::read::{len_of, wide};
use crate::{PeError, Section};

/// Section table and headers.
impl Draft {
    /// Makes room for one more entry behind the section table.
    pub(super) fn make_table_room(&mut self) -> Result<(), PeError> {
        let table_end = self.image.headers.table.end;
        let needed = table_end.saturating_add(SECTION_HEADER_LEN);
        let headers_end = u64::from(self.image.headers.size_of_headers);
        let (first_data, owner) = self.first_data()?;
        if first_data < table_end {
            return Err(PeError::table_full(table_end, owner));
        }
        self.check_empty(table_end..needed.min(first_data))?;
        if needed <= headers_end.min(first_data) {
            return Ok(());
        }
        let size = align_up(needed, self.file_alignment());
        if let Some(rva) = self.first_rva().filter(|rva| u64::from(*rva) < size) {
            return Err(PeError::new(format!(
                "the section table has no room: SizeOfHeaders would become {size:#x} and pass the \
                 first section's address {rva:#x}"
            )));
        }
        self.check_empty(table_end..first_data)?;
        let growth = align_up(size.saturating_sub(first_data), self.file_alignment());
        self.resize(first_data, 0, growth, TABLE_ROOM)?;
        self.put_optional(SIZE_OF_HEADERS, size.max(headers_end))?;
        self.refresh()
    }

    /// Takes back what [`Self::make_table_room`] did for the entry that is
    /// gone now, if it did anything.
    pub(super) fn shrink_headers(&mut self) -> Result<(), PeError> {
        let alignment = self.file_alignment();
        let table_end = self.image.headers.table.end;
        let needed = table_end.saturating_add(SECTION_HEADER_LEN);
        let size = u64::from(self.image.headers.size_of_headers);
        let (first_data, _) = self.first_data()?;
        let Some(spare) = size.checked_sub(table_end) else {
            return Ok(());
        };
        let shrunk = align_down(spare, alignment);
        let small = size.saturating_sub(shrunk);
        // With an entry more, the small headers would not have been enough,
        // and the next size was.
        let grew = shrunk != 0 && small < needed && needed > size.saturating_sub(alignment);
        let moved = first_data == size;
        if !grew
            || first_data < size
            || !self.is_zero(table_end..size)
            || (moved && self.fixed().is_some())
        {
            return Ok(());
        }
        if moved {
            self.resize(small, shrunk, 0, "take back room in the section table")?;
        }
        self.put_optional(SIZE_OF_HEADERS, small)?;
        self.refresh()
    }

    /// Returns where the first file data behind the headers is, and whose.
    fn first_data(&self) -> Result<(u64, &'static str), PeError> {
        let extents = self.extents()?;
        let first = extents.iter().min_by_key(|extent| extent.range.start);
        Ok(first.map_or((self.len(), "the end of the file"), |extent| {
            (extent.range.start, extent.owner.words())
        }))
    }

    /// Refuses header bytes that something may need: they cannot move, since
    /// they are found by address or by offset.
    fn check_empty(&self, range: Range<u64>) -> Result<(), PeError> {
        let at = range.start;
        match self.fixed() {
            _ if self.is_zero(range) => Ok(()),
            Some(format) => Err(PeError::fixed_layout(format, TABLE_ROOM, at)),
            None => Err(PeError::table_full(at, "other data of the headers")),
        }
    }

    fn first_rva(&self) -> Option<u32> {
        let sections = self.image.sections().iter();
        sections
            .filter(|section| !section.addresses().is_empty())
            .map(|section| section.rva)
            .min()
    }

    /// Makes the section one without any content.
    pub(super) fn unplace(&mut self, section: &Section) -> Result<(), PeError> {
        let entry = self.image.headers.entry_at(section.index());
        for field in [POINTER_TO_RAW_DATA, SIZE_OF_RAW_DATA, VIRTUAL_SIZE] {
            self.put_u32(field, entry, 0)?;
        }
        if section.is_initialized_data() {
            let sum = self.image.headers.size_of_initialized_data;
            let rest = sum.saturating_sub(section.size_of_raw_data);
            self.put_optional(SIZE_OF_INITIALIZED_DATA, rest.into())?;
        }
        self.refresh()
    }

    /// Gives section `index` its place in the file and in memory.
    pub(super) fn place(
        &mut self,
        index: usize,
        rva: u64,
        raw_data: &Range<u64>,
        len: usize,
    ) -> Result<(), PeError> {
        let entry = self.image.headers.entry_at(index);
        let size = len_of(raw_data);
        for (field, value) in [
            (VIRTUAL_SIZE, wide(len)),
            (VIRTUAL_ADDRESS, rva),
            (SIZE_OF_RAW_DATA, size),
            (
                POINTER_TO_RAW_DATA,
                if size == 0 { 0 } else { raw_data.start },
            ),
        ] {
            self.put_u32(field, entry, value)?;
        }
        let section = self.image.sections().get(index);
        if section.is_some_and(|section| section.is_initialized_data()) {
            let sum = u64::from(self.image.headers.size_of_initialized_data);
            self.put_optional(SIZE_OF_INITIALIZED_DATA, sum.saturating_add(size))?;
        }
        let end = rva.saturating_add(wide(len));
        let size = self.size_of_image_from(end).max(self.size_of_image());
        self.put_optional(SIZE_OF_IMAGE, size)?;
        self.refresh()
    }

    /// Removes the table entry of `section`, which has no content any more.
    pub(super) fn remove_entry(&mut self, section: &Section) -> Result<(), PeError> {
        let index = section.index();
        let table_end = self.image.headers.table.end;
        let entry = self.image.headers.entry_at(index);
        let start = u64::from(section.rva);
        let is_last = self
            .others(index)
            .all(|other| other.addresses().end <= start);
        if is_last {
            // The size from before is lost, but for its remainder: the largest
            // one that can have put the section here.
            let rest = self
                .end_of_memory(Some(index))
                .max(self.image.headers.size_of_headers.into());
            let spare = align_up(
                self.size_of_image().saturating_sub(start),
                self.section_alignment(),
            );
            let before = self.size_of_image().saturating_sub(spare);
            let size = if before < rest {
                self.size_of_image_from(rest)
            } else {
                before
            };
            self.put_optional(SIZE_OF_IMAGE, size)?;
        }
        self.move_entries(entry.saturating_add(SECTION_HEADER_LEN)..table_end, entry)?;
        let last = table_end.saturating_sub(SECTION_HEADER_LEN);
        self.put("section table", last, &[0; 40])?;
        self.put_count(wide(self.image.sections().len()).saturating_sub(1))?;
        self.refresh()
    }

    pub(super) fn put_count(&mut self, count: u64) -> Result<(), PeError> {
        let field = NUMBER_OF_SECTIONS;
        let narrow =
            u16::try_from(count).map_err(|_too_many| PeError::too_large(field.0, count))?;
        let at = field.behind(self.image.headers.pe);
        self.put(field.0, at, &narrow.to_le_bytes())
    }
}

/// Addresses in memory.
impl Draft {
    pub(super) fn others(&self, index: usize) -> impl Iterator<Item = &Section> {
        self.image
            .sections()
            .iter()
            .filter(move |section| section.index() != index)
    }

    fn section_alignment(&self) -> u64 {
        self.image.headers.section_alignment.into()
    }

    pub(super) fn size_of_image(&self) -> u64 {
        self.image.headers.size_of_image.into()
    }

    /// Returns the end of the last section in memory, but for `without`.
    pub(super) fn end_of_memory(&self, without: Option<usize>) -> u64 {
        let sections = self.image.sections().iter();
        sections
            .filter(|section| Some(section.index()) != without)
            .map(|section| section.addresses().end)
            .max()
            .unwrap_or(0)
    }

    /// Returns the first address behind everything where a section may lie.
    pub(super) fn free_address(&self) -> u64 {
        let end = self.end_of_memory(None).max(self.size_of_image());
        align_up(end, self.section_alignment())
    }

    /// Returns the smallest size of an image that ends at `end`, with the
    /// remainder that the size has now.
    pub(super) fn size_of_image_from(&self, end: u64) -> u64 {
        let alignment = self.section_alignment();
        let remainder = self.size_of_image() & alignment.saturating_sub(1);
        align_up(end.saturating_sub(remainder), alignment).saturating_add(remainder)
    }
}

const TABLE_ROOM: &str = "make room in the section table";

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{Builder, KEEP, check};
    use crate::{attach, detach};

    #[test]
    fn headers_grow_where_data_may_move() {
        let mut full = Builder {
            e_lfanew: 0x78,
            ..Builder::uki()
        };
        full.sections.truncate(3);
        let image = full.build();
        let edited = attach(&image, ".bpf", b"parser", KEEP).unwrap();
        check(
            Ok(edited.clone()),
            &expect![[r#"
                0xc3e bytes, headers 0x400, image 0x8000, initialized 0x600
                .text    0x123 at 0x4000, 0x200 at 0x400, 0x60000020: \x90\x90\x90
                .osrel   0x8 at 0x5000, 0x200 at 0x600, 0x40000040: ID=test\n
                .cmdline 0x5 at 0x6000, 0x200 at 0x800, 0x40000040: quiet
                .bpf     0x6 at 0x7000, 0x200 at 0xa00, 0x40000040: parser
            "#]],
        );
        assert_eq!(detach(&edited, ".bpf", KEEP).unwrap(), image);
    }

    #[test]
    fn headers_do_not_grow_into_the_first_section() {
        let image = Builder {
            section_alignment: 0x200,
            first_rva: 0x200,
            e_lfanew: 0xa0,
            ..Builder::default()
        };
        let sections = vec![(".text", vec![1]), (".a", vec![2])];
        let image = Builder {
            sections,
            directories: 16,
            ..image
        }
        .build();
        check(
            attach(&image, ".bpf", b"x", KEEP),
            &expect![[r#"
            the section table has no room: SizeOfHeaders would become 0x400 and pass the first section's address 0x200
        "#]],
        );
    }

    #[test]
    fn header_data_is_not_overwritten() {
        let mut image = Builder {
            spare_entries: 1,
            ..Builder::default()
        }
        .build();
        image[0x148 + 79] = 1;
        check(
            attach(&image, ".bpf", b"x", KEEP),
            &expect![[r#"
            the section table has no room: its next entry would be at 0x170, where other data of the headers lies and cannot move
        "#]],
        );
    }
}
