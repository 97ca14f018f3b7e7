//! Builds images for the tests of this crate: small, but with everything in
//! them that edits have to keep right.

use expect_test::Expect;

use crate::checksum::checksum;
use crate::read::u32_at;
use crate::{EditOptions, PeError, PeImage};

/// The content of an image. [`Builder::default`] is a UEFI application for
/// x86-64 with one section.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) machine: u16,
    pub(crate) subsystem: u16,
    pub(crate) e_lfanew: usize,
    pub(crate) directories: usize,
    pub(crate) file_alignment: usize,
    pub(crate) section_alignment: usize,
    /// Where the first section is in memory; headers may grow up to there.
    pub(crate) first_rva: usize,
    /// Section table entries that fit, without any data moving.
    pub(crate) spare_entries: usize,
    pub(crate) sections: Vec<(&'static str, Vec<u8>)>,
    /// Whether the last section's raw data is padded in the file.
    pub(crate) last_is_padded: bool,
    /// Whether `SizeOfImage` is rounded, as it should be.
    pub(crate) rounds_size_of_image: bool,
    pub(crate) zboot: Option<Zboot>,
    /// COFF symbols behind the sections.
    pub(crate) symbols: usize,
    /// Debug data behind the sections; their directory is in a section.
    pub(crate) debug_data: Vec<u8>,
    /// Bytes that nothing points at, at the end.
    pub(crate) overlay: Vec<u8>,
    pub(crate) checksum: Checksum,
}

#[derive(Clone, Debug)]
pub(crate) struct Zboot {
    pub(crate) payload: Vec<u8>,
    /// In a section of its own, as in Linux's build, or behind all.
    pub(crate) in_section: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Zero,
    Right,
    Stale,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            machine: 0x8664,
            subsystem: 10,
            e_lfanew: 0x40,
            directories: 16,
            file_alignment: 0x200,
            section_alignment: 0x1000,
            first_rva: 0x1000,
            spare_entries: 0,
            sections: vec![(".text", b"code".to_vec())],
            last_is_padded: true,
            rounds_size_of_image: true,
            zboot: None,
            symbols: 0,
            debug_data: Vec::new(),
            overlay: Vec::new(),
            checksum: Checksum::Right,
        }
    }
}

impl Builder {
    /// A unified kernel image, in its way: a stub, symbols, and parts.
    pub(crate) fn uki() -> Self {
        Self {
            sections: vec![
                (".text", vec![0x90; 0x123]),
                (".osrel", b"ID=test\n".to_vec()),
                (".cmdline", b"quiet".to_vec()),
                (".linux", (0..=255).cycle().take(0x777).collect()),
                (".initrd", vec![0xcd; 0x400]),
            ],
            symbols: 3,
            first_rva: 0x4000,
            ..Self::default()
        }
    }

    /// An EFI zboot image as Linux's build makes it.
    pub(crate) fn zboot() -> Self {
        Self {
            machine: 0xaa64,
            directories: 6,
            zboot: Some(Zboot {
                payload: b"\x1f\x8bpayload".to_vec(),
                in_section: true,
            }),
            rounds_size_of_image: false,
            spare_entries: 3,
            checksum: Checksum::Zero,
            ..Self::default()
        }
    }

    pub(crate) fn table_at(&self) -> usize {
        self.e_lfanew + 24 + 112 + 8 * self.directories
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut sections = self.sections.clone();
        let payload_in_section = self.zboot.as_ref().filter(|zboot| zboot.in_section);
        if let Some(zboot) = payload_in_section {
            sections.push((".payload", zboot.payload.clone()));
        }
        if !self.debug_data.is_empty() {
            sections.push((".debugd", vec![0; 28]));
        }

        let table = self.table_at();
        let table_end = table + 40 * sections.len();
        let headers = (table_end + 40 * self.spare_entries).next_multiple_of(self.file_alignment);
        let mut image = vec![0; headers];
        let mut rva = self
            .first_rva
            .max(headers)
            .next_multiple_of(self.section_alignment);
        let mut size_of_image = rva;
        let mut initialized = 0;
        for (index, (name, content)) in sections.iter().enumerate() {
            let entry = table + 40 * index;
            let pointer = image.len();
            image.extend(content);
            if index + 1 < sections.len() || self.last_is_padded {
                image.resize(image.len().next_multiple_of(self.file_alignment), 0);
            }
            let size = image.len() - pointer;
            image[entry..entry + name.len()].copy_from_slice(name.as_bytes());
            put(&mut image, entry + 8, content.len());
            put(&mut image, entry + 12, rva);
            put(&mut image, entry + 16, size);
            put(&mut image, entry + 20, if size == 0 { 0 } else { pointer });
            put(
                &mut image,
                entry + 36,
                if index == 0 { 0x6000_0020 } else { 0x4000_0040 },
            );
            match *name {
                ".payload" => put(&mut image, 8, pointer),
                ".debugd" => {
                    put(&mut image, self.directory(6), rva);
                    put(&mut image, self.directory(6) + 4, 28);
                }
                _ => {}
            }
            initialized += if index == 0 { 0 } else { size };
            size_of_image = rva + content.len();
            rva = size_of_image
                .max(rva + 1)
                .next_multiple_of(self.section_alignment);
        }
        if self.rounds_size_of_image {
            size_of_image = size_of_image.next_multiple_of(self.section_alignment);
        }
        self.put_headers(&mut image, sections.len(), headers, size_of_image);
        put(&mut image, self.e_lfanew + 24 + 8, initialized);
        self.put_rest(&mut image, table + 40 * sections.len().saturating_sub(1));
        self.put_checksum(&mut image);
        image
    }

    fn put_headers(&self, image: &mut [u8], count: usize, headers: usize, size_of_image: usize) {
        let coff = self.e_lfanew;
        let optional = coff + 24;
        image[..2].copy_from_slice(b"MZ");
        put(image, 0x3c, coff);
        image[coff..coff + 4].copy_from_slice(b"PE\0\0");
        image[coff + 4..coff + 6].copy_from_slice(&self.machine.to_le_bytes());
        image[coff + 6..coff + 8].copy_from_slice(&u16::try_from(count).unwrap().to_le_bytes());
        let optional_len = u16::try_from(112 + 8 * self.directories).unwrap();
        image[coff + 20..coff + 22].copy_from_slice(&optional_len.to_le_bytes());
        image[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
        put(image, optional + 16, self.first_rva);
        put(image, optional + 32, self.section_alignment);
        put(image, optional + 36, self.file_alignment);
        put(image, optional + 56, size_of_image);
        put(image, optional + 60, headers);
        image[optional + 68..optional + 70].copy_from_slice(&self.subsystem.to_le_bytes());
        put(image, optional + 108, self.directories);
    }

    /// Adds what lies behind the sections.
    fn put_rest(&self, image: &mut Vec<u8>, last_entry: usize) {
        if self.symbols != 0 {
            put_at_end(image, self.e_lfanew + 12);
            put(image, self.e_lfanew + 16, self.symbols);
            image.resize(image.len() + 18 * self.symbols, b's');
            image.extend(b"\x08\0\0\0str\0");
        }
        if !self.debug_data.is_empty() {
            let directory = u32_at(image, last_entry + 20).unwrap() as usize;
            put(image, directory + 16, self.debug_data.len());
            put_at_end(image, directory + 24);
            image.extend(&self.debug_data);
        }
        if let Some(zboot) = &self.zboot {
            image[4..8].copy_from_slice(b"zimg");
            put(image, 12, zboot.payload.len());
            if !zboot.in_section {
                put_at_end(image, 8);
                image.extend(&zboot.payload);
            }
        }
        image.extend(&self.overlay);
    }

    /// Makes the checksum what it is to be, after an edit by hand.
    pub(crate) fn put_checksum(&self, image: &mut [u8]) {
        let at = self.e_lfanew + 24 + 64;
        let right = checksum(image, at) as usize;
        match self.checksum {
            Checksum::Zero => put(image, at, 0),
            Checksum::Right => put(image, at, right),
            Checksum::Stale => put(image, at, right ^ 0x5a5a_0000),
        }
    }

    /// Signs `image`, as far as this crate can see.
    pub(crate) fn put_certificates(&self, image: &mut Vec<u8>, certificates: &[u8]) {
        image.resize(image.len().next_multiple_of(8), 0);
        put_at_end(image, self.directory(4));
        put(image, self.directory(4) + 4, certificates.len());
        image.extend(certificates);
        self.put_checksum(image);
    }

    /// Returns where data directory `index` is.
    pub(crate) fn directory(&self, index: usize) -> usize {
        self.e_lfanew + 24 + 112 + 8 * index
    }
}

/// Writes a 32-bit number.
pub(crate) fn put(image: &mut [u8], at: usize, value: usize) {
    image[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
}

fn put_at_end(image: &mut [u8], at: usize) {
    put(image, at, image.len());
}

pub(crate) const KEEP: EditOptions = EditOptions {
    drop_signature: false,
};
pub(crate) const DROP: EditOptions = EditOptions {
    drop_signature: true,
};

/// Shows sections and header fields of the outcome of an edit.
pub(crate) fn check(edited: Result<Vec<u8>, PeError>, expected: &Expect) {
    let text = match edited {
        Ok(image) => describe(&image),
        Err(error) => format!("{error}\n"),
    };
    expected.assert_eq(&text);
}

pub(crate) fn describe(image: &[u8]) -> String {
    let view = PeImage::parse(image).unwrap();
    let mut text = format!(
        "{:#x} bytes, headers {:#x}, image {:#x}, initialized {:#x}\n",
        image.len(),
        view.headers.size_of_headers,
        view.headers.size_of_image,
        view.headers.size_of_initialized_data,
    );
    for section in view.sections() {
        let content = section.content();
        let bytes = &image[content.start as usize..content.end as usize];
        text += &format!(
            "{:8} {:#x} at {:#x}, {:#x} at {:#x}, {:#x}: {:.12}\n",
            section.name(),
            section.virtual_size(),
            section.rva,
            section.size_of_raw_data(),
            section.pointer_to_raw_data(),
            section.characteristics,
            bytes.escape_ascii().to_string(),
        );
    }
    text
}

pub(crate) fn is_checksum_right(image: &[u8]) -> bool {
    u32_at(image, 0x98) == Some(checksum(image, 0x98))
}
