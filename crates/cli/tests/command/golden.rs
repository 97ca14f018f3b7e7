//! Goldens: each kind of document and each command's texts, byte by byte.
//!
//! `golden/NAME.txt` holds a session: what was called, what came out on both
//! streams, and how it ended. A document is in `golden/NAME.json` instead.
//! `UPDATE_EXPECT=1` rewrites them. Nothing here needs root or a network.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use expect_test::{ExpectFile, expect_file};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::images::{GZIP, SHA256, X86_64, X509, X509_SHA256};
use crate::images::{certificate, kernel, list, pe, signed, variable, zboot};
use crate::machine::{Outcome, kinds};
use crate::{command, folder, run, streams, workspace};

/// Calls that differ in their options only.
type Runs<'a> = &'a [&'a str];

/// Signature lists of a machine, by name.
type Variables<'a> = &'a [(&'a str, &'a [u8])];

/// Options that keep the machine's keys and parsers out of a result.
const OFF: &str = "--verify=off --config=ukexec.conf --parsers-dir=none";
const AUTO: &str = "--verify=auto --config=ukexec.conf --parsers-dir=none";
const REQUIRE: &str = "--verify=require --config=ukexec.conf --parsers-dir=none";

/// Compares the session of `runs` with `golden/NAME.txt`, and the document of the
/// one with `--json`, if there is one, with `golden/NAME.json`.
fn check(name: &str, runs: Runs<'_>) {
    session(name, runs, str::to_owned);
}

/// As [`check`], of a stdout from which `fixed` takes the machine away.
fn session(name: &str, runs: Runs<'_>, fixed: impl Fn(&str) -> String) {
    let dir = materials();
    let mut session = String::new();
    let mut documents = 0;
    for call in runs {
        let args = call.replace("OFF", OFF).replace("REQUIRE", REQUIRE);
        let args = args.replace("AUTO", AUTO);
        let args: Vec<&str> = args.split_whitespace().collect();
        let output = run(dir.path(), &args);
        let result = Outcome::of(&output).without_machine(dir.path(), &args);
        let mut stdout = fixed(&result.stdout);
        if args.contains(&"--json") {
            documents += 1;
            let _document: Value = serde_json::from_str(&stdout).expect("it is one document");
            let file = format!("{name}.json");
            golden(&file).assert_eq(&stdout);
            stdout = format!("({file})\n");
        }
        let stderr = result.stderr.lines();
        let stderr: String = stderr.map(|line| format!("stderr: {line}\n")).collect();
        let code = result.code;
        write!(
            session,
            "$ ukexec {call}\n{stdout}{stderr}exit code {code}\n\n"
        )
        .expect("a text has room");
    }
    assert!(documents <= 1, "{name}.json is for one document");
    golden(&format!("{name}.txt")).assert_eq(&session);
}

fn golden(file: &str) -> ExpectFile {
    expect_file![workspace("crates/cli/tests/golden").join(file)]
}

/// Returns a folder with an image of every kind, parsers and certificates.
fn materials() -> tempfile::TempDir {
    let mut narrow = kernel();
    narrow[0x236] = 0; // xloadflags: 32-bit
    let no_64_bit = pe(X86_64, &[(".linux", &narrow), (".initrd", b"070701")]);
    let nested = pe(X86_64, &[(".linux", &zboot(GZIP)), (".osrel", OSREL)]);
    let dir = folder(&[
        ("ukexec.conf", b""),
        ("vmlinuz", &kernel()),
        ("narrow", &narrow),
        ("narrow.efi", &no_64_bit),
        ("uki.efi", &uki(&[])),
        ("changed.efi", &signed_as_own(uki(&[]))),
        ("profiles.efi", &uki(PROFILES)),
        ("zboot.efi", &zboot(GZIP)),
        ("cut.efi", &zboot(&GZIP[..16])),
        ("nested.efi", &nested),
        (
            "addon.efi",
            &pe(X86_64, &[(".cmdline", b"debug"), (".osrel", OSREL)]),
        ),
        ("hostile.efi", &uki(HOSTILE)),
        ("cut-uki.efi", &uki(&[])[..0x3400]),
        ("unknown", b"\x01\x02\x03"),
        ("initrd", b"070701 of the caller"),
        ("talks", &of_test(TALKS, &kernel())),
        ("leaks", &of_test(LEAKS, GZIP)),
        ("faults", &of_test(FAULTS, GZIP)),
        ("ready.txt", READY),
        ("boot.log", &boot_log()),
        ("box.bpf.c", b"#include \"parser.h\"\n"),
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
    for file in FILES {
        let name = Path::new(file).file_name().expect("a file");
        fs::copy(workspace(file), dir.path().join(name)).expect("room for a file");
    }
    for (name, file, old, new) in EDITED {
        let bytes = fs::read(dir.path().join(file)).expect("it is there");
        fs::write(dir.path().join(name), replaced(&bytes, old, new)).expect("room for a file");
    }
    fs::create_dir(dir.path().join("folder")).expect("room for a folder");
    dir
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

/// Returns `image` with the signature of another: of `own.efi`.
fn signed_as_own(mut image: Vec<u8>) -> Vec<u8> {
    let own = fs::read(signed("images/own.efi")).expect("an image");
    let at = u32::from_le_bytes(own[0xe8..0xec].try_into().expect("four bytes"));
    let table = &own[usize::try_from(at).expect("a small image")..];
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

#[test]
fn help() {
    let commands = [
        "inspect", "unfold", "load", "exec", "unload", "status", "attach", "detach", "parser",
    ];
    let of_parser = [
        "parser new",
        "parser check",
        "parser run",
        "parser disasm",
        "parser helpers",
    ];
    let commands = [&commands[..], &of_parser].concat();
    let commands = commands.iter().chain([&""]);
    for (name, option) in [("help", "--help"), ("help-short", "-h")] {
        let runs = commands.clone();
        let runs: Vec<String> = runs.map(|it| format!("{it} {option}")).collect();
        check(name, &runs.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn usage() {
    check(
        "usage",
        &[
            "",
            "boot",
            "inspect",
            "inspect uki.efi --verify=always",
            "inspect uki.efi --cmdline=a --reuse-cmdline",
            "inspect uki.efi --max-output=1T",
            "inspect uki.efi --max-insns=20MiB",
            "inspect uki.efi --max-stages=5G",
            "unfold uki.efi",
            "load - --initrd=-",
            "attach uki.efi",
            "parser",
            "parser run uki.bpf.o",
            "parser new a/box",
            "parser new -- -box",
        ],
    );
}

#[test]
fn inspect() {
    check(
        "inspect",
        &[
            "inspect uki.efi OFF",
            "inspect uki.efi OFF --hash",
            "inspect uki.efi OFF --json",
            "inspect vmlinuz OFF",
            "inspect zboot.efi OFF",
            "inspect profiles.efi OFF --profile=rescue --append=debug",
            "inspect profiles.efi OFF --profile=3",
            "inspect uki.efi OFF --no-embedded-parser --parser=zboot.bpf.o",
            "inspect none.efi OFF",
        ],
    );
}

/// A layer in a layer, and parts that are missing.
#[test]
fn inspect_nested() {
    check(
        "inspect-nested",
        &[
            "inspect nested.efi OFF",
            "-v inspect nested.efi OFF",
            "inspect nested.efi OFF --json --hash",
        ],
    );
}

/// Documents and texts of sections, and of profiles.
#[test]
fn inspect_sections() {
    check(
        "inspect-sections",
        &[
            "inspect profiles.efi OFF --sections",
            "inspect cut-uki.efi OFF --sections",
            "inspect profiles.efi OFF --sections --hash --json",
        ],
    );
}

/// Compares one stream of each of `calls` on screens of three widths with
/// `golden/NAME-WIDTH.txt`: no line passes them but command lines and digests, which
/// programs look for.
fn widths(name: &str, calls: Runs<'_>, stream: fn(Outcome) -> String) {
    let dir = materials();
    for width in [60, 100, 200] {
        let mut session = String::new();
        for call in calls {
            let args = format!("{call} {OFF}");
            let args: Vec<&str> = args.split_whitespace().collect();
            let mut command = command(dir.path(), &args);
            let output = command.env("COLUMNS", width.to_string()).output();
            let result = Outcome::of(&output.expect("ukexec runs"));
            let text = stream(result.without_machine(dir.path(), &args));
            let is_whole = |line: &&str| {
                let line = line.trim_start();
                let whole = ["cmdline", "profiles", "sha256", "|", "1 ", "ukexec:"];
                whole.iter().any(|begin| line.starts_with(begin))
            };
            let mut lines = text.lines().filter(|line| !is_whole(line));
            let wide = lines.find(|line| line.chars().count() > width);
            assert_eq!(wide, None, "{width} columns");
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{200b}', '\t', '\r', '\u{9b}']));
            write!(session, "$ ukexec {call}\n{text}\n").expect("a text has room");
        }
        golden(&format!("{name}-{width}.txt")).assert_eq(&session);
    }
}

#[test]
fn inspect_widths() {
    widths(
        "inspect",
        &[
            "inspect uki.efi --hash",
            "inspect nested.efi --sections",
            "inspect profiles.efi --profile=rescue",
            "inspect hostile.efi --sections",
            "inspect cut.efi",
            "inspect cut-uki.efi",
            "inspect addon.efi",
            "inspect unknown",
            "inspect vmlinuz",
        ],
        |result| result.stdout,
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load_widths() {
    widths(
        "load",
        &[
            "load uki.efi --dry-run",
            "load profiles.efi --dry-run --profile=rescue --initrd=initrd --append=debug",
            "load narrow.efi --dry-run",
        ],
        |result| result.stdout,
    );
}

#[test]
fn fault_widths() {
    widths(
        "faults",
        &[
            "inspect image --parser=faults.bpf.o",
            "inspect stack --parser=faults.bpf.o",
            "inspect map --parser=faults.bpf.o",
            "inspect trap --parser=faults.bpf.o",
            "inspect endless --parser=faults.bpf.o --max-insns=10k",
        ],
        |result| result.stderr,
    );
}

/// Whatever the machine is, no line passes the screen.
#[test]
fn status_widths() {
    for width in [60, 100, 200] {
        let mut command = command(Path::new("/"), &["status"]);
        let output = command.env("COLUMNS", width.to_string()).output();
        let [stdout, _] = streams(&output.expect("ukexec runs"));
        assert!(stdout.starts_with("load "), "{stdout}");
        let wide = stdout.lines().find(|line| line.chars().count() > width);
        assert_eq!(wide, None, "{width} columns");
    }
}

#[test]
fn measure() {
    check(
        "measure",
        &[
            "inspect uki.efi OFF --measure",
            "inspect profiles.efi OFF --measure --profile=1 --cmdline=debug",
            "inspect vmlinuz OFF --measure",
            "-v inspect uki.efi OFF --bank=sha384 --bank=sha256",
            "inspect uki.efi OFF --json --measure --hash",
        ],
    );
}

/// A machine that booted the image, and machines that did not.
#[test]
fn against() {
    check(
        "against",
        &[
            "inspect uki.efi OFF --against=ready.txt",
            "inspect uki.efi OFF --against=boot.log",
            "inspect uki.efi OFF --against=boot.log --bank=sha384 --cmdline=debug",
            "inspect uki.efi OFF --against=ready.txt --panic --cmdline=crashkernel=1M",
            "inspect uki.efi OFF --against=uki.efi",
            "inspect uki.efi OFF --against=initrd",
            "inspect vmlinuz OFF --against=ready.txt",
            "inspect uki.efi OFF --against=missing",
            "inspect profiles.efi OFF --against=ready.txt --json",
        ],
    );
}

#[test]
fn unfold() {
    check(
        "unfold",
        &[
            "unfold uki.efi OFF -o parts",
            "unfold uki.efi OFF -o parts",
            "-v unfold uki.efi OFF -o verbose --hash --initrd=initrd --append=debug",
            "unfold zboot.efi OFF -o zboot",
            "unfold narrow OFF -o narrow-parts",
            "unfold uki.efi OFF -o document --hash --json",
        ],
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load() {
    check(
        "load",
        &[
            "load uki.efi OFF --dry-run",
            "load uki.efi OFF --dry-run --append=debug --initrd=initrd",
            "load profiles.efi OFF --dry-run --panic --profile=rescue --cmdline=a",
            "load uki.efi OFF --dry-run --json --append=debug --initrd=initrd",
        ],
    );
}

/// A failure, and beside it what would have been loaded.
#[cfg(target_arch = "x86_64")]
#[test]
fn load_refused() {
    check(
        "load-refused",
        &[
            "load narrow.efi OFF --dry-run",
            "load zboot.efi OFF --dry-run",
            "load profiles.efi OFF --dry-run --profile=3",
            "load profiles.efi OFF --profile=3",
            "load uki.efi OFF --dry-run --profile=3",
            "load narrow.efi OFF --dry-run --json --initrd=initrd --cmdline=debug",
        ],
    );
}

/// A failure within a parser.
#[test]
fn failure() {
    check(
        "failure",
        &[
            "inspect uki.efi OFF --max-insns=100",
            "inspect cut.efi OFF",
            "unfold nested.efi OFF -o parts --max-stages=1",
            "unfold zboot.efi OFF -o parts --max-output=5",
            "unfold zboot.efi OFF -o parts --max-memory=4K",
            "inspect nested.efi OFF --max-insns=3000 --json",
        ],
    );
}

/// Lines that a parser prints, and warnings of the stage.
#[test]
fn inspect_printed() {
    check(
        "inspect-printed",
        &[
            "inspect talks OFF --parser=test.bpf.o",
            "inspect talks OFF --parser=test.bpf.o --max-log-lines=1",
            "-vv inspect leaks OFF --parser=test.bpf.o",
            "inspect faults OFF --parser=test.bpf.o",
            "inspect talks OFF --parser=test.bpf.o --json",
        ],
    );
}

/// The ways in which a parser ends a run.
#[test]
fn faults() {
    check(
        "faults",
        &[
            "inspect image OFF --parser=faults.bpf.o",
            "inspect stack OFF --parser=faults.bpf.o",
            "inspect null OFF --parser=faults.bpf.o",
            "inspect map OFF --parser=faults.bpf.o",
            "inspect record OFF --parser=faults.bpf.o",
            "inspect trap OFF --parser=faults.bpf.o",
            "inspect leak OFF --parser=faults.bpf.o",
            "inspect endless OFF --parser=faults.bpf.o --max-insns=10k",
            "inspect leak OFF --parser=faults.bpf.o --max-memory=8K",
            "inspect prints OFF --parser=faults.bpf.o --max-log-lines=2",
            "inspect zboot.efi OFF --parser=zboot.bpf.o --max-output=5",
            "inspect image OFF --parser=faults.bpf.o --json",
        ],
    );
}

/// Calls that fail, and traces.
#[test]
fn traces() {
    check(
        "traces",
        &[
            "parser run faults.bpf.o --image=failed",
            "parser run faults.bpf.o --image=failed --trace=calls",
            "parser run faults.bpf.o --image=image --trace-last=4",
            "parser run faults.bpf.o --image=endless --max-insns=10k --trace=calls --trace-limit=1K",
            "parser run faults.bpf.o --image=endless --trace-last=0",
            "parser run faults.bpf.o --image=failed --json",
        ],
    );
}

#[test]
fn signature_good() {
    check(
        "signature-good",
        &[
            "inspect own.efi REQUIRE --trust=own.der",
            "inspect chain.efi REQUIRE --trust=root.der --hash",
            "inspect chain.efi REQUIRE --trust=root.der --json",
        ],
    );
}

#[test]
fn signature_refused() {
    check(
        "signature-refused",
        &[
            "inspect own.efi REQUIRE --trust=root.der",
            "inspect unsigned.efi REQUIRE --trust=own.der",
            "unfold uki.efi REQUIRE --trust=own.der -o parts",
            "load uki.efi REQUIRE --trust=own.der --dry-run",
            "load zboot.efi REQUIRE --trust=own.der --dry-run",
            "inspect own.efi --verify=auto --efivars=none --trust=root.der",
            "inspect own.efi REQUIRE --trust=system --efivars=revoked",
            "inspect own.efi --verify=auto --efivars=revoked",
            "inspect own.efi REQUIRE --trust=none.der",
            "inspect own.efi REQUIRE --trust=initrd",
            "load own.efi REQUIRE --trust=root.der --dry-run --json",
        ],
    );
}

/// Who signed is known without a key.
#[test]
fn signature_signers() {
    check(
        "signature-signers",
        &[
            "inspect twice.efi AUTO --efivars=none",
            "inspect twice.efi AUTO --trust=own.der",
            "inspect twice.efi OFF",
            "unfold own.efi AUTO --efivars=none -o parts",
            "inspect twice.efi AUTO --trust=own.der --json",
        ],
    );
}

/// It takes no key to see that an image was changed after it was signed.
#[test]
fn signature_changed() {
    check(
        "signature-changed",
        &[
            "load changed.efi AUTO --efivars=none --dry-run",
            "load changed.efi AUTO --trust=own.der --dry-run",
            "unfold changed.efi AUTO --efivars=none -o parts",
            "unfold changed.efi OFF -o parts",
            "inspect changed.efi AUTO --efivars=none",
            "inspect changed.efi REQUIRE --trust=own.der",
            "inspect changed.efi AUTO --efivars=none --json",
        ],
    );
}

/// No signature covers what the caller gives.
#[test]
fn signature_uncovered() {
    check(
        "signature-uncovered",
        &[
            "unfold own.efi AUTO --trust=own.der --initrd=initrd --append=quiet -o parts",
            "unfold own.efi REQUIRE --trust=own.der --cmdline=quiet -o parts2",
            "unfold own.efi AUTO --efivars=none --initrd=initrd -o parts3",
        ],
    );
}

/// Each verdict that is not a good signature.
#[test]
fn signature_verdicts() {
    for (name, run) in [
        ("allowed", "own.efi --trust=system --efivars=allowed"),
        ("untrusted", "own.efi --trust=root.der --efivars=none"),
        ("bad", "sha1-digest.efi --trust=root.der --efivars=none"),
        ("revoked", "own.efi --trust=system --efivars=revoked-hash"),
        (
            "revoked-image",
            "own.efi --trust=system --efivars=revoked-image",
        ),
    ] {
        let name = format!("signature-{name}");
        check(&name, &[&format!("inspect {run} AUTO --json")]);
    }
}

#[test]
fn edit() {
    check(
        "edit",
        &[
            "attach uki.efi uki.bpf.o -o out.efi",
            "attach out.efi uki.bpf.o -o again.efi",
            "inspect out.efi OFF",
            "detach out.efi -o back.efi",
            "detach back.efi -o again.efi",
            "attach own.efi uki.bpf.o -o out.efi",
            "attach own.efi uki.bpf.o -o out.efi --drop-signature",
            "detach out.efi -o back.efi",
            "attach uki.efi refused-kfunc.bpf.o -o out.efi",
            "attach narrow uki.bpf.o -o out.efi",
            "attach uki.efi uki.bpf.o -o none",
            "attach uki.efi zboot.bpf.o -o none.efi",
            "inspect none.efi OFF",
            "attach uki.efi uki.bpf.o -o none.efi --max-insns=100",
            "attach uki.efi uki.bpf.o -o faulty.efi --max-insns=100 --force --no-sandbox",
        ],
    );
}

#[test]
fn parser_check() {
    check(
        "parser-check",
        &[
            "parser check uki.bpf.o",
            "parser check uki.match.bpf.o",
            "parser check zboot.o",
            "parser check uki.efi",
            "parser check closed.bpf.o",
            "parser check zboot.o --json",
        ],
    );
}

/// An instruction that would end a run.
#[test]
fn parser_traps() {
    check(
        "parser-traps",
        &[
            "parser check parser-19-v4.bpf.o",
            "parser check parser-19-v4.bpf.o --json",
        ],
    );
}

#[test]
fn parser_refused() {
    check(
        "parser-refused",
        &[
            "parser check refused-undefined.bpf.o",
            "parser check refused-kfunc.o",
            "parser check initrd",
            "parser check box.bpf.c",
            "parser check box.bc",
            "parser check box.txt",
            "parser check empty",
            "parser check folder",
            "parser check x86.o",
            "parser check hook.bpf.o",
            "parser check section.bpf.o",
            "parser check kfunc.bpf.o",
            "parser check refused-kfunc.bpf.o",
            "parser check refused-undefined.bpf.o --json",
        ],
    );
}

#[test]
fn parser_run() {
    check(
        "parser-run",
        &[
            "parser run uki.match.bpf.o --image=uki.efi",
            "parser run uki.bpf.o --image=uki.efi --initrd=initrd --cmdline=debug --panic",
            "parser run uki.match.bpf.o --image=zboot.efi",
            "parser run uki.bpf.o --image=uki.efi --max-insns=100",
            "parser run uki.bpf.o --image=uki.efi --max-insns=100 --trace",
            "parser run uki.match.bpf.o --image=uki.efi --json",
        ],
    );
}

#[test]
fn parser_disasm() {
    check(
        "parser-disasm",
        &[
            "parser disasm zboot.bpf.o --program=post_parse_pe --bytes",
            "parser disasm zboot.o --program=post_parse_pe",
            "parser disasm uki.efi",
            "parser disasm zboot.o --program=none",
        ],
    );
}

/// A licence that Linux refuses, in the document.
#[test]
fn parser_licence() {
    check("parser-licence", &["parser check none.bpf.o --json"]);
}

#[test]
fn parser_new() {
    check(
        "parser-new",
        &["parser new box-2", "parser new box-2", "parser new folder"],
    );
}

#[test]
fn parser_helper() {
    check(
        "parser-helpers",
        &[
            "parser helpers bpf_probe_read_kernel",
            "parser helpers decompress",
            "parser helpers ukexec_match_image",
            "parser helpers 36",
            "parser helpers bpf_handel_pefile",
            "parser helpers ringbuf_reserv",
            "parser helpers malloc",
            "parser helpers bpf_strtol --json",
        ],
    );
}

/// The page of the documentation is the golden.
#[test]
fn parser_helpers() {
    let output = run(Path::new("/"), &["parser", "helpers"]);
    assert!(output.status.success(), "{output:?}");
    let [stdout, _] = streams(&output);
    expect_file![workspace("docs/helpers.md")].assert_eq(&stdout);
}

/// The machine's own values are left out.
#[test]
fn status() {
    session(
        "status",
        &["status", "status --json"],
        |stdout| match serde_json::from_str(stdout) {
            Ok(document) => format!("{:#}\n", kinds(document)),
            Err(_) => stdout
                .lines()
                .map(|line| line.get(..14).unwrap_or(line).trim_end())
                .filter(|label| !label.is_empty())
                .map(|label| format!("{label}\n"))
                .collect(),
        },
    );
}
