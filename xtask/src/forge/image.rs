//! Small images: a unified kernel image of a few KiB, and signed ones made of it.
//!
//! Specification: PE format; "Windows Authenticode Portable Executable Signature Format".

use anyhow::{Context, Result};

use super::key::Digest;
use crate::stand::Stand;

/// Where the headers of [`Image::program`] have what; the optional header is that of PE32+.
const PE: usize = 0x80;
pub(crate) const COFF: usize = PE + 4;
pub(crate) const OPTIONAL: usize = COFF + 20;
pub(crate) const CHECKSUM: usize = OPTIONAL + 64;
/// The data directory's entry for the certificate table: offset and size.
pub(crate) const TABLE_ENTRY: usize = OPTIONAL + 112 + 4 * 8;
pub(crate) const SECTIONS: usize = OPTIONAL + 240;
const FILE_ALIGNMENT: usize = 0x200;
const SECTION_ALIGNMENT: usize = 0x1000;

/// An image, and edits of it.
#[derive(Debug, Clone)]
pub(crate) struct Image(pub(crate) Vec<u8>);

impl Image {
    /// An EFI program for x86-64 of one section that may do everything, entered at `entry`.
    ///
    /// # Errors
    ///
    /// It is too long for its headers.
    pub(crate) fn program(code: &[u8], entry: u32) -> Result<Self> {
        Self::of(&[(".text", code)], entry)
    }

    /// A unified kernel image: os-release, command line, initrd, and the shortest kernel that
    /// looks like one. `marker` makes it another image than others.
    ///
    /// # Errors
    ///
    /// It is too long for its headers.
    pub(crate) fn uki(marker: &str) -> Result<Self> {
        let os_release = format!("ID=set\nVERSION_ID={marker}\n");
        Self::of(
            &[
                (".text", b"\x31\xc0\xc3"),
                (".osrel", os_release.as_bytes()),
                (".cmdline", b"quiet"),
                (".linux", &kernel()),
                (".initrd", b"070701"),
            ],
            0x1000,
        )
    }

    /// An image of sections: name and content.
    ///
    /// # Errors
    ///
    /// It is too long for its headers.
    pub(crate) fn of(sections: &[(&str, &[u8])], entry: u32) -> Result<Self> {
        let headers_len = (SECTIONS + 40 * sections.len()).next_multiple_of(FILE_ALIGNMENT);
        let mut headers = vec![0; headers_len];
        let mut body = Vec::new();
        let mut address = headers_len.next_multiple_of(SECTION_ALIGNMENT);
        for (index, (name, content)) in sections.iter().enumerate() {
            let raw_len = content.len().next_multiple_of(FILE_ALIGNMENT);
            let at = SECTIONS + 40 * index;
            put(&mut headers, at, name.as_bytes())?;
            let fields = [content.len(), address, raw_len, headers_len + body.len()];
            put_u32s(&mut headers, at + 8, &fields)?;
            // Code and data; readable, writable, executable.
            put_u32s(&mut headers, at + 36, &[0xe000_0060])?;
            body.extend_from_slice(content);
            body.resize(body.len().next_multiple_of(FILE_ALIGNMENT), 0);
            address = (address + content.len()).next_multiple_of(SECTION_ALIGNMENT);
        }
        put(&mut headers, 0, b"MZ")?;
        put_u32s(&mut headers, 0x3c, &[PE])?;
        put(&mut headers, PE, b"PE\0\0")?;
        // x86-64; the size of the optional header; executable, wide addresses.
        put_u16s(&mut headers, COFF, &[0x8664, sections.len()])?;
        put_u16s(&mut headers, COFF + 16, &[240, 0x22])?;
        put_u16s(&mut headers, OPTIONAL, &[0x20b])?;
        put_u32s(
            &mut headers,
            OPTIONAL + 16,
            &[usize::try_from(entry)?, 0x1000],
        )?;
        put_u32s(
            &mut headers,
            OPTIONAL + 32,
            &[SECTION_ALIGNMENT, FILE_ALIGNMENT],
        )?;
        put_u32s(&mut headers, OPTIONAL + 56, &[address, headers_len])?;
        // An EFI application, with 16 data directories.
        put_u16s(&mut headers, OPTIONAL + 68, &[10])?;
        put_u32s(&mut headers, OPTIONAL + 108, &[16])?;
        Ok(Self([headers, body].concat()))
    }

    /// The image with `bytes` at `at`.
    ///
    /// # Errors
    ///
    /// That is past the end.
    pub(crate) fn with(&self, at: usize, bytes: &[u8]) -> Result<Self> {
        let mut image = self.clone();
        put(&mut image.0, at, bytes)?;
        Ok(image)
    }

    /// The image with one bit of the byte at `at` changed.
    ///
    /// # Errors
    ///
    /// That is past the end.
    pub(crate) fn flipped(&self, at: usize) -> Result<Self> {
        let byte = *self.0.get(at).context("past the end")?;
        self.with(at, &[byte ^ 1])
    }

    /// The image with `bytes` behind its end.
    pub(crate) fn followed_by(&self, bytes: &[u8]) -> Self {
        Self([&self.0, bytes].concat())
    }

    pub(crate) fn u32_at(&self, at: usize) -> Result<usize> {
        let bytes = self.0.get(at..at + 4).context("past the end")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    }

    pub(crate) fn u16_at(&self, at: usize) -> Result<usize> {
        let bytes = self.0.get(at..at + 2).context("past the end")?;
        Ok(usize::from(u16::from_le_bytes(bytes.try_into()?)))
    }

    /// The bytes of the image that Authenticode hashes, in the order of firmware: headers
    /// without checksum and table entry, sections in the order of the file, and the file
    /// from as many bytes on as those were, up to the table.
    ///
    /// # Errors
    ///
    /// The headers name bytes that are not there.
    pub(crate) fn hashed(&self) -> Result<Vec<u8>> {
        let part = |start: usize, end: usize| self.0.get(start..end).context("past the end");
        let headers = self.u32_at(OPTIONAL + 60)?;
        let mut hashed = part(0, CHECKSUM)?.to_vec();
        hashed.extend(part(CHECKSUM + 4, TABLE_ENTRY)?);
        hashed.extend(part(TABLE_ENTRY + 8, headers)?);
        let mut sections = Vec::new();
        for index in 0..self.u16_at(COFF + 2)? {
            let at = SECTIONS + 40 * index;
            sections.push((self.u32_at(at + 20)?, self.u32_at(at + 16)?));
        }
        sections.sort_unstable();
        let mut sum = headers;
        for (start, len) in sections {
            hashed.extend(part(start, start + len)?);
            sum += len;
        }
        let table_len = self.u32_at(TABLE_ENTRY + 4)?;
        let end = self.0.len() - table_len;
        if end > sum {
            hashed.extend(part(sum, end)?);
        }
        Ok(hashed)
    }

    /// Its digest.
    ///
    /// # Errors
    ///
    /// As [`Image::hashed`], and when `openssl` fails.
    pub(crate) fn digest(&self, stand: &Stand, algorithm: Digest) -> Result<Vec<u8>> {
        algorithm.of(stand, &self.hashed()?)
    }

    /// The image with zeros up to a length that a certificate table may follow.
    pub(crate) fn padded(&self) -> Self {
        let mut image = self.clone();
        image.0.resize(image.0.len().next_multiple_of(8), 0);
        image
    }

    /// The image, padded, with `table` as its certificate table.
    ///
    /// # Errors
    ///
    /// It is no image.
    pub(crate) fn with_table(&self, table: &[u8]) -> Result<Self> {
        self.padded().followed_by_table(table)
    }

    /// The image with `table` as its certificate table, wherever that begins.
    ///
    /// # Errors
    ///
    /// It is no image.
    pub(crate) fn followed_by_table(&self, table: &[u8]) -> Result<Self> {
        let mut image = self.clone();
        let entry = [image.0.len(), table.len()];
        put_u32s(&mut image.0, TABLE_ENTRY, &entry)?;
        image.0.extend_from_slice(table);
        Ok(image)
    }
}

/// An entry of a certificate table for a signature: padded to a multiple of 8, which its length
/// says or not; tools do either.
pub(crate) fn entry(pkcs7: &[u8]) -> Vec<u8> {
    entry_of(8 + pkcs7.len(), 0x200, 2, pkcs7)
}

/// An entry that says what it likes of its length, its revision and its type.
pub(crate) fn entry_of(len: usize, revision: u16, kind: u16, content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let mut entry = len.to_le_bytes().to_vec();
    entry.extend(revision.to_le_bytes());
    entry.extend(kind.to_le_bytes());
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry
}

/// A kernel as the x86 boot protocol describes it, with nothing in it.
fn kernel() -> Vec<u8> {
    const LEN: usize = 0x1000;
    let mut kernel = vec![0; LEN];
    let fields: &[(usize, &[u8])] = &[
        (0x1f1, &[1]),          // sectors of setup, behind the first
        (0x1f4, &[0xc0, 0]),    // the rest, in units of 16 bytes
        (0x1fe, &[0x55, 0xaa]), // boot flag
        (0x202, b"HdrS"),
        (0x206, &[0x0f, 0x02]),             // protocol 2.15
        (0x211, &[1]),                      // loaded high
        (0x22c, &[0xff, 0xff, 0xff, 0x7f]), // the initrd's highest address
        (0x230, &[0, 0, 0x20, 0]),          // alignment
        (0x234, &[1]),                      // relocatable
        (0x236, &[3, 0]),                   // 64-bit, loadable above 4 GiB
        (0x238, &[0xff, 7]),                // the longest command line
        (0x260, &[0, 0, 0, 1]),             // memory to start with
    ];
    for (at, bytes) in fields {
        kernel[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    kernel
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    into.get_mut(at..at + bytes.len())
        .context("past the end")?
        .copy_from_slice(bytes);
    Ok(())
}

fn put_u16s(into: &mut [u8], at: usize, numbers: &[usize]) -> Result<()> {
    for (index, number) in numbers.iter().enumerate() {
        put(into, at + 2 * index, &u16::try_from(*number)?.to_le_bytes())?;
    }
    Ok(())
}

fn put_u32s(into: &mut [u8], at: usize, numbers: &[usize]) -> Result<()> {
    for (index, number) in numbers.iter().enumerate() {
        put(into, at + 4 * index, &u32::try_from(*number)?.to_le_bytes())?;
    }
    Ok(())
}
