//! The running machine: the kernels that are loaded, and the operations that it
//! allows.

use std::fmt;

use serde::Serialize;
use ukexec_kexec::{LoadKind, MachineState};
use ukexec_signature::SecureBoot;

use super::SCHEMA;
use super::size::Size;
use crate::config::policy::Enforcement;
use crate::config::trust::Standing;
use crate::record::{LoadedImage, LoadedKernels};

/// The report of `ukexec status`, with the fields of `docs/json.md`; a field that
/// is not known is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    schema: u32,
    signatures: &'static str,
    #[serde(flatten)]
    state: MachineState,
    loaded_image: Option<LoadedImage>,
    crash_loaded_image: Option<LoadedImage>,
    secure_boot: Option<bool>,
    obstacles: Obstacles,
    #[serde(skip)]
    standing: Standing,
    #[serde(skip)]
    loaded: LoadedKernels,
}

/// Known reasons why a kernel cannot be loaded, in words.
#[derive(Clone, Debug, Serialize)]
struct Obstacles {
    load: Vec<String>,
    load_panic: Vec<String>,
}

impl MachineReport {
    /// Reports the `state` of the kernel, the kernels that are `loaded`, and how
    /// the machine stands to signatures.
    #[must_use]
    pub fn new(state: MachineState, loaded: LoadedKernels, standing: Standing) -> Self {
        let obstacles = |kind| {
            let obstacles = state.obstacles(kind);
            obstacles.iter().map(ToString::to_string).collect()
        };
        Self {
            schema: SCHEMA,
            signatures: match standing.enforcement {
                Enforcement::Require(_) => "require",
                Enforcement::Report => "report",
                Enforcement::Off => "off",
            },
            secure_boot: standing
                .secure_boot
                .and_then(|boot| boot.enabled.map(|_| boot.is_on())),
            obstacles: Obstacles {
                load: obstacles(LoadKind::Reboot),
                load_panic: obstacles(LoadKind::Crash),
            },
            loaded_image: loaded.reboot.image().cloned(),
            crash_loaded_image: loaded.crash.image().cloned(),
            state,
            standing,
            loaded,
        }
    }
}

impl fmt::Display for MachineReport {
    /// Writes one line for each fact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = &self.state;
        let mut line = |name: &str, value: Option<String>| {
            let value = value.unwrap_or_else(|| "unknown".to_owned());
            writeln!(f, "{name:<15} {value}")
        };
        let running = [state.release.as_deref(), state.machine.as_deref()];
        let running: Vec<&str> = running.into_iter().flatten().collect();
        line("running", (!running.is_empty()).then(|| running.join(" ")))?;
        line("kexec", state.kexec.map(yes_no))?;
        line("loaded", Some(self.loaded.reboot.to_string()))?;
        line("loaded --panic", Some(self.loaded.crash.to_string()))?;
        let reserved = state.crash_size.map(|size| match size {
            0 => "nothing reserved (boot with crashkernel=)".to_owned(),
            size => format!("{} reserved", Size(size)),
        });
        line("crash memory", reserved)?;
        line(
            "loads left",
            state.limit_reboot.map(|left| left.to_string()),
        )?;
        line(
            "crash loads",
            state.limit_panic.map(|left| left.to_string()),
        )?;
        line("load disabled", state.load_disabled.map(yes_no))?;
        line(
            "lockdown",
            state.lockdown.map(|level| level.name().to_owned()),
        )?;
        line(
            "secure boot",
            self.standing.secure_boot.and_then(secure_boot),
        )?;
        let signatures = match self.standing.enforcement {
            Enforcement::Require(because) => {
                format!("a good one is required, {}", because.reason())
            }
            Enforcement::Report => "reported, not required".to_owned(),
            Enforcement::Off => "not looked at".to_owned(),
        };
        line("signatures", Some(signatures))?;
        line("CAP_SYS_BOOT", state.cap_sys_boot.map(yes_no))?;
        line("systemd", Some(yes_no(state.systemd)))?;
        for obstacle in &self.obstacles.load {
            writeln!(f, "load is refused: {obstacle}")?;
        }
        for obstacle in &self.obstacles.load_panic {
            writeln!(f, "load --panic is refused: {obstacle}")?;
        }
        Ok(())
    }
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// Returns whether Secure Boot is on, and where that is not what its variable
/// says, why.
fn secure_boot(boot: SecureBoot) -> Option<String> {
    let text = match boot.enabled? {
        _ if boot.is_on() => "yes",
        true if boot.setup_mode => "no: the firmware is in setup mode",
        true => "no: shim was told to verify nothing (MokSBState)",
        false => "no",
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_kexec::{LoadLimit, Lockdown};

    use super::*;
    use crate::config::policy::{BootState, Policy};
    use crate::record::Loaded;

    #[test]
    fn every_value_is_in_the_text_and_in_the_document() {
        let mut state = MachineState::default();
        state.release = Some("6.6.6".to_owned());
        state.machine = Some("x86_64".to_owned());
        state.kexec = Some(true);
        state.loaded = Some(true);
        state.crash_loaded = Some(false);
        state.crash_size = Some(256 << 20);
        state.load_disabled = Some(true);
        state.limit_reboot = Some(LoadLimit::Unlimited);
        state.limit_panic = Some(LoadLimit::Left(0));
        state.lockdown = Some(Lockdown::Integrity);
        state.cap_sys_boot = Some(false);
        state.systemd = true;
        let standing = Standing {
            enforcement: Policy::Off.on(BootState::default()),
            secure_boot: Some(SecureBoot::default()),
        };
        let loaded = LoadedKernels {
            reboot: Loaded::Recorded(LoadedImage {
                image: "debian.efi".to_owned(),
                release: Some("6.1.0-56-amd64".to_owned()),
                entry: None,
                seconds_ago: 720,
            }),
            crash: Loaded::Nothing,
        };
        let report = MachineReport::new(state, loaded, standing);
        let document = serde_json::to_value(&report).unwrap();
        expect![[r#"
            running         6.6.6 x86_64
            kexec           yes
            loaded          debian.efi, Linux 6.1.0-56-amd64, 12 minutes ago; another tool may have replaced it since
            loaded --panic  nothing
            crash memory    256.0 MiB reserved
            loads left      unlimited
            crash loads     0
            load disabled   yes
            lockdown        integrity
            secure boot     unknown
            signatures      not looked at
            CAP_SYS_BOOT    no
            systemd         yes
            load is refused: this process lacks CAP_SYS_BOOT
            load is refused: kernel.kexec_load_disabled is 1
            load --panic is refused: this process lacks CAP_SYS_BOOT
            load --panic is refused: kernel.kexec_load_disabled is 1
            load --panic is refused: kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included
            {
              "schema": 1,
              "signatures": "off",
              "release": "6.6.6",
              "machine": "x86_64",
              "kexec": true,
              "loaded": true,
              "crash_loaded": false,
              "crash_size": 268435456,
              "load_disabled": true,
              "limit_reboot": "unlimited",
              "limit_panic": "0",
              "cap_sys_boot": false,
              "lockdown": "integrity",
              "systemd": true,
              "loaded_image": {
                "image": "debian.efi",
                "release": "6.1.0-56-amd64",
                "entry": null,
                "seconds_ago": 720
              },
              "crash_loaded_image": null,
              "secure_boot": null,
              "obstacles": {
                "load": [
                  "this process lacks CAP_SYS_BOOT",
                  "kernel.kexec_load_disabled is 1"
                ],
                "load_panic": [
                  "this process lacks CAP_SYS_BOOT",
                  "kernel.kexec_load_disabled is 1",
                  "kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included"
                ]
              }
            }"#]].assert_eq(&format!("{report}{document:#}"));
    }

    /// Compares what is said of Secure Boot and of what follows from it.
    fn check(boot: SecureBoot, expected: Expect) {
        let machine = BootState {
            secure_boot: boot,
            lockdown: false,
        };
        let standing = Standing {
            enforcement: Policy::Auto.on(machine),
            secure_boot: Some(boot),
        };
        let state = MachineState::default();
        let loaded = LoadedKernels {
            reboot: Loaded::Unknown,
            crash: Loaded::Unknown,
        };
        let report = MachineReport::new(state, loaded, standing);
        let text = report.to_string();
        let lines = text.lines().filter(|line| line.starts_with('s'));
        let lines: Vec<&str> = lines.take(2).collect();
        let document = serde_json::to_value(&report).unwrap();
        let fields = (&document["secure_boot"], &document["signatures"]);
        expected.assert_eq(&format!("{}\n{fields:?}", lines.join("\n")));
    }

    #[test]
    fn secure_boot_and_what_follows_from_it_agree() {
        let boot = |enabled, setup_mode, shim_insecure| SecureBoot {
            enabled,
            setup_mode,
            shim_insecure,
        };
        check(
            boot(Some(true), false, false),
            expect![[r#"
            secure boot     yes
            signatures      a good one is required, since Secure Boot is on
            (Bool(true), String("require"))"#]],
        );
        check(
            boot(Some(true), true, false),
            expect![[r#"
            secure boot     no: the firmware is in setup mode
            signatures      reported, not required
            (Bool(false), String("report"))"#]],
        );
        check(
            boot(Some(true), false, true),
            expect![[r#"
            secure boot     no: shim was told to verify nothing (MokSBState)
            signatures      reported, not required
            (Bool(false), String("report"))"#]],
        );
        check(
            boot(Some(false), true, false),
            expect![[r#"
            secure boot     no
            signatures      reported, not required
            (Bool(false), String("report"))"#]],
        );
        check(
            boot(None, false, false),
            expect![[r#"
            secure boot     unknown
            signatures      reported, not required
            (Null, String("report"))"#]],
        );
    }
}
