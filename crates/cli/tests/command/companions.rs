//! Files beside an image, and the caller's secrets: what goes along, and what is said of
//! the rest.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::images::{X86_64, kernel, pe};
use crate::machine::Outcome;
use crate::{pipe, run, streams, with_stdin};

/// A partition with `EFI/a.efi`, its companion `x.cred`, and an addon for all images.
fn partition() -> tempfile::TempDir {
    let dir = crate::folder(&[]);
    fs::create_dir_all(dir.path().join("EFI/a.efi.extra.d")).expect("a folder");
    fs::create_dir_all(dir.path().join("loader/addons")).expect("a folder");
    let image = pe(
        X86_64,
        &[
            (".linux", &kernel()),
            (".cmdline", b"quiet"),
            (".initrd", b"070701"),
        ],
    );
    let addon = pe(X86_64, &[(".cmdline", b"of.addon=1")]);
    for (path, content) in [
        ("EFI/a.efi", &image[..]),
        ("EFI/a.efi.extra.d/x.cred", b"sesame"),
        ("loader/addons/y.addon.efi", &addon),
    ] {
        fs::write(dir.path().join(path), content).expect("room for a file");
    }
    dir
}

fn local(dir: &Path) -> PathBuf {
    dir.join("EFI/a.efi.extra.d")
}

/// Runs a dry run of a load with `options` in `dir` and returns its document, and all
/// that it says.
fn dry_run(dir: &Path, options: &[&str], stdin: &[u8]) -> (Value, Outcome) {
    let args = [
        &[
            "load",
            "EFI/a.efi",
            "--dry-run",
            "--json",
            "--esp",
            ".",
            "--smbios=none",
        ],
        options,
    ]
    .concat();
    let output = with_stdin(dir, &args, pipe(stdin.to_vec()));
    let outcome = Outcome::of(&output).without_machine(dir, &args);
    let document = serde_json::from_str(&outcome.stdout).expect("it is a document");
    (document, outcome)
}

/// Returns the names of the companions that are taken, and the reasons of the others.
fn companions(document: &Value) -> Vec<(String, String)> {
    let all = document["companions"].as_array().expect("a list");
    let mut all: Vec<_> = all
        .iter()
        .map(|it| {
            let path = Path::new(it["path"].as_str().expect("a path"));
            let name = path.file_name().expect("a name").to_string_lossy();
            let standing = it["reason"].as_str().unwrap_or("taken");
            assert_eq!(it["taken"], standing == "taken");
            (name.into_owned(), standing.to_owned())
        })
        .collect();
    all.sort();
    all
}

fn listed(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, standing): &(&str, &str)| (name.to_owned(), standing.to_owned());
    list.iter().map(owned).collect()
}

#[test]
fn a_load_takes_what_lies_beside_the_image() {
    let dir = partition();
    let (with, outcome) = dry_run(dir.path(), &[], b"");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let taken = [("x.cred", "taken"), ("y.addon.efi", "taken")];
    assert_eq!(companions(&with), listed(&taken));
    assert_eq!(with["companions"][0]["kind"], "addon");
    assert_eq!(with["companions"][1]["kind"], "credential");
    let (without, _) = dry_run(dir.path(), &["--companions=none"], b"");
    assert_eq!(without["companions"], json!([]));
    let len = |document: &Value| document["load"]["cmdline_len"].as_u64().expect("a length");
    assert_eq!(len(&with), len(&without) + " of.addon=1".len() as u64);
    let named = format!("--companions={}", local(dir.path()).display());
    let (named, _) = dry_run(dir.path(), &[&named], b"");
    assert_eq!(companions(&named), listed(&taken[..1]));
    // The measurements are those of the image with them.
    let args = ["inspect", "EFI/a.efi", "--measure", "--json", "--esp=."];
    let output = run(dir.path(), &args);
    let document = serde_json::from_str(&streams(&output)[0]).expect("it is a document");
    assert_eq!(companions(&document), listed(&taken));
}

#[test]
fn what_others_may_have_written_is_passed_over() {
    let dir = partition();
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(local(dir.path()), everybody).expect("it is ours");
    let (document, outcome) = dry_run(dir.path(), &[], b"");
    let found = [
        ("a.efi.extra.d", "everybody may write to it"),
        ("y.addon.efi", "taken"),
    ];
    assert_eq!(companions(&document), listed(&found));
    let warning = "a.efi.extra.d: passed over: everybody may write to it\n";
    assert_eq!(outcome.code, 0);
    assert_eq!(
        outcome.stderr.matches(warning).count(),
        1,
        "{}",
        outcome.stderr
    );
    let (document, outcome) = dry_run(dir.path(), &["--companions=strict"], b"");
    assert_eq!(
        (outcome.code, &document["error"]["kind"]),
        (1, &json!("file"))
    );
}

#[test]
fn links_are_passed_over_and_named_once() {
    let dir = partition();
    symlink("x.cred", local(dir.path()).join("link\u{1b}.cred")).expect("a link");
    symlink("x.cred", local(dir.path()).join("link.cred")).expect("a link");
    let (document, outcome) = dry_run(dir.path(), &[], b"");
    let link = "it is a symbolic link, not a regular file";
    let found = [
        ("link.cred", link),
        ("link\\u{1b}.cred", "its name has control characters"),
        ("x.cred", "taken"),
        ("y.addon.efi", "taken"),
    ];
    assert_eq!(companions(&document), listed(&found));
    assert_eq!(
        outcome.stderr.matches(link).count(),
        1,
        "{}",
        outcome.stderr
    );
}

#[test]
fn too_much_of_it_loads_nothing() {
    let dir = partition();
    let big = fs::File::create(local(dir.path()).join("big.raw")).expect("a file");
    big.set_len((3 << 29) + 1).expect("a file with a hole");
    let (document, outcome) = dry_run(dir.path(), &[], b"");
    assert_eq!(outcome.code, 1);
    let message = document["error"]["message"].as_str().expect("a text");
    let expected = "big.raw: the companions up to this one have 16106";
    assert!(message.contains(expected), "{message}");
    for (count, code) in [(4094, 0), (4096, 1)] {
        fs::remove_file(local(dir.path()).join("big.raw")).ok();
        for number in 0..count {
            let path = local(dir.path()).join(format!("{number}.cred"));
            fs::write(path, "").expect("room for a file");
        }
        let (document, outcome) = dry_run(dir.path(), &[], b"");
        assert_eq!(outcome.code, code, "{count}: {}", outcome.stderr);
        if code == 1 {
            let message = document["error"]["message"].as_str().expect("a text");
            assert!(
                message.contains("a.efi.extra.d: more than 4096 companions"),
                "{message}"
            );
        }
    }
}

#[test]
fn no_byte_of_a_secret_is_printed() {
    let dir = partition();
    fs::write(dir.path().join("phrase"), "open sesame").expect("room for a file");
    let options = ["-vv", "--credential=a.b=phrase", "--credential", "c=-"];
    let (document, outcome) = dry_run(dir.path(), &options, b"winter seal");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for secret in ["sesame", "winter"] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for text in [secret, &hex] {
            assert!(!outcome.stderr.contains(text) && !outcome.stdout.contains(text));
        }
    }
    let (without, _) = dry_run(dir.path(), &[], b"");
    let len = |document: &Value| document["load"]["initrd"]["size"].as_u64().expect("a size");
    // Two folders, two files and the trailer, each with 110 bytes and its name.
    let archive = 5 * 110 + 22;
    assert!(len(&document) - len(&without) > archive);
}

#[test]
fn secrets_have_names_of_their_own_and_a_file() {
    let dir = partition();
    let said = |options: &[&str], code| {
        let args = [&["load", "EFI/a.efi", "--dry-run"], options].concat();
        let output = run(dir.path(), &args);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        streams(&output)[1].clone()
    };
    let twice = said(&["--credential=a=x", "--credential=a=y"], 2);
    assert!(twice.contains("a NAME can be given once only"), "{twice}");
    let stdin = said(&["--credential=a=-", "--initrd=-"], 2);
    assert!(stdin.contains("standard input (-)"), "{stdin}");
    for word in ["a", "a/b=x", "..=x", "=x"] {
        let name = said(&["--credential", word], 2);
        assert!(name.contains("expected"), "{name}");
    }
    let absent = said(&["--credential=a=absent"], 1);
    let expected =
        "ukexec: cannot read credential a from absent: No such file or directory (os error 2)\n";
    assert_eq!(absent, expected);
    let long = dir.path().join("long");
    fs::write(&long, vec![b'x'; (1 << 20) + 1]).expect("room for a file");
    let long = said(&["--credential=a=long"], 1);
    assert!(
        long.ends_with("expected at most 1048576 bytes, found more\n"),
        "{long}"
    );
}

#[test]
fn an_inspection_takes_what_its_options_are_about() {
    let dir = partition();
    for (options, is_taken) in [
        (&[][..], false),
        (&["--esp=."], true),
        (&["--smbios=none"], true),
        (&["--companions=strict"], true),
    ] {
        let args = [&["inspect", "EFI/a.efi", "--json"], options].concat();
        let [stdout, stderr] = streams(&run(dir.path(), &args));
        let document = serde_json::from_str(&stdout).expect("it is a document");
        let taken = companions(&document);
        assert_eq!(
            taken.iter().any(|(name, _)| name == "x.cred"),
            is_taken,
            "{args:?}"
        );
        let warning = "`ukexec load` adds companions, which are not looked at here: x.cred of ";
        assert_eq!(stderr.contains(warning), !is_taken, "{stderr}");
    }
}

#[test]
fn a_kernel_without_a_stub_has_no_companions() {
    let dir = partition();
    fs::write(dir.path().join("EFI/a.efi"), kernel()).expect("room for a file");
    let (document, outcome) = dry_run(dir.path(), &[], b"");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(document["companions"], json!([]));
    assert!(!outcome.stderr.contains("extra.d"), "{}", outcome.stderr);
}
