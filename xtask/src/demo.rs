//! `cargo xtask demo`: from Debian's packages to a second kernel, with every step shown.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::Tool;
use crate::guest::{FirstKernel, TAG, reporting_uki};
use crate::materials::{Target, kernel};
use crate::qemu::{Boot, Machine};
use crate::setup::{self, Need};
use crate::stand::{Stand, build_ukexec};
use crate::workspace::shown;

const TIME_LIMIT: Duration = Duration::from_secs(400);
const MARKER: &str = "the-kernel-inside-the-uki";

/// Assembles a UKI, inspects it, unfolds it, and boots it.
///
/// # Errors
///
/// A step fails; the error says which.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Need::Demo])?;
    step("building ukexec, statically");
    let ukexec = build_ukexec()?;
    let stand = Stand::new(&ukexec, "demo")?;

    step("assembling a UKI from Debian's kernel, systemd's stub and BusyBox, with objcopy");
    let cmdline = Machine::X86_64.cmdline("hello=from-the-uki");
    let image = reporting_uki(&stand, MARKER, &cmdline)?;
    println!("{}, {} bytes", shown(&image), image.metadata()?.len());

    step("ukexec inspect: what would this image boot?");
    Tool::new(&ukexec).arg("inspect").arg(&image).show()?;

    step("ukexec unfold: its parts as files");
    let parts = stand.path("parts");
    Tool::new(&ukexec)
        .arg("unfold")
        .arg(&image)
        .arg("-o")
        .arg(&parts)
        .show()?;
    Tool::new("ls").arg("-l").arg(&parts).show()?;

    step("Debian's stock kernel boots in QEMU, runs `ukexec load` and `ukexec exec`");
    let release = boot(&stand, &image, &cmdline)?;
    println!(
        "\nDone: Debian's stock kernel took the UKI apart with a BPF parser and booted the kernel \
         {release} inside it, with its own initrd and command line."
    );
    stand.clear()
}

/// Boots the stock kernel with `ukexec` and the image, and returns the second kernel's release.
fn boot(stand: &Stand, image: &Path, cmdline: &str) -> Result<String> {
    let first = FirstKernel::new(
        "mount -t securityfs none /sys/kernel/security\n\
         run ukexec load debian.efi\n\
         run ukexec status\n\
         run ukexec exec --force\n",
    )
    .holding("debian.efi", image);
    let machine = Machine::X86_64;
    let serial = Boot {
        machine,
        kernel: &kernel(Target::X86_64)?,
        initrd: &first.initrd(stand)?,
        cmdline: &machine.cmdline("first=kernel"),
        time_limit: TIME_LIMIT,
        shown_as: Some("  serial | "),
    }
    .run()
    .context("the boot failed")?;
    serial.expect(&format!("{TAG}reached="), MARKER)?;
    serial.expect(&format!("{TAG}cmdline="), cmdline)?;
    Ok(serial.value(&format!("{TAG}release="))?.to_owned())
}

fn step(what: &str) {
    println!("\n== {what}");
}
