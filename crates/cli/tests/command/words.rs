//! The caller's words, and what is said of them: command lines, names of files,
//! standard input.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use crate::images::{X86_64, kernel, pe};
use crate::machine::Outcome;
use crate::{pipe, run, streams, with_stdin};

/// A folder with `vmlinuz`, a kernel of no more than its header, and `uki.efi`,
/// which contains it, and a command line.
fn folder() -> tempfile::TempDir {
    let uki = [
        (".linux", &kernel()[..]),
        (".cmdline", b"quiet crashkernel=1G"),
    ];
    crate::folder(&[("vmlinuz", &kernel()), ("uki.efi", &pe(X86_64, &uki))])
}

/// Runs `ukexec` with `args` in `dir`, which must be a success on a machine that loads
/// kernels, and returns what it says on stderr and in `warnings` of the document.
fn warnings(dir: &Path, args: &[&str]) -> (String, String) {
    let args = [args, &["--json", "--verify=off"]].concat();
    let result = Outcome::of(&run(dir, &args)).without_machine(dir, &args);
    assert_eq!(result.code, 0, "{}", result.stderr);
    let document: serde_json::Value =
        serde_json::from_str(&result.stdout).expect("it is a document");
    (result.stderr, document["warnings"].to_string())
}

/// Unfolds `vmlinuz` with `options` and returns the command line that comes out.
fn cmdline(options: &[&[u8]]) -> Vec<u8> {
    let dir = folder();
    let mut args: Vec<&OsStr> = ["unfold", "vmlinuz", "-o", "parts"].map(OsStr::new).into();
    args.extend(options.iter().copied().map(OsStr::from_bytes));
    let output = run(dir.path(), &args);
    assert!(output.status.success(), "{output:?}");
    fs::read(dir.path().join("parts/cmdline")).expect("a command line")
}

#[test]
fn a_command_line_is_bytes() {
    let line = b"root=x opt=\xe9t\xe9 quiet";
    assert_eq!(cmdline(&[b"--cmdline", line]), line);
    let appended = cmdline(&[b"--cmdline=\xff", b"--append", b"b=\xc3 c"]);
    assert_eq!(appended, b"\xff b=\xc3 c");
}

#[test]
fn other_tools_names_of_options_are_known() {
    assert_eq!(cmdline(&[b"--command-line=a b"]), b"a b");
    let dir = folder();
    let args = ["unfold", "vmlinuz", "-o", "parts", "--ramdisk", "vmlinuz"];
    assert!(run(dir.path(), &args).status.success());
    let initrd = fs::read(dir.path().join("parts/initrd")).expect("an initrd");
    assert_eq!(initrd, kernel());
}

/// The parts are written from where the image lies: nothing is limited before.
#[test]
fn a_part_beyond_the_limit_of_files_leaves_nothing() {
    let dir = folder();
    let mut kernel = kernel();
    kernel[0x1f4..0x1f8].copy_from_slice(&0x2000_u32.to_le_bytes()); // syssize
    kernel.resize(0x400 + 0x20000, 0);
    fs::write(dir.path().join("big"), &kernel).expect("room for a file");
    let before = fs::read_dir(dir.path()).expect("it is there").count();
    for limit in ["0", "8"] {
        let script = format!("ulimit -f {limit}; exec \"$0\" unfold big -o parts --cmdline quiet");
        let output = Command::new("sh")
            .current_dir(dir.path())
            .args(["-c", &script, env!("CARGO_BIN_EXE_ukexec")])
            .output()
            .expect("sh runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "ukexec: cannot write part kernel: kernel: writing it: File too large (os error 27); \
             `ulimit -f` or the file system limits files, those in memory too\n"
        );
        let after = fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(after, before);
    }
}

/// Those who start ukexec may ignore the end of children.
#[test]
fn children_are_heard_of_by_every_caller() {
    let dir = folder();
    let args = ["load", "--dry-run", "--verify=off", "--json", "vmlinuz"];
    let output = Command::new("env")
        .current_dir(dir.path())
        .args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_ukexec")])
        .args(args)
        .output()
        .expect("env runs");
    let usual = run(dir.path(), &args);
    assert_eq!(output.status.code(), usual.status.code());
    assert_eq!(streams(&output), streams(&usual));
}

#[test]
fn text_that_goes_to_init_is_noted() {
    let dir = folder();
    for (line, expected) in [("quiet -- single", true), ("quiet", false)] {
        let args = ["inspect", "vmlinuz", "--cmdline", line, "--append=debug"];
        let (stderr, document) = warnings(dir.path(), &args);
        for said in [stderr, document] {
            assert_eq!(said.contains("passes it to init"), expected, "{said}");
        }
    }
}

#[test]
fn an_image_as_an_initrd_is_noted() {
    let dir = folder();
    for (command, options) in [("inspect", &[][..]), ("unfold", &["-o", "parts"])] {
        let args = [&[command, "vmlinuz", "--initrd", "uki.efi"], options].concat();
        let (stderr, document) = warnings(dir.path(), &args);
        let advice = format!("; did you mean `{command} uki.efi`?");
        for said in [stderr, document] {
            assert!(said.contains(&advice), "{said}");
        }
    }
    let (stderr, _) = warnings(dir.path(), &["inspect", "vmlinuz", "--initrd", "vmlinuz"]);
    assert!(!stderr.contains("did you mean"), "{stderr}");
}

#[test]
fn an_error_names_a_file_as_it_was_typed() {
    let dir = folder();
    fs::create_dir(dir.path().join("sub")).expect("room for a folder");
    fs::write(dir.path().join("sub/text"), b"#!/bin/sh\n").expect("room for a file");
    for command in [
        &["inspect"][..],
        &["load", "--dry-run"],
        &["unfold", "-o", "parts"],
    ] {
        let output = run(dir.path(), &[command, &["./sub/../sub/text"]].concat());
        let [_, stderr] = streams(&output);
        assert!(
            stderr.starts_with("ukexec: ./sub/../sub/text: "),
            "{stderr}"
        );
    }
}

#[test]
fn the_version_names_the_commit_and_the_parser_abi() {
    let output = run(Path::new("/"), &["-V"]);
    let [version, _] = streams(&output);
    let begin = concat!("ukexec ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.starts_with(begin), "{version}");
    assert!(
        version.ends_with("parser ABI v5, v6 and v7)\n"),
        "{version}"
    );
    assert_eq!(version.lines().count(), 1, "{version}");
    let is_repository = crate::workspace(".git").exists();
    assert_eq!(version.contains("commit "), is_repository, "{version}");
}

#[test]
fn a_crash_kernel_that_sets_memory_aside_is_warned_of() {
    let dir = folder();
    let check = |args: &[&str], expected: bool| {
        let (stderr, document) = warnings(dir.path(), args);
        for told in [stderr, document] {
            assert_eq!(told.contains("crashkernel="), expected, "{told}");
        }
    };
    check(&["inspect", "uki.efi", "--panic"], true);
    check(&["inspect", "uki.efi"], false);
    check(
        &["inspect", "uki.efi", "--panic", "--cmdline", "quiet"],
        false,
    );
    let own = [
        "inspect",
        "vmlinuz",
        "--panic",
        "--cmdline=a crashkernel=256M",
    ];
    check(&own, true);
    if cfg!(target_arch = "x86_64") {
        check(&["load", "uki.efi", "--panic", "--dry-run"], true);
    }
}

#[test]
fn companion_files_are_mentioned_where_a_stub_would_add_them() {
    let dir = folder();
    for image in ["uki.efi", "vmlinuz"] {
        let companions = dir.path().join(format!("{image}.extra.d"));
        fs::create_dir(&companions).expect("a folder for companions");
        fs::write(companions.join("crash.addon.efi"), "").expect("one of them");
    }
    for args in [
        &["inspect", "uki.efi"][..],
        &["unfold", "uki.efi", "-o", "parts"],
    ] {
        let (stderr, document) = warnings(dir.path(), args);
        assert!(stderr.contains("uki.efi.extra.d"), "{stderr}");
        assert!(document.contains("crash.addon.efi"), "{document}");
    }
    let (stderr, document) = warnings(dir.path(), &["inspect", "vmlinuz"]);
    assert!(!(stderr + &document).contains("extra.d"));
}

#[test]
fn standard_input_stands_for_one_file() {
    let dir = folder();
    let image = fs::read(dir.path().join("uki.efi")).expect("it is there");
    let file = File::open(dir.path().join("uki.efi")).expect("it is there");
    let mut behind = tempfile::tempfile().expect("a file");
    behind.write_all(b"read before").expect("room");
    behind.write_all(&image).expect("room");
    behind.seek(SeekFrom::Start(11)).expect("it has an end");
    for stdin in [pipe(image.clone()), file.into(), behind.into()] {
        let output = with_stdin(dir.path(), &["unfold", "-", "-o", "parts"], stdin);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        let title = "standard input  unified kernel image, x86_64";
        assert!(said.starts_with(title), "{said}");
        let part = |name| fs::read(dir.path().join("parts").join(name)).expect("a part");
        assert_eq!(part("kernel"), kernel());
        assert_eq!(part("cmdline"), b"quiet crashkernel=1G");
        fs::remove_dir_all(dir.path().join("parts")).expect("it is there");
    }
    let args = ["unfold", "uki.efi", "-o", "parts", "--initrd", "-"];
    let output = with_stdin(dir.path(), &args, pipe(b"070701".to_vec()));
    assert!(output.status.success(), "{output:?}");
    let initrd = fs::read(dir.path().join("parts/initrd")).expect("an initrd");
    assert_eq!(initrd, b"070701");
    // A parser is none, and who gave it is named.
    let args = ["inspect", "uki.efi", "--parser=-"];
    let output = with_stdin(dir.path(), &args, pipe(b"no parser".to_vec()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard input"), "{said}");
}

#[test]
fn standard_input_is_read_once() {
    let dir = folder();
    for args in [
        &["inspect", "-", "--initrd", "-"][..],
        &["load", "vmlinuz", "--initrd=-", "--initrd=-"],
        &["unfold", "-", "-o", "parts", "--parser", "-"],
        &["attach", "-", "-", "-o", "out.efi"],
        &["parser", "run", "-", "--image", "-"],
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("standard input (-) can stand for one file only"),
            "{said}"
        );
    }
    // A file of that name is another one.
    fs::write(dir.path().join("-"), kernel()).expect("room for it");
    let output = run(dir.path(), &["inspect", "./-", "--json"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"path\": \"./-\""));
}

#[test]
fn a_name_of_a_file_stays_in_its_line() {
    let dir = folder();
    let name = "a\nukexec: loaded\u{202e}.efi";
    let shown = "a\\nukexec: loaded\\u{202e}.efi";
    fs::write(dir.path().join(name), b"#!/bin/sh\n").expect("room for it");
    let missing = "none\n.efi";
    for args in [
        &["inspect", name][..],
        &["load", missing],
        &["unfold", "vmlinuz", "-o", missing, "--initrd", missing],
        &["inspect", "uki.efi", "--parser", name],
        &["inspect", "uki.efi", "--parser", missing],
        &["inspect", "uki.efi", "--parsers-dir", missing],
        &["inspect", "uki.efi", "--trust", missing],
        &["inspect", "uki.efi", "--trust", name],
        &["inspect", "uki.efi", "--config", missing],
        &["inspect", "uki.efi", "--efivars", missing],
        &["unfold", "uki.efi", "-o", name],
        &["attach", "uki.efi", name, "-o", "out.efi"],
        &["attach", missing, "vmlinuz", "-o", "out.efi"],
        &["detach", name, "-o", "out.efi"],
        &["parser", "check", missing],
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        // The lines below a fault are indented.
        let lines = said.lines().filter(|line| !line.starts_with(' '));
        assert_eq!(lines.count(), 1, "{said}");
        assert!(
            said.contains(shown) || said.contains("none\\n.efi"),
            "{said}"
        );
    }
    // Nor does it look like another line of a report.
    fs::copy(dir.path().join("uki.efi"), dir.path().join(name)).expect("room for it");
    let output = run(dir.path(), &["inspect", name]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with(shown), "{said}");
    assert!(!said.contains("\nukexec: loaded"), "{said}");
}

#[test]
fn a_wrong_argument_stays_in_its_line() {
    let dir = folder();
    for args in [
        &["load", "uki.efi", "a\nukexec: loaded\u{202e}"][..],
        &["inspect", "--a\nukexec: loaded\u{202e}"],
        &["a\nukexec: loaded\u{202e}"],
        &["load", "uki.efi", "--verify", "a\nukexec: loaded\u{202e}"],
    ] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("a\\nukexec: loaded\\u{202e}"), "{said}");
        assert!(!said.contains("\nukexec: loaded"), "{said}");
    }
}

/// The kernel knows the loader as the program that runs, and would start that as
/// the worker.
#[cfg(all(
    target_arch = "x86_64",
    target_env = "gnu",
    not(target_feature = "crt-static")
))]
#[test]
fn a_start_through_the_dynamic_loader_is_named() {
    let dir = folder();
    let output = Command::new("/lib64/ld-linux-x86-64.so.2")
        .arg(env!("CARGO_BIN_EXE_ukexec"))
        .args(["inspect", "vmlinuz"])
        .current_dir(dir.path())
        .output()
        .expect("the loader runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let program = Path::new(env!("CARGO_BIN_EXE_ukexec")).canonicalize();
    let program = format!("start {:?} itself", program.expect("it is there"));
    assert!(said.contains("ld-linux-x86-64.so.2"), "{said}");
    assert!(said.contains(&program), "{said}");
}
