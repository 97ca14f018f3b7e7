//! File offsets in an image: what lies where, and what points there.
//!
//! File offsets are kept in the section table (raw data, and the line numbers
//! and relocations that images should not have), in the COFF header (symbols),
//! in the debug directory, and in the DOS header of an EFI zboot image
//! (payload). Everything else in an image goes by address, so that moving file
//! data does not touch it.

use alloc::vec::Vec;
use core::ops::Range;

use super::draft::{Draft, Format};
use crate::PeError;
use crate::headers::{
    DIRECTORY_DEBUG, Field, POINTER_TO_LINENUMBERS, POINTER_TO_RAW_DATA, POINTER_TO_RELOCATIONS,
    POINTER_TO_SYMBOL_TABLE,
};
use crate::read::{slice, u32_at};

/// Bytes that belong together and to one owner.
pub(super) struct Extent {
    pub(super) range: Range<u64>,
    pub(super) owner: Owner,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Section(usize),
    Symbols,
    DebugData,
    ZbootPayload,
}

/// A 32-bit file offset somewhere in the file.
pub(super) struct Pointer {
    pub(super) field: &'static str,
    pub(super) at: u64,
    pub(super) target: u64,
}

impl Draft {
    /// Returns everything that is known to lie in the file, each inside it,
    /// but for headers; nothing empty.
    pub(super) fn extents(&self) -> Result<Vec<Extent>, PeError> {
        let sections = self
            .image
            .sections()
            .iter()
            .map(|section| (section.raw_data(), Owner::Section(section.index())));
        let debug_data = self
            .debug_entries()?
            .into_iter()
            .map(|(_, data)| (data, Owner::DebugData));
        let payload = self
            .zboot_payload()
            .map(|payload| (self.with_size(payload), Owner::ZbootPayload));
        let symbols = self.symbols().map(|symbols| (symbols, Owner::Symbols));
        let end = self.len();
        Ok(sections
            .chain(debug_data)
            .chain(payload)
            .chain(symbols)
            .map(|(range, owner)| Extent {
                range: range.start..range.end.min(end),
                owner,
            })
            .filter(|extent| !extent.range.is_empty())
            .collect())
    }

    /// Returns the payload that the DOS header of an EFI zboot image names.
    ///
    /// Source: Linux, drivers/firmware/efi/libstub/zboot-header.S.
    pub(super) fn zboot_payload(&self) -> Option<Range<u64>> {
        let Format::Zboot = self.format else {
            return None;
        };
        let start = u64::from(u32_at(&self.bytes, ZBOOT_PAYLOAD_OFFSET.1)?);
        let size = u64::from(u32_at(&self.bytes, ZBOOT_PAYLOAD_SIZE.1)?);
        Some(start..start.saturating_add(size))
    }

    /// Returns `payload` with the 4 bytes behind it: most payloads have their
    /// size there, which the payload size does not count. Inside of a section
    /// they are the section's.
    fn with_size(&self, payload: Range<u64>) -> Range<u64> {
        let sections = self.image.sections();
        match sections
            .iter()
            .any(|section| overlap(&section.raw_data(), &payload))
        {
            true => payload,
            false => payload.start..payload.end.saturating_add(4),
        }
    }

    pub(super) fn check_zboot(&self) -> Result<(), PeError> {
        let field = ZBOOT_PAYLOAD_OFFSET;
        match self.zboot_payload() {
            Some(target) if target.end > self.len() => {
                Err(self.past_end(field.0, field.behind(0), &target))
            }
            _ => Ok(()),
        }
    }

    /// Returns all that would have to follow if file data moved.
    pub(super) fn pointers(&self) -> Result<Vec<Pointer>, PeError> {
        let headers = &self.image.headers;
        let symbols = (
            POINTER_TO_SYMBOL_TABLE,
            headers.pe,
            headers.pointer_to_symbol_table.into(),
        );
        let sections = self.image.sections().iter().flat_map(|section| {
            let entry = headers.entry_at(section.index());
            let raw_data = match section.size_of_raw_data {
                0 => 0,
                _ => section.pointer_to_raw_data,
            };
            [
                (POINTER_TO_RAW_DATA, raw_data),
                (POINTER_TO_RELOCATIONS, section.pointer_to_relocations),
                (POINTER_TO_LINENUMBERS, section.pointer_to_linenumbers),
            ]
            .map(|(field, target)| (field, entry, target.into()))
        });
        let debug_data = self.debug_entries()?.into_iter();
        let debug_data = debug_data.map(|(entry, data)| (DEBUG_POINTER, entry, data.start));
        let payload = self.zboot_payload();
        let payload = payload.map(|payload| (ZBOOT_PAYLOAD_OFFSET, 0, payload.start));
        Ok([symbols]
            .into_iter()
            .chain(sections)
            .chain(debug_data)
            .chain(payload)
            // 0 is "none" in all of these.
            .filter(|&(_, _, target)| target != 0)
            .map(|(field, header, target)| Pointer {
                field: field.0,
                at: field.behind(header),
                target,
            })
            .collect())
    }

    /// Returns the symbols and the strings behind them.
    ///
    /// Spec: PE format, "COFF Symbol Table", "COFF String Table".
    fn symbols(&self) -> Option<Range<u64>> {
        let headers = &self.image.headers;
        let start = u64::from(headers.pointer_to_symbol_table);
        let symbols = u64::from(headers.number_of_symbols).saturating_mul(18);
        let strings = start.saturating_add(symbols);
        let strings_len = usize::try_from(strings)
            .ok()
            .and_then(|strings| u32_at(&self.bytes, strings));
        // A file that ends behind the symbols has no strings.
        let end = strings.saturating_add(strings_len.unwrap_or(0).into());
        (start != 0).then_some(start..end)
    }

    /// Returns the entries of the debug directory that have file data: their
    /// places, and the ranges of the data.
    ///
    /// Spec: PE format, "Debug Directory (Image Only)".
    fn debug_entries(&self) -> Result<Vec<(u64, Range<u64>)>, PeError> {
        let headers = &self.image.headers;
        let Some(directory) = headers
            .directories
            .get(DIRECTORY_DEBUG)
            .filter(|directory| directory.size != 0)
        else {
            return Ok(Vec::new());
        };
        let size = u64::from(directory.size);
        let (start, entries) = self
            .file_offset(directory.virtual_address)
            // Pointers in the headers would be moved twice.
            .filter(|start| headers.table.end <= *start)
            .and_then(|start| {
                let entries = slice(&self.bytes, start..start.saturating_add(size))?;
                Some((start, entries))
            })
            .ok_or_else(|| {
                PeError::mismatch(
                    "debug directory (data directory 6)",
                    headers.directory_at(DIRECTORY_DEBUG),
                    "an address whose bytes are in the file, behind the section table",
                    directory.virtual_address,
                )
            })?;
        Ok(entries
            .as_chunks::<DEBUG_ENTRY_LEN>()
            .0
            .iter()
            .zip((start..).step_by(DEBUG_ENTRY_LEN))
            .filter_map(|(entry, at)| {
                let size = u64::from(u32_at(entry, DEBUG_SIZE.1)?);
                let start = u64::from(u32_at(entry, DEBUG_POINTER.1)?);
                (start != 0).then(|| (at, start..start.saturating_add(size)))
            })
            .collect())
    }

    /// Returns where the byte at address `rva` is in the file.
    fn file_offset(&self, rva: u32) -> Option<u64> {
        let rva = u64::from(rva);
        if rva < self.image.headers.size_of_headers.into() {
            return Some(rva);
        }
        self.image.sections().iter().find_map(|section| {
            let content = section.content();
            let inside = rva.checked_sub(section.rva.into())?;
            let offset = content.start.checked_add(inside)?;
            (offset < content.end).then_some(offset)
        })
    }
}

impl Owner {
    /// Returns how errors name it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Section(_) => "data of another section",
            Self::Symbols => "symbol table",
            Self::DebugData => "debug data",
            Self::ZbootPayload => "zboot payload",
        }
    }
}

/// Returns whether some byte is in both.
pub(super) fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

const ZBOOT_PAYLOAD_OFFSET: Field = Field("zboot payload offset", 8);
const ZBOOT_PAYLOAD_SIZE: Field = Field("zboot payload size", 12);

const DEBUG_ENTRY_LEN: usize = 28;
const DEBUG_SIZE: Field = Field("SizeOfData of the debug directory", 16);
const DEBUG_POINTER: Field = Field("PointerToRawData of the debug directory", 24);

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::read::u32_at;
    use crate::testing::{Builder, KEEP, Zboot, check, put};
    use crate::{PeImage, attach, detach};

    #[test]
    fn pointers_follow_data_that_moves() {
        let full = Builder {
            directories: 7,
            e_lfanew: 0xa8,
            first_rva: 0x1000,
            zboot: Some(Zboot {
                payload: b"payload".to_vec(),
                in_section: false,
            }),
            sections: vec![(".text", b"text".to_vec()), (".data", b"data".to_vec())],
            debug_data: b"debug data".to_vec(),
            symbols: 1,
            overlay: b"overlay".to_vec(),
            ..Builder::default()
        };
        let image = full.build();
        let view = PeImage::parse(&image).unwrap();
        assert_eq!(view.headers.size_of_headers, 0x200, "the table is full");
        let edited = attach(&image, ".bpf", b"parser", KEEP).unwrap();
        assert_eq!(
            PeImage::parse(&edited).unwrap().headers.size_of_headers,
            0x400
        );
        let at = |pointer: u32| &edited[pointer as usize..];
        assert!(
            at(u32_at(&edited, 8).unwrap()).starts_with(b"payload"),
            "DOS header"
        );
        let symbols = u32_at(&edited, full.e_lfanew + 12).unwrap();
        assert!(at(symbols).starts_with(b"ssssssssssssssssss\x08\0\0\0str\0"));
        let debug = PeImage::parse(&edited)
            .unwrap()
            .section(".debugd")
            .unwrap()
            .content();
        let debug_data = u32_at(at(debug.start as u32), 24).unwrap();
        assert!(at(debug_data).starts_with(b"debug data"));
        assert!(edited.ends_with(b"overlay"));
        assert_eq!(detach(&edited, ".bpf", KEEP).unwrap(), image);
    }

    #[test]
    fn an_address_behind_a_content_is_not_in_its_padding() {
        // In the file .text has 0x1000 bytes, in memory the directory follows.
        let builder = Builder {
            file_alignment: 0x1000,
            section_alignment: 0x200,
            first_rva: 0x4000,
            e_lfanew: 0x1000 - 24 - 240 - 80,
            debug_data: b"debug data".to_vec(),
            ..Builder::default()
        };
        let image = builder.build();
        let edited = attach(&image, ".bpf", b"x", KEEP).unwrap();
        let debug_data = u32_at(&edited, 0x3000 + 24).unwrap() as usize;
        assert_eq!(edited[debug_data..], *b"debug data");
    }

    #[test]
    fn a_debug_directory_in_the_headers_is_refused() {
        let mut image = Builder::uki().build();
        put(&mut image, 0xfc, 0x100); // its size; its address is 0
        check(
            attach(&image, ".linux", &[0; 0x1000], KEEP),
            &expect![[r#"
            debug directory (data directory 6) at 0xf8: expected an address whose bytes are in the file, behind the section table, found 0x0
        "#]],
        );
    }

    #[test]
    fn zboot_payloads_that_lie_are_refused() {
        let lie = |offset, size| {
            let mut image = Builder::zboot().build();
            put(&mut image, 8, offset);
            put(&mut image, 12, size);
            attach(&image, ".bpf", b"x", KEEP)
        };
        check(
            lie(0x400, 0x201),
            &expect![[r#"
                zboot payload offset at 0x8: expected an end by 0x600, found 0x601; is the file cut off?
            "#]],
        );
        check(
            lie(0xffff_ffff, 0xffff_ffff),
            &expect![[r#"
                zboot payload offset at 0x8: expected an end by 0x600, found 0x1fffffffe; is the file cut off?
            "#]],
        );
        lie(0x400, 0x200).unwrap();
    }
}
