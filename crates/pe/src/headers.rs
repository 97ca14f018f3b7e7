//! The headers of an image: where their fields are, and reading them with
//! every offset and size taken for a possible lie.
//!
//! Spec: PE format, "MS-DOS Stub", "COFF File Header", "Optional Header".

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use crate::read::{Block, Front, len_of, wide};
use crate::{Machine, PeError, Section, SectionName, Subsystem};

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
    pub(crate) image_base: u64,
    pub(crate) section_alignment: u32,
    pub(crate) file_alignment: u32,
    pub(crate) size_of_image: u32,
    pub(crate) size_of_headers: u32,
    pub(crate) subsystem: Subsystem,
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
    pub(crate) fn read(file: &Front<'_>) -> Result<Self, PeError> {
        let pe = check_dos_header(file)?;
        let coff = check_coff_header(file, pe)?;
        let optional = check_optional_header(file, &coff)?;
        let directories = read_directories(&optional, coff.u16(SIZE_OF_OPTIONAL_HEADER)?)?;
        let table_start = optional
            .at
            .saturating_add(coff.u16(SIZE_OF_OPTIONAL_HEADER)?.into());
        let table_len = u64::from(coff.u16(NUMBER_OF_SECTIONS)?).saturating_mul(SECTION_HEADER_LEN);
        let table = coff.inside(NUMBER_OF_SECTIONS, table_start, table_len)?;
        Ok(Self {
            pe,
            optional: optional.at,
            table,
            machine: Machine(coff.u16(MACHINE)?),
            pointer_to_symbol_table: coff.u32(POINTER_TO_SYMBOL_TABLE)?,
            number_of_symbols: coff.u32(NUMBER_OF_SYMBOLS)?,
            size_of_initialized_data: optional.u32(SIZE_OF_INITIALIZED_DATA)?,
            address_of_entry_point: optional.u32(ADDRESS_OF_ENTRY_POINT)?,
            image_base: optional.u64(IMAGE_BASE)?,
            section_alignment: optional.u32(SECTION_ALIGNMENT)?,
            file_alignment: optional.u32(FILE_ALIGNMENT)?,
            size_of_image: optional.u32(SIZE_OF_IMAGE)?,
            size_of_headers: optional.u32(SIZE_OF_HEADERS)?,
            subsystem: Subsystem(optional.u16(SUBSYSTEM)?),
            directories,
        })
    }

    /// Reads the section table. The content of a section may lie outside the file.
    pub(crate) fn read_sections(&self, file: &Front<'_>) -> Result<Vec<Section>, PeError> {
        let table = file.block("section table", self.table.start, len_of(&self.table))?;
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

    /// Returns where data directory `index` is.
    pub(crate) fn directory_at(&self, index: usize) -> u64 {
        DATA_DIRECTORIES
            .behind(self.optional)
            .saturating_add(wide(index).saturating_mul(DIRECTORY_LEN))
    }

    /// Returns where section table entry `index` is.
    pub(crate) fn entry_at(&self, index: usize) -> u64 {
        self.table
            .start
            .saturating_add(wide(index).saturating_mul(SECTION_HEADER_LEN))
    }
}

/// Name and position (in bytes from the header's start) of a header field.
#[derive(Clone, Copy)]
pub(crate) struct Field(pub(crate) &'static str, pub(crate) usize);

impl Field {
    /// Returns where the field of the header at `start` is.
    pub(crate) fn behind(self, start: u64) -> u64 {
        start.saturating_add(wide(self.1))
    }
}

const E_MAGIC: Field = Field("e_magic", 0);
/// Counted from where it is.
const E_LFANEW: Field = Field("e_lfanew", 0);
const E_LFANEW_AT: u64 = 0x3c;

// COFF header, counted from the signature in front of it.
const SIGNATURE: Field = Field("Signature", 0);
const MACHINE: Field = Field("Machine", 4);
pub(crate) const NUMBER_OF_SECTIONS: Field = Field("NumberOfSections", 6);
pub(crate) const POINTER_TO_SYMBOL_TABLE: Field = Field("PointerToSymbolTable", 12);
const NUMBER_OF_SYMBOLS: Field = Field("NumberOfSymbols", 16);
const SIZE_OF_OPTIONAL_HEADER: Field = Field("SizeOfOptionalHeader", 20);
const COFF_HEADER_LEN: u64 = 24;

// Optional header of PE32+.
const MAGIC: Field = Field("Magic", 0);
pub(crate) const SIZE_OF_INITIALIZED_DATA: Field = Field("SizeOfInitializedData", 8);
const ADDRESS_OF_ENTRY_POINT: Field = Field("AddressOfEntryPoint", 16);
const IMAGE_BASE: Field = Field("ImageBase", 24);
pub(crate) const SECTION_ALIGNMENT: Field = Field("SectionAlignment", 32);
pub(crate) const FILE_ALIGNMENT: Field = Field("FileAlignment", 36);
pub(crate) const SIZE_OF_IMAGE: Field = Field("SizeOfImage", 56);
pub(crate) const SIZE_OF_HEADERS: Field = Field("SizeOfHeaders", 60);
pub(crate) const CHECK_SUM: Field = Field("CheckSum", 64);
const SUBSYSTEM: Field = Field("Subsystem", 68);
pub(crate) const NUMBER_OF_RVA_AND_SIZES: Field = Field("NumberOfRvaAndSizes", 108);
pub(crate) const DATA_DIRECTORIES: Field = Field("data directories", 112);

pub(crate) const DIRECTORY_LEN: u64 = 8;
/// All that the specification names, 16 directories; a header may have more.
const OPTIONAL_HEADER_MAX: u64 = 112 + 16 * DIRECTORY_LEN;
pub(crate) const DIRECTORY_CERTIFICATES: usize = 4;
pub(crate) const CERTIFICATE_TABLE: &str = "certificate table (data directory 4)";
pub(crate) const DIRECTORY_DEBUG: usize = 6;

// Section header.
const SECTION_HEADER_BYTES: usize = 40;
pub(crate) const SECTION_HEADER_LEN: u64 = 40;
pub(crate) const VIRTUAL_SIZE: Field = Field("VirtualSize", 8);
pub(crate) const VIRTUAL_ADDRESS: Field = Field("VirtualAddress", 12);
pub(crate) const SIZE_OF_RAW_DATA: Field = Field("SizeOfRawData", 16);
pub(crate) const POINTER_TO_RAW_DATA: Field = Field("PointerToRawData", 20);
pub(crate) const POINTER_TO_RELOCATIONS: Field = Field("PointerToRelocations", 24);
pub(crate) const POINTER_TO_LINENUMBERS: Field = Field("PointerToLinenumbers", 28);
pub(crate) const CHARACTERISTICS: Field = Field("Characteristics", 36);

/// Returns the file offset of the PE header.
fn check_dos_header(file: &Front<'_>) -> Result<u64, PeError> {
    let found = file.block(E_MAGIC.0, 0, 2)?.bytes(E_MAGIC)?;
    let hint = match &found {
        b"MZ" => None,
        b"VZ" => {
            Some("a UEFI terse executable (TE), as firmware volumes hold them, not a PE image")
        }
        _ => Some("not a PE image"),
    };
    if let Some(hint) = hint {
        let found = found.escape_ascii();
        return Err(PeError::new(format!(
            "e_magic at 0x0: expected \"MZ\", found \"{found}\": this is {hint}"
        )));
    }
    let dos = file.block(E_LFANEW.0, E_LFANEW_AT, 4)?;
    let pe = dos.u32(E_LFANEW)?;
    dos.inside(E_LFANEW, pe.into(), COFF_HEADER_LEN)?;
    Ok(pe.into())
}

/// Returns the COFF header with the signature in front of it.
fn check_coff_header<'f>(file: &'f Front<'_>, pe: u64) -> Result<Block<'f>, PeError> {
    let coff = file.block("COFF header", pe, COFF_HEADER_LEN)?;
    let found = coff.u32(SIGNATURE)?;
    if found.to_le_bytes() != *b"PE\0\0" {
        return Err(coff.mismatch(SIGNATURE, "0x4550 (\"PE\\0\\0\")", found));
    }
    Ok(coff)
}

/// Returns the optional header, as much of it as the specification names.
fn check_optional_header<'f>(file: &'f Front<'_>, coff: &Block<'_>) -> Result<Block<'f>, PeError> {
    let size = coff.u16(SIZE_OF_OPTIONAL_HEADER)?;
    let too_small = |expected| Err(coff.mismatch(SIZE_OF_OPTIONAL_HEADER, expected, size));
    if size < 2 {
        return too_small("the size of an optional header (images have one, object files not)");
    }
    let at = coff.at.saturating_add(COFF_HEADER_LEN);
    coff.inside(SIZE_OF_OPTIONAL_HEADER, at, size.into())?;
    let optional = file.block("optional header", at, OPTIONAL_HEADER_MAX.min(size.into()))?;
    match optional.u16(MAGIC)? {
        0x20b => {}
        0x10b => return Err(PeError::pe32(MAGIC.0, MAGIC.behind(at))),
        found => return Err(optional.mismatch(MAGIC, "0x20b (PE32+)", found)),
    }
    if usize::from(size) < DATA_DIRECTORIES.1 {
        return too_small("at least 0x70, the size of a PE32+ header without directories");
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
        return Err(optional.mismatch(
            NUMBER_OF_RVA_AND_SIZES,
            "no more directories than SizeOfOptionalHeader has room for",
            count,
        ));
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

/// Reads one entry of the section table.
///
/// Spec: PE format, "Section Table (Section Headers)".
fn read_section(entry: &Block<'_>, index: u16) -> Result<Section, PeError> {
    Ok(Section {
        index,
        name: SectionName::from_bytes(entry.bytes(Field("Name", 0))?),
        virtual_size: entry.u32(VIRTUAL_SIZE)?,
        rva: entry.u32(VIRTUAL_ADDRESS)?,
        size_of_raw_data: entry.u32(SIZE_OF_RAW_DATA)?,
        pointer_to_raw_data: entry.u32(POINTER_TO_RAW_DATA)?,
        pointer_to_relocations: entry.u32(POINTER_TO_RELOCATIONS)?,
        pointer_to_linenumbers: entry.u32(POINTER_TO_LINENUMBERS)?,
        characteristics: entry.u32(CHARACTERISTICS)?,
    })
}
