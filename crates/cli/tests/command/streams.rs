//! Both streams and the exit code, where they lead to what they shall.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::images::kernel;
use crate::materials::materials;
use crate::{check, command, folder, run, streams, workspace};

#[test]
fn what_is_no_image_is_named_for_what_it_is() {
    let dir = folder(&[("notes.txt", b"#!/bin/sh\nexit 0\n")]);
    check(
        dir.path(),
        &["unfold", "notes.txt", "-o", "parts"],
        1,
        expect![[r#"
            --
            ukexec: notes.txt: not a kernel but text; give the image itself
        "#]],
    );
    assert_eq!(
        fs::read_dir(dir.path()).expect("the folder").count(),
        1,
        "nothing stays behind"
    );
}

#[test]
fn a_failure_is_a_document_where_documents_are_asked_for() {
    let dir = folder(&[("broken.efi", b"MZ and no more")]);
    check(
        dir.path(),
        &["inspect", "broken.efi", "--json"],
        1,
        expect![[r#"
            {
              "schema": 1,
              "error": {
                "kind": "format",
                "message": "broken.efi: no sound PE: e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?",
                "errno": null,
                "place": {
                  "layer": "broken.efi",
                  "stage": null,
                  "parser": null,
                  "hook": null,
                  "program": null,
                  "function": null,
                  "insn": null,
                  "file": null,
                  "line": null,
                  "source": null,
                  "address": null,
                  "offset": 60
                },
                "summary": null,
                "notes": []
              },
              "image": {
                "path": "broken.efi",
                "size": 14,
                "kind": "damaged kernel or program",
                "arch": null,
                "os": null,
                "uname": null
              },
              "kernel": null,
              "initrd": null,
              "cmdline": null,
              "profiles": [],
              "stub": null,
              "signatures": [
                {
                  "layer": "broken.efi",
                  "state": "malformed",
                  "text": "malformed signature: no sound PE32+ file: e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?",
                  "covered_by": null,
                  "needed": false,
                  "refused": false,
                  "reasons": [
                    "no sound PE32+ file: e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?"
                  ],
                  "list": null,
                  "signers": [],
                  "certificates": [],
                  "digests": {}
                }
              ],
              "warnings": [],
              "layers": [
                {
                  "path": "broken.efi",
                  "size": 14,
                  "kind": "damaged kernel or program",
                  "arch": null,
                  "pe": null,
                  "pe_fault": "e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?",
                  "parser": null,
                  "asked": []
                }
              ],
              "stages": []
            }
            --
            ukexec: broken.efi: no sound PE: e_lfanew at 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?
        "#]],
    );
}

#[test]
fn a_full_folder_is_not_written_to() {
    let dir = folder(&[("image", b"whatever")]);
    fs::create_dir_all(dir.path().join("parts/kernel")).expect("a full folder");
    check(
        dir.path(),
        &["unfold", "image", "-o", "parts"],
        1,
        expect![[r#"
            --
            ukexec: parts is not empty; name a folder that is absent or empty
        "#]],
    );
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let full = File::options().write(true).open("/dev/full");
    let mut command = command(Path::new("/"), &["status"]);
    let command = command.stdout(full.expect("/dev/full"));
    let output = command.output().expect("ukexec runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let [_, stderr] = streams(&output);
    assert!(
        stderr.contains("cannot write the report to stdout"),
        "{stderr}"
    );
}

#[test]
fn what_nobody_can_get_is_a_failure() {
    let parser = fs::read(workspace("crates/unfold/testdata/faults.bpf.o")).expect("a parser");
    let dir = folder(&[
        ("vmlinuz", &kernel()),
        ("faults.bpf.o", &parser),
        ("image", b"endless"),
    ]);
    let ends = |args: &str, stdout: &str| {
        let output = Command::new("sh")
            .current_dir(dir.path())
            .args(["-c", &format!("exec \"$UKEXEC\" {args} {stdout}")])
            .env("UKEXEC", env!("CARGO_BIN_EXE_ukexec"))
            .output()
            .expect("sh runs");
        let [_, stderr] = streams(&output);
        (output.status.code(), stderr)
    };
    for stdout in [">&-", ">/dev/full"] {
        for args in [
            "status",
            "status --json",
            "inspect vmlinuz",
            "inspect vmlinuz --json",
            "parser helpers",
            "parser disasm faults.bpf.o",
            "parser run faults.bpf.o --image=image --max-insns=1k --trace",
            "--version",
            "--help",
            "help inspect",
            "parser run -h",
        ] {
            let (code, stderr) = ends(args, stdout);
            assert_eq!(code, Some(1), "{args} {stdout}: {stderr}");
            assert!(
                stderr.contains("cannot write the "),
                "{args} {stdout}: {stderr}"
            );
        }
    }
    // Who has nothing to say loses nothing.
    let (code, stderr) = ends("parser new box", ">&-");
    assert_eq!(code, Some(0), "{stderr}");
    // Who asks for nothing to be kept gets that.
    let (code, stderr) = ends("--version", "<>/dev/null >&0");
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn what_cannot_be_opened_is_a_fault_of_the_file() {
    let dir = folder(&[("vmlinuz", &kernel())]);
    for args in [
        "inspect . --json",
        "inspect none --json",
        "inspect vmlinuz --initrd . --json",
        "inspect vmlinuz --parser . --json",
        "inspect vmlinuz --against . --json",
        "inspect vmlinuz --trust none --json",
        "load . --json",
        "parser check . --json",
        "parser run . --image vmlinuz --json",
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let output = run(dir.path(), &args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        let [stdout, _] = streams(&output);
        let document: Value = serde_json::from_str(&stdout).expect("a document");
        assert_eq!(document["error"]["kind"], "file", "{args:?}: {stdout}");
    }
}

/// Equal registers say little of a boot where PCR 11 is not among them.
#[test]
fn registers_that_are_not_compared_are_named() {
    let dir = materials();
    let zeros = "0".repeat(64);
    let values = folder(&[
        ("one", format!("12:sha256={zeros}\n").as_bytes()),
        (
            "two",
            format!("12:sha256={zeros}\n\n12:sha256=1{}\n", &zeros[1..]).as_bytes(),
        ),
    ]);
    let inspect = |file: &str| {
        let against = values.path().join(file);
        let against = format!("--against={}", against.display());
        let output = run(
            dir.path(),
            &["inspect", "uki.efi", "--verify=off", &against],
        );
        (output.status.code(), streams(&output))
    };
    let (code, [_, stderr]) = inspect("one");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("warning: PCR 11 is not compared with "),
        "{stderr}"
    );
    let (code, [stdout, stderr]) = inspect("two");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.contains("\n11:sha256="), "{stdout}");
    let refusal = "line 3: PCR 12: another value than in line 1";
    assert!(stderr.contains(refusal), "{stderr}");
}

/// Pipes are what tests have, terminals what people have.
#[test]
fn it_works_on_a_terminal() {
    let dir = folder(&[("image", b"\x7fELF")]);
    let line = format!("{} -vv inspect image", env!("CARGO_BIN_EXE_ukexec"));
    let mut command = Command::new("script");
    let output = command
        .current_dir(dir.path())
        .args(["-qec", &line, "/dev/null"])
        .env("NO_COLOR", "1")
        .output();
    let output = output.expect("script(1) runs");
    let terminal = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{terminal}");
    assert!(terminal.contains("ukexec: image: "), "{terminal}");
    assert!(!terminal.contains("panicked"), "{terminal}");
}

/// Each image is reported by itself, in order, and the worst ending counts.
#[test]
fn a_failure_of_one_image_does_not_stop_the_others() {
    let dir = folder(&[("vmlinuz", &kernel()), ("text", b"#!/bin/sh\n")]);
    let inspect = |images: &[&str]| {
        let args = [&["inspect", "--verify=off"], images].concat();
        let output = run(dir.path(), &args);
        (output.status.code(), streams(&output))
    };
    let (_, [alone, _]) = inspect(&["vmlinuz"]);
    let (code, [stdout, stderr]) = inspect(&["text", "vmlinuz", "none", "vmlinuz"]);
    assert_eq!(code, Some(1));
    let text = "text          text, 10 bytes\n";
    assert_eq!(stdout, format!("{text}\n{alone}\n{alone}"));
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    let (code, [stdout, _]) = inspect(&["vmlinuz", "vmlinuz"]);
    assert_eq!((code, stdout), (Some(0), format!("{alone}\n{alone}")));
    let (code, [stdout, _]) = inspect(&["--json", "text", "vmlinuz", "none"]);
    assert_eq!(code, Some(1));
    let has_error = |line: &str| {
        let document: Value = serde_json::from_str(line).expect("each line is a document");
        document.get("error").is_some()
    };
    let errors: Vec<bool> = stdout.lines().map(has_error).collect();
    assert_eq!(errors, [true, false, true]);
}

#[test]
fn quiet_leaves_out_notes_and_keeps_warnings() {
    let dir = folder(&[("vmlinuz", &kernel()), ("initrd", b"no archive")]);
    let stderr = |options: &[&str]| {
        let args = ["unfold", "vmlinuz", "-o", "parts", "--initrd=initrd"];
        let output = run(dir.path(), &[&args[..], options].concat());
        assert!(output.status.success(), "{output:?}");
        fs::remove_dir_all(dir.path().join("parts")).expect("it is there");
        let [_, stderr] = streams(&output);
        stderr
    };
    let (warning, note) = ("warning: --initrd initrd: expected", "ukexec: wrote ");
    let said = stderr(&[]);
    assert!(said.contains(warning) && said.contains(note), "{said}");
    let said = stderr(&["--quiet"]);
    assert!(said.contains(warning) && !said.contains(note), "{said}");
    for both in [
        &["-q", "inspect", "-v", "vmlinuz"],
        &["-v", "inspect", "vmlinuz", "-q"],
    ] {
        let output = run(dir.path(), both);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[test]
fn an_image_in_place_of_a_parser_is_refused() {
    let dir = folder(&[("image", b"\x7fELF is all that it has of a parser")]);
    check(
        dir.path(),
        &["parser", "check", "image"],
        1,
        expect![[r#"
            --
            error: ELF header, EI_CLASS at byte 0x4: expected 2 (64-bit), found 32
            ukexec: image: this loader refuses the parser
        "#]],
    );
}

/// The kernel would end the process with a signal.
#[test]
fn a_limit_on_the_length_of_files_is_an_error_in_words() {
    let dir = folder(&[("image", &[0; 1 << 20])]);
    let check = |command: &str, expected: Expect| {
        let script = format!("ulimit -f 8; exec {command}");
        let output = Command::new("sh")
            .current_dir(dir.path())
            .args(["-c", &script])
            .env("UKEXEC", env!("CARGO_BIN_EXE_ukexec"))
            .output()
            .expect("sh runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        expected.assert_eq(&String::from_utf8_lossy(&output.stderr));
    };
    check(
        "\"$UKEXEC\" load image",
        expect![[r#"
            ukexec: cannot read image: copying the file into memory: File too large (os error 27); `ulimit -f` or the file system limits files, those in memory too
        "#]],
    );
    check(
        "\"$UKEXEC\" parser helpers > page",
        expect![[r#"
            ukexec: cannot write the report to stdout: File too large (os error 27); `ulimit -f` or the file system limits files, those in memory too
        "#]],
    );
}

/// A person who finds out how workers are started gets none.
#[test]
fn a_worker_without_a_parent_ends_at_once() {
    let dir = folder(&[]);
    let settings = r#"{"confinement":null,"log_bytes":0,"verbose":0,"escape":null}"#;
    check(
        dir.path(),
        &["worker", settings],
        1,
        expect![[r#"
        --
    "#]],
    );
}

/// A trace that goes on would reach one of the limits, and the run would fail.
#[test]
fn a_trace_stops_where_its_reader_does() {
    let parser = fs::read(workspace("crates/unfold/testdata/faults.bpf.o")).expect("a parser");
    let dir = folder(&[("faults.bpf.o", &parser), ("image", b"endless")]);
    let run = ["parser", "run", "faults.bpf.o", "--image=image", "--trace"];
    let args = [&run[..], &["--max-insns=100k", "--trace-limit=1M"]].concat();
    let mut command = command(dir.path(), &args);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ukexec runs");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    assert!(!line.is_empty());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // With a reader, the same run ends at its budget.
    let output = self::run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(1));
}

/// Damaged images take another way from a file, which nobody copies, than from
/// standard input, which is in memory already.
#[test]
fn standard_input_shows_what_a_file_shows() {
    let dir = materials();
    for image in [
        "cut-uki.efi",
        "cut-certificates.efi",
        "uki.efi",
        "broken.efi",
    ] {
        for args in ["--json --sections --hash", "--json --verify=off"] {
            let words: Vec<&str> = args.split_whitespace().collect();
            let of = |name: &str, stdin: File| {
                let args = [&["inspect", name], &words[..]].concat();
                let mut command = command(dir.path(), &args);
                let output = command.stdin(stdin).output().expect("ukexec runs");
                let text = String::from_utf8(output.stdout).expect("text");
                let text = text
                    .replace(image, "NAME")
                    .replace("standard input", "NAME");
                let mut document: Value = serde_json::from_str(&text).expect("a document");
                document["image"]["path"] = "NAME".into();
                (output.status.code(), document)
            };
            let file = || File::open(dir.path().join(image)).expect("the image");
            let (code, document) = of(image, file());
            assert_eq!(of("-", file()), (code, document), "{image} {args}");
        }
    }
}
