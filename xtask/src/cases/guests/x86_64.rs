//! `kexec_load` on machines that have the other call too: the second kernel finds what firmware gave to the first.

use std::fs;

use anyhow::{Result, ensure};

use crate::firmware;
use crate::guest::{FirstKernel, TAG, reporting_uki};
use crate::materials::{Target, kernel, kernel_with_variables};
use crate::qemu::{self, Machine};
use crate::stand::Stand;
use crate::zboot::Compression;

use super::{TIME_LIMIT, boot};

/// The command line of the second kernel.
fn cmdline() -> String {
    Machine::X86_64.cmdline("second=kernel")
}

/// SeaBIOS leaves ACPI's root where kernels look for it, and memory that it keeps.
pub(super) fn bios(stand: &Stand) -> Result<()> {
    let image = reporting_uki(stand, "second", &cmdline())?;
    let script = "run ukexec load --syscall=load /uki.efi\n\
                  say loaded=$(cat /sys/kernel/kexec_loaded)\n\
                  run ukexec exec --force\n";
    let first = FirstKernel::new(script).holding("uki.efi", &image);
    let machine = Machine::X86_64;
    let (kernel, initrd) = (kernel(Target::X86_64)?, first.initrd(stand)?);
    let serial = boot(machine, &kernel, &initrd, &machine.cmdline("")).run()?;
    serial.expect(&format!("{TAG}loaded="), "1")?;
    serial.expect(&format!("{TAG}reached="), "second")?;
    serial.expect(&format!("{TAG}acpi="), "yes")?;
    serial.expect(&format!("{TAG}efi="), "no")?;
    serial.expect(&format!("{TAG}cmdline="), &cmdline())
}

/// Prints what the second kernel finds, and the variables that firmware gives it.
const SECOND: &str = r#"
say "cmdline=$(cat /proc/cmdline)"
say "tables=$(ls /sys/firmware/acpi/tables | wc -l)"
insmod /efivarfs.ko
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
say "variables=$(ls /sys/firmware/efi/efivars | grep -c ^Boot)"
"#;

/// OVMF's calls and its variables are at hand for the second kernel.
pub(super) fn uefi(stand: &Stand) -> Result<()> {
    let [kernel, module] = kernel_with_variables()?;
    let bytes = Compression::Xz.tool().arg("-dc").arg(&module).bytes()?;
    let module = stand.file("efivarfs.ko", bytes)?;
    let ramdisk = FirstKernel::new(SECOND).holding("efivarfs.ko", &module);
    let second = stand.path("second-initrd");
    fs::rename(ramdisk.initrd(stand)?, &second)?;
    let script = format!(
        "run ukexec load --syscall=load /vmlinuz --initrd /second --cmdline '{}'\n\
         run ukexec exec --force\n",
        cmdline()
    );
    let first = FirstKernel::new(&script)
        .holding("vmlinuz", &kernel)
        .holding("second", &second);
    let qemu = firmware::machine(stand)?
        .args(["-m", "2G", "-nic", "none", "-kernel"])
        .arg(&kernel)
        .arg("-initrd")
        .arg(first.initrd(stand)?)
        .arg("-append")
        .arg(Machine::X86_64.cmdline(""));
    let serial = qemu::run(qemu, TIME_LIMIT, None)?;
    serial.expect(&format!("{TAG}cmdline="), &cmdline())?;
    for tag in ["tables=", "variables="] {
        let count: u32 = serial.value(&format!("{TAG}{tag}"))?.parse()?;
        ensure!(count > 0, "{tag}{count}");
    }
    Ok(())
}
