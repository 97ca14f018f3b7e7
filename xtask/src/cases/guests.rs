//! Machines of other architectures, and `ukexec` built for them: it runs there with its sandbox, and says what their
//! kernels can do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::guest::{FirstKernel, TAG, reporting_initrd};
use crate::materials::{Target, kernel};
use crate::qemu::{Boot, Machine, Serial};
use crate::stand::{Stand, document};
use crate::zboot::Zboot;

use super::Named;
use super::zboot::{ARM64, RISCV64, nested};

/// Emulated machines boot in seconds; the rest is for slow, busy hosts.
const TIME_LIMIT: Duration = Duration::from_secs(400);

pub(super) const CASES: &[Named] = &[
    Named::new("guests/arm64", |stand| inspects(stand, &GUESTS[0])),
    Named::new("guests/riscv64", |stand| inspects(stand, &GUESTS[1])),
];

/// A kind of machine, and how the kernel of its images is packed.
struct Guest {
    target: Target,
    machine: Machine,
    zboot: Zboot,
}

const GUESTS: [Guest; 2] = [
    Guest {
        target: Target::Arm64,
        machine: Machine::Arm64,
        zboot: ARM64,
    },
    Guest {
        target: Target::Riscv64,
        machine: Machine::Riscv64,
        zboot: RISCV64,
    },
];

/// The tags are those that the guests' scripts print in front of their lines.
const SCRIPT: &str = r#"
run ukexec status
say "status=$(ukexec status --json | grep -E '"kexec(_file)?_load"' | tr -d ' \n')"
run ukexec inspect /uki.efi
say "inspect=$(ukexec inspect --json /uki.efi | tr '\n' ' ')"
"#;

/// Debian's kernels have one of the two calls there. An image is found to be what it is on any other machine.
fn inspects(stand: &Stand, guest: &Guest) -> Result<()> {
    let image = guest.image(stand)?;
    let first = FirstKernel::on(guest.target, SCRIPT).holding("uki.efi", &image);
    let serial = guest.boot(stand, &first, "")?;
    serial.expect(
        &format!("{TAG}status="),
        r#""kexec_file_load":false,"kexec_load":true,"#,
    )?;
    let found = document(serial.value(&format!("{TAG}inspect="))?)?;
    let here = stand.ukexec(&[&"inspect", &"--json", &image])?;
    let here = here.replace(&*image.to_string_lossy(), "/uki.efi");
    ensure!(found == document(&here)?, "there: {found:#}\nhere: {here}");
    Ok(())
}

impl Guest {
    /// A UKI whose kernel is a zboot file, and whose initrd reports.
    fn image(&self, stand: &Stand) -> Result<PathBuf> {
        let initrd = reporting_initrd(stand, self.target, "second")?;
        let nested = nested(stand, self.target, self.zboot, &initrd, &self.cmdline())?;
        Ok(nested.image)
    }

    /// The command line of the image.
    fn cmdline(&self) -> String {
        self.machine.cmdline("second=kernel")
    }

    /// Boots the stock kernel with `first` as its ramdisk.
    fn boot(&self, stand: &Stand, first: &FirstKernel<'_>, cmdline: &str) -> Result<Serial> {
        Boot {
            machine: self.machine,
            kernel: &kernel(self.target)?,
            initrd: &first.initrd(stand)?,
            cmdline: &self.machine.cmdline(cmdline),
            time_limit: TIME_LIMIT,
            shown_as: None,
        }
        .run()
    }
}
