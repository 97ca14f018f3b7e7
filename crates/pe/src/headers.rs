//! The headers of an image: where their fields are, and reading them with
//! every offset and size taken for a possible lie.
//!
//! Spec: PE format, "MS-DOS Stub", "COFF File Header", "Optional Header".

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use crate::read::{Block, Front, wide};
use crate::{
    FileOffset, Machine, PeError, ReadAt, Rva, Section, SectionFlags, SectionName, Subsystem,
};

/// The fields of the headers that anyone here looks at, and where they are.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    /// File offset of the signature `PE\0\0`.
    pub(crate) pe: u64,
    /// File offset of the optional header.
    pub(crate) optional: u64,
    /// File range of the section table.
    pub(crate) table: Range<u64>,
    pub(crate) machine: Machine,
    pub(crate) pointer_to_symbol_table: u32,
    pub(crate) number_of_symbols: u32,
    pub(crate) size_of_initialized_data: u32,
    pub(crate) address_of_entry_point: u32,
    pub(crate) section_alignment: u32,
    pub(crate) file_alignment: u32,
    pub(crate) size_of_image: u32,
    pub(crate) size_of_headers: u32,
    pub(crate) subsystem: Subsystem,
    pub(crate) dll_characteristics: u16,
    /// The data directories that the image has, at most 16.
    pub(crate) directories: Vec<DataDirectory>,
}

/// Spec: PE format, "Optional Header Data Directories".
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataDirectory {
    /// An RVA, but a file offset for the certificate table.
    pub(crate) virtual_address: u32,
    pub(crate) size: u32,
}

impl Headers {
    /// Checks the headers of `file`, up to and with the section table.
    pub(crate) fn read<R: ReadAt + ?Sized>(file: &Front<'_, R>) -> Result<Self, PeError> {
        let pe = check_dos_header(file)?;
        let coff = check_coff_header(file, pe)?;
        let optional = check_optional_header(file, &coff)?;
        let directories = read_directories(&optional, coff.u16(SIZE_OF_OPTIONAL_HEADER)?)?;
        let table = check_section_table(file, &coff, optional.at)?;
        Ok(Self {
            pe,
            optional: optional.at,
            table,
            machine: Machine(coff.u16(MACHINE)?),
            pointer_to_symbol_table: coff.u32(POINTER_TO_SYMBOL_TABLE)?,
            number_of_symbols: coff.u32(NUMBER_OF_SYMBOLS)?,
            size_of_initialized_data: optional.u32(SIZE_OF_INITIALIZED_DATA)?,
            address_of_entry_point: optional.u32(ADDRESS_OF_ENTRY_POINT)?,
            section_alignment: optional.u32(SECTION_ALIGNMENT)?,
            file_alignment: optional.u32(FILE_ALIGNMENT)?,
            size_of_image: optional.u32(SIZE_OF_IMAGE)?,
            size_of_headers: optional.u32(SIZE_OF_HEADERS)?,
            subsystem: Subsystem(optional.u16(SUBSYSTEM)?),
            dll_characteristics: optional.u16(DLL_CHARACTERISTICS)?,
            directories,
        })
    }

    /// Reads the section table and checks that each content is in the file.
    pub(crate) fn read_sections<R: ReadAt + ?Sized>(
        &self,
        file: &Front<'_, R>,
    ) -> Result<Vec<Section>, PeError> {
        let table_len = self.table.end.saturating_sub(self.table.start);
        let table = file.block("section table", self.table.start, table_len)?;
        let (entries, _none) = table.bytes.as_chunks::<SECTION_HEADER_BYTES>();
        (0..=u16::MAX)
            .zip(entries)
            .map(|(index, entry)| {
                let at = self.entry_at(index.into());
                let entry = Block {
                    bytes: Cow::Borrowed(entry),
                    at,
                    file_len: file.len,
                };
                read_section(&entry, index)
            })
            .collect()
    }

    /// Returns where the optional header's `field` is.
    pub(crate) fn optional_field(&self, field: Field) -> FileOffset {
        FileOffset(self.optional.saturating_add(wide(field.1)))
    }

    /// Returns where the COFF header's `field` is.
    pub(crate) fn coff_field(&self, field: Field) -> FileOffset {
        FileOffset(self.pe.saturating_add(wide(field.1)))
    }

    /// Returns where data directory `index` is.
    pub(crate) fn directory_at(&self, index: usize) -> FileOffset {
        let directories = self.optional_field(DATA_DIRECTORIES).0;
        FileOffset(directories.saturating_add(wide(index).saturating_mul(DIRECTORY_LEN)))
    }

    /// Returns where section table entry `index` is.
    pub(crate) fn entry_at(&self, index: usize) -> u64 {
        self.table
            .start
            .saturating_add(wide(index).saturating_mul(SECTION_HEADER_LEN))
    }
}

/// Name and position (in bytes from the header's start) of a header field.
pub(crate) type Field = (&'static str, usize);

const E_MAGIC: Field = ("e_magic", 0);
const E_LFANEW: Field = ("e_lfanew", 0x3c);

// COFF header, counted from the signature in front of it.
const SIGNATURE: Field = ("Signature", 0);
const MACHINE: Field = ("Machine", 4);
pub(crate) const NUMBER_OF_SECTIONS: Field = ("NumberOfSections", 6);
pub(crate) const POINTER_TO_SYMBOL_TABLE: Field = ("PointerToSymbolTable", 12);
const NUMBER_OF_SYMBOLS: Field = ("NumberOfSymbols", 16);
const SIZE_OF_OPTIONAL_HEADER: Field = ("SizeOfOptionalHeader", 20);
const COFF_HEADER_LEN: u64 = 24;

// Optional header of PE32+.
const MAGIC: Field = ("Magic", 0);
pub(crate) const SIZE_OF_INITIALIZED_DATA: Field = ("SizeOfInitializedData", 8);
const ADDRESS_OF_ENTRY_POINT: Field = ("AddressOfEntryPoint", 16);
pub(crate) const SECTION_ALIGNMENT: Field = ("SectionAlignment", 32);
pub(crate) const FILE_ALIGNMENT: Field = ("FileAlignment", 36);
pub(crate) const SIZE_OF_IMAGE: Field = ("SizeOfImage", 56);
pub(crate) const SIZE_OF_HEADERS: Field = ("SizeOfHeaders", 60);
pub(crate) const CHECK_SUM: Field = ("CheckSum", 64);
const SUBSYSTEM: Field = ("Subsystem", 68);
const DLL_CHARACTERISTICS: Field = ("DllCharacteristics", 70);
pub(crate) const NUMBER_OF_RVA_AND_SIZES: Field = ("NumberOfRvaAndSizes", 108);
pub(crate) const DATA_DIRECTORIES: Field = ("data directories", 112);

pub(crate) const DIRECTORY_LEN: u64 = 8;
/// All that the specification names, 16 directories; a header may have more.
const OPTIONAL_HEADER_MAX: u64 = 112 + 16 * DIRECTORY_LEN;
pub(crate) const DIRECTORY_CERTIFICATES: usize = 4;
pub(crate) const DIRECTORY_DEBUG: usize = 6;

// Section header.
const SECTION_HEADER_BYTES: usize = 40;
pub(crate) const SECTION_HEADER_LEN: u64 = 40;
pub(crate) const VIRTUAL_SIZE: Field = ("VirtualSize", 8);
pub(crate) const VIRTUAL_ADDRESS: Field = ("VirtualAddress", 12);
pub(crate) const SIZE_OF_RAW_DATA: Field = ("SizeOfRawData", 16);
pub(crate) const POINTER_TO_RAW_DATA: Field = ("PointerToRawData", 20);
pub(crate) const POINTER_TO_RELOCATIONS: Field = ("PointerToRelocations", 24);
pub(crate) const POINTER_TO_LINENUMBERS: Field = ("PointerToLinenumbers", 28);
pub(crate) const CHARACTERISTICS: Field = ("Characteristics", 36);

/// Returns the file offset of the PE header.
fn check_dos_header<R: ReadAt + ?Sized>(file: &Front<'_, R>) -> Result<u64, PeError> {
    match file.block(E_MAGIC.0, 0, 2)?.bytes::<2>(E_MAGIC)? {
        [b'M', b'Z'] => {}
        [b'V', b'Z'] => return Err(PeError::TerseExecutable),
        found => return Err(PeError::NotPe { found }),
    }
    let dos = file.block(E_LFANEW.0, wide(E_LFANEW.1), 4)?;
    let pe = u64::from(dos.u32((E_LFANEW.0, 0))?);
    let target = pe..pe.saturating_add(COFF_HEADER_LEN);
    if target.end > file.len {
        let at = FileOffset(wide(E_LFANEW.1));
        return Err(PeError::PastEnd {
            field: E_LFANEW.0,
            at,
            target,
            end: file.len,
        });
    }
    Ok(pe)
}

/// Returns the COFF header with the signature in front of it.
fn check_coff_header<'f, R: ReadAt + ?Sized>(
    file: &'f Front<'_, R>,
    pe: u64,
) -> Result<Block<'f>, PeError> {
    let coff = file.block("COFF header", pe, COFF_HEADER_LEN)?;
    let found = coff.u32(SIGNATURE)?;
    if found.to_le_bytes() != *b"PE\0\0" {
        return Err(PeError::Mismatch {
            field: SIGNATURE.0,
            at: coff.at(SIGNATURE),
            expected: "0x4550 (\"PE\\0\\0\")",
            found: found.into(),
        });
    }
    Ok(coff)
}

/// Returns the optional header, as much of it as the specification names.
fn check_optional_header<'f, R: ReadAt + ?Sized>(
    file: &'f Front<'_, R>,
    coff: &Block<'_>,
) -> Result<Block<'f>, PeError> {
    let (field, size_at) = (SIZE_OF_OPTIONAL_HEADER.0, coff.at(SIZE_OF_OPTIONAL_HEADER));
    let size = coff.u16(SIZE_OF_OPTIONAL_HEADER)?;
    let too_small = |expected| PeError::Mismatch {
        field,
        at: size_at,
        expected,
        found: size.into(),
    };
    if size < 2 {
        return Err(too_small(
            "the size of an optional header (images have one, object files not)",
        ));
    }
    let at = coff.at.saturating_add(COFF_HEADER_LEN);
    let target = at..at.saturating_add(size.into());
    if target.end > file.len {
        return Err(PeError::PastEnd {
            field,
            at: size_at,
            target,
            end: file.len,
        });
    }
    let optional = file.block("optional header", at, OPTIONAL_HEADER_MAX.min(size.into()))?;
    match optional.u16(MAGIC)? {
        0x20b => {}
        0x10b => {
            return Err(PeError::Pe32 {
                at: optional.at(MAGIC),
            });
        }
        found => {
            return Err(PeError::Mismatch {
                field: MAGIC.0,
                at: optional.at(MAGIC),
                expected: "0x20b (PE32+)",
                found: found.into(),
            });
        }
    }
    if u64::from(size) < wide(DATA_DIRECTORIES.1) {
        return Err(too_small(
            "at least 0x70, the size of a PE32+ header without directories",
        ));
    }
    Ok(optional)
}

/// Returns the directories of the optional header of `size` bytes.
fn read_directories(optional: &Block<'_>, size: u16) -> Result<Vec<DataDirectory>, PeError> {
    let count = optional.u32(NUMBER_OF_RVA_AND_SIZES)?;
    let end = u64::from(count)
        .saturating_mul(DIRECTORY_LEN)
        .saturating_add(wide(DATA_DIRECTORIES.1));
    if end > size.into() {
        return Err(PeError::Mismatch {
            field: NUMBER_OF_RVA_AND_SIZES.0,
            at: optional.at(NUMBER_OF_RVA_AND_SIZES),
            expected: "no more directories than SizeOfOptionalHeader has room for",
            found: count.into(),
        });
    }
    let (directories, _less_than_one) = optional
        .bytes
        .get(DATA_DIRECTORIES.1..)
        // Their number, which was read, lies in front of them.
        .unwrap_or_default()
        .as_chunks::<8>();
    Ok(directories
        .iter()
        .zip(0..count)
        .map(|(&[a, b, c, d, e, f, g, h], _index)| DataDirectory {
            virtual_address: u32::from_le_bytes([a, b, c, d]),
            size: u32::from_le_bytes([e, f, g, h]),
        })
        .collect())
}

/// Returns the file range of the section table.
fn check_section_table<R: ReadAt + ?Sized>(
    file: &Front<'_, R>,
    coff: &Block<'_>,
    optional: u64,
) -> Result<Range<u64>, PeError> {
    let start = optional.saturating_add(coff.u16(SIZE_OF_OPTIONAL_HEADER)?.into());
    let len = u64::from(coff.u16(NUMBER_OF_SECTIONS)?).saturating_mul(SECTION_HEADER_LEN);
    let target = start..start.saturating_add(len);
    if target.end > file.len {
        let (field, at) = (NUMBER_OF_SECTIONS.0, coff.at(NUMBER_OF_SECTIONS));
        return Err(PeError::PastEnd {
            field,
            at,
            target,
            end: file.len,
        });
    }
    Ok(target)
}

/// Reads one entry of the section table.
///
/// Spec: PE format, "Section Table (Section Headers)".
fn read_section(entry: &Block<'_>, index: u16) -> Result<Section, PeError> {
    let section = Section {
        index,
        name: SectionName::from_bytes(entry.bytes(("Name", 0))?),
        virtual_size: entry.u32(VIRTUAL_SIZE)?,
        rva: Rva(entry.u32(VIRTUAL_ADDRESS)?),
        size_of_raw_data: entry.u32(SIZE_OF_RAW_DATA)?,
        pointer_to_raw_data: entry.u32(POINTER_TO_RAW_DATA)?,
        pointer_to_relocations: entry.u32(POINTER_TO_RELOCATIONS)?,
        pointer_to_linenumbers: entry.u32(POINTER_TO_LINENUMBERS)?,
        characteristics: SectionFlags(entry.u32(CHARACTERISTICS)?),
    };
    let content = section.content();
    if content.end > entry.file_len {
        return Err(PeError::SectionPastEnd {
            section: section.name,
            index: section.index(),
            at: entry.at(POINTER_TO_RAW_DATA),
            content,
            end: entry.file_len,
        });
    }
    Ok(section)
}
