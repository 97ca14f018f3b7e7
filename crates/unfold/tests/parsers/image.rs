//! Builds images: PE files with the given sections, zboot files.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Offset of the PE header.
pub(crate) const PE: usize = 0x40;
/// Offset of the first section header: behind COFF and optional header.
pub(crate) const TABLE: usize = PE + 24 + 240;

const ALIGNMENT: usize = 0x200;
const EFI_APPLICATION: u16 = 10;

/// A section to be.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    name: String,
    content: Vec<u8>,
    virtual_size: Option<u32>,
}

/// Returns a section whose two sizes are what objcopy makes of `content`.
pub(crate) fn section(name: &str, content: impl AsRef<[u8]>) -> Section {
    Section {
        name: name.to_owned(),
        content: content.as_ref().to_vec(),
        virtual_size: None,
    }
}

impl Section {
    pub(crate) fn virtual_size(mut self, size: u32) -> Self {
        self.virtual_size = Some(size);
        self
    }
}

/// Returns a PE32+ EFI application of these sections.
pub(crate) fn pe(sections: &[Section]) -> Vec<u8> {
    let headers = (TABLE + 40 * sections.len()).next_multiple_of(ALIGNMENT);
    let mut image = vec![0; headers];
    put(&mut image, 0, b"MZ");
    put(&mut image, 0x3c, &(PE as u32).to_le_bytes());
    put(&mut image, PE, b"PE\0\0");
    put(&mut image, PE + 4, &0x8664_u16.to_le_bytes());
    put(&mut image, PE + 6, &(sections.len() as u16).to_le_bytes());
    put(&mut image, PE + 20, &240_u16.to_le_bytes());
    let optional = PE + 24;
    put(&mut image, optional, &0x20b_u16.to_le_bytes());
    put(&mut image, optional + 32, &0x1000_u32.to_le_bytes());
    put(&mut image, optional + 36, &(ALIGNMENT as u32).to_le_bytes());
    put(&mut image, optional + 60, &(headers as u32).to_le_bytes());
    put(&mut image, optional + 68, &EFI_APPLICATION.to_le_bytes());
    put(&mut image, optional + 108, &16_u32.to_le_bytes());
    let mut rva = headers.next_multiple_of(0x1000);
    for (index, section) in sections.iter().enumerate() {
        let raw = section.content.len().next_multiple_of(ALIGNMENT);
        let len = section.virtual_size.unwrap_or(section.content.len() as u32);
        let header = TABLE + 40 * index;
        let numbers = [len, rva as u32, raw as u32, image.len() as u32];
        put(&mut image, header, section.name.as_bytes());
        for (field, number) in numbers.into_iter().enumerate() {
            put(&mut image, header + 8 + 4 * field, &number.to_le_bytes());
        }
        image.extend_from_slice(&section.content);
        // Padding that would show up in a part that is cut too late.
        image.resize(image.len().next_multiple_of(ALIGNMENT), b'#');
        rva += raw.max(len as usize).max(1).next_multiple_of(0x1000);
    }
    put(&mut image, optional + 56, &(rva as u32).to_le_bytes());
    image
}

/// Returns a UKI: a PE with `.linux` and then these sections.
pub(crate) fn uki(more: &[Section]) -> Vec<u8> {
    let mut sections = vec![section(".text", "stub"), section(".linux", super::KERNEL)];
    sections.extend_from_slice(more);
    pe(&sections)
}

/// Returns a zboot image with `payload`, of which it says that it is `kind`.
pub(crate) fn zboot(kind: &str, payload: &[u8]) -> Vec<u8> {
    // The size behind the payload that only gzip does without.
    let behind = payload.len() as u32;
    let mut image = pe(&[section(".data", [payload, &behind.to_le_bytes()].concat())]);
    let offset = image.len() - (payload.len() + 4).next_multiple_of(ALIGNMENT);
    put(&mut image, 4, b"zimg");
    put(&mut image, 0x08, &(offset as u32).to_le_bytes());
    put(&mut image, 0x0c, &(payload.len() as u32).to_le_bytes());
    put(&mut image, 0x18, kind.as_bytes());
    put(&mut image, 0x38, &0x8182_23cd_u32.to_le_bytes());
    image
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Overwrites the bytes at `at`.
pub(crate) fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}
