//! The files that goldens are about: an image of every kind, parsers, certificates,
//! and machines' variables.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::images::{GZIP, SHA256, X86_64, X509, X509_SHA256};
use crate::images::{certificate, kernel, list, pe, put, signed, variable, zboot};
use crate::{folder, workspace};

/// Signature lists of a machine, by name.
type Variables<'a> = &'a [(&'a str, &'a [u8])];

/// Returns a folder with an image of every kind, parsers and certificates.
pub(crate) fn materials() -> tempfile::TempDir {
    let mut narrow = kernel();
    narrow[0x236] = 0; // xloadflags: 32-bit
    let no_64_bit = pe(X86_64, &[(".linux", &narrow), (".initrd", b"070701")]);
    let nested = pe(X86_64, &[(".linux", &zboot(GZIP)), (".osrel", OSREL)]);
    let broken: &[(&str, &[u8])] = &[
        (".cmdline", b"root=/dev/vda"),
        (".initrd", b"070701 of the image"),
        (".linux", &zboot(&GZIP[..16])),
    ];
    let mut cut_certificates = signed_as("twice", uki(PROFILES));
    cut_certificates.truncate(cut_certificates.len() - 100);
    let dir = folder(&[
        ("ukexec.conf", b""),
        ("vmlinuz", &kernel()),
        ("narrow", &narrow),
        ("narrow.efi", &no_64_bit),
        ("uki.efi", &uki(&[])),
        ("changed.efi", &signed_as("own", uki(&[]))),
        ("profiles.efi", &uki(PROFILES)),
        ("zboot.efi", &zboot(GZIP)),
        ("cut.efi", &zboot(&GZIP[..16])),
        ("nested.efi", &nested),
        ("envelope.elf", &envelope()),
        ("broken.efi", &pe(X86_64, broken)),
        ("cut-certificates.efi", &cut_certificates),
        (
            "addon.efi",
            &pe(X86_64, &[(".cmdline", b"debug"), (".osrel", OSREL)]),
        ),
        ("hostile.efi", &uki(HOSTILE)),
        ("cut-uki.efi", &uki(&[])[..0x3400]),
        ("unknown", b"\x01\x02\x03"),
        ("initrd", b"070701 of the caller"),
        ("packed", &packed_initrd()),
        ("talks", &of_test(TALKS, &kernel())),
        ("leaks", &of_test(LEAKS, GZIP)),
        ("faults", &of_test(FAULTS, GZIP)),
        ("ready.txt", READY),
        ("boot.log", &boot_log()),
        ("box.bpf.c", b"#include \"parser.h\"\n"),
        (
            "steps",
            &steps(&[COPY, DONE], &steps(&[OTHERS, COPY, DONE], &kernel())),
        ),
        (
            "mended",
            &steps(&[DECOMPRESS, OTHERS, COPY, DONE], &kernel()),
        ),
        ("idle", &steps(&[OTHERS, DECOMPRESS], &kernel())),
        ("box.bc", b"BC\xc0\xde5\x14\0\0"),
        ("box.txt", b"a box\n"),
        ("empty", b""),
        ("image", b"image of 20 bytes..."),
        ("stack", b"stack"),
        ("null", b"null"),
        ("map", b"map"),
        ("record", b"record"),
        ("trap", b"trap"),
        ("leak", b"leak"),
        ("endless", b"endless"),
        ("prints", b"prints"),
        ("failed", b"failed calls, and no gzip"),
    ]);
    let own = certificate("own");
    let digest = list(SHA256, &digest_of_own());
    let hash = list(X509_SHA256, &[&tbs_hash(&own)[..], SINCE].concat());
    let own = list(X509, &own);
    let efivars: &[(&str, Variables<'_>)] = &[
        ("none", &[]),
        ("allowed", &[("db", &digest)]),
        ("revoked", &[("db", &own), ("dbx", &own)]),
        ("revoked-image", &[("dbx", &digest)]),
        ("revoked-hash", &[("db", &own), ("dbx", &hash)]),
    ];
    for (name, lists) in efivars {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).expect("room for a folder");
        for (name, content) in lists.iter().copied().map(variable) {
            fs::write(folder.join(name), content).expect("room for a file");
        }
    }
    crate::entries::fill(&dir.path().join("system/run/boot-loader-entries"));
    for file in FILES {
        let name = Path::new(file).file_name().expect("a file");
        fs::copy(workspace(file), dir.path().join(name)).expect("room for a file");
    }
    for (name, file, old, new) in EDITED {
        let bytes = fs::read(dir.path().join(file)).expect("it is there");
        fs::write(dir.path().join(name), replaced(&bytes, old, new)).expect("room for a file");
    }
    fs::create_dir(dir.path().join("folder")).expect("room for a folder");
    let addon = |uname| pe(X86_64, &[(".cmdline", b"debug"), (".uname", uname)]);
    for (path, content) in [
        ("beside.d/a.addon.efi", &addon(b"6.6.6")[..]),
        ("beside.d/other.addon.efi", &addon(b"6.6.7")),
        (
            "beside.d/signed.addon.efi",
            &signed_as("own", addon(b"6.6.6")),
        ),
        ("beside.d/x.cred", b"a credential"),
        ("beside.d/notes.txt", b""),
        ("loader/extensions/tools.raw", b"an extension"),
        ("loader/extensions/net.confext.raw", b"a configuration"),
    ] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room for a folder");
        fs::write(path, content).expect("room for a file");
    }
    dir
}

/// Commands of parsers of v7: number, subcommand and flag (each hand-over is one for the next level
/// too).
const DONE: Option<[u8; 4]> = Some([1, 0, 0, 0]);
const DECOMPRESS: Option<[u8; 4]> = Some([2, 0, 1, 0]);
const COPY: Option<[u8; 4]> = Some([3, 0, 1, 1]);
/// Ends the first parser's steps.
const OTHERS: Option<[u8; 4]> = None;

/// Returns an image for the parsers `commands.*.bpf.o`: these steps, whose commands are about
/// `payload`.
fn steps(steps: &[Option<[u8; 4]>], payload: &[u8]) -> Vec<u8> {
    let mut image = b"CMDS".to_vec();
    for step in steps {
        let Some(command) = step else {
            image.extend([11, 0, 0, 0, 0, 0, 0, 0]);
            continue;
        };
        let payload = if *step == DONE { &[] } else { payload };
        let len = u32::try_from(payload.len()).expect("a short payload");
        image.extend([1, 0, 0, 0]);
        image.extend((len + 10).to_le_bytes());
        image.extend(command);
        image.extend(len.to_le_bytes());
        image.extend([0, 0]);
        image.extend(payload);
    }
    image
}

/// Returns `bytes` with `new`, which is as long, wherever they have `old`.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places = bytes.windows(old.len()).enumerate();
    let places = places.filter(|(_, window)| *window == old);
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "nothing to replace");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// Returns an image as `ukify` makes it, with `more` sections.
fn uki(more: &[(&str, &[u8])]) -> Vec<u8> {
    let kernel = kernel();
    let sections: &[(&str, &[u8])] = &[
        (".sdmagic", b"#### LoaderInfo: systemd-stub 257.13 ####\0"),
        (".osrel", OSREL),
        (".cmdline", b"root=/dev/vda quiet"),
        (".uname", b"6.6.6"),
        (".pcrpkey", b"a key"),
        (".initrd", b"070701 of the image"),
        (".linux", &kernel),
    ];
    pe(X86_64, &[sections, more].concat())
}

/// Returns an envelope of a UKI and an addon, as the kernel series packs them: an ELF file of these
/// sections and the one with their names.
fn envelope() -> Vec<u8> {
    const HEADER: usize = 64;
    let names = b"\0.uki\0.addon\0.shstrtab\0";
    let addon = pe(X86_64, &[(".cmdline", b"debug")]);
    let sections = [(1, uki(&[])), (6, addon), (13, names.to_vec())];
    let mut image = vec![0; HEADER * 5];
    put(&mut image, 0, b"\x7fELF\x02\x01\x01");
    // e_type, e_machine, e_shoff, then e_shentsize, e_shnum, e_shstrndx
    put(&mut image, 0x10, &[2, 0, 62, 0]);
    put(&mut image, 0x28, &(HEADER as u64).to_le_bytes());
    put(&mut image, 0x3a, &[64, 0, 4, 0, 3, 0]);
    for (index, (name, content)) in sections.iter().enumerate() {
        let (header, at) = (HEADER * (2 + index), image.len() as u64);
        put(&mut image, header, &[*name, 0, 0, 0, 1]);
        put(&mut image, header + 0x18, &at.to_le_bytes());
        put(
            &mut image,
            header + 0x20,
            &(content.len() as u64).to_le_bytes(),
        );
        image.extend_from_slice(content);
    }
    image
}

/// Returns the event log of a machine that booted `uki.efi`.
fn boot_log() -> Vec<u8> {
    let mut spec_id = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02".to_vec();
    spec_id.extend(b"\x01\0\0\0\x0b\0\x20\0\0");
    let sized = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).expect("a small event");
        [&len.to_le_bytes(), bytes].concat()
    };
    // EV_NO_ACTION, with a digest of SHA-1.
    let mut log = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &sized(&spec_id)].concat();
    let mut event = |pcr: u32, event_type: u32, digest: &[u8]| {
        log.extend([pcr, event_type, 1].map(u32::to_le_bytes).concat());
        log.extend([b"\x0b\0", digest, &sized(b"")].concat());
    };
    // EV_EFI_BOOT_SERVICES_APPLICATION; EV_IPL below.
    event(4, 0x8000_0003, AUTHENTICODE);
    let kernel = kernel();
    let sections: &[(&str, &[u8])] = &[
        (".linux", &kernel),
        (".osrel", OSREL),
        (".cmdline", b"root=/dev/vda quiet"),
        (".initrd", b"070701 of the image"),
        (".uname", b"6.6.6"),
        (".pcrpkey", b"a key"),
    ];
    for (name, content) in sections {
        event(11, 0xd, &Sha256::digest([name.as_bytes(), b"\0"].concat()));
        event(11, 0xd, &Sha256::digest(content));
    }
    log
}

/// Returns `image` with the certificate table of the image `name`.
fn signed_as(name: &str, mut image: Vec<u8>) -> Vec<u8> {
    let other = fs::read(signed(&format!("images/{name}.efi"))).expect("an image");
    let at = u32::from_le_bytes(other[0xe8..0xec].try_into().expect("four bytes"));
    let table = &other[usize::try_from(at).expect("a small image")..];
    let numbers = [image.len(), table.len()].map(|it| u32::try_from(it).expect("a small image"));
    image[0xe8..0xf0].copy_from_slice(&numbers.map(u32::to_le_bytes).concat());
    [&image, table].concat()
}

/// Returns an image of the format that `test.bpf.c` of `ukexec-unfold` knows, which
/// has that parser do `operation`.
fn of_test(operation: u32, kernel: &[u8]) -> Vec<u8> {
    let len = u32::try_from(kernel.len()).expect("a small kernel");
    let mut image = b"anythingTEST".to_vec();
    for field in [operation, 40, len, 0, 0, 0, 0] {
        image.extend(field.to_le_bytes());
    }
    [&image, kernel].concat()
}

/// Returns the Authenticode digest of `own.efi`: of the image without
/// `CheckSum`, the entry of the certificate table, and that table.
fn digest_of_own() -> Vec<u8> {
    let mut image = fs::read(signed("images/own.efi")).expect("an image");
    let at = u32::from_le_bytes(image[0xe8..0xec].try_into().expect("four bytes"));
    image.truncate(usize::try_from(at).expect("a small image"));
    image.drain(0xe8..0xf0);
    image.drain(0x98..0x9c);
    Sha256::digest(&image).to_vec()
}

/// Returns the SHA-256 of a certificate's `TBSCertificate`: its first element
/// (X.509, 4.1), where both have lengths of two bytes.
fn tbs_hash(certificate: &[u8]) -> Vec<u8> {
    let len = usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    Sha256::digest(&certificate[4..8 + len]).to_vec()
}

/// An `EFI_TIME`: 2024-02-03 04:05:06.
const SINCE: &[u8] = &[0xe8, 0x07, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The operations that `test.bpf.c` calls `OP_POST`, `OP_LEAK_RESULT` and `OP_READ_OUTSIDE`.
const TALKS: u32 = 20;
const LEAKS: u32 = 6;
const FAULTS: u32 = 11;

const OSREL: &[u8] = b"ID=golden\nPRETTY_NAME=\"Golden 1\"\n";

const PROFILES: &[(&str, &[u8])] = &[
    (".profile", b"ID=main\nTITLE=Main\n"),
    (".profile", b"ID=rescue\nTITLE=Rescue\n"),
    (".cmdline", b"systemd.unit=rescue.target"),
];

/// Values of a machine that has booted `uki.efi`, as `tpm2_pcrread` prints them.
const READY: &[u8] = b"  sha256:
    11: 0x11B971BC9590C1D25539A0CDF4833CDE00110AC11FB4E6F16D7447B95D4AE0F0
    12: 0x0000000000000000000000000000000000000000000000000000000000000000
";

/// The Authenticode digest of `uki.efi`, as `measure.json` has it.
const AUTHENTICODE: &[u8] = &[
    0x1f, 0x5a, 0x25, 0x2a, 0x44, 0x4b, 0x15, 0x3e, 0x39, 0x2a, 0xf9, 0xd1, 0x6a, 0x6a, 0x23, 0x8d,
    0x41, 0x24, 0xe3, 0x4a, 0xa6, 0xb5, 0x93, 0x3b, 0xb0, 0xb3, 0x05, 0xa3, 0xa7, 0x6b, 0x92, 0x49,
];

/// Texts that would steer a terminal.
const HOSTILE: &[(&str, &[u8])] = &[
    (
        ".profile",
        b"ID=\x1b[2J\nTITLE=\"\xe2\x80\xaegpj.exe \xe6\xbc\xa2\xe5\xad\x97\"\n",
    ),
    (".cmdline", b"a\tb\r\nukexec: loaded\x07 \xff"),
    (".osrel", b"PRETTY_NAME=\"Golden\x9b31m\xe2\x80\x8b 1\"\n"),
    ("\x1b[1m", b"x"),
];

/// Files of the workspace that are there too.
const FILES: &[&str] = &[
    "crates/bpf/testdata/objects/parser-19-v4.bpf.o",
    "crates/bpf/testdata/objects/refused-kfunc.bpf.o",
    "crates/bpf/testdata/objects/refused-undefined.bpf.o",
    "crates/bpf/testdata/skeletons/refused-kfunc.o",
    "crates/bpf/testdata/skeletons/zboot.o",
    "crates/signature/testdata/signed/certificates/own.der",
    "crates/signature/testdata/signed/certificates/root.der",
    "crates/signature/testdata/signed/images/chain.efi",
    "crates/signature/testdata/signed/images/own.efi",
    "crates/signature/testdata/signed/images/sha1-digest.efi",
    "crates/signature/testdata/signed/images/twice.efi",
    "crates/signature/testdata/signed/images/unsigned.efi",
    "crates/unfold/testdata/commands.first.bpf.o",
    "crates/unfold/testdata/commands.second.bpf.o",
    "crates/unfold/testdata/test.bpf.o",
    "crates/unfold/testdata/faults.bpf.o",
    "crates/unfold/parsers/uki.bpf.o",
    "crates/unfold/parsers/uki.match.bpf.o",
    "crates/unfold/parsers/zboot.bpf.o",
];

/// Files made of those by an edit of the same length.
const EDITED: &[(&str, &str, &[u8], &[u8])] = &[
    (
        "closed.bpf.o",
        "zboot.bpf.o",
        b"Dual BSD/GPL",
        b"Closed\0\0\0\0\0\0",
    ),
    ("none.bpf.o", "zboot.bpf.o", b"Dual BSD/GPL", &[0; 12]),
    (
        "hook.bpf.o",
        "zboot.bpf.o",
        b"/bpf_handle_pe",
        b"/bpf_handel_pe",
    ),
    (
        "section.bpf.o",
        "zboot.bpf.o",
        b"fentry.s/bpf_h",
        b"fenrty.s/bpf_h",
    ),
    (
        "kfunc.bpf.o",
        "zboot.bpf.o",
        b"bpf_decompress",
        b"bpf_decompres_",
    ),
    ("x86.o", "zboot.o", b"opts_insn", b"opts_none"),
];

/// Returns an initrd of microcode, an archive in a frame of zstd, and text that nothing unpacks.
fn packed_initrd() -> Vec<u8> {
    let archive = newc("init");
    let len = u32::try_from(archive.len()).expect("a short archive");
    // One raw block in a single segment: RFC 8878.
    let head = [&b"\x28\xb5\x2f\xfd\xa0"[..], &len.to_le_bytes()].concat();
    let block = (len << 3 | 1).to_le_bytes();
    let microcode = newc("kernel/x86/microcode/GenuineIntel.bin");
    let zstd = [&head, &block[..3], &archive, &[0; 16]].concat();
    [&microcode[..], &[0; 64], &zstd, b"text"].concat()
}

/// Returns an archive of one file, which holds its own name.
fn newc(name: &str) -> Vec<u8> {
    let file = |name: &str, content: &str| {
        let (size, name_len, zeros) = (content.len(), name.len() + 1, "0".repeat(32));
        let mut file =
            format!("07070100000000000081a4{zeros}{size:08x}{zeros}{name_len:08x}00000000{name}\0");
        for part in [content, ""] {
            file.push_str(&"\0".repeat(file.len().wrapping_neg() % 4));
            file.push_str(part);
        }
        file.into_bytes()
    };
    [file(name, name), file("TRAILER!!!", "")].concat()
}
