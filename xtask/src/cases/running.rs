//! What ukexec asks of the machine that it runs on, with files of it replaced: in a mount
//! namespace of its own, which takes root.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::command::Tool;
use crate::materials::Target;
use crate::runner;
use crate::stand::{Stand, same_bytes};

use super::{Named, stock_kernel};

pub(super) const CASES: &[Named] = &[
    Named::new("running/a-reused-line-keeps-quoted-values", quoted),
    Named::new("running/a-reused-line-may-be-any-bytes", any_bytes),
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

/// Expects `reused` of a machine whose kernel was given `running`.
fn reuse(stand: &Stand, running: &[u8], reused: &[u8]) -> Result<()> {
    let (kernel, _) = stock_kernel(Target::X86_64)?;
    let line = stand.file("running", running)?;
    let parts = stand.path("parts");
    let options = [kernel.as_os_str(), OsStr::new("-o"), parts.as_os_str()];
    let tool = with_file(stand, &line, "/proc/cmdline")?
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
fn with_file(stand: &Stand, file: &Path, target: &str) -> Result<Tool> {
    const WITH_FILE: &str = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let tool = |program: &[&str]| {
        Tool::new("unshare")
            .args(["--mount", "sh", "-c", WITH_FILE, "sh"])
            .arg(file)
            .arg(target)
            .args(program)
            .dir(stand.path(""))
    };
    let works = tool(&["true"]).output()?;
    if !works.status.success() {
        let why = String::from_utf8_lossy(&works.stderr).into_owned();
        return Err(runner::skip(format!("nothing can be mounted here: {why}")));
    }
    Ok(tool(&[]))
}
