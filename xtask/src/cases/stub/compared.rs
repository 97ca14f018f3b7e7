//! ukexec on the image and the partition that firmware booted, compared with that boot.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::running::namespace;
use crate::command::{Tool, said, takes_image};
use crate::guest::FirstKernel;
use crate::materials::{OS_RELEASE, Target, kernel, newer_kernel};
use crate::qemu::{Boot, Machine};
use crate::stand::{Stand, document};

use super::seen::Seen;

/// The folder of a stand with files of the machine that firmware booted, as they lie in `/`.
pub(super) const MACHINE: &str = "machine";
/// Makes a machine look like that one: SMBIOS tables, variables, and what systemd-stub left to the running system.
const DISGUISE: &str = "for it in /sys/firmware /run; do mount -t tmpfs none $it || exit; done && \
                        cp -r \"$1/sys\" \"$1/run\" /";
/// As for the boots by a kernel.
const TIME_LIMIT: Duration = Duration::from_secs(400);

/// An image or a boot entry of a partition, and the way that it is started.
pub(super) struct Started<'a> {
    pub(super) stand: &'a Stand,
    /// The argument that names it, in a folder that has the partition in `esp`.
    pub(super) chosen: String,
    /// Options of ukexec for the same start.
    pub(super) options: &'a [&'a str],
    /// The words that the stub made up behind the line.
    pub(super) made_up: &'a str,
    /// The field that has PCR 12 of this kind of start.
    pub(super) pcr_12: &'a str,
}

impl Started<'_> {
    /// Checks that ukexec would hand over the same, predicts the same, and boots the same.
    pub(super) fn compare(&self, seen: &Seen) -> Result<()> {
        remember(&self.stand.path(MACHINE), seen)?;
        let load = self.run("load", &["--dry-run", "--hash"])?;
        let inspect = self.run("inspect", &["--measure"])?;
        let sum = Tool::new("sha256sum").arg(newer_kernel()?).text()?;
        let kernel = sum.split(' ').next().unwrap_or_default();
        let register = |number: u32| seen.registers.get(&number).map_or("", String::as_str);
        // Where nothing measures something, a register stays as it was.
        let ours_of = |report: &Value, field: &str| {
            let value = report.pointer(field).and_then(Value::as_str);
            let is_register = field.starts_with("/measurements/");
            value
                .map(str::to_owned)
                .or(is_register.then(|| "0".repeat(64)))
        };
        let pcr_12 = format!("/measurements/{}/value/sha256", self.pcr_12);
        let different: Vec<String> = [
            (&load, "/cmdline/text", self.cmdline(seen)?),
            (&load, "/load/kernel/sha256", kernel),
            (&load, "/load/initrd/sha256", &seen.initrd),
            (&inspect, "/measurements/pcr11/value/sha256", register(11)),
            (&inspect, &pcr_12, register(12)),
            (&inspect, "/measurements/pcr13/value/sha256", register(13)),
        ]
        .into_iter()
        .filter_map(|(report, field, firmware)| {
            let ours = ours_of(report, field);
            let same = ours.as_deref() == Some(firmware);
            (!same).then(|| format!("{field}: firmware {firmware:?}, ukexec {ours:?}"))
        })
        .collect();
        ensure!(different.is_empty(), "{}", different.join("\n"));
        self.boot(seen)
    }

    /// Has ukexec load and execute the image in a machine, and checks that its kernel finds the same.
    fn boot(&self, seen: &Seen) -> Result<()> {
        let archive = self.stand.path("files.tar");
        Tool::new("tar")
            .args(["--owner=0", "--group=0", "--create", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(self.stand.path(""))
            .args(["esp", MACHINE])
            .run()?;
        // Where the stub makes up a console, the first kernel's goes along.
        let (keep, console) = match self.made_up {
            "" => ("", ""),
            _ => ("--console=keep", " console=ttyS0"),
        };
        let script = format!(
            "mkdir /esp && mount -t tmpfs esp /esp && tar -x -f /files.tar -C / && cd /\n\
             set {MACHINE} && {DISGUISE}\n\
             run ukexec load {} {keep}\n\
             run ukexec exec --force\n",
            self.arguments().join(" ")
        );
        let first = FirstKernel::new(&script).holding("files.tar", &archive);
        let machine = Machine::X86_64;
        let serial = Boot {
            machine,
            kernel: &kernel(Target::X86_64)?,
            initrd: &first.initrd(self.stand)?,
            cmdline: &machine.cmdline("first=kernel"),
            time_limit: TIME_LIMIT,
            shown_as: None,
        }
        .run()?;
        let ours = Seen::read(&serial).with_context(|| serial.quoted())?;
        let cmdline = format!("{}{console}", self.cmdline(seen)?);
        ensure!(
            ours.cmdline == cmdline && ours.initrd == seen.initrd && ours.files == seen.files,
            "by firmware:\n{}\nby ukexec:\n{}",
            seen.page(),
            ours.page()
        );
        Ok(())
    }

    /// Runs ukexec as on the machine that firmware booted.
    fn run(&self, command: &str, options: &[&str]) -> Result<Value> {
        let machine = self.stand.path(MACHINE);
        let output = namespace(DISGUISE, &[machine.as_os_str()])?
            .arg(self.stand.ukexec_path())
            .arg(command)
            .args(self.arguments())
            .args(options)
            .arg("--json")
            .dir(self.stand.path(""))
            .output()?;
        ensure!(takes_image(&output), "{command} failed: {}", said(&output));
        fs::write(self.stand.path(&format!("{command}.json")), &output.stdout)?;
        document(&String::from_utf8_lossy(&output.stdout))
    }

    /// The arguments of ukexec, in a folder that has the partition in `esp`.
    fn arguments(&self) -> Vec<String> {
        let fixed = ["--esp=esp".to_owned(), self.chosen.clone()];
        let options = self.options.iter().map(|it| (*it).to_owned());
        fixed.into_iter().chain(options).collect()
    }

    fn cmdline<'b>(&self, seen: &'b Seen) -> Result<&'b str> {
        let cmdline = seen.cmdline.strip_suffix(self.made_up);
        let mut cmdline = cmdline.context("the stub made up other words")?;
        // systemd-boot names the initrds that it passes by another way.
        while let Some((_, rest)) = initrd_word(cmdline) {
            cmdline = rest;
        }
        Ok(cmdline)
    }
}

/// Splits a line behind a word about an initrd at its front.
fn initrd_word(line: &str) -> Option<(&str, &str)> {
    line.split_once(' ')
        .filter(|(word, _)| word.starts_with("initrd="))
}

/// Writes the files of the machine that firmware booted.
fn remember(machine: &Path, seen: &Seen) -> Result<()> {
    let tables = machine.join("sys/firmware/dmi/tables");
    fs::create_dir_all(&tables)?;
    fs::write(tables.join("DMI"), &seen.smbios)?;
    let stub = machine.join("run/systemd/stub");
    fs::create_dir_all(&stub)?;
    fs::write(stub.join("os-release"), OS_RELEASE)?;
    if !seen.secret.is_empty() {
        let secret = stub.join("boot-secret");
        fs::write(&secret, &seen.secret)?;
        fs::set_permissions(&secret, Permissions::from_mode(0o400))?;
    }
    Ok(())
}
