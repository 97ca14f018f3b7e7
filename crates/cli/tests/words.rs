//! The caller's words, and what is said of them: command lines, names of files,
//! standard input.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// A folder with `vmlinuz`, a kernel of no more than its header.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("vmlinuz"), kernel()).expect("room for the kernel");
    dir
}

/// Returns an x86_64 kernel as far as its header tells (Linux,
/// Documentation/arch/x86/boot.rst).
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 0x600];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]); // setup_sects
    put(0x1f4, &0x20_u32.to_le_bytes()); // syssize
    put(0x1fe, b"\x55\xaa");
    put(0x201, &[0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes()); // boot protocol 2.15
    put(0x211, &[1]); // loaded high
    put(0x230, &0x20_0000_u32.to_le_bytes()); // kernel_alignment
    put(0x234, &[1]); // relocatable
    put(0x236, &3_u16.to_le_bytes()); // 64-bit, above 4 GiB
    put(0x238, &2047_u32.to_le_bytes()); // cmdline_size
    put(0x260, &0x10_0000_u32.to_le_bytes()); // init_size
    image
}

fn ukexec(dir: &Path, args: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    let command = command.current_dir(dir).args(args).env("NO_COLOR", "1");
    command.output().expect("ukexec runs")
}

/// Unfolds `vmlinuz` with `options` and returns the command line that comes out.
fn cmdline(options: &[&[u8]]) -> Vec<u8> {
    let dir = folder();
    let mut args: Vec<&OsStr> = ["unfold", "vmlinuz", "-o", "parts"].map(OsStr::new).into();
    args.extend(options.iter().copied().map(OsStr::from_bytes));
    let output = ukexec(dir.path(), &args);
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
