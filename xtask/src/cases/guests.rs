//! Machines whose kernels have no `kexec_file_load`, and `ukexec` built for them: it says what they can do, works there
//! with its sandbox, and boots images by `kexec_load`.

mod x86_64;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cross;
use crate::guest::{FirstKernel, TAG, reporting_initrd};
use crate::materials::{self, Target, kernel};
use crate::qemu::{self, Boot, Machine, Serial};
use crate::stand::{Stand, document};
use crate::zboot::Zboot;

use super::zboot::{ARM64, RISCV64, nested};
use super::{Named, read};

/// Emulated machines boot in seconds; the rest is for slow, busy hosts.
const TIME_LIMIT: Duration = Duration::from_secs(400);

pub(super) const CASES: &[Named] = &[
    Named::new("guests/arm64-uki", |stand| uki(stand, &Guest::ARM64)),
    Named::new("guests/riscv64-uki", |stand| uki(stand, &Guest::RISCV64)),
    Named::new("guests/arm64-uefi", arm64_uefi),
    Named::new("guests/arm64-crash", arm64_crash),
    Named::new("guests/riscv64-crash", riscv64_crash),
    Named::new("guests/arm64-tree-of-the-image", arm64_tree),
    Named::new("guests/arm64-kexec", arm64_kexec),
    Named::new("guests/x86_64-bios", x86_64::bios),
    Named::new("guests/x86_64-uefi", x86_64::uefi),
];

/// A kind of machine, and how the kernel of its images is packed.
struct Guest {
    target: Target,
    machine: Machine,
    zboot: Zboot,
}

/// Prints what is known of the machine and of the image, then boots the image. (The tags are [`TAG`] and a name.)
const UKI: &str = r#"
run ukexec status
say "status=$(ukexec status --json | grep -E '"kexec(_file)?_load"' | tr -d ' \n')"
say "inspect=$(ukexec inspect --json /uki.efi | tr '\n' ' ')"
run ukexec load /uki.efi
say "loaded=$(cat /sys/kernel/kexec_loaded)"
run ukexec exec --force
"#;

/// Debian's kernels have one of the two calls there. An image is found to be what it is on any other machine, and boots.
fn uki(stand: &Stand, guest: &Guest) -> Result<()> {
    let image = guest.image(stand)?;
    let first = FirstKernel::on(guest.target, UKI).holding("uki.efi", &image);
    let serial = guest.boot(stand, &first, "")?;
    serial.expect(
        &format!("{TAG}status="),
        r#""kexec_file_load":false,"kexec_load":true,"#,
    )?;
    let found = document(serial.value(&format!("{TAG}inspect="))?)?;
    let here = stand.ukexec(&[&"inspect", &"--json", &image])?;
    let here = here.replace(&*image.to_string_lossy(), "/uki.efi");
    ensure!(found == document(&here)?, "there: {found:#}\nhere: {here}");
    serial.expect(&format!("{TAG}loaded="), "1")?;
    guest.second(&serial)
}

/// Firmware describes the machine by ACPI, and stays reachable for the second kernel.
fn arm64_uefi(stand: &Stand) -> Result<()> {
    let guest = &Guest::ARM64;
    let image = guest.image(stand)?;
    let script = "run ukexec load /uki.efi\nrun ukexec exec --force\n";
    let first = FirstKernel::on(guest.target, script).holding("uki.efi", &image);
    let (kernel, initrd) = (kernel(guest.target)?, first.initrd(stand)?);
    let qemu = boot(guest.machine, &kernel, &initrd, &guest.machine.cmdline("")).tool();
    let qemu = qemu.arg("-bios").arg(materials::firmware_arm64()?);
    let serial = qemu::run(qemu, TIME_LIMIT, None)?;
    serial.expect(&format!("{TAG}acpi="), "yes")?;
    serial.expect(&format!("{TAG}efi="), "yes")?;
    guest.second(&serial)
}

/// The tree in an image takes the place of the machine's. Here both are QEMU's, but for the name of the machine.
///
/// Its interrupt controller has tables in memory that the second kernel finds in use. It dies if it lies over them.
fn arm64_tree(stand: &Stand) -> Result<()> {
    let guest = &Guest::ARM64;
    let tree = guest.tree(stand, ITS)?;
    let initrd = reporting_initrd(stand, guest.target, "second")?;
    let nested = nested(
        stand,
        guest.target,
        guest.zboot,
        &initrd,
        &guest.cmdline(),
        Some(&tree),
    )?;
    let script = "run ukexec load --dtb=image /uki.efi\nrun ukexec exec --force\n";
    let first = FirstKernel::on(guest.target, script).holding("uki.efi", &nested.image);
    let (kernel, initrd) = (kernel(guest.target)?, first.initrd(stand)?);
    let qemu = boot(guest.machine, &kernel, &initrd, &guest.machine.cmdline("")).tool();
    let serial = qemu::run(qemu.args(["-M", ITS]), TIME_LIMIT, None)?;
    serial.expect(&format!("{TAG}model="), MODEL)?;
    let is_warned = serial.text().contains("may be overwritten");
    ensure!(is_warned, "ukexec does not warn");
    guest.second(&serial)
}

/// A machine whose interrupts are messages.
const ITS: &str = "virt,gic-version=3";

/// `kexec`, as scripts call it, with the tree of a file.
fn arm64_kexec(stand: &Stand) -> Result<()> {
    let guest = &Guest::ARM64;
    let (image, tree) = (guest.image(stand)?, guest.tree(stand, "virt")?);
    let kexec = cross::program(guest.target, "kexec")?;
    let script = "run /kexec -l /uki.efi --append='of=kexec' --dtb=/tree.dtb\n\
                  /kexec -S -l; say loaded=$?\n\
                  run /kexec -u\n\
                  /kexec -S -l; say unloaded=$?\n\
                  run /kexec -c -l /uki.efi --dtb=/tree.dtb\n\
                  run /kexec -e\n";
    let first = FirstKernel::on(guest.target, script)
        .holding("uki.efi", &image)
        .holding("tree.dtb", &tree)
        .holding("kexec", &kexec);
    let serial = guest.boot(stand, &first, "")?;
    serial.expect(&format!("{TAG}loaded="), "1")?;
    serial.expect(&format!("{TAG}unloaded="), "0")?;
    serial.expect(&format!("{TAG}model="), MODEL)?;
    guest.second(&serial)
}

/// Loads for a crash, and crashes.
const CRASH: &str = "run ukexec load --panic /uki.efi --append capture=yes\n\
                     say loaded=$(cat /sys/kernel/kexec_crash_loaded)\n\
                     echo c > /proc/sysrq-trigger\n\
                     say survived\n";

/// Writes a dump of the kernel that crashed, and prints its last words. Debian's program finds its libraries in the root
/// folder.
const DUMP: &str = r#"
dump() { /ld-linux-aarch64.so.1 --library-path / /makedumpfile "$@"; }
dump --dump-dmesg /proc/vmcore /tmp/words >/tmp/said 2>&1 || cat /tmp/said
say "words=$(grep -c 'sysrq: Trigger a crash' /tmp/words)"
dump -d 31 -c /proc/vmcore /tmp/dump >/tmp/said 2>&1 || cat /tmp/said
say "dump=$(head -c 8 /tmp/dump)"
say reached=second
"#;

/// The kernel of Debian 12, which makedumpfile of Debian 12 reads, crashes. The kernel of Debian 13 captures it.
fn arm64_crash(stand: &Stand) -> Result<()> {
    let guest = &Guest::ARM64;
    let mut capture = FirstKernel::on(guest.target, DUMP);
    let files = materials::makedumpfile_arm64()?;
    for (name, path) in &files {
        capture = capture.holding(name, path);
    }
    let serial = guest.crash(
        stand,
        &materials::older_kernel_arm64()?,
        &capture.initrd(stand)?,
    )?;
    serial.expect(&format!("{TAG}words="), "1")?;
    serial.expect(&format!("{TAG}dump="), "KDUMP")
}

fn riscv64_crash(stand: &Stand) -> Result<()> {
    let guest = &Guest::RISCV64;
    let initrd = reporting_initrd(stand, guest.target, "second")?;
    let serial = guest.crash(stand, &kernel(guest.target)?, &initrd)?;
    serial.expect(&format!("{TAG}vmcore="), "yes")
}

/// The names of the machine in QEMU's tree and in the test's, of one length.
const QEMU_MODEL: &str = "linux,dummy-virt";
const MODEL: &str = "ukexec,test-tree";

impl Guest {
    const ARM64: Self = Self {
        target: Target::Arm64,
        machine: Machine::Arm64,
        zboot: ARM64,
    };
    const RISCV64: Self = Self {
        target: Target::Riscv64,
        machine: Machine::Riscv64,
        zboot: RISCV64,
    };

    /// A UKI whose kernel is a zboot file, and whose initrd reports.
    fn image(&self, stand: &Stand) -> Result<PathBuf> {
        self.image_with(stand, &reporting_initrd(stand, self.target, "second")?)
    }

    fn image_with(&self, stand: &Stand, initrd: &Path) -> Result<PathBuf> {
        let cmdline = self.cmdline();
        let nested = nested(stand, self.target, self.zboot, initrd, &cmdline, None)?;
        Ok(nested.image)
    }

    /// QEMU's device tree for a machine, with another name of it.
    fn tree(&self, stand: &Stand, machine: &str) -> Result<PathBuf> {
        let path = stand.path("tree.dtb");
        let dump = format!("{machine},dumpdtb={}", path.display());
        self.machine.tool().args(["-M", &dump, "-m", "2G"]).run()?;
        let mut tree = read(&path)?;
        let starts: Vec<usize> = (0..tree.len())
            .filter(|at| tree[*at..].starts_with(QEMU_MODEL.as_bytes()))
            .collect();
        for at in starts {
            tree[at..at + MODEL.len()].copy_from_slice(MODEL.as_bytes());
        }
        stand.file("tree.dtb", tree)
    }

    /// The command line of the image.
    fn cmdline(&self) -> String {
        self.machine.cmdline("second=kernel")
    }

    /// Boots the stock kernel with `first` as its ramdisk.
    fn boot(&self, stand: &Stand, first: &FirstKernel<'_>, cmdline: &str) -> Result<Serial> {
        let initrd = first.initrd(stand)?;
        let kernel = kernel(self.target)?;
        boot(
            self.machine,
            &kernel,
            &initrd,
            &self.machine.cmdline(cmdline),
        )
        .run()
    }

    /// Has `crashing` load an image with this initrd, and crash.
    fn crash(&self, stand: &Stand, crashing: &Path, initrd: &Path) -> Result<Serial> {
        let image = self.image_with(stand, initrd)?;
        let first = FirstKernel::on(self.target, CRASH).holding("uki.efi", &image);
        let cmdline = self.machine.cmdline("crashkernel=512M");
        let serial = boot(self.machine, crashing, &first.initrd(stand)?, &cmdline).run()?;
        serial.expect(&format!("{TAG}loaded="), "1")?;
        serial.expect(&format!("{TAG}reached="), "second")?;
        ensure!(serial.count(&format!("{TAG}survived")) == 0, "no crash");
        Ok(serial)
    }

    /// The second kernel ran, with the command line and the initrd of the image.
    fn second(&self, serial: &Serial) -> Result<()> {
        serial.expect(&format!("{TAG}reached="), "second")?;
        serial.expect(&format!("{TAG}cmdline="), &self.cmdline())
    }
}

fn boot<'a>(machine: Machine, kernel: &'a Path, initrd: &'a Path, cmdline: &'a str) -> Boot<'a> {
    Boot {
        machine,
        kernel,
        initrd,
        cmdline,
        time_limit: TIME_LIMIT,
        shown_as: None,
    }
}
