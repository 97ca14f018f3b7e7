//! Adding, replacing and removing a section.
//!
//! The content of every other section, the payload of an EFI zboot image and
//! whatever lies behind the sections survives each edit, and what points at
//! moved data follows it. Removing a section that was added gives the original
//! bytes back, with these exceptions, where the added section leaves no trace
//! of what was before:
//!
//! - a signature that was dropped;
//! - headers that grew although `SizeOfHeaders` was no multiple of
//!   `FileAlignment`, or that had a whole `FileAlignment` to spare;
//! - raw data that passed the end of the file: it is padded;
//! - a `SizeOfImage` that did not cover all sections: it does afterwards;
//! - unknown data or padding behind the sections of a kernel of fixed layout,
//!   if the file or its last section does not end at a multiple of
//!   `FileAlignment`: the padding may differ.
//!
//! Rules for the fields that describe the whole image:
//!
//! - `CheckSum` is right afterwards if it was right before. One that nobody
//!   filled in (0, as Linux's build leaves it) or kept up (ukify does not) is
//!   left alone; firmware does not look at it.
//! - `SizeOfImage` grows by whole `SectionAlignment`s. Linux's build does not
//!   round it, and that is kept.

mod data;
mod draft;
mod references;
mod table;

use crate::headers::{CHARACTERISTICS, DIRECTORY_CERTIFICATES, SIZE_OF_IMAGE};
use crate::read::{len_of, wide};
use crate::section::{CNT_INITIALIZED_DATA, MEM_READ};
use crate::{PeError, Section, SectionName};
use alloc::format;
use alloc::vec::Vec;
use draft::Draft;
use references::overlap;

/// How to edit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditOptions {
    /// Remove the certificate table of a signed image, whose signatures no
    /// edit leaves valid. Otherwise a signed image is refused.
    pub drop_signature: bool,
}

/// Returns `image` with `content` as section `name`.
///
/// The first section of that name is replaced: it keeps its place in the
/// section table (the order matters to unified kernel images with several
/// profiles), and its address if the content fits there. If there is none,
/// one is added behind all others, as read-only initialized data.
///
/// File data moves where that is needed and the format allows it.
///
/// # Errors
///
/// Those of [`PeImage::parse`](crate::PeImage::parse) for an image that is
/// broken; `name` is none that a section can have; the image is signed
/// ([`PeError::is_signed`]) and the signature may not be dropped; it has no place
/// for the section.
pub fn attach(
    image: &[u8],
    name: &str,
    content: &[u8],
    options: EditOptions,
) -> Result<Vec<u8>, PeError> {
    let new_name = SectionName::new(name)?;
    let room = content.len().saturating_add(ROOM_FOR_PADDING);
    let mut draft = Draft::open(image, options, room)?;
    match draft.image.section(name).cloned() {
        Some(section) => draft.replace(&section, content)?,
        None => draft.add(&new_name, content)?,
    }
    draft.finish()
}

/// Returns `image` without its first section of name `name`.
///
/// # Errors
///
/// Those of [`PeImage::parse`](crate::PeImage::parse) for an image that is
/// broken; there is no such section, or the image cannot do without it; the
/// image is signed ([`PeError::is_signed`]) and the signature may not be dropped;
/// data behind the section may not move.
pub fn detach(image: &[u8], name: &str, options: EditOptions) -> Result<Vec<u8>, PeError> {
    let shown = SectionName::new(name)?;
    let mut draft = Draft::open(image, options, 0)?;
    let section = draft.image.section(name).cloned();
    let missing = || PeError::new(format!("the image has no section {shown}"));
    draft.remove(&section.ok_or_else(missing)?)?;
    draft.finish()
}

impl Draft {
    fn add(&mut self, name: &SectionName, content: &[u8]) -> Result<(), PeError> {
        self.make_table_room()?;
        let raw_data = self.append_data(content)?;
        let rva = self.free_address();
        let entry = self.image.headers.table.end;
        let count = self.image.sections().len();
        self.put("section table", entry, name.padded())?;
        self.put_u32(CHARACTERISTICS, entry, DATA.into())?;
        self.put_count(wide(count).saturating_add(1))?;
        self.refresh()?;
        self.place(count, rva, &raw_data, content.len())
    }

    fn replace(&mut self, section: &Section, content: &[u8]) -> Result<(), PeError> {
        self.check_not_in_use(section)?;
        let own = self.own_data(section)?;
        let index = section.index();
        self.unplace(section)?;
        let raw_data = match own {
            Some(own) => self.replace_data(&own, content)?,
            None => self.append_data(content)?,
        };
        let start = u64::from(section.rva);
        let end = start.saturating_add(wide(content.len()));
        let next = self
            .others(index)
            .map(|other| other.addresses().start)
            .filter(|&next| next > start)
            .min();
        let rva = match next {
            Some(next) if next < end => self.free_address(),
            _ => start,
        };
        self.place(index, rva, &raw_data, content.len())?;
        if next.is_none() {
            // It is the last one in memory; the image ends with it.
            let size = self.size_of_image_from(self.end_of_memory(None));
            self.put_optional(SIZE_OF_IMAGE, size)?;
        }
        Ok(())
    }

    fn remove(&mut self, section: &Section) -> Result<(), PeError> {
        self.check_not_in_use(section)?;
        let own = self
            .own_data(section)?
            .map(|own| self.with_padding(section, own))
            .transpose()?;
        self.unplace(section)?;
        self.remove_entry(section)?;
        if let Some(own) = own {
            let old = len_of(&own.full);
            let purpose = "close the gap of a removed section";
            self.resize(own.full.start, old, old.saturating_sub(own.len), purpose)?;
        }
        self.shrink_headers()
    }

    /// Refuses a section that something else in the image depends on.
    fn check_not_in_use(&self, section: &Section) -> Result<(), PeError> {
        let in_use = |holds: &str, at: u64| {
            let name = section.name;
            Err(PeError::new(format!(
                "section {name} cannot be changed: it holds the image's {holds} (at {at:#x})"
            )))
        };
        let headers = &self.image.headers;
        let entry_point = u64::from(headers.address_of_entry_point);
        if entry_point != 0 && section.addresses().contains(&entry_point) {
            return in_use("entry point", entry_point);
        }
        for (index, directory) in headers.directories.iter().enumerate() {
            let address = u64::from(directory.virtual_address);
            let is_address = index != DIRECTORY_CERTIFICATES && directory.size != 0;
            if is_address && section.addresses().contains(&address) {
                return in_use("data directory", address);
            }
        }
        match self.zboot_payload() {
            Some(payload) if overlap(&payload, &section.raw_data()) => {
                in_use("zboot payload", payload.start)
            }
            _ => Ok(()),
        }
    }
}

/// Where there is no such number, there is no such file: 32 bits are all that
/// the fields have.
fn align_up(value: u64, alignment: u64) -> u64 {
    value
        .checked_next_multiple_of(alignment)
        .unwrap_or(u64::MAX)
}

fn align_down(value: u64, alignment: u64) -> u64 {
    value.saturating_sub(value.checked_rem(alignment).unwrap_or(0))
}

/// The characteristics of a new section: read-only initialized data.
const DATA: u32 = CNT_INITIALIZED_DATA | MEM_READ;

/// Padding of the content and in front of it, and growth of the headers, at
/// the usual alignment.
const ROOM_FOR_PADDING: usize = 4 * 512;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    use crate::testing::{Builder, KEEP, check, put};

    #[test]
    fn adds_a_section_behind_all_others() {
        let image = Builder {
            spare_entries: 1,
            ..Builder::uki()
        }
        .build();
        check(
            attach(&image, ".bpf", b"\x7fELF parser", KEEP),
            &expect![[r#"
            0x183e bytes, headers 0x400, image 0xa000, initialized 0x1200
            .text    0x123 at 0x4000, 0x200 at 0x400, 0x60000020: \x90\x90\x90
            .osrel   0x8 at 0x5000, 0x200 at 0x600, 0x40000040: ID=test\n
            .cmdline 0x5 at 0x6000, 0x200 at 0x800, 0x40000040: quiet
            .linux   0x777 at 0x7000, 0x800 at 0xa00, 0x40000040: \x00\x01\x02
            .initrd  0x400 at 0x8000, 0x400 at 0x1200, 0x40000040: \xcd\xcd\xcd
            .bpf     0xb at 0x9000, 0x200 at 0x1600, 0x40000040: \x7fELF pars
        "#]],
        );
    }

    #[test]
    fn adding_to_an_empty_image_works() {
        let empty = Builder {
            sections: Vec::new(),
            ..Builder::default()
        }
        .build();
        check(
            attach(&empty, ".bpf", b"first", KEEP),
            &expect![[r#"
            0x400 bytes, headers 0x200, image 0x2000, initialized 0x200
            .bpf     0x5 at 0x1000, 0x200 at 0x200, 0x40000040: first
        "#]],
        );
    }

    #[test]
    fn an_empty_section_has_no_file_data() {
        let image = Builder::zboot().build();
        let edited = attach(&image, ".cmdline", b"", KEEP).unwrap();
        assert_eq!(edited.len(), image.len());
        check(
            Ok(edited),
            &expect![[r#"
            0x600 bytes, headers 0x200, image 0x3009, initialized 0x200
            .text    0x4 at 0x1000, 0x200 at 0x200, 0x60000020: code
            .payload 0x9 at 0x2000, 0x200 at 0x400, 0x40000040: \x1f\x8bpayl
            .cmdline 0x0 at 0x3000, 0x0 at 0x0, 0x40000040: 
        "#]],
        );
    }

    #[test]
    fn replaces_a_section_where_it_is() {
        let image = Builder::uki().build();
        check(
            attach(&image, ".osrel", b"ID=other\n", KEEP),
            &expect![[r#"
            0x163e bytes, headers 0x400, image 0x9000, initialized 0x1000
            .text    0x123 at 0x4000, 0x200 at 0x400, 0x60000020: \x90\x90\x90
            .osrel   0x9 at 0x5000, 0x200 at 0x600, 0x40000040: ID=other\n
            .cmdline 0x5 at 0x6000, 0x200 at 0x800, 0x40000040: quiet
            .linux   0x777 at 0x7000, 0x800 at 0xa00, 0x40000040: \x00\x01\x02
            .initrd  0x400 at 0x8000, 0x400 at 0x1200, 0x40000040: \xcd\xcd\xcd
        "#]],
        );
        // More file data: what lies behind moves.
        check(
            attach(&image, ".osrel", &[b'#'; 0x201], KEEP),
            &expect![[r#"
            0x183e bytes, headers 0x400, image 0x9000, initialized 0x1200
            .text    0x123 at 0x4000, 0x200 at 0x400, 0x60000020: \x90\x90\x90
            .osrel   0x201 at 0x5000, 0x400 at 0x600, 0x40000040: ############
            .cmdline 0x5 at 0x6000, 0x200 at 0xa00, 0x40000040: quiet
            .linux   0x777 at 0x7000, 0x800 at 0xc00, 0x40000040: \x00\x01\x02
            .initrd  0x400 at 0x8000, 0x400 at 0x1400, 0x40000040: \xcd\xcd\xcd
        "#]],
        );
        // More memory than there is before the next section.
        check(
            attach(&image, ".osrel", &[b'#'; 0x1001], KEEP),
            &expect![[r#"
            0x263e bytes, headers 0x400, image 0xb000, initialized 0x2000
            .text    0x123 at 0x4000, 0x200 at 0x400, 0x60000020: \x90\x90\x90
            .osrel   0x1001 at 0x9000, 0x1200 at 0x600, 0x40000040: ############
            .cmdline 0x5 at 0x6000, 0x200 at 0x1800, 0x40000040: quiet
            .linux   0x777 at 0x7000, 0x800 at 0x1a00, 0x40000040: \x00\x01\x02
            .initrd  0x400 at 0x8000, 0x400 at 0x2200, 0x40000040: \xcd\xcd\xcd
        "#]],
        );
        // Less, and at the end.
        check(
            attach(&image, ".initrd", b"", KEEP),
            &expect![[r#"
            0x123e bytes, headers 0x400, image 0x8000, initialized 0xc00
            .text    0x123 at 0x4000, 0x200 at 0x400, 0x60000020: \x90\x90\x90
            .osrel   0x8 at 0x5000, 0x200 at 0x600, 0x40000040: ID=test\n
            .cmdline 0x5 at 0x6000, 0x200 at 0x800, 0x40000040: quiet
            .linux   0x777 at 0x7000, 0x800 at 0xa00, 0x40000040: \x00\x01\x02
            .initrd  0x0 at 0x8000, 0x0 at 0x0, 0x40000040: 
        "#]],
        );
        let back = attach(&image, ".osrel", &[b'#'; 0x201], KEEP)
            .and_then(|image| attach(&image, ".osrel", b"ID=test\n", KEEP));
        assert_eq!(back.unwrap(), image);
    }

    #[test]
    fn removes_a_section_from_the_middle() {
        let image = Builder::uki().build();
        check(
            detach(&image, ".linux", KEEP),
            &expect![[r#"
            0xc3e bytes, headers 0x200, image 0x9000, initialized 0x800
            .text    0x123 at 0x4000, 0x200 at 0x200, 0x60000020: \x90\x90\x90
            .osrel   0x8 at 0x5000, 0x200 at 0x400, 0x40000040: ID=test\n
            .cmdline 0x5 at 0x6000, 0x200 at 0x600, 0x40000040: quiet
            .initrd  0x400 at 0x8000, 0x400 at 0x800, 0x40000040: \xcd\xcd\xcd
        "#]],
        );
    }

    #[test]
    fn what_the_image_needs_stays() {
        let zboot = Builder {
            debug_data: b"x".to_vec(),
            directories: 7,
            ..Builder::zboot()
        }
        .build();
        check(
            detach(&zboot, ".text", KEEP),
            &expect![[r#"
            section .text cannot be changed: it holds the image's entry point (at 0x1000)
        "#]],
        );
        check(
            detach(&zboot, ".payload", KEEP),
            &expect![[r#"
            section .payload cannot be changed: it holds the image's zboot payload (at 0x400)
        "#]],
        );
        check(
            attach(&zboot, ".debugd", b"", KEEP),
            &expect![[r#"
            section .debugd cannot be changed: it holds the image's data directory (at 0x3000)
        "#]],
        );
        check(
            detach(&zboot, ".initrd", KEEP),
            &expect![[r#"
            the image has no section .initrd
        "#]],
        );
        check(
            detach(&zboot, "", KEEP),
            &expect![[r#"
            section name "": it is empty
        "#]],
        );
    }

    #[test]
    fn lies_that_ask_for_memory_are_refused() {
        let lie = |at, value| {
            let mut image = Builder::default().build();
            put(&mut image, at, value);
            attach(&image, ".bpf", b"x", KEEP)
        };
        let optional = 0x58;
        check(
            lie(0x148 + 16, 0xffff_ffff),
            &expect![[r#"
                SizeOfRawData at 0x158: expected an end by 0x400, found 0x1000001ff; is the file cut off?
            "#]],
        );
        check(
            lie(optional + 60, 0xffff_ffff),
            &expect![[r#"
                SizeOfHeaders at 0x94: expected an end by 0x400, found 0xffffffff; is the file cut off?
            "#]],
        );
        check(
            lie(optional + 56, 0xffff_ffff),
            &expect![[r#"
            VirtualAddress would become 0x100000000, more than the field can hold
        "#]],
        );
        check(
            lie(optional + 36, 0x8000_0000),
            &expect![[r#"
            FileAlignment at 0x7c: expected a power of two up to 0x10000, found 0x80000000
        "#]],
        );
        check(
            lie(optional + 36, 0),
            &expect![[r#"
            FileAlignment at 0x7c: expected a power of two up to 0x10000, found 0x0
        "#]],
        );
        check(
            lie(optional + 32, 3),
            &expect![[r#"
            SectionAlignment at 0x78: expected a power of two, found 0x3
        "#]],
        );
        check(
            lie(optional + 32, 0x8000_0000),
            &expect![[r#"
            0x600 bytes, headers 0x200, image 0x80002000, initialized 0x200
            .text    0x4 at 0x1000, 0x200 at 0x200, 0x60000020: code
            .bpf     0x1 at 0x80000000, 0x200 at 0x400, 0x40000040: x
        "#]],
        );
    }
}
