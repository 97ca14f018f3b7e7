//! Machines with odd answers to ukexec: a mount namespace, which needs root, replaces files, or a
//! seccomp filter denies system calls.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::command::{Tool, said, takes_image};
use crate::materials::Target;
use crate::runner;
use crate::setup::PYTHON;
use crate::stand::{Stand, check_words, document, number_at, same_bytes, text_at};

use super::{Named, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("running/a-reused-line-keeps-quoted-values", quoted),
    Named::new("running/a-reused-line-may-be-any-bytes", any_bytes),
    Named::new("running/setup-mode-is-no-secure-boot", setup_mode),
    Named::new("running/a-worker-starts-without-dev-null", without_null),
    Named::new("running/denied-calls-have-others-stand-in", stand_ins),
    Named::new("running/a-denied-call-without-another-is-named", denied),
];

fn quoted(stand: &Stand) -> Result<()> {
    reuse(
        stand,
        b"BOOT_IMAGE=\"/my kernel\" root=x dyndbg=\"file a  +p; file b initrd=z +p\" \
          dm-mod.create=\"vroot,,,ro,0 8 verity 1 /dev/a /dev/b\" initrd=\\a.img quiet\n",
        b"root=x dyndbg=\"file a  +p; file b initrd=z +p\" \
          dm-mod.create=\"vroot,,,ro,0 8 verity 1 /dev/a /dev/b\" quiet",
    )
}

fn any_bytes(stand: &Stand) -> Result<()> {
    reuse(
        stand,
        b"root=x opt=\xe9t\xe9 quiet\n",
        b"root=x opt=\xe9t\xe9 quiet",
    )
}

/// The lines of `status` about Secure Boot and about the signatures that it asks for agree.
fn setup_mode(stand: &Stand) -> Result<()> {
    const SETUP: &str = "mount -t tmpfs none /sys/firmware && \
                         mkdir -p /sys/firmware/efi/efivars && \
                         cp \"$1\"/* /sys/firmware/efi/efivars/";
    let variables = stand.path("variables");
    fs::create_dir_all(&variables)?;
    let set = |name: &str, value: u8| {
        let path = variables.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
        fs::write(path, [6, 0, 0, 0, value])
    };
    for (secure_boot, setup_mode, on) in [(1, 0, true), (1, 1, false), (0, 1, false)] {
        set("SecureBoot", secure_boot)?;
        set("SetupMode", setup_mode)?;
        let status = namespace(SETUP, &[variables.as_os_str()])?
            .arg(stand.ukexec_path())
            .args(["status", "--json"])
            .text()?;
        let status = document(&status)?;
        let required = text_at(&status, "/signatures")? == "require";
        let told = status.pointer("/secure_boot").and_then(Value::as_bool);
        ensure!(
            told == Some(on) && required == on,
            "SecureBoot {secure_boot} and SetupMode {setup_mode} are told as {status:#}"
        );
    }
    Ok(())
}

fn without_null(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    // As in a small initramfs.
    let report = namespace("mount -t tmpfs none /dev", &[])?
        .arg(stand.ukexec_path())
        .arg("inspect")
        .arg(kernel)
        .text()?;
    ensure!(report.contains("bzImage"), "the report is {report}");
    Ok(())
}

/// `sendfile` and `copy_file_range` save copies; where they are denied, bytes go through buffers.
fn stand_ins(stand: &Stand) -> Result<()> {
    let (kernel, bytes) = stock_kernel(Target::X86_64)?;
    let initrd = stand.file("initrd", b"070701")?;
    let run = |args: &[&dyn AsRef<OsStr>]| {
        without_calls(&[SENDFILE, COPY_FILE_RANGE])
            .arg(stand.ukexec_path())
            .args(args.iter().map(|arg| arg.as_ref()))
            .arg("--initrd")
            .arg(&initrd)
            .arg("--json")
            .output()
    };
    let parts = stand.path("parts");
    let output = run(&[&"unfold", &kernel, &"-o", &parts])?;
    ensure!(output.status.success(), "it failed: {}", said(&output));
    same_bytes("the kernel", &fs::read(parts.join("kernel"))?, &bytes)?;
    let output = run(&[&"load", &kernel, &"--dry-run"])?;
    ensure!(takes_image(&output), "it failed: {}", said(&output));
    let report = document(&String::from_utf8_lossy(&output.stdout))?;
    let through_user = number_at(&report, "/load/bytes_moved/through_user")?;
    ensure!(
        through_user >= bytes.len() as u64,
        "{through_user} bytes went through the program"
    );
    Ok(())
}

fn denied(stand: &Stand) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let output = without_calls(&[MEMFD_CREATE])
        .arg(stand.ukexec_path())
        .arg("inspect")
        .arg(kernel)
        .output()?;
    fails_with(&output, &["memfd_create", "seccomp filter"])
}

/// Expects a failure that says these `words` in one line.
fn fails_with(output: &Output, words: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && said.lines().count() == 1,
        "it ended with {}: {said}",
        output.status
    );
    check_words(&said, words)
}

/// Expects `reused` of a machine whose kernel was given `running`.
fn reuse(stand: &Stand, running: &[u8], reused: &[u8]) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let line = stand.file("running", running)?;
    let parts = stand.path("parts");
    let options = [kernel.as_os_str(), OsStr::new("-o"), parts.as_os_str()];
    let tool = with_file(&line, "/proc/cmdline")?
        .arg(stand.ukexec_path())
        .arg("unfold")
        .args(options)
        .arg("--reuse-cmdline");
    tool.run()?;
    same_bytes(
        "the command line",
        &fs::read(parts.join("cmdline"))?,
        reused,
    )
}

/// Returns a tool that runs what it is given where `file` lies over `target`.
fn with_file(file: &Path, target: &str) -> Result<Tool> {
    namespace(
        "mount --bind \"$1\" \"$2\"",
        &[file.as_os_str(), OsStr::new(target)],
    )
}

/// Returns a tool that runs what it is given in a mount namespace, behind `setup` with its `args`.
pub(super) fn namespace(setup: &str, args: &[&OsStr]) -> Result<Tool> {
    let script = format!("{setup} && shift {} && exec \"$@\"", args.len());
    let tool = || {
        Tool::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .args(args)
    };
    let works = tool().arg("true").output()?;
    if works.status.success() {
        return Ok(tool());
    }
    let why = String::from_utf8_lossy(&works.stderr).into_owned();
    Err(runner::skip(format!("nothing can be mounted here: {why}")))
}

/// Returns a tool that runs what it is given under a seccomp filter that answers these calls with
/// `EPERM`, as containers have it.
fn without_calls(numbers: &[u32]) -> Tool {
    // Linux, Documentation/userspace-api/seccomp_filter.rst: the call's number is the first word.
    const FILTER: &str = "import ctypes, os, struct, sys\n\
        numbers = [int(number) for number in sys.argv[1].split(',')]\n\
        code = [(0x20, 0, 0, 0)]\n\
        code += [(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]\n\
        code += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x50001)]\n\
        code = b''.join(struct.pack('<HBBI', *one) for one in code)\n\
        buffer = ctypes.create_string_buffer(code, len(code))\n\
        program = struct.pack('<HxxxxxxQ', len(code) // 8, ctypes.addressof(buffer))\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for call in [(38, 1, 0, 0, 0), (22, 2, ctypes.c_char_p(program), 0, 0)]:\n\
        \x20   if libc.prctl(*call):\n\
        \x20       raise OSError(ctypes.get_errno(), 'prctl')\n\
        os.execv(sys.argv[2], sys.argv[2:])\n";
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    Tool::new(PYTHON)
        .args(["-c", FILTER])
        .arg(numbers.join(","))
}

// Of x86_64, which the stand runs on.
const SENDFILE: u32 = 40;
const MEMFD_CREATE: u32 = 319;
const COPY_FILE_RANGE: u32 = 326;
