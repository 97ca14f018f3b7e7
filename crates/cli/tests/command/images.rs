//! Images of few bytes, the same on every machine, and what signs them.

use std::fs;
use std::path::PathBuf;

use crate::workspace;

/// Copies `bytes` over those of `image` from `at`.
pub(crate) fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Returns an x86_64 kernel as far as its header says (Linux,
/// Documentation/arch/x86/boot.rst).
pub(crate) fn kernel() -> Vec<u8> {
    let mut image = vec![0; 0x600];
    let mut put = |at, bytes: &[u8]| put(&mut image, at, bytes);
    put(0x1f1, &[1]); // setup_sects
    put(0x1f4, &0x20_u32.to_le_bytes()); // syssize
    put(0x1fe, b"\x55\xaa");
    put(0x201, &[0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes()); // boot protocol 2.15
    put(0x20e, &0x100_u16.to_le_bytes()); // kernel_version, behind the first sector
    put(0x300, b"6.6.6 (golden)\0");
    put(0x211, &[1]); // loaded high
    put(0x230, &0x20_0000_u32.to_le_bytes()); // kernel_alignment
    put(0x234, &[1]); // relocatable
    put(0x236, &0x63_u16.to_le_bytes()); // 64-bit, above 4 GiB, 5-level paging
    put(0x238, &2047_u32.to_le_bytes()); // cmdline_size
    put(0x260, &0x10_0000_u32.to_le_bytes()); // init_size
    image
}

/// Returns an EFI application for `machine` with `sections` (PE format, "PE
/// Header").
pub(crate) fn pe(machine: u16, sections: &[(&str, &[u8])]) -> Vec<u8> {
    const OPTIONAL: usize = 0x58;
    const TABLE: usize = OPTIONAL + 240;
    let number = |number: usize| u32::try_from(number).expect("a small image").to_le_bytes();
    let mut starts = vec![0x1000];
    for (_, content) in sections {
        let start = starts[starts.len() - 1];
        starts.push(start + content.len().max(1).next_multiple_of(0x1000));
    }
    let len = starts[sections.len()];
    let mut image = vec![0; len];
    let mut put = |at, bytes: &[u8]| put(&mut image, at, bytes);
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0");
    put(0x44, &machine.to_le_bytes());
    put(0x46, &number(sections.len())[..2]);
    put(0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(OPTIONAL, &0x20b_u16.to_le_bytes()); // PE32+
    put(OPTIONAL + 32, &number(0x1000)); // SectionAlignment
    put(OPTIONAL + 36, &number(0x200)); // FileAlignment
    put(OPTIONAL + 56, &number(len)); // SizeOfImage
    put(OPTIONAL + 60, &number(0x1000)); // SizeOfHeaders
    put(OPTIONAL + 68, &[10]); // Subsystem: an EFI application
    put(OPTIONAL + 108, &[16]); // data directories
    for (index, (name, content)) in sections.iter().enumerate() {
        let (entry, start) = (TABLE + 40 * index, starts[index]);
        put(entry, name.as_bytes());
        put(entry + 8, &number(content.len()));
        put(entry + 12, &number(start));
        put(entry + 16, &number(content.len().next_multiple_of(0x200)));
        put(entry + 20, &number(start));
        put(start, content);
    }
    image
}

pub(crate) const X86_64: u16 = 0x8664;
pub(crate) const ARM64: u16 = 0xaa64;

/// Returns an arm64 zboot image (Linux, `drivers/firmware/efi/libstub/zboot-header.S`)
/// with this gzip stream.
pub(crate) fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut image = pe(ARM64, &[(".data", payload)]);
    let mut put = |at, bytes: &[u8]| put(&mut image, at, bytes);
    put(4, b"zimg");
    put(8, &0x1000_u32.to_le_bytes());
    let len = u32::try_from(payload.len()).expect("a small payload");
    put(12, &len.to_le_bytes());
    put(0x18, b"gzip");
    image
}

/// `kernel`, compressed.
pub(crate) const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 78, 45, 202, 75, 205, 1, 0, 171, 154, 210, 93, 6, 0, 0, 0,
];

/// Returns a file of `ukexec-signature`'s signed ones.
pub(crate) fn signed(name: &str) -> PathBuf {
    workspace("crates/signature/testdata/signed").join(name)
}

/// Returns one of their certificates, in DER.
pub(crate) fn certificate(name: &str) -> Vec<u8> {
    fs::read(signed(&format!("certificates/{name}.der"))).expect("a certificate")
}

/// `EFI_CERT_X509_GUID`.
pub(crate) const X509: &str = "a159c0a5e494a74a87b5ab155c2bf072";
/// `EFI_CERT_SHA256_GUID`.
pub(crate) const SHA256: &str = "2616c4c14c509240aca941f936934328";
/// `EFI_CERT_X509_SHA256_GUID`.
pub(crate) const X509_SHA256: &str = "92a4d23bc0967940b420fcf98ef103ed";

/// An EFI signature list of one entry: UEFI 2.10, 32.4.1.
pub(crate) fn list(guid: &str, entry: &[u8]) -> Vec<u8> {
    let guid = (0..16).map(|at| u8::from_str_radix(&guid[2 * at..2 * at + 2], 16));
    let mut list: Vec<u8> = guid.map(|byte| byte.expect("hex")).collect();
    let size = u32::try_from(16 + entry.len()).expect("a size");
    for field in [28 + size, 0, size] {
        list.extend(field.to_le_bytes());
    }
    list.extend([0; 16]);
    list.extend(entry);
    list
}

/// Returns name and content of a variable in efivarfs, `db` or `dbx`.
pub(crate) fn variable((name, lists): (&str, &[u8])) -> (String, Vec<u8>) {
    let name = format!("{name}-d719b2cb-3d3a-4596-a3bc-dad00e67656f");
    (name, [&[0x27, 0, 0, 0], lists].concat())
}
