//! Boots by systemd: Debian on a disk, where each boot starts the next by another way, and stops as Debian stops.

use anyhow::{Result, ensure};

use crate::guest::TAG;
use crate::server::Server;
use crate::stand::Stand;

use super::Named;

pub(super) const CASES: &[Named] = &[Named::new("systemd/boots-of-a-server", boots)];

/// Each arm is one boot. A boot that starts another waits for its own end.
const SCRIPT: &str = r#"
loaded() { cat /sys/kernel/kexec_loaded; }
case $step in
first)
    run ukexec load /boot/a.efi
    say "status=$(ukexec status --json | grep '"reboot":')"
    run systemctl kexec
    ;;
a)
    run kexec -l /boot/b.efi
    say "loaded=$(loaded)"
    run reboot
    ;;
b)
    run systemctl enable ukexec-load@newest.service
    say "without=$(loaded)"
    run systemctl start kexec.target
    ;;
c)
    run ukexec load /boot/d.efi
    run systemctl start kexec.target
    ;;
d)
    run ukexec load /boot/a.efi
    run ukexec unload
    say "unloaded=$(loaded) $(ukexec status --json | grep '"reboot":')"
    sync
    poweroff --force --force
    ;;
esac
sleep infinity
"#;

/// The unit finds entries where the firmware's partition would be mounted.
const PLACE: &str = "[Service]\nEnvironment=SYSTEMD_ESP_PATH=/efi SYSTEMD_RELAX_ESP_CHECKS=1\n";

/// `ukexec load` with `systemctl kexec`, `kexec -l` with `reboot`, and the unit: without a kernel it loads an entry,
/// with one it does nothing. Each image comes up with its own command line and initrd.
fn boots(stand: &Stand) -> Result<()> {
    let server = Server::new(stand, "trixie", SCRIPT)?;
    for (step, path) in [
        ("a", "boot/a.efi"),
        ("b", "boot/b.efi"),
        ("c", "srv/efi/EFI/Linux/c.efi"),
        ("d", "boot/d.efi"),
    ] {
        server.image(path, step, "")?;
    }
    // The unit has to read it before it is unmounted.
    server.file("etc/fstab", "/srv/efi /efi none bind 0 0\n")?;
    server.file("efi/not-mounted", "")?;
    server.file(
        "etc/systemd/system/ukexec-load@.service.d/place.conf",
        PLACE,
    )?;
    let serial = server.boot("first", "", &["-nic", "none"])?;
    stand.file("serial.txt", serial.text())?;
    let tag = format!("{TAG}step=");
    let steps: Vec<&str> = serial.values(&tag).collect();
    ensure!(
        steps == ["first", "a", "b", "c", "d"],
        "these boots followed each other: {steps:?}; the last lines:\n{}",
        serial.quoted()
    );
    for step in ["a", "b", "c", "d"] {
        ensure!(
            serial.count(&format!("{TAG}initrd={step}")) == 1,
            "the initrd of {step} did not run"
        );
    }
    serial.expect(&format!("{TAG}loaded="), "1")?;
    serial.expect(&format!("{TAG}without="), "0")?;
    serial.expect(&format!("{TAG}status="), "\"reboot\": \"kexec\",")?;
    serial.expect(&format!("{TAG}unloaded="), "0   \"reboot\": \"firmware\",")
}
