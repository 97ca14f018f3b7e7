//! From `exec` to the first line of the next kernel on arm64, beside kexec-tools by the same call.
//!
//! kexec-tools puts a program between the kernels. That takes a digest of all segments, with the caches off, unless `-i`
//! forbids it; an emulated machine has no caches, and shows the digest alone.

use std::time::Duration;

use anyhow::Result;

use super::materials::Materials;
use super::outcome::Outcome;
use crate::cross;
use crate::guest::{FirstKernel, TAG, reporting_initrd};
use crate::materials::{Target, kernel, kexec_tools_arm64};
use crate::qemu::{Boot, Machine};
use crate::stand::Stand;

const ROUNDS: usize = 5;
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// A way to load, and the command that boots.
struct Loader {
    shown: &'static str,
    load: &'static str,
    exec: &'static str,
}

const OURS: Loader = Loader {
    shown: "kexec -l -c of ukexec",
    load: "/kexec -l -c /vmlinuz --initrd=/next --command-line",
    exec: "/kexec -e",
};
const UNCHECKED: Loader = Loader {
    shown: "kexec -l -c -i of kexec-tools",
    load: "kt -l -c -i /vmlinuz --initrd=/next --command-line",
    exec: "kt -e",
};
const CHECKED: Loader = Loader {
    shown: "kexec -l -c of kexec-tools",
    load: "kt -l -c /vmlinuz --initrd=/next --command-line",
    exec: "kt -e",
};

/// Boots machines, and makes a row of each way of kexec-tools.
///
/// # Errors
///
/// A part cannot be had, or a machine does not reach the next kernel.
pub(crate) fn measure(materials: &Materials, name: &str) -> Result<Vec<Outcome>> {
    let stand = materials.stand();
    let mut rows = [
        row(name, "unchecked", &UNCHECKED, 1.1),
        row(name, "checked", &CHECKED, 0.1),
    ];
    for _ in 0..ROUNDS {
        let ours = seconds(stand, &OURS)?;
        for (row, peer) in rows.iter_mut().zip([&UNCHECKED, &CHECKED]) {
            row.pairs.push([ours, seconds(stand, peer)?]);
        }
    }
    Ok(rows.into())
}

fn row(name: &str, what: &str, peer: &Loader, target: f64) -> Outcome {
    Outcome {
        name: format!("{name}/{what}"),
        title: "From exec to the next kernel on arm64".to_owned(),
        ours: OURS.shown.to_owned(),
        peer: peer.shown.to_owned(),
        unit: "s",
        target: Some(target),
        pairs: Vec::new(),
    }
}

/// The processor time of the emulator: the clock says what else the host does.
fn seconds(stand: &Stand, loader: &Loader) -> Result<f64> {
    let Loader { load, exec, .. } = loader;
    let machine = Machine::Arm64;
    // The next kernel speaks before it has a driver for its console.
    let line = machine.cmdline("earlycon=pl011,0x9000000 loglevel=7");
    let line = line.replace(" quiet", "");
    let script = format!(
        "kt() {{ /ld-linux-aarch64.so.1 --library-path / /kexec-tools \"$@\"; }}\n\
         run {load} \"{line}\"\nsay exec\n{exec}\n"
    );
    let next = reporting_initrd(stand, Target::Arm64, "next")?;
    let linux = kernel(Target::Arm64)?;
    let files = kexec_tools_arm64()?;
    let ours = cross::program(Target::Arm64, "kexec")?;
    let mut first = FirstKernel::on(Target::Arm64, &script)
        .holding("vmlinuz", &linux)
        .holding("kexec", &ours)
        .holding("next", &next);
    for (name, path) in &files {
        first = first.holding(name, path);
    }
    let serial = Boot {
        machine,
        kernel: &linux,
        initrd: &first.initrd(stand)?,
        cmdline: &machine.cmdline(""),
        time_limit: TIME_LIMIT,
        shown_as: None,
    }
    .run()?;
    serial.expect(&format!("{TAG}reached="), "next")?;
    let elapsed = serial.between(&format!("{TAG}exec"), "Linux version")?;
    Ok(elapsed.processor.as_secs_f64())
}
