//! The way that a plain `reboot` and `systemctl reboot` go: while a kernel is loaded,
//! systemd boots that one instead of the firmware.
//!
//! `reboot` has done so for long. `systemctl reboot` does since systemd 255, which leaves
//! the question to systemd-logind: without logind both start `reboot.target`.

use std::process::Command;

use serde::Serialize;

use crate::machine::MachineState;

/// The ways that a reboot goes; `None` is a way that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlainReboot {
    /// That of `reboot`.
    pub reboot: Option<RebootWay>,
    /// That of `systemctl reboot`.
    pub systemctl_reboot: Option<RebootWay>,
}

/// The way to the next system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RebootWay {
    /// The running kernel boots the one that is loaded.
    Kexec,
    /// The firmware boots.
    Firmware,
}

impl PlainReboot {
    /// Returns the ways on this machine. Where it matters, this runs `systemctl` to
    /// learn the version.
    #[must_use]
    pub fn now(machine: &MachineState) -> Self {
        let matters = machine.systemd && machine.loaded == Some(true);
        Self::of(machine, matters.then(systemd_version).flatten())
    }

    fn of(machine: &MachineState, systemd: Option<u32>) -> Self {
        use RebootWay::{Firmware, Kexec};
        let is_new = systemd.map(|version| version >= FIRST_TO_LOOK);
        let ways = |reboot, systemctl_reboot| Self {
            reboot,
            systemctl_reboot,
        };
        match (machine.loaded, machine.systemd) {
            (None, _) => ways(None, None),
            (Some(false), true) => ways(Some(Firmware), Some(Firmware)),
            (Some(_), false) => ways(Some(Firmware), None),
            (Some(true), true) => match (is_new, machine.logind) {
                (Some(true), true) => ways(Some(Kexec), Some(Kexec)),
                (Some(true), false) => ways(Some(Firmware), Some(Firmware)),
                (Some(false), _) => ways(Some(Kexec), Some(Firmware)),
                (None, true) => ways(Some(Kexec), None),
                (None, false) => ways(None, Some(Firmware)),
            },
        }
    }
}

/// Returns the version of systemd, as its `systemctl` has it.
fn systemd_version() -> Option<u32> {
    let output = Command::new("systemctl").arg("--version").output().ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `systemd 257 (257.13-1)`.
fn version_in(text: &str) -> Option<u32> {
    let version = text.strip_prefix("systemd ")?;
    let digits = version.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The first version whose `systemctl reboot` looks for a loaded kernel.
const FIRST_TO_LOOK: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the ways of `reboot` and `systemctl reboot` while a kernel is loaded.
    fn check(systemd: Option<u32>, logind: bool, expected: [&str; 2]) {
        let machine = MachineState {
            loaded: Some(true),
            systemd: true,
            logind,
            ..MachineState::default()
        };
        compare(PlainReboot::of(&machine, systemd), expected);
    }

    fn compare(ways: PlainReboot, expected: [&str; 2]) {
        let word = |way: Option<RebootWay>| match way {
            Some(RebootWay::Kexec) => "kexec",
            Some(RebootWay::Firmware) => "firmware",
            None => "unknown",
        };
        let found = [ways.reboot, ways.systemctl_reboot].map(word);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_version_and_logind_decide() {
        check(Some(252), true, ["kexec", "firmware"]);
        check(Some(252), false, ["kexec", "firmware"]);
        check(Some(254), true, ["kexec", "firmware"]);
        check(Some(255), true, ["kexec", "kexec"]);
        check(Some(262), true, ["kexec", "kexec"]);
        check(Some(262), false, ["firmware", "firmware"]);
        check(None, true, ["kexec", "unknown"]);
        check(None, false, ["unknown", "firmware"]);
    }

    #[test]
    fn without_a_loaded_kernel_or_without_systemd_the_firmware_boots() {
        let mut machine = MachineState::default();
        compare(PlainReboot::now(&machine), ["unknown", "unknown"]);
        machine.loaded = Some(true);
        compare(PlainReboot::now(&machine), ["firmware", "unknown"]);
        machine.loaded = Some(false);
        compare(PlainReboot::now(&machine), ["firmware", "unknown"]);
        machine.systemd = true;
        compare(PlainReboot::now(&machine), ["firmware", "firmware"]);
    }

    #[test]
    fn reads_versions() {
        for (text, version) in [
            ("systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT\n", Some(252)),
            ("systemd 257~rc1 (257~rc1-1)\n", Some(257)),
            ("systemd 262", Some(262)),
            ("systemd\n", None),
            ("elogind 255", None),
            ("systemd (x)", None),
            ("", None),
        ] {
            assert_eq!(version_in(text), version, "{text}");
        }
    }
}
