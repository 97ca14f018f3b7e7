//! The content of the machines: `/init` scripts and the ramdisks that hold them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::Tool;
use crate::cross;
use crate::initramfs::Initramfs;
use crate::materials::{OS_RELEASE, Stub, Target, busybox, kernel, stub};
use crate::stand::Stand;
use crate::uki::{Section, objcopy};

/// In front of each line that a test reads.
pub(crate) const TAG: &str = "guest: ";

/// Makes BusyBox usable and mounts what ukexec and the tests look at.
const PROLOGUE: &str = r"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
";

/// The end of every script, reached whatever happened.
const EPILOGUE: &str = r#"
sync
poweroff -f
"#;

/// An `/init` that runs `body` and powers the machine off.
fn init(body: &str) -> String {
    format!("{PROLOGUE}{body}{EPILOGUE}")
}

/// An `/init` that says which kernel it runs on and how that was started, and powers off.
///
/// The lines are `guest: reached=MARKER`, `guest: release=`, `guest: cmdline=`, `guest: model=` of a machine with a
/// device tree, and `guest: vmcore=`, `guest: acpi=` and `guest: efi=`, each `yes` or `no`: a dump of another kernel, the
/// tables of ACPI, and calls of UEFI.
fn reporting_init(marker: &str) -> String {
    init(&format!(
        r#"
echo "{TAG}release=$(uname -r)"
echo "{TAG}cmdline=$(cat /proc/cmdline)"
echo "{TAG}extra=$(stat -c %a /.extra /.extra/os-release 2>&1 | tr '\n' ' ')$(head -n 1 /.extra/os-release 2>&1)"
if [ -s /proc/vmcore ]; then echo "{TAG}vmcore=yes"; else echo "{TAG}vmcore=no"; fi
if [ -e /sys/firmware/acpi/tables/DSDT ]; then echo "{TAG}acpi=yes"; else echo "{TAG}acpi=no"; fi
if [ -e /sys/firmware/efi/runtime-map ] || dmesg | grep -q 'enabling EFI services'; then echo "{TAG}efi=yes"; else echo "{TAG}efi=no"; fi
echo "{TAG}model=$(tr -d '\0' 2>/dev/null </proc/device-tree/model)"
echo "{TAG}reached={marker}"
"#
    ))
}

/// An `/init` that lists what the kernel unpacked before it changes anything, then the machine's state, and
/// powers off.
///
/// `guest: file=MODE SIZE PATH` has the mode as hexadecimal, `guest: sum=` is as `sha256sum` prints it,
/// `guest: text=PATH TEXT` is the first line of each small file but the secret, and `guest: initrd=` is the
/// digest of the initrd if the kernel kept it.
const LISTING_INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
$b find / -xdev -exec $b stat -c 'guest: file=%f %s %n' {} +
$b find / -xdev -type f -exec $b sha256sum {} + | $b sed 's/^/guest: sum=/'
$b find / -xdev -type f ! -name boot-secret -size -1k -exec $b sh -c 'for it; do echo "guest: text=$it $(/bin/busybox head -n 1 "$it")"; done' sh {} +
$b mkdir -p /proc /sys
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
echo "guest: cmdline=$($b cat /proc/cmdline)"
for number in 11 12 13; do echo "guest: pcr$number=$($b cat /sys/class/tpm/tpm0/pcr-sha256/$number)"; done
echo "guest: initrd=$($b sha256sum < /sys/firmware/initrd)"
hex() { $b od -A n -v -t x1 "$1" | $b tr -d ' \n'; }
echo "guest: smbios=$(hex /sys/firmware/dmi/tables/DMI)"
echo "guest: secret=$(hex /.extra/boot-secret)"
$b poweroff -f
"#;

/// An initrd whose `/init` lists itself, and powers off. Its length is odd, so that padding can be seen.
///
/// # Errors
///
/// BusyBox cannot be fetched.
pub(crate) fn listing_initrd(stand: &Stand) -> Result<PathBuf> {
    let archive = Initramfs::with_busybox(&busybox(Target::X86_64)?, LISTING_INIT)?;
    stand.file("listing-initrd", [archive.finish(), vec![0]].concat())
}

/// A UKI of Debian's parts: stock kernel, systemd's stub, and an initrd that reports `marker`.
///
/// # Errors
///
/// A part cannot be fetched, or `objcopy` fails.
pub(crate) fn reporting_uki(stand: &Stand, marker: &str, cmdline: &str) -> Result<PathBuf> {
    let target = Target::X86_64;
    let image = stand.path("debian.efi");
    let (osrel, cmdline, initrd, linux) = (
        stand.file("osrel", OS_RELEASE)?,
        stand.file("cmdline", cmdline)?,
        reporting_initrd(stand, target, marker)?,
        kernel(target)?,
    );
    let section = |name, file| Section { name, file };
    objcopy(
        &stub(target, Stub::V252)?,
        &[
            section(".osrel", &osrel),
            section(".cmdline", &cmdline),
            section(".initrd", &initrd),
            section(".linux", &linux),
        ],
        &image,
    )?;
    Ok(image)
}

/// An initrd whose `/init` reports `marker` and powers off.
///
/// # Errors
///
/// BusyBox cannot be fetched.
pub(crate) fn reporting_initrd(stand: &Stand, target: Target, marker: &str) -> Result<PathBuf> {
    let archive = Initramfs::with_busybox(&busybox(target)?, &reporting_init(marker))?;
    stand.file("reporting-initrd", archive.finish())
}

/// The shell functions of a first kernel's script: `say` prints a tagged line, `run` runs a
/// command and ends the machine when that fails.
const FUNCTIONS: &str = r#"
say() { echo "guest: $*"; }
run() {
    echo "\$ $*"
    "$@" && return
    say "failed=$?: $*"
    poweroff -f
}
"#;

/// The ramdisk of a kernel that runs `ukexec`.
#[derive(Debug)]
pub(crate) struct FirstKernel<'a> {
    target: Target,
    script: String,
    files: Vec<(&'a str, &'a Path)>,
}

impl<'a> FirstKernel<'a> {
    /// A ramdisk that runs `script` with `ukexec` on the path.
    pub(crate) fn new(script: &str) -> Self {
        Self::on(Target::X86_64, script)
    }

    /// As [`new`](Self::new), for a machine of `target`.
    pub(crate) fn on(target: Target, script: &str) -> Self {
        Self {
            target,
            script: script.to_owned(),
            files: Vec::new(),
        }
    }

    /// Adds a copy of `file` as `/name`.
    pub(crate) fn holding(mut self, name: &'a str, file: &'a Path) -> Self {
        self.files.push((name, file));
        self
    }

    /// Writes the ramdisk into the stand's folder.
    ///
    /// # Errors
    ///
    /// BusyBox cannot be fetched, or a file cannot be read.
    pub(crate) fn initrd(&self, stand: &Stand) -> Result<PathBuf> {
        let mut archive = Initramfs::with_busybox(&busybox(self.target)?, &self.init())?;
        archive.copy("bin/ukexec", 0o755, &self.ukexec(stand)?)?;
        for (name, file) in &self.files {
            archive.copy(name, 0o755, file)?;
        }
        stand.file("first-initrd", archive.finish())
    }

    /// Writes the content of the ramdisk into a folder of the stand.
    ///
    /// # Errors
    ///
    /// As [`initrd`](Self::initrd).
    pub(crate) fn root(&self, stand: &Stand) -> Result<PathBuf> {
        let root = stand.path("root");
        for dir in ["bin", "dev", "proc", "run", "sys", "tmp"] {
            fs::create_dir_all(root.join(dir))?;
        }
        fs::write(root.join("init"), self.init())?;
        fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;
        fs::copy(busybox(self.target)?, root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh"))?;
        fs::copy(self.ukexec(stand)?, root.join("bin/ukexec"))?;
        for (name, file) in &self.files {
            fs::copy(file, root.join(name))?;
        }
        Ok(root)
    }

    fn ukexec(&self, stand: &Stand) -> Result<PathBuf> {
        match self.target {
            Target::X86_64 => stripped(stand),
            foreign => cross::program(foreign, "ukexec"),
        }
    }

    fn init(&self) -> String {
        init(&format!("{FUNCTIONS}{}", self.script))
    }
}

/// Returns the program without what only debuggers need, which is most of it: an emulated machine
/// unpacks slowly.
fn stripped(stand: &Stand) -> Result<PathBuf> {
    let stripped = stand.path("ukexec");
    Tool::new("objcopy")
        .arg("--strip-all")
        .arg(stand.ukexec_path())
        .arg(&stripped)
        .run()?;
    Ok(stripped)
}
