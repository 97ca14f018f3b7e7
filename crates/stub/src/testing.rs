//! Images for tests.

use ukexec_pe::PeImage;

use crate::{StubError, Uki};

/// Returns an x86-64 EFI application with `sections`.
pub(crate) fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let table = 0x40 + 24 + 240;
    let mut image = vec![0; 0x1000];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0\x64\x86");
    put(0x46, &(sections.len() as u16).to_le_bytes());
    put(0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(0x58, &0x20b_u16.to_le_bytes()); // PE32+
    put(0x58 + 32, &0x1000_u32.to_le_bytes()); // SectionAlignment
    put(0x58 + 36, &0x200_u32.to_le_bytes()); // FileAlignment
    let end = 0x1000 * (1 + sections.len() as u32);
    put(0x58 + 56, &end.to_le_bytes()); // SizeOfImage
    put(0x58 + 60, &0x1000_u32.to_le_bytes()); // SizeOfHeaders
    put(0x58 + 68, &10_u16.to_le_bytes()); // an EFI application
    put(0x58 + 108, &16_u32.to_le_bytes()); // data directories
    for (index, (name, content)) in sections.iter().enumerate() {
        let (entry, rva) = (table + 40 * index, 0x1000 * (1 + index as u32));
        put(entry, name.as_bytes());
        put(entry + 8, &(content.len() as u32).to_le_bytes());
        put(entry + 12, &rva.to_le_bytes());
        let raw = content.len().next_multiple_of(0x200) as u32;
        put(entry + 16, &raw.to_le_bytes());
        put(entry + 20, &rva.to_le_bytes()); // in the file as in memory
    }
    for (index, (_, content)) in sections.iter().enumerate() {
        image.resize(0x1000 * (1 + index), 0);
        image.extend_from_slice(content);
        image.resize(image.len().next_multiple_of(0x200), 0);
    }
    image
}

/// Looks at an image of `sections` with profile number `profile`.
pub(crate) fn with_uki<T>(
    sections: &[(&str, &[u8])],
    profile: u32,
    job: impl FnOnce(&Uki<'_, Vec<u8>>) -> T,
) -> Result<T, StubError> {
    let image = image(sections);
    let pe = PeImage::parse(&image).unwrap();
    Ok(job(&Uki::new(image, &pe, profile)?))
}
