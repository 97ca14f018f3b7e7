//! Warnings of `load` about the system that a kexec boots.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::images::{SHA256, X86_64, kernel, list, pe, variable};
use crate::{run, streams};

/// The GUID of systemd's variables.
pub(crate) const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// A folder with the image `a.efi`, and `efivars` of a boot whose tries are counted.
pub(crate) fn booted() -> tempfile::TempDir {
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &kernel()),
        (".cmdline", b"quiet console=hvc0"),
        (".initrd", b"070701"),
    ];
    let dir = crate::folder(&[("a.efi", &pe(X86_64, &sections))]);
    let efivars = dir.path().join("efi/efivars");
    fs::create_dir_all(&efivars).expect("a folder");
    for (name, text) in [
        ("LoaderBootCountPath", "\\EFI\\Linux\\old+2-1.efi"),
        ("StubPcrKernelImage", "11"),
        ("LoaderEntrySelected", "old.efi"),
        ("StubImageIdentifier", "\\EFI\\Linux\\old+2-1.efi"),
    ] {
        let text = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        let bytes: Vec<u8> = [6, 0, 0, 0].into_iter().chain(text).collect();
        fs::write(efivars.join(format!("{name}-{VENDOR}")), bytes).expect("room for a file");
    }
    dir
}

const IDS: [&str; 4] = [
    "bless-boot",
    "measured-os",
    "current-entry",
    "image-identifier",
];

/// Compares the warnings of a dry run with `options`, the rows of its page, and the line.
fn check(dir: &Path, options: &[&str], expected: Expect) {
    let args = [
        "load",
        "a.efi",
        "--dry-run",
        "--efivars",
        "efi",
        "--smbios=none",
    ];
    let args = [&args, options].concat();
    let json = run(dir, &[&args[..], &["--json"]].concat());
    let document: Value = serde_json::from_slice(&json.stdout).expect("it is a document");
    let conditions = document["preflight"].as_array().expect("an array");
    let ours = |it: &&Value| IDS.iter().any(|id| it["id"] == *id);
    let ours: Vec<&Value> = conditions.iter().filter(ours).collect();
    let [page, warnings] = streams(&run(dir, &args));
    let texts = ours.iter().map(|it| it["text"].as_str().expect("a text"));
    for text in texts {
        let is_ok = text.starts_with("the command line has ");
        assert_eq!(
            warnings.matches(text).count(),
            usize::from(!is_ok),
            "{warnings}"
        );
        assert!(
            document["warnings"]
                .as_array()
                .expect("an array")
                .iter()
                .all(|it| it != text)
        );
        assert!(page.contains("preflight"), "{page}");
    }
    let ours = serde_json::to_string_pretty(&ours).expect("JSON");
    expected.assert_eq(&format!("{ours}\n{}\n", document["cmdline"]["text"]));
}

#[test]
fn a_dry_run_says_what_will_not_work() {
    check(
        booted().path(),
        &[],
        expect![[r#"
        [
          {
            "id": "bless-boot",
            "verdict": "warning",
            "text": "the next system's systemd-bless-boot takes \\EFI\\Linux\\old+2-1.efi for its own entry: it marks that one as good, or fails",
            "advice": "--mask-stale masks it",
            "panic": false
          },
          {
            "id": "measured-os",
            "verdict": "warning",
            "text": "the next system measures into PCR 11 as if its kernel were in there: the register has the running system in it",
            "advice": "--mask-stale switches that off (systemd 261)",
            "panic": false
          },
          {
            "id": "current-entry",
            "verdict": "warning",
            "text": "LoaderEntrySelected stays old.efi: `bootctl set-default @current` makes that entry the default",
            "advice": "name the one to set: `bootctl set-default ID`",
            "panic": false
          },
          {
            "id": "image-identifier",
            "verdict": "warning",
            "text": "StubImageIdentifier stays \\EFI\\Linux\\old+2-1.efi: kdump and installers take that image for the running one",
            "advice": "name the image to them, as in `ukexec load --panic IMAGE`",
            "panic": false
          }
        ]
        "quiet console=hvc0"
    "#]],
    );
}

#[test]
fn masks_are_words_of_the_line() {
    check(
        booted().path(),
        &["--mask-stale"],
        expect![[r#"
        [
          {
            "id": "bless-boot",
            "verdict": "ok",
            "text": "the command line has systemd.mask=systemd-bless-boot.service",
            "advice": null,
            "panic": false
          },
          {
            "id": "measured-os",
            "verdict": "ok",
            "text": "the command line has systemd.tpm2_measured_os=0",
            "advice": null,
            "panic": false
          },
          {
            "id": "current-entry",
            "verdict": "warning",
            "text": "LoaderEntrySelected stays old.efi: `bootctl set-default @current` makes that entry the default",
            "advice": "name the one to set: `bootctl set-default ID`",
            "panic": false
          },
          {
            "id": "image-identifier",
            "verdict": "warning",
            "text": "StubImageIdentifier stays \\EFI\\Linux\\old+2-1.efi: kdump and installers take that image for the running one",
            "advice": "name the image to them, as in `ukexec load --panic IMAGE`",
            "panic": false
          }
        ]
        "quiet console=hvc0 systemd.mask=systemd-bless-boot.service systemd.tpm2_measured_os=0"
    "#]],
    );
    let options = [
        "--mask-stale",
        "--append",
        "systemd.tpm2_measured_os=0 -- a",
    ];
    check(
        booted().path(),
        &options,
        expect![[r#"
        [
          {
            "id": "bless-boot",
            "verdict": "ok",
            "text": "the command line has systemd.mask=systemd-bless-boot.service",
            "advice": null,
            "panic": false
          },
          {
            "id": "measured-os",
            "verdict": "ok",
            "text": "the command line has systemd.tpm2_measured_os=0",
            "advice": null,
            "panic": false
          },
          {
            "id": "current-entry",
            "verdict": "warning",
            "text": "LoaderEntrySelected stays old.efi: `bootctl set-default @current` makes that entry the default",
            "advice": "name the one to set: `bootctl set-default ID`",
            "panic": false
          },
          {
            "id": "image-identifier",
            "verdict": "warning",
            "text": "StubImageIdentifier stays \\EFI\\Linux\\old+2-1.efi: kdump and installers take that image for the running one",
            "advice": "name the image to them, as in `ukexec load --panic IMAGE`",
            "panic": false
          }
        ]
        "systemd.mask=systemd-bless-boot.service quiet console=hvc0 systemd.tpm2_measured_os=0 -- a"
    "#]],
    );
}

#[test]
fn masks_are_no_text_that_a_signature_has_to_cover() {
    // No bytes between sections, of which a digest knows nothing.
    let padded = |content: &[u8]| [content, &[0; 0x1000]].concat()[..0x1000].to_vec();
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &padded(&kernel())),
        (".cmdline", &padded(b"quiet console=hvc0")),
        (".initrd", &padded(b"070701")),
    ];
    let image = pe(X86_64, &sections);
    let mut hashed = image.clone();
    // CheckSum, and the data directory's entry of the certificate table.
    hashed.drain(0x40 + 24 + 112 + 32..0x40 + 24 + 112 + 40);
    hashed.drain(0x98..0x9c);
    let (db, content) = variable(("db", &list(SHA256, &Sha256::digest(&hashed))));
    let dir = crate::folder(&[("a.efi", &image), (&db, &content)]);
    let load = |option: &[&str]| {
        let args = ["load", "a.efi", "--dry-run", "--json", "--smbios=none"];
        let require = ["--verify=require", "--trust=system", "--efivars=."];
        let output = run(dir.path(), &[&args, &require[..], option].concat());
        let document: Value = serde_json::from_slice(&output.stdout).expect("it is a document");
        (output.status.code(), document["cmdline"]["text"].clone())
    };
    let (code, line) = load(&["--append", "systemd.tpm2_measured_os=0"]);
    assert_eq!(code, Some(3), "{line}");
    let (code, line) = load(&["--mask-stale"]);
    assert_ne!(code, Some(3));
    let masks = "systemd.mask=systemd-bless-boot.service systemd.tpm2_measured_os=0";
    assert_eq!(line, format!("quiet console=hvc0 {masks}"));
}

#[test]
fn signatures_of_a_register_are_one_line() {
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &kernel()),
        (".pcrsig", b"{}"),
        (".pcrpkey", b"a key"),
    ];
    let dir = crate::folder(&[("a.efi", &pe(X86_64, &sections))]);
    let args = ["load", "a.efi", "--dry-run", "--efivars=.", "--smbios=none"];
    let [_, stderr] = streams(&run(dir.path(), &args));
    let mut tpms = fs::read_dir("/sys/class/tpm").into_iter().flatten();
    let expected = usize::from(tpms.next().is_some());
    // Where there is a TPM, the condition says more than the note.
    assert_eq!(stderr.matches("fits PCR 11").count(), expected, "{stderr}");
    let note = stderr.matches("extends no PCR").count();
    assert_eq!(note, 1 - expected, "{stderr}");
}

#[test]
fn a_dry_run_of_reboot_is_that_of_load() {
    let dir = booted();
    let options = ["a.efi", "--dry-run", "--efivars", "efi", "--json"];
    let document = |command| streams(&run(dir.path(), &[&[command], &options[..]].concat()));
    assert_eq!(document("reboot"), document("load"));
}

#[test]
fn reboot_boots_now_and_a_panic_later() {
    let args = ["reboot", "a.efi", "--panic"];
    let output = run(booted().path(), &args);
    assert_eq!(output.status.code(), Some(2));
    let [_, stderr] = streams(&output);
    assert!(
        stderr.contains("`ukexec load --panic` loads it"),
        "{stderr}"
    );
}
