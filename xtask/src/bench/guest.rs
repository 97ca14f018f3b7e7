//! The cost of `kexec -l -s` of a big image, beside kexec-tools, in one emulated machine.
//!
//! Both load the same image in turn, once to be timed and once to be watched.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::materials::Materials;
use super::outcome::Outcome;
use super::rows::BIG;
use crate::command::Tool;
use crate::guest::{FirstKernel, TAG};
use crate::kexec_tools::KexecTools;
use crate::materials::{Target, kernel};
use crate::qemu::{self, Machine, Serial};
use crate::stand::{Stand, build_ukexec};

const PAIRS: usize = 5;
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// At the end, nothing can be written: a program that needs a temporary file would fail.
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
/kexec -l -s /big.efi --reuse-cmdline >/dev/null 2>&1
say "ours read-only $?"
"#;

/// Loads by turns, and returns rows of time, memory, and all that the machine has less of.
///
/// # Errors
///
/// A part cannot be had, the machine does not end, or a load fails.
pub(crate) fn measure(materials: &Materials, name: &str) -> Result<Vec<Outcome>> {
    let stand = materials.stand();
    let serial = boot(materials)?;
    stand.file("serial.txt", serial.text())?;
    let code = serial.value(&format!("{TAG}ours read-only"))?;
    ensure!(code == "0", "exit code {code} where no file can be written");
    let row = |what: &str, title: &str, target, unit, per_unit, at| {
        let side = |who: &str| numbers(&serial, &format!("{who} {what}"), at);
        let pairs = side("ours")?.into_iter().zip(side("theirs")?);
        Ok::<_, anyhow::Error>(Outcome {
            name: format!("{name}/{title}"),
            title: format!("Load of 219 MiB in a guest: {title}"),
            ours: "kexec -l -s".to_owned(),
            peer: "kexec -l -s of kexec-tools".to_owned(),
            unit,
            target,
            pairs: pairs
                .map(|(ours, theirs)| [ours / per_unit, theirs / per_unit])
                .collect(),
        })
    };
    Ok(vec![
        row("time", "time", Some(0.7), "s", 1e3, 0)?,
        row(
            "memory",
            "memory of all processes",
            Some(0.1),
            "MiB",
            1024.0,
            0,
        )?,
        row(
            "memory",
            "fall of the available memory",
            None,
            "MiB",
            1024.0,
            1,
        )?,
    ])
}

/// The numbers at `at` of each line about `what`. The last number of a line is an exit code.
fn numbers(serial: &Serial, what: &str, at: usize) -> Result<Vec<f64>> {
    let tag = format!("{TAG}{what} ");
    let values = serial.values(&tag).map(|value| {
        let (numbers, code) = value.rsplit_once(' ').context("a number is missing")?;
        ensure!(code == "0", "{what}: exit code {code}");
        let number = numbers.split(' ').nth(at).context("a number is missing")?;
        number.parse().with_context(|| format!("{what}: {value:?}"))
    });
    let values: Vec<f64> = values.collect::<Result<_>>()?;
    ensure!(
        !values.is_empty(),
        "no line about {what}:\n{}",
        serial.quoted()
    );
    Ok(values)
}

fn boot(materials: &Materials) -> Result<Serial> {
    let stand = materials.stand();
    let theirs = KexecTools::find()?;
    let image = materials.uki(BIG)?;
    let cost = materials.in_c("cost", &["-static"])?;
    let ours = stripped(stand)?;
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

/// The static program that the tests boot.
fn stripped(stand: &Stand) -> Result<PathBuf> {
    let output = stand.path("kexec");
    Tool::new("objcopy")
        .arg("--strip-all")
        .arg(build_ukexec()?.with_file_name("kexec"))
        .arg(&output)
        .run()?;
    Ok(output)
}
