//! Whole machines: a kernel that loads and executes another, and that other one's own words.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::guest::{FirstKernel, TAG, listing_initrd, reporting_initrd, reporting_uki};
use crate::initramfs::Initramfs;
use crate::materials::{Target, kernel};
use crate::pki::{Kind, Signer};
use crate::qemu::{Boot, Machine, Serial};
use crate::stand::Stand;
use crate::workspace;
use crate::zboot::Compression;

use super::docs::{blocks, shows};
use super::zboot::{ARM64, nested};
use super::{Named, noise, read};

/// Emulated machines boot in seconds; the rest is for slow, busy hosts.
const TIME_LIMIT: Duration = Duration::from_secs(400);

pub(super) const CASES: &[Named] = &[
    Named::new("boots/x86_64-uki", uki),
    Named::new("boots/x86_64-crash", crash),
    Named::new("boots/x86_64-corrupt-image-changes-nothing", corrupt),
    Named::new("boots/x86_64-bare-kernel", bare_kernel),
    Named::new("boots/x86_64-expanded-initrd", expanded),
    Named::new("boots/x86_64-reboot", reboot),
    Named::new("boots/arm64-uki-around-zboot", arm64),
];

/// The command line of the image that the first kernel loads.
fn cmdline() -> String {
    Machine::X86_64.cmdline("second=kernel")
}

/// Boots the stock kernel with `first` as its ramdisk.
fn boot_first(stand: &Stand, first: &FirstKernel<'_>, cmdline: &str) -> Result<Serial> {
    let initrd = first.initrd(stand)?;
    let machine = Machine::X86_64;
    boot(
        machine,
        &kernel(Target::X86_64)?,
        &initrd,
        &machine.cmdline(cmdline),
    )
}

fn boot(machine: Machine, kernel: &Path, initrd: &Path, cmdline: &str) -> Result<Serial> {
    Boot {
        machine,
        kernel,
        initrd,
        cmdline,
        time_limit: TIME_LIMIT,
        shown_as: None,
    }
    .run()
}

/// The second kernel ran, with the image's command line, its initrd, and the os-release that
/// systemd would look for there. The commands are those of the README, which shows what they
/// write.
fn uki(stand: &Stand) -> Result<()> {
    let image = reporting_uki(stand, "second", &cmdline())?;
    let shown = readme_session()?;
    // Progress is for those who wait, and no part of the page.
    let mut script =
        String::from("export TERM=dumb\nmount -t securityfs none /sys/kernel/security\n");
    for command in shown.lines().filter_map(|line| line.strip_prefix("# ")) {
        if command.starts_with("ukexec exec") {
            script += "case \"$(ukexec status --json)\" in *'\"kexec\": true'*) say kexec=known;; esac\n\
                       say loaded=$(cat /sys/kernel/kexec_loaded)\n";
        }
        script += &format!("run {command}\n");
    }
    let first = FirstKernel::new(&script).holding("debian.efi", &image);
    let serial = boot_first(stand, &first, "first=kernel")?;
    serial.expect(&format!("{TAG}kexec="), "known")?;
    serial.expect(&format!("{TAG}loaded="), "1")?;
    serial.expect(&format!("{TAG}reached="), "second")?;
    serial.expect(&format!("{TAG}cmdline="), &cmdline())?;
    // Modes and content of what was put behind the initrd.
    serial.expect(&format!("{TAG}extra="), "555 444 ID=ukexec-test")?;
    serial.expect(&format!("{TAG}vmcore="), "no")?;
    // Where a line wraps depends on its numbers.
    let wrapped = format!("\n{}", " ".repeat(16));
    let without_numbers = |text: &str| {
        let text = text.replace("\r\n", "\n").replace(&wrapped, " ");
        let text = text.replace("# ukexec", "$ ukexec");
        let text = text.replace("1 second ago", "1 seconds ago");
        text.replace(|it: char| it.is_ascii_digit(), "")
    };
    shows(&without_numbers(&serial.text()), &without_numbers(&shown))
}

/// Returns the block of the README in which a machine boots an image.
fn readme_session() -> Result<String> {
    let readme = read(&workspace::root().join("README.md"))?;
    let readme = String::from_utf8(readme)?;
    let session = blocks(&readme)
        .into_iter()
        .find(|it| it.text.starts_with("# ukexec load"));
    Ok(session
        .context("README.md has no block that begins with `# ukexec load`")?
        .text)
}

/// A kernel makes the same files of an initrd that was unpacked before the boot: microcode, archives in gzip and xz,
/// and zeros in between.
fn expanded(stand: &Stand) -> Result<()> {
    let gzip = Compression::Gzip
        .tool()
        .arg("-c")
        .arg(&listing_initrd(stand)?)
        .bytes()?;
    let mut more = Initramfs::default();
    more.file("from-xz", 0o644, b"xz");
    let more = stand.file("more", more.finish())?;
    let xz = Compression::Xz.tool().arg("-c").arg(&more).bytes()?;
    let mut early = Initramfs::default();
    for dir in ["kernel", "kernel/x86", "kernel/x86/microcode"] {
        early.dir(dir);
    }
    early.file("kernel/x86/microcode/GenuineIntel.bin", 0o644, &noise(3000));
    let parts = [
        early.finish(),
        vec![0; 516],
        gzip,
        vec![0; 3],
        xz,
        vec![0; 1024],
    ];
    let initrd = stand.file("packed", parts.concat())?;
    let (machine, kernel) = (Machine::X86_64, kernel(Target::X86_64)?);
    let made = |serial: &Serial| {
        let tags = ["file=", "sum="].map(|tag| format!("{TAG}{tag}"));
        let lines = tags
            .iter()
            .flat_map(|tag| serial.values(tag).map(str::to_owned));
        let mut lines: Vec<String> = lines.collect();
        lines.sort_unstable();
        lines
    };
    let packed = made(&boot(machine, &kernel, &initrd, &cmdline())?);
    let script = format!(
        "run ukexec load /vmlinuz --initrd /packed --cmdline '{}' --expand-initrd\nrun ukexec exec --force\n",
        cmdline()
    );
    let first = FirstKernel::new(&script)
        .holding("vmlinuz", &kernel)
        .holding("packed", &initrd);
    let serial = boot_first(stand, &first, "first=kernel")?;
    let shown = serial.value("  unpacked ")?;
    ensure!(
        shown.contains(": cpio ") && shown.contains(" + xz "),
        "{shown}"
    );
    let unpacked = made(&serial);
    let has_all = ["/from-xz", "/GenuineIntel.bin", "/init"];
    let has_all = has_all
        .iter()
        .all(|name| packed.iter().any(|it| it.ends_with(name)));
    ensure!(
        has_all && packed == unpacked,
        "{packed:?} became {unpacked:?}"
    );
    Ok(())
}

/// A panic boots the capture kernel, which finds the memory of the crashed one.
fn crash(stand: &Stand) -> Result<()> {
    let image = reporting_uki(stand, "capture", &cmdline())?;
    let first = FirstKernel::new(
        "run ukexec load --panic /uki.efi --append capture=yes\n\
         say loaded=$(cat /sys/kernel/kexec_loaded)\n\
         say crash_loaded=$(cat /sys/kernel/kexec_crash_loaded)\n\
         echo c > /proc/sysrq-trigger\n\
         say survived\n",
    )
    .holding("uki.efi", &image);
    let serial = boot_first(stand, &first, "crashkernel=384M")?;
    serial.expect(&format!("{TAG}loaded="), "0")?;
    serial.expect(&format!("{TAG}crash_loaded="), "1")?;
    serial.expect(&format!("{TAG}reached="), "capture")?;
    serial.expect(&format!("{TAG}vmcore="), "yes")?;
    let found = serial.value(&format!("{TAG}cmdline="))?;
    // The crashed kernel adds where it left the description of its memory.
    ensure!(
        found.starts_with("elfcorehdr=") && found.ends_with(&format!(" {} capture=yes", cmdline())),
        "the capture kernel's command line is {found:?}"
    );
    ensure!(serial.count(&format!("{TAG}survived")) == 0, "no crash");
    Ok(())
}

/// A corrupt image is refused, and so is one that was changed after it was signed; what was
/// verified and loaded before stays loaded and boots.
fn corrupt(stand: &Stand) -> Result<()> {
    let image = reporting_uki(stand, "loaded-before", &cmdline())?;
    let owner = Signer::new(stand, "owner", Kind::Rsa2048)?;
    let image = owner.sign(&image, &[], &stand.path("signed.efi"))?;
    let whole = read(&image)?;
    let cut = stand.file("cut.efi", &whole[..whole.len() / 2])?;
    let noise = stand.file("noise.efi", super::noise(1 << 20))?;
    let mut changed = whole;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let changed = stand.file("changed.efi", &changed)?;
    let first = FirstKernel::new(
        "run ukexec load --verify=require --trust /owner.pem /uki.efi\n\
         ukexec load /cut.efi; say cut=$?\n\
         ukexec load /noise.efi; say noise=$?\n\
         ukexec load --verify=require --trust /owner.pem /changed.efi; say changed=$?\n\
         say loaded=$(cat /sys/kernel/kexec_loaded)\n\
         run ukexec exec --force\n",
    )
    .holding("uki.efi", &image)
    .holding("cut.efi", &cut)
    .holding("noise.efi", &noise)
    .holding("changed.efi", &changed)
    .holding("owner.pem", owner.certificate());
    let serial = boot_first(stand, &first, "first=kernel")?;
    serial.expect(&format!("{TAG}cut="), "1")?;
    serial.expect(&format!("{TAG}changed="), "3")?;
    serial.expect(&format!("{TAG}noise="), "1")?;
    serial.expect(&format!("{TAG}loaded="), "1")?;
    serial.expect(&format!("{TAG}reached="), "loaded-before")
}

/// A kernel that needs no unfolding, with the caller's initrd and command line; and `unload`.
fn bare_kernel(stand: &Stand) -> Result<()> {
    let linux = kernel(Target::X86_64)?;
    let initrd = reporting_initrd(stand, Target::X86_64, "bare")?;
    let first = FirstKernel::new(
        "run ukexec load /vmlinuz --initrd /initrd --cmdline 'console=ttyS0 dropped'\n\
         run ukexec unload\n\
         say unloaded=$(cat /sys/kernel/kexec_loaded)\n\
         run ukexec load /vmlinuz --initrd /initrd --reuse-cmdline --append bare=yes\n\
         run ukexec exec --force\n",
    )
    .holding("vmlinuz", &linux)
    .holding("initrd", &initrd);
    let serial = boot_first(stand, &first, "first=kernel")?;
    serial.expect(&format!("{TAG}unloaded="), "0")?;
    serial.expect(&format!("{TAG}reached="), "bare")?;
    serial.expect(
        &format!("{TAG}cmdline="),
        &Machine::X86_64.cmdline("first=kernel bare=yes"),
    )
}

/// One command loads and boots. Where something will not work, as here the console, it loads
/// nothing unless it may ask, and is not asked with `--yes`.
fn reboot(stand: &Stand) -> Result<()> {
    let linux = kernel(Target::X86_64)?;
    let initrd = reporting_initrd(stand, Target::X86_64, "rebooted")?;
    let first = FirstKernel::new(
        "reboot='ukexec reboot /vmlinuz --initrd /initrd'\n\
         $reboot --cmdline silent </dev/null; say without_systemd=$?\n\
         $reboot --force --cmdline silent </dev/null 2>/tmp/err; say unasked=$?\n\
         cat /tmp/err\n\
         say loaded=$(cat /sys/kernel/kexec_loaded)\n\
         run $reboot --force --yes --clear-oneshot --cmdline silent --console=keep --mask-stale\n",
    )
    .holding("vmlinuz", &linux)
    .holding("initrd", &initrd);
    let serial = boot_first(stand, &first, "first=kernel")?;
    serial.expect(&format!("{TAG}without_systemd="), "1")?;
    serial.expect(&format!("{TAG}unasked="), "1")?;
    serial.expect("ukexec: not loaded: ", UNASKED)?;
    serial.expect(&format!("{TAG}loaded="), "0")?;
    serial.expect(&format!("{TAG}reached="), "rebooted")?;
    let line = serial.value(&format!("{TAG}cmdline="))?;
    let masks = "systemd.mask=systemd-bless-boot.service systemd.tpm2_measured_os=0";
    ensure!(
        line.starts_with("silent console=") && line.ends_with(masks),
        "the next kernel's command line is {line:?}"
    );
    Ok(())
}

const UNASKED: &str = "nobody can be asked about the warnings; --yes boots all the same";

/// The parts of a UKI around a zboot file, unfolded here, boot there.
fn arm64(stand: &Stand) -> Result<()> {
    let initrd = reporting_initrd(stand, Target::Arm64, "arm64")?;
    let cmdline = Machine::Arm64.cmdline("unfolded=here");
    let nested = nested(stand, Target::Arm64, ARM64, &initrd, &cmdline, None)?;
    let parts = stand.unfold(&nested.image, &[])?;
    let unfolded = String::from_utf8(read(&parts.path("cmdline"))?)?;
    let serial = boot(
        Machine::Arm64,
        &parts.path("kernel"),
        &parts.path("initrd"),
        &unfolded,
    )?;
    serial.expect(&format!("{TAG}reached="), "arm64")?;
    serial.expect(&format!("{TAG}cmdline="), &cmdline)
}
