//! `kexec`: what it would load, and how it fails on every machine.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::images::{X86_64, kernel, pe};
use crate::{folder, run, streams};

/// Runs `kexec` with `args` in `dir`.
fn kexec(dir: &Path, args: &[&str]) -> Output {
    program(dir, args).output().expect("kexec runs")
}

/// Returns a call of `kexec` with `args` in `dir`.
fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kexec"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    command.env("NO_COLOR", "1").env_remove("COLUMNS");
    command
}

/// Returns an image with all that a stub adds to an initrd.
fn image() -> Vec<u8> {
    let kernel = kernel();
    pe(
        X86_64,
        &[
            (".sdmagic", b"#### LoaderInfo: systemd-stub 257.13 ####\0"),
            (".osrel", b"ID=test\n"),
            (".cmdline", b"root=/dev/vda quiet"),
            (".pcrpkey", b"a key"),
            (".ucode", b"070701 of microcode!"),
            (".initrd", b"070701 of the image."),
            (".linux", &kernel),
        ],
    )
}

/// Returns the rows of the report on what `args` would load: kernel, initrd, line.
fn would_load(args: &[&str]) -> String {
    let dir = folder(&[
        ("uki.efi", &image()),
        ("vmlinuz", &kernel()),
        ("i", b"070701 of the caller"),
        ("j", b"070701 of another one"),
        ("empty", b""),
    ]);
    let mut program = program(dir.path(), &[&["--dry-run"], args].concat());
    let output = program.env("COLUMNS", "200").output();
    let output = output.expect("kexec runs");
    let [stdout, stderr] = streams(&output);
    let rows = stdout.lines().filter(|line| {
        let row = ["  initrd", "  cmdline"]
            .iter()
            .any(|it| line.starts_with(it));
        row || line.contains("kexec_file_load(")
    });
    let rows: Vec<&str> = rows.map(str::trim).collect();
    assert!(!rows.is_empty(), "{stdout}{stderr}");
    let notes = stderr
        .lines()
        .filter(|line| line.contains("own command line"));
    rows.into_iter().chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_part_that_is_given_takes_the_place_of_the_images() {
    let all = would_load(&["-l", "uki.efi"]);
    expect_test::expect![[r#"
        initrd      40 bytes, cpio; with /.extra/tpm2-pcr-public-key.pem, /.extra/os-release
        cmdline     root=/dev/vda quiet
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 816 bytes, grown; cmdline: 20 bytes with its NUL; flags: 0x0)
        kexec: note: the kernel gets the image's own command line (--append gives it another)"#]].assert_eq(&all);
    let initrd = would_load(&["-l", "uki.efi", "--initrd=i"]);
    expect_test::expect![[r#"
        initrd      20 bytes, cpio
        cmdline     root=/dev/vda quiet
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 20 bytes, as it lies; cmdline: 20 bytes with its NUL; flags: 0x0)
        kexec: note: the kernel gets the image's own command line (--append gives it another)"#]]
    .assert_eq(&initrd);
    let two = would_load(&["-l", "uki.efi", "--initrd=i", "--ramdisk", "j"]);
    expect_test::expect![[r#"
        initrd      41 bytes, cpio
        cmdline     root=/dev/vda quiet
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 41 bytes, grown; cmdline: 20 bytes with its NUL; flags: 0x0)
        kexec: note: the kernel gets the image's own command line (--append gives it another)"#]].assert_eq(&two);
    let none = would_load(&["-l", "uki.efi", "--initrd=empty"]);
    expect_test::expect![[r#"
        initrd      none
        cmdline     root=/dev/vda quiet
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 512 bytes, an empty archive; cmdline: 20 bytes with its NUL; flags: 0x0)
        kexec: note: the kernel gets the image's own command line (--append gives it another)"#]].assert_eq(&none);
    let line = would_load(&["-l", "uki.efi", "--append=C"]);
    expect_test::expect![[r#"
        initrd      40 bytes, cpio
        cmdline     C
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 40 bytes, grown; cmdline: 2 bytes with its NUL; flags: 0x0)"#]].assert_eq(&line);
    let empty = would_load(&["-l", "uki.efi", "--append="]);
    expect_test::expect![[r#"
        initrd      40 bytes, cpio
        cmdline     empty
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 40 bytes, grown; cmdline: 1 byte with its NUL; flags: 0x0)"#]].assert_eq(&empty);
    let crash = would_load(&["-p", "uki.efi", "--command-line=C", "--initrd=i"]);
    expect_test::expect![[r#"
        initrd      20 bytes, cpio
        cmdline     C
        call        kexec_file_load(kernel: 1536 bytes, as it lies; initrd: 20 bytes, as it lies; cmdline: 2 bytes with its NUL; flags: 0x2)"#]].assert_eq(&crash);
    let plain = would_load(&["-l", "vmlinuz", "--initrd=i", "--append=C"]);
    expect_test::expect![[r#"
        initrd      20 bytes, cpio
        cmdline     C
        call        kexec_file_load(kernel: 1536 bytes, the original file; initrd: 20 bytes, as it lies; cmdline: 2 bytes with its NUL; flags: 0x0)"#]].assert_eq(&plain);
}

#[test]
fn the_program_and_the_command_are_the_same() {
    let dir = folder(&[("text", b"no kernel\n")]);
    for args in [
        &["-h"][..],
        &["-v"],
        &["-?"],
        &["--bogus"],
        &["-l", "text"],
        &["-l", "nowhere"],
        &["--print-ckr-size"],
    ] {
        let [program, command] = [
            kexec(dir.path(), args),
            run(dir.path(), &[&["kexec"], args].concat()),
        ];
        assert_eq!(program.status, command.status, "{args:?}");
        assert_eq!(streams(&program), streams(&command), "{args:?}");
        assert!(program.stdout.is_empty() || program.status.success());
    }
}

#[test]
fn options_between_ukexec_and_kexec_are_wrong() {
    let dir = folder(&[]);
    for args in [
        ["-q", "kexec", "-S"],
        ["--color=never", "kexec", "-v"],
        ["-v", "kexec", "-u"],
    ] {
        let output = run(dir.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let [stdout, stderr] = streams(&output);
        assert!(
            stdout.is_empty() && stderr.contains("behind these two words"),
            "{stderr}"
        );
    }
}

/// Neither a profile nor a blank of a line is ukexec's to take.
#[test]
fn a_line_goes_to_the_kernel_byte_for_byte() {
    for image in ["uki.efi", "vmlinuz"] {
        let line = would_load(&["-l", image, "--append=@1 a\tb "]);
        assert!(line.contains("cmdline     @1 a\\tb"), "{line}");
        assert!(line.contains("cmdline: 8"), "{line}");
    }
}

#[test]
fn every_failure_has_a_status_that_callers_know() {
    let dir = folder(&[("text", b"no kernel\n"), ("cut.efi", &image()[..0x300])]);
    let latin = OsStr::from_bytes(b"--append=\xff");
    for (args, expected) in [
        (vec!["-l", "text"], &[255][..]),
        (vec!["-l", "cut.efi"], &[255]),
        // The second is that of a machine without kexec.
        (vec!["-l", "nowhere"], &[1, 255]),
        (vec!["-l", "."], &[1, 255]),
        (vec!["-l", "text", "--initrd=nowhere"], &[255]),
        (vec!["-s", "-l", "text"], &[253, 255]),
        (vec!["--bogus"], &[1]),
        (vec!["-l", "text", "-c"], &[255]),
        (vec!["-l"], &[255]),
    ] {
        let output = kexec(dir.path(), &args);
        let code = output.status.code().expect("an end");
        assert!(expected.contains(&code), "{args:?}: {code}");
        assert!(output.stdout.is_empty(), "{args:?}");
        let [_, stderr] = streams(&output);
        assert!(stderr.starts_with("kexec: "), "{args:?}: {stderr}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kexec"));
    let output = command.args([OsStr::new("-l"), latin]).output();
    assert_eq!(output.expect("kexec runs").status.code(), Some(255));
}
