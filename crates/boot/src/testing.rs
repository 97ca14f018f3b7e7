//! Minimal images for tests, each as small as its format allows.

use core::ops::Range;
use std::error::Error;
use std::iter;

use expect_test::Expect;

use crate::{Kernel, identify};

/// Writes `bytes` at `at`, making room as needed.
pub(crate) fn put(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if image.len() < at + bytes.len() {
        image.resize(at + bytes.len(), 0);
    }
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A 64-bit relocatable bzImage: two sectors of setup, 64 bytes of kernel.
pub(crate) fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 1024 + 64];
    put(&mut image, 0x1f1, &[1]);
    put(&mut image, 0x1f4, &4_u32.to_le_bytes());
    put(&mut image, 0x1fe, &[0x55, 0xaa]);
    put(&mut image, 0x202, b"HdrS");
    put(&mut image, 0x206, &0x20f_u16.to_le_bytes());
    put(&mut image, 0x20e, &0x100_u16.to_le_bytes());
    put(&mut image, 0x211, &[1]);
    put(&mut image, 0x234, &[1]);
    put(&mut image, 0x236, &0x23_u16.to_le_bytes());
    put(&mut image, 0x238, &2047_u32.to_le_bytes());
    put(&mut image, 0x260, &0x0100_0000_u32.to_le_bytes());
    put(
        &mut image,
        0x300,
        b"6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.1\0",
    );
    image
}

/// An arm64 Image with 4 KiB pages.
pub(crate) fn arm64() -> Vec<u8> {
    let mut image = vec![0; 0x200];
    put(&mut image, 0x10, &0x1000_u64.to_le_bytes());
    put(&mut image, 0x18, &0xa_u64.to_le_bytes());
    put(&mut image, 0x38, b"ARM\x64");
    image
}

/// A RISC-V Image.
pub(crate) fn riscv64() -> Vec<u8> {
    let mut image = vec![0; 0x200];
    put(&mut image, 0x10, &0x1000_u64.to_le_bytes());
    put(&mut image, 0x20, &2_u32.to_le_bytes());
    put(&mut image, 0x30, b"RISCV\0\0\0RSC\x05");
    image
}

/// An uncompressed LoongArch EFI kernel.
pub(crate) fn loongarch64() -> Vec<u8> {
    let mut image = pe(LOONGARCH64, 10, &[(".text", b"kernel")]);
    put(&mut image, 0x8, &0x20_0000_u64.to_le_bytes());
    put(&mut image, 0x10, &0x1000_u64.to_le_bytes());
    put(&mut image, 0x38, &0x8182_23cd_u32.to_le_bytes());
    image
}

/// An s390 image.
pub(crate) fn s390() -> Vec<u8> {
    let mut image = vec![0; 0x11000];
    put(&mut image, 0x10008, b"S390EP");
    put(&mut image, 0x10428, &0x10800_u64.to_be_bytes());
    put(&mut image, 0x10430, &4096_u64.to_be_bytes());
    put(&mut image, 0x10800, b"6.12.1-s390x (builder@host) #1 SMP\0");
    image
}

/// An ELF file with one segment of 16 bytes at `0x100`.
pub(crate) fn elf(e_machine: u16, e_type: u16, big: bool) -> Vec<u8> {
    let order = |bytes: &mut [u8]| {
        if big {
            bytes.reverse();
        }
    };
    let u16 = |value: u16| {
        let mut bytes = value.to_le_bytes();
        order(&mut bytes);
        bytes
    };
    let u32 = |value: u32| {
        let mut bytes = value.to_le_bytes();
        order(&mut bytes);
        bytes
    };
    let u64 = |value: u64| {
        let mut bytes = value.to_le_bytes();
        order(&mut bytes);
        bytes
    };
    let mut image = vec![0; 0x110];
    put(
        &mut image,
        0,
        &[0x7f, b'E', b'L', b'F', 2, if big { 2 } else { 1 }, 1],
    );
    put(&mut image, 0x10, &u16(e_type));
    put(&mut image, 0x12, &u16(e_machine));
    put(&mut image, 0x20, &u64(0x40));
    put(&mut image, 0x36, &u16(56));
    put(&mut image, 0x38, &u16(1));
    put(&mut image, 0x40, &u32(1));
    put(&mut image, 0x48, &u64(0x100));
    put(&mut image, 0x58, &u64(0x200_0000));
    put(&mut image, 0x60, &u64(0x10));
    put(&mut image, 0x68, &u64(0x3000));
    image
}

/// A 32-bit ELF file with one segment.
pub(crate) fn elf32(e_machine: u16, e_type: u16, big: bool) -> Vec<u8> {
    let order = |bytes: &[u8]| -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if big {
            bytes.reverse();
        }
        bytes
    };
    let mut image = vec![0; 0x60];
    put(&mut image, 0, b"\x7fELF\x01\x01\x01");
    if big {
        put(&mut image, 5, &[2]);
    }
    put(&mut image, 0x10, &order(&e_type.to_le_bytes()));
    put(&mut image, 0x12, &order(&e_machine.to_le_bytes()));
    put(&mut image, 0x1c, &order(&0x34_u32.to_le_bytes()));
    put(&mut image, 0x2a, &order(&32_u16.to_le_bytes()));
    put(&mut image, 0x2c, &order(&1_u16.to_le_bytes()));
    put(&mut image, 0x34, &order(&1_u32.to_le_bytes()));
    image
}

/// Numbers one after the other.
pub(crate) fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A zboot image's DOS header.
pub(crate) fn zboot() -> Vec<u8> {
    let mut image = pe(ARM64, 10, &[(".data", b"payload")]);
    put(&mut image, 4, b"zimg");
    put(&mut image, 0x18, b"zstd\0");
    image
}

/// A PE32+ file with these sections and no code.
pub(crate) fn pe(machine: u16, subsystem: u16, sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    let mut ranges = Vec::new();
    for (name, content) in sections {
        let start = image.len();
        image.extend_from_slice(content);
        ranges.push((*name, start as u32..image.len() as u32));
        image.resize(image.len().next_multiple_of(0x200), 0);
    }
    put_pe(&mut image, machine, subsystem, &ranges);
    image
}

/// Writes PE headers into the first bytes of an image that has others, too.
pub(crate) fn put_pe(
    image: &mut Vec<u8>,
    machine: u16,
    subsystem: u16,
    sections: &[(&str, Range<u32>)],
) {
    put(image, 0, b"MZ");
    put(image, 0x3c, &0x40_u32.to_le_bytes());
    put(image, 0x40, b"PE\0\0");
    put(image, 0x44, &machine.to_le_bytes());
    put(image, 0x46, &(sections.len() as u16).to_le_bytes());
    // Optional header with six data directories.
    put(image, 0x54, &160_u16.to_le_bytes());
    put(image, OPTIONAL, &0x20b_u16.to_le_bytes());
    put(image, OPTIONAL + 32, &0x1000_u32.to_le_bytes());
    put(image, OPTIONAL + 36, &0x200_u32.to_le_bytes());
    put(image, OPTIONAL + 56, &0x10_0000_u32.to_le_bytes());
    put(image, OPTIONAL + 60, &0x400_u32.to_le_bytes());
    put(image, OPTIONAL + 68, &subsystem.to_le_bytes());
    put(image, OPTIONAL + 108, &6_u32.to_le_bytes());
    for (index, (name, range)) in sections.iter().enumerate() {
        let entry = OPTIONAL + 160 + index * 40;
        put(image, entry, name.as_bytes());
        put(image, entry + 8, &(range.end - range.start).to_le_bytes());
        put(
            image,
            entry + 12,
            &(0x1000 * (index as u32 + 1)).to_le_bytes(),
        );
        put(image, entry + 16, &(range.end - range.start).to_le_bytes());
        put(image, entry + 20, &range.start.to_le_bytes());
    }
}

/// Appends a certificate table of 16 bytes to an image with PE headers.
pub(crate) fn sign(image: &mut Vec<u8>) {
    image.resize(image.len().next_multiple_of(8), 0);
    let at = image.len() as u32;
    image.extend_from_slice(&[16, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(image, OPTIONAL + 112 + 4 * 8, &at.to_le_bytes());
    put(image, OPTIONAL + 112 + 4 * 8 + 4, &16_u32.to_le_bytes());
}

/// Where `put_pe` puts the optional header.
pub(crate) const OPTIONAL: usize = 0x58;

pub(crate) const AMD64: u16 = 0x8664;
pub(crate) const ARM64: u16 = 0xaa64;
pub(crate) const LOONGARCH64: u16 = 0x6264;

/// Returns an error and its causes as they are printed.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Returns what is known of an image.
pub(crate) fn description(image: &[u8]) -> String {
    let kernel = match identify(image) {
        Ok(kernel) => kernel,
        Err(error) => return chain(&error),
    };
    let Kernel {
        format,
        arch,
        byte_order,
        version,
        len,
        true_len,
        memory_len,
        cmdline_limit,
        signed,
        faults,
        ..
    } = kernel;
    let limit = cmdline_limit.map(|limit| (limit.bytes, limit.source));
    let arch = arch.map_or("unknown".to_owned(), |arch| arch.to_string());
    format!(
        "{format}, {arch}, {byte_order}\nversion: {version:?}\nlength: {true_len} of {len}, \
         signed: {signed}\nmemory: {memory_len:?}\ncmdline: {limit:?}\nfaults: {faults:?}\n"
    )
}

/// Compares what is known of an image.
pub(crate) fn check(image: &[u8], expected: Expect) {
    expected.assert_eq(&description(image));
}

/// Compares what is known of an image where it differs from that of `base`.
pub(crate) fn check_change(base: &[u8], image: &[u8], expected: Expect) {
    let (before, after) = (description(base), description(image));
    let lines = before.lines().zip(after.lines());
    let changed = lines.filter_map(|(before, after)| (before != after).then_some(after));
    let changed: Vec<_> = changed.collect();
    expected.assert_eq(&changed.join("\n"));
}
