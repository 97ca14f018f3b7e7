//! Images and event logs for tests.

use ukexec_pe::PeImage;
use ukexec_signature::Algorithm;

use crate::{StubError, Uki};

/// Returns an x86-64 EFI application with `sections`.
pub(crate) fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let table = 0x40 + 24 + 240;
    let headers = (table + 40 * sections.len()).next_multiple_of(0x1000);
    let mut image = vec![0; headers];
    let mut places = Vec::new();
    for (_, content) in sections {
        // In the file as in memory, each at a place of its own.
        places.push(image.len() as u32);
        image.extend_from_slice(content);
        let len = content.len().max(1).next_multiple_of(0x1000);
        image.resize(image.len() - content.len() + len, 0);
    }
    let end = image.len() as u32;
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0\x64\x86");
    put(0x46, &(sections.len() as u16).to_le_bytes());
    put(0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(0x58, &0x20b_u16.to_le_bytes()); // PE32+
    put(0x58 + 32, &0x1000_u32.to_le_bytes()); // SectionAlignment
    put(0x58 + 36, &0x200_u32.to_le_bytes()); // FileAlignment
    put(0x58 + 56, &end.to_le_bytes()); // SizeOfImage
    put(0x58 + 60, &(headers as u32).to_le_bytes()); // SizeOfHeaders
    put(0x58 + 68, &10_u16.to_le_bytes()); // an EFI application
    put(0x58 + 108, &16_u32.to_le_bytes()); // data directories
    for (index, ((name, content), place)) in sections.iter().zip(places).enumerate() {
        let entry = table + 40 * index;
        put(entry, name.as_bytes());
        put(entry + 8, &(content.len() as u32).to_le_bytes());
        put(entry + 12, &place.to_le_bytes());
        let raw = content.len().next_multiple_of(0x200) as u32;
        put(entry + 16, &raw.to_le_bytes());
        put(entry + 20, &place.to_le_bytes());
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

/// Returns an event log with the banks that firmware usually has, and `events`: a
/// register, a type, and the bytes that are measured.
pub(crate) fn event_log(events: &[(u32, u32, &[u8])]) -> Vec<u8> {
    use Algorithm::{Sha1, Sha256, Sha384};
    let banks = [(4_u16, Sha1), (0xb, Sha256), (0xc, Sha384)];
    let mut spec_id = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02".to_vec();
    spec_id.extend((banks.len() as u32).to_le_bytes());
    for (id, algorithm) in banks {
        spec_id.extend(id.to_le_bytes());
        spec_id.extend((algorithm.digest_len() as u16).to_le_bytes());
    }
    spec_id.push(0);
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let mut log = [0_u32, 3].map(u32::to_le_bytes).concat();
    log.extend([0; 20]);
    log.extend(sized(&spec_id));
    for (pcr, event_type, bytes) in events {
        let count = banks.len() as u32;
        log.extend([*pcr, *event_type, count].map(u32::to_le_bytes).concat());
        for (id, algorithm) in banks {
            log.extend(id.to_le_bytes());
            log.extend(algorithm.digest(bytes));
        }
        log.extend(sized(bytes));
    }
    log
}

/// Returns an SMBIOS structure of this type with `fields` behind its header.
pub(crate) fn smbios_structure(kind: u8, fields: &[u8], strings: &[&str]) -> Vec<u8> {
    let mut structure = vec![kind, 4 + fields.len() as u8, 0, 0];
    structure.extend(fields);
    for string in strings {
        structure.extend(string.as_bytes());
        structure.push(0);
    }
    if strings.is_empty() {
        structure.push(0);
    }
    structure.push(0);
    structure
}
