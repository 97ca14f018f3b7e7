//! Debian as it is installed: a folder with a suite's packages, and running programs in a copy of it.
//!
//! `mmdebstrap` makes the folder with the machine's own apt, from the mirror that [`apt`](crate::apt) uses. Only root
//! can have one: others' cases are skipped.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::apt::mirror;
use crate::command::Tool;
use crate::kept::kept;
use crate::runner;
use crate::setup::is_root;
use crate::workspace;

/// The packages of a root that most cases can share: a server that systemd starts, with kdump. A kernel is not
/// among them; kdump-tools of Debian 12 cannot be installed beside one outside of a machine.
pub(crate) const SERVER: &[&str] = &[
    "systemd-sysv",
    "udev",
    "dbus",
    "kdump-tools",
    "makedumpfile",
    "openssh-server",
    "python3",
];

/// Packages' scripts ask this program before they start a service: exit code 101 forbids it.
///
/// Spec: Debian Policy 9.3.3.2, `/usr/share/doc/init-system-helpers/README.policy-rc.d.gz`.
const STARTS_NOTHING: &str = "#!/bin/sh\nexit 101\n";

/// The machine as a program in a root sees it. The mounts end with the program, however it ends.
const ENTER: &str = "mount -t proc proc \"$0/proc\" && mount -t sysfs -o ro sys \"$0/sys\" && \
                     mount --rbind /dev \"$0/dev\" && exec chroot \"$0\" \"$@\"";

/// Returns a folder with the smallest Debian of `suite` that has `packages`. It is kept between runs:
/// programs run in a [`copy`] of it.
///
/// # Errors
///
/// `mmdebstrap` fails. The case is skipped where this is not root, or may not mount.
pub(crate) fn root(suite: &str, packages: &[&str]) -> Result<PathBuf> {
    may_mount()?;
    let name = [&[suite], packages].concat().join("+");
    let dir = workspace::roots_dir().join(&name);
    kept(&dir, |unfinished| {
        eprintln!("installing Debian {name}");
        let mut tool = Tool::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--mode=root"])
            .args(["--format=directory", "--dpkgopt=force-unsafe-io"])
            .arg("--aptopt=Apt::Install-Recommends \"false\"")
            // A mirror or a clock may be late.
            .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
            .arg("--aptopt=Acquire::Retries \"3\"");
        if !packages.is_empty() {
            tool = tool.arg(format!("--include={}", packages.join(",")));
        }
        tool.arg(suite).arg(unfinished).arg(mirror()?).run()?;
        let policy = unfinished.join("usr/sbin/policy-rc.d");
        fs::write(&policy, STARTS_NOTHING)?;
        Ok(fs::set_permissions(policy, Permissions::from_mode(0o755))?)
    })
    .with_context(|| format!("cannot install Debian {suite}"))?;
    Ok(dir)
}

/// Copies a root to `to`, which must not be there.
///
/// # Errors
///
/// `cp` fails.
pub(crate) fn copy(root: &Path, to: &Path) -> Result<()> {
    Tool::new("cp")
        .args(["-a", "--reflink=auto", "--no-target-directory"])
        .arg(root)
        .arg(to)
        .run()
}

/// Returns a tool that runs what it is given in the copy of a root, with its own /proc and the machine's
/// devices.
pub(crate) fn inside(copy: &Path) -> Tool {
    Tool::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child"])
        .args(["sh", "-c", ENTER])
        .arg(copy)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}

fn may_mount() -> Result<()> {
    if !is_root()? {
        return Err(runner::skip("only root can install Debian"));
    }
    let tried = Tool::new("unshare")
        .args(["--mount", "--pid", "--fork"])
        .args(["mount", "-t", "tmpfs", "none", "/tmp"])
        .run();
    tried.map_err(|error| runner::skip(format!("nothing can be mounted here: {error:#}")))
}
