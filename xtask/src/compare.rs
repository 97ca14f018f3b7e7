//! `cargo xtask compare`: the cost of `kexec -l -s` of a big image, beside kexec-tools, in one machine.
//!
//! Both load the same image in turn, once to be timed and once to be watched. The numbers are of an emulated
//! machine: their ratio counts.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::guest::{FirstKernel, TAG};
use crate::kexec_tools::KexecTools;
use crate::materials::{OS_RELEASE, Stub, Target, kernel, stub};
use crate::qemu::{self, Machine, Serial};
use crate::setup::{self, Need};
use crate::stand::{Stand, build_ukexec};
use crate::uki::{Section, objcopy};
use crate::workspace;

/// The image of a distribution with firmware and drivers for everything has this size.
const IMAGE_LEN: usize = 219 << 20;
const PAIRS: usize = 5;
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// A program under test that needs a temporary file fails on the second turn, since nothing can be written then.
const SCRIPT: &str = r#"
unset TERM
theirs() { /cost $1 /ld.so --library-path / /kexec-tools -l -s /big.efi --reuse-cmdline 2>/dev/null; /ld.so --library-path / /kexec-tools -u; }
ours() { /cost $1 /kexec -l -s /big.efi --reuse-cmdline 2>/dev/null; /kexec -u; }
mkdir -p /var/tmp
ours time >/dev/null
theirs time >/dev/null
for pair in $(seq PAIRS); do
    say "theirs time $(theirs time)"
    say "ours time $(ours time)"
done
say "theirs memory $(theirs memory)"
say "ours memory $(ours memory)"
mount -o remount,ro /
/ld.so --library-path / /kexec-tools -l -s /big.efi --reuse-cmdline >/dev/null 2>&1
say "theirs read-only $?"
/kexec -l -s /big.efi --reuse-cmdline >/dev/null 2>&1
say "ours read-only $?"
"#;

/// Measures and prints.
///
/// # Errors
///
/// A part cannot be had, the machine does not end, or a load fails.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Need::Test])?;
    let stand = Stand::new(&build_ukexec()?, "compare")?;
    let serial = boot(&stand)?;
    stand.file("serial.txt", serial.text())?;
    let times = |who| -> Result<Vec<u64>> {
        let mut times = numbers(&serial, &format!("{who} time"), 0)?;
        ensure!(times.len() == PAIRS, "{} times of {who}", times.len());
        times.sort_unstable();
        Ok(times)
    };
    println!(
        "`kexec -l -s` of an unsigned UKI of {} MiB:",
        IMAGE_LEN >> 20
    );
    let (theirs, ours) = (times("theirs")?, times("ours")?);
    row("median time, ms", theirs[PAIRS / 2], ours[PAIRS / 2]);
    for (at, what) in [
        "memory of all processes, KiB",
        "fall of the available memory, KiB",
    ]
    .iter()
    .enumerate()
    {
        let one = |who| Ok::<_, anyhow::Error>(numbers(&serial, &format!("{who} memory"), at)?[0]);
        row(what, one("theirs")?, one("ours")?);
    }
    for who in ["theirs", "ours"] {
        let code = serial.value(&format!("{TAG}{who} read-only"))?;
        println!("{who}: exit status {code} where no file can be written");
    }
    stand.clear()
}

fn row(what: &str, theirs: u64, ours: u64) {
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let ratio = ours as f64 / theirs as f64;
    println!("{what}: kexec-tools {theirs}, ukexec {ours}, ratio {ratio:.2}");
}

/// The numbers at `at` of each line about `what`.
fn numbers(serial: &Serial, what: &str, at: usize) -> Result<Vec<u64>> {
    let tag = format!("{TAG}{what} ");
    let values = serial.values(&tag).map(|value| {
        let number = value.split(' ').nth(at).context("a number is missing")?;
        number.parse().with_context(|| format!("{what}: {value:?}"))
    });
    let values: Vec<u64> = values.collect::<Result<_>>()?;
    ensure!(
        !values.is_empty(),
        "no line about {what}:\n{}",
        serial.quoted()
    );
    Ok(values)
}

fn boot(stand: &Stand) -> Result<Serial> {
    let theirs = KexecTools::find()?;
    let [image, cost, ours] = [image(stand)?, cost(stand)?, stripped(stand)?];
    let script = SCRIPT.replace("PAIRS", &PAIRS.to_string());
    let mut first = FirstKernel::new(&script)
        .holding("big.efi", &image)
        .holding("cost", &cost)
        .holding("kexec", &ours)
        .holding("kexec-tools", &theirs.program)
        .holding("ld.so", &theirs.loader);
    for (name, path) in &theirs.libraries {
        first = first.holding(name, path);
    }
    let machine = Machine::X86_64;
    let qemu = machine
        .tool()
        .args(["-m", "4G", "-display", "none", "-monitor", "none"])
        .args(["-serial", "stdio", "-nic", "none", "-no-reboot", "-kernel"])
        .arg(kernel(Target::X86_64)?)
        .arg("-initrd")
        .arg(first.initrd(stand)?)
        .arg("-append")
        .arg(machine.cmdline(""));
    qemu::run(qemu, TIME_LIMIT, None)
}

/// A UKI whose initrd makes it as big as it shall be.
fn image(stand: &Stand) -> Result<PathBuf> {
    let kernel = kernel(Target::X86_64)?;
    let len = IMAGE_LEN - usize::try_from(kernel.metadata()?.len())?;
    let mut initrd = Vec::new();
    File::open("/dev/urandom")?
        .take(u64::try_from(len)?)
        .read_to_end(&mut initrd)?;
    let sections = [
        (".osrel", stand.file("osrel", OS_RELEASE)?),
        (".cmdline", stand.file("cmdline", "quiet")?),
        (".initrd", stand.file("initrd", initrd)?),
        (".linux", kernel),
    ];
    let image = stand.path("big.efi");
    let sections = sections.iter().map(|(name, file)| Section { name, file });
    let sections: Vec<_> = sections.collect();
    objcopy(&stub(Target::X86_64, Stub::V252)?, &sections, &image)?;
    Ok(image)
}

/// Compiles `xtask/guest/cost.c`.
fn cost(stand: &Stand) -> Result<PathBuf> {
    let output = stand.path("cost");
    Tool::new("gcc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-static"])
        .arg(workspace::root().join("xtask/guest/cost.c"))
        .arg("-o")
        .arg(&output)
        .run()?;
    Ok(output)
}

fn stripped(stand: &Stand) -> Result<PathBuf> {
    let output = stand.path("kexec");
    Tool::new("objcopy")
        .arg("--strip-all")
        .arg(stand.ukexec_path().with_file_name("kexec"))
        .arg(&output)
        .run()?;
    Ok(output)
}
