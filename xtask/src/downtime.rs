//! `cargo xtask downtime`: the time from `exec` to `/init`, in emulated machines.
//!
//! Debian's own initrd in three compressions is booted by kexec-tools, by ukexec, and by ukexec with
//! `--expand-initrd`, by turns. The moments of the serial lines count, by the processor time of the emulator: on a busy host,
//! the clock says what else runs there. The machines are emulated, so only ratios mean something.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::debian;
use crate::guest::{FirstKernel, TAG};
use crate::initramfs::Initramfs;
use crate::kept::kept;
use crate::kexec_tools::KexecTools;
use crate::materials::{Target, busybox};
use crate::qemu::{self, Elapsed, Machine, Serial};
use crate::setup::{self, Need};
use crate::stand::{Stand, build_ukexec};
use crate::workspace;

/// The compressions, as `mkinitramfs -c` names them.
pub(crate) const FORMATS: [&str; 3] = ["gzip", "zstd", "xz"];

/// Runs of each kind.
const ROUNDS: usize = 3;
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// The kernel, the program that makes its initrd with the modules of most machines, and what a desktop with an encrypted
/// disk adds to it.
const PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "initramfs-tools",
    "zstd",
    "xz-utils",
    "plymouth",
    "cryptsetup-initramfs",
    "lvm2",
    "mdadm",
    "btrfs-progs",
];

/// The tool that loads, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loader {
    /// `kexec -l -s` of kexec-tools.
    KexecTools,
    /// `ukexec load`.
    Ukexec,
    /// `ukexec load --expand-initrd`.
    Expanding,
}

impl Loader {
    pub(crate) const ALL: [Self; 3] = [Self::KexecTools, Self::Ukexec, Self::Expanding];

    fn commands(self) -> &'static str {
        match self {
            Self::KexecTools => {
                "t() { /ld.so --library-path / /kexec-tools \"$@\"; }\n\
                 run t -l -s /vmlinuz --initrd=/initrd --command-line=\"$line\"\n\
                 say exec\nt -e\n"
            }
            Self::Ukexec => {
                "run ukexec load /vmlinuz --initrd=/initrd --cmdline=\"$line\"\n\
                 say exec\nukexec exec --force\n"
            }
            Self::Expanding => {
                "run ukexec load /vmlinuz --initrd=/initrd --cmdline=\"$line\" --expand-initrd\n\
                 say exec\nukexec exec --force\n"
            }
        }
    }
}

/// The times of one boot, from the call of `exec` on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// To the first line of the next kernel.
    pub(crate) to_kernel: Elapsed,
    /// To the first line of its `/init`.
    pub(crate) to_init: Elapsed,
}

/// The boots of one compression.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) format: &'static str,
    /// Bytes of the initrd.
    pub(crate) packed: u64,
    /// Of each round, in the order of [`Loader::ALL`].
    pub(crate) rounds: Vec<[Times; 3]>,
}

impl Row {
    /// The median over the rounds of the time to `/init` of `one`, divided by that of `other`.
    pub(crate) fn ratio(&self, one: Loader, other: Loader) -> f64 {
        let seconds = |round: &[Times; 3], it| {
            let Times { to_init, .. } = round[it as usize];
            to_init.processor.as_secs_f64()
        };
        let rounds = self.rounds.iter();
        median(rounds.map(|round| seconds(round, one) / seconds(round, other)))
    }

    /// The medians in seconds: of the processor time to the kernel and to `/init`, and of the host's clock to the latter.
    pub(crate) fn seconds(&self, loader: Loader) -> [f64; 3] {
        let of = |time: fn(&Times) -> Duration| {
            let times = self
                .rounds
                .iter()
                .map(|round| time(&round[loader as usize]));
            median(times.map(|it| it.as_secs_f64()))
        };
        [
            of(|it| it.to_kernel.processor),
            of(|it| it.to_init.processor),
            of(|it| it.to_init.wall),
        ]
    }
}

/// The middle one of `numbers`, of which there are some.
fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Measures and prints.
///
/// # Errors
///
/// As [`measure`].
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Need::Test])?;
    let stand = Stand::new(&build_ukexec()?, "downtime")?;
    println!(
        "Seconds of the processor from exec to the kernel's first line, and to /init's, and to that by the clock; \
         medians, rounds: {ROUNDS}"
    );
    for row in measure(&stand)? {
        let Row { format, packed, .. } = row;
        for loader in Loader::ALL {
            let [kernel, init, wall] = row.seconds(loader);
            println!("{format} ({packed} bytes), {loader:?}: {kernel:.1} {init:.1} {wall:.1}");
        }
        let expanded = row.ratio(Loader::Expanding, Loader::Ukexec);
        let beside = row.ratio(Loader::Expanding, Loader::KexecTools);
        let plain = row.ratio(Loader::Ukexec, Loader::KexecTools);
        println!(
            "{format}: expanded to plain {expanded:.2}, expanded to kexec-tools {beside:.2}, plain to kexec-tools {plain:.2}"
        );
    }
    stand.clear()
}

/// Boots each initrd by each loader, and returns the times.
///
/// # Errors
///
/// Debian cannot be installed, a tool cannot be had, or a machine does not come up.
pub(crate) fn measure(stand: &Stand) -> Result<Vec<Row>> {
    let theirs = KexecTools::find()?;
    let root = debian::root("bookworm", PACKAGES)?;
    let kernel = boot_file(&root, "vmlinuz-")?;
    let mut rows = Vec::new();
    for format in FORMATS {
        let packed = initrd(&root, format)?;
        let initrd = with_init(stand, &packed)?;
        let mut row = Row {
            format,
            packed: fs::metadata(&packed)?.len(),
            rounds: Vec::new(),
        };
        for _ in 0..ROUNDS {
            let mut times = Vec::new();
            for loader in Loader::ALL {
                times.push(boot(stand, &theirs, &kernel, &initrd, loader)?);
            }
            let times = <[Times; 3]>::try_from(times).ok();
            row.rounds.push(times.context("each loader boots once")?);
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The only file of `/boot` whose name begins with `prefix`.
fn boot_file(root: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(root.join("boot"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with(prefix) {
            return Ok(path);
        }
    }
    anyhow::bail!("no {prefix}* in /boot of {}", root.display())
}

/// The initrd that initramfs-tools make in this compression; it is kept between runs.
fn initrd(root: &Path, format: &str) -> Result<PathBuf> {
    let kept_at = workspace::roots_dir().join(format!("initrd-bookworm-desktop-{format}"));
    kept(&kept_at, |unfinished| {
        let kernel = boot_file(root, "vmlinuz-")?;
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        let version = name.trim_start_matches("vmlinuz-");
        let made = "/var/tmp/initrd";
        debian::inside(root)
            .args(["mkinitramfs", "-c", format, "-o", made, version])
            .run()?;
        let made = root.join(made.trim_start_matches('/'));
        fs::copy(&made, unfinished)?;
        Ok(fs::remove_file(made)?)
    })?;
    Ok(kept_at)
}

/// Puts an archive behind `packed` whose `/init` says that it runs and ends the machine: Debian's own waits for a disk.
fn with_init(stand: &Stand, packed: &Path) -> Result<PathBuf> {
    let init = format!("#!/bin/busybox sh\necho \"{TAG}init\"\n/bin/busybox poweroff -f\n");
    let archive = Initramfs::with_busybox(&busybox(Target::X86_64)?, &init)?.finish();
    let mut initrd = fs::read(packed)?;
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    stand.file("initrd", [initrd, archive].concat())
}

/// Boots a machine that boots `kernel` and `initrd` by `loader`.
fn boot(
    stand: &Stand,
    theirs: &KexecTools,
    kernel: &Path,
    initrd: &Path,
    loader: Loader,
) -> Result<Times> {
    let machine = Machine::X86_64;
    // The kernel's first lines come before it has a console.
    let line = machine.cmdline("earlyprintk=ttyS0,115200 loglevel=7");
    let line = line.replace(" quiet", "");
    let script = format!("line=\"{line}\"\n{}", loader.commands());
    let mut first = FirstKernel::new(&script)
        .holding("vmlinuz", kernel)
        .holding("initrd", initrd);
    if loader == Loader::KexecTools {
        first = first
            .holding("kexec-tools", &theirs.program)
            .holding("ld.so", &theirs.loader);
        for (name, path) in &theirs.libraries {
            first = first.holding(name, path);
        }
    }
    let qemu = machine
        .tool()
        .args(["-m", "4G", "-display", "none", "-monitor", "none"])
        .args(["-serial", "stdio", "-nic", "none", "-no-reboot", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(first.initrd(stand)?)
        .arg("-append")
        .arg(machine.cmdline(""));
    let serial = qemu::run(qemu, TIME_LIMIT, None)?;
    let times = times(&serial)?;
    eprintln!("{loader:?}: {times:?}");
    Ok(times)
}

fn times(serial: &Serial) -> Result<Times> {
    let exec = format!("{TAG}exec");
    let times = Times {
        to_kernel: serial.between(&exec, "Linux version")?,
        to_init: serial.between(&exec, &format!("{TAG}init"))?,
    };
    ensure!(times.to_kernel < times.to_init, "{times:?}");
    Ok(times)
}
