//! The command as a person or a script meets it: texts, streams, exit codes.
//!
//! What it makes of real images is tested with real images, by `cargo xtask
//! test`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use expect_test::{Expect, expect};

/// Runs `ukexec` with `args` in `dir` and compares its exit code and both
/// streams.
fn check(dir: &Path, args: &[&str], code: i32, expected: Expect) {
    let output = run(dir, args);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    expected.assert_eq(&format!("{stdout}--\n{stderr}"));
}

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    command
        .current_dir(dir)
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("COLUMNS")
        .output()
        .expect("ukexec runs")
}

/// Returns a folder that holds `name` with `content`.
fn folder(name: &str, content: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(name), content).expect("a file in it");
    dir
}

#[test]
fn help_names_every_command_with_examples() {
    let dir = folder("unused", b"");
    check(
        dir.path(),
        &["--help"],
        0,
        expect![[r#"
        Boots any UEFI kernel image with kexec: unified kernel images, EFI zboot kernels, one inside the
        other, and formats that bring their own parser.

        Usage: ukexec [OPTIONS] <COMMAND>

        Commands:
          inspect  Tell what is in an image: layers, sections, parsers, the final kernel
          unfold   Write kernel, initrd and command line of an image as files
          load     Unfold an image and load it with kexec_file_load(2)
          exec     Boot what is loaded
          unload   Drop what is loaded
          status   Tell what is loaded and what this machine allows
          attach   Put a parser into an image's .bpf section
          detach   Take the parser out of an image
          parser   For authors of parsers
          help     Print this message or the help of the given subcommand(s)

        Options:
          -v, --verbose...  Tell more on stderr: -v stages and parsers' messages, -vv everything
          -h, --help        Print help
          -V, --version     Print version

        Examples:
          ukexec inspect /boot/efi/EFI/Linux/debian.efi     what would this image boot?
          ukexec unfold vmlinuz.efi -o parts                kernel, initrd and cmdline as files
          ukexec load debian.efi && ukexec exec             boot it now, without the firmware
          ukexec load debian.efi --append 'debug' --dry-run everything but the system call
          ukexec load --panic kdump.efi                     the kernel that a crash boots
          ukexec attach vmlinuz.efi my.bpf.o -o out.efi     put a parser into an image

        An image, a parser or an initrd named - is standard input; one of them at most.

        Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
        --
    "#]],
    );
}

#[test]
fn a_missing_image_is_named() {
    let dir = folder("unused", b"");
    check(
        dir.path(),
        &["inspect", "none.efi"],
        1,
        expect![[r#"
        --
        ukexec: cannot read none.efi: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let dir = folder("unused", b"");
    check(
        dir.path(),
        &["unfold", "x.efi", "-o", "d", "--max-output", "1T"],
        2,
        expect![[r#"
        --
        error: invalid value '1T' for '--max-output <SIZE>': expected a number of bytes, such as 4096, 64K, 64M or 1G

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn what_is_no_image_is_named_for_what_it_is() {
    let dir = folder("notes.txt", b"#!/bin/sh\nexit 0\n");
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
    let dir = folder("broken.efi", b"MZ and no more");
    check(
        dir.path(),
        &["inspect", "broken.efi", "--json"],
        1,
        expect![[r#"
            {
              "error": {
                "hook": null,
                "insn": null,
                "layer": "broken.efi",
                "message": "broken.efi: not a kernel, and no well-formed PE file either: e_lfanew at file offset 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?",
                "offset": 60,
                "stage": null
              },
              "schema": 1
            }
            --
            ukexec: broken.efi: not a kernel, and no well-formed PE file either: e_lfanew at file offset 0x3c: expected 4 bytes there, found the end of the file at 0xe; is the file cut off?
        "#]],
    );
}

#[test]
fn a_full_folder_is_not_written_to() {
    let dir = folder("image", b"whatever");
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
fn a_failure_document_has_every_key() {
    let dir = folder("unused", b"");
    check(
        dir.path(),
        &["unfold", "none.efi", "-o", "parts", "--json"],
        1,
        expect![[r#"
            {
              "error": {
                "hook": null,
                "insn": null,
                "layer": null,
                "message": "cannot read none.efi: No such file or directory (os error 2)",
                "offset": null,
                "stage": null
              },
              "schema": 1
            }
            --
            ukexec: cannot read none.efi: No such file or directory (os error 2)
        "#]],
    );
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    let output = command
        .arg("status")
        .stdout(full)
        .output()
        .expect("ukexec runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("cannot write the report to stdout"),
        "{stderr}"
    );
}

/// Pipes are what tests have, terminals what people have.
#[test]
fn it_works_on_a_terminal() {
    let dir = folder("image", b"\x7fELF");
    let line = format!("{} -vv inspect image", env!("CARGO_BIN_EXE_ukexec"));
    let mut command = Command::new("script");
    let output = command
        .current_dir(dir.path())
        .args(["-qec", &line, "/dev/null"])
        .output();
    let output = output.expect("script(1) runs");
    let terminal = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{terminal}");
    assert!(terminal.contains("ukexec: image: "), "{terminal}");
    assert!(!terminal.contains("panicked"), "{terminal}");
}

#[test]
fn an_image_in_place_of_a_parser_is_refused() {
    let dir = folder("image", b"\x7fELF is all that it has of a parser");
    check(
        dir.path(),
        &["parser", "check", "image"],
        1,
        expect![[r#"
        --
        ukexec: image: this loader refuses the parser: ELF header, EI_CLASS at byte 0x4: expected 2 (64-bit), found 32
    "#]],
    );
}

#[test]
fn a_parser_is_told_to_its_author() {
    let parsers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parsers/objects");
    check(
        &parsers,
        &["parser", "check", "zboot.match.bpf.o"],
        0,
        expect![[r#"
            zboot.match.bpf.o: object, parser ABI v5, 14304 bytes, licence Dual BSD/GPL
              program  parse_pe on bpf_handle_pefile (fentry), 187 instructions
              program  post_parse_pe on bpf_post_handle_pefile (fentry), 2 instructions
              program  match_image on ukexec_match_image (fmod_ret), 21 instructions
              map      ringbuf_1: ring buffer, 536870912 bytes
              map      ringbuf_2: ring buffer, 4096 bytes
              map      ringbuf_3: ring buffer, 4096 bytes
              map      ringbuf_4: ring buffer, 4096 bytes
              map      .rodata: array, 1 entries of 872 bytes, read-only
              map      .data: array, 1 entries of 17 bytes
              map      .bss: array, 1 entries of 4 bytes
              map      .rodata.str1.1: array, 1 entries of 52 bytes, read-only
              kfunc    bpf_decompress
              kfunc    bpf_copy_to_kernel
              kfunc    bpf_mem_range_result_put
              helper   bpf_trace_printk (6)
              helper   bpf_probe_read_kernel (113)
              helper   bpf_ringbuf_reserve (131)
              helper   bpf_ringbuf_discard (133)
              memory   7.4 KiB before it runs
            --
        "#]],
    );
}

#[test]
fn status_is_one_document() {
    let dir = folder("unused", b"");
    let output = run(dir.path(), &["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["schema"], 1);
    assert!(document["obstacles"]["load"].is_array());
}

/// The kernel would end the process with a signal.
#[test]
fn a_limit_on_the_length_of_files_is_an_error_in_words() {
    let dir = folder("image", &[0; 1 << 20]);
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
