//! `ukexec status`: what is loaded, and what the machine allows.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use ukexec_kexec::{LoadKind, LoadLimit, MachineState};
use ukexec_signature::SecureBoot;

use crate::args::Status;
use crate::document::SCHEMA;
use crate::policy::Effective;
use crate::size::Size;
use crate::text;
use crate::trust::Standing;

pub(crate) fn run(args: &Status) -> anyhow::Result<()> {
    let state = MachineState::read(Path::new("/"));
    let standing = Standing::read()?;
    if args.json {
        text::json(&document(&state, standing))?;
    } else {
        text::out(&report(&state, standing)?)?;
    }
    Ok(())
}

fn report(state: &MachineState, standing: Standing) -> anyhow::Result<String> {
    let mut text = String::new();
    let running = [state.release.as_deref(), state.machine.as_deref()];
    let running: Vec<&str> = running.into_iter().flatten().collect();
    writeln!(
        text,
        "running         {}",
        or_unknown((!running.is_empty()).then(|| running.join(" ")))
    )?;
    writeln!(
        text,
        "kexec           {}",
        or_unknown(state.kexec.map(yes_no))
    )?;
    writeln!(
        text,
        "kernel loaded   {}",
        or_unknown(state.loaded.map(yes_no))
    )?;
    writeln!(
        text,
        "crash kernel    {}",
        or_unknown(state.crash_loaded.map(yes_no))
    )?;
    let reserved = state.crash_size.map(|size| match size {
        0 => "nothing reserved (boot with crashkernel=)".to_owned(),
        size => format!("{} reserved", Size(size)),
    });
    writeln!(text, "crash memory    {}", or_unknown(reserved))?;
    writeln!(
        text,
        "loads left      {}",
        or_unknown(state.limit_reboot.map(limit))
    )?;
    writeln!(
        text,
        "crash loads     {}",
        or_unknown(state.limit_panic.map(limit))
    )?;
    writeln!(
        text,
        "load disabled   {}",
        or_unknown(state.load_disabled.map(yes_no))
    )?;
    writeln!(
        text,
        "lockdown        {}",
        or_unknown(state.lockdown.map(|level| level.name().to_owned()))
    )?;
    writeln!(
        text,
        "secure boot     {}",
        or_unknown(standing.secure_boot.and_then(secure_boot))
    )?;
    let signatures = match standing.effective {
        Effective::Require(because) => format!("a good one is required, {}", because.reason()),
        Effective::Report => "reported, not required".to_owned(),
        Effective::Off => "not looked at".to_owned(),
    };
    writeln!(text, "signatures      {signatures}")?;
    writeln!(
        text,
        "CAP_SYS_BOOT    {}",
        or_unknown(state.cap_sys_boot.map(yes_no))
    )?;
    writeln!(text, "systemd         {}", yes_no(state.systemd))?;
    for (kind, what) in KINDS {
        for obstacle in state.obstacles(kind) {
            writeln!(text, "{what}: {obstacle}")?;
        }
    }
    Ok(text)
}

const KINDS: [(LoadKind, &str); 2] = [
    (LoadKind::Reboot, "load is refused"),
    (LoadKind::Crash, "load --panic is refused"),
];

fn or_unknown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "unknown".to_owned())
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn limit(limit: LoadLimit) -> String {
    match limit {
        LoadLimit::Unlimited => "unlimited".to_owned(),
        LoadLimit::Left(count) => count.to_string(),
    }
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

fn document(state: &MachineState, standing: Standing) -> Value {
    let obstacles = |kind| -> Vec<String> {
        state
            .obstacles(kind)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let signatures = match standing.effective {
        Effective::Require(_) => "require",
        Effective::Report => "report",
        Effective::Off => "off",
    };
    let secure_boot = standing
        .secure_boot
        .and_then(|boot| boot.enabled.map(|_| boot.is_on()));
    json!({
        "schema": SCHEMA,
        "signatures": signatures,
        "release": state.release,
        "machine": state.machine,
        "kexec": state.kexec,
        "loaded": state.loaded,
        "crash_loaded": state.crash_loaded,
        "crash_size": state.crash_size,
        "load_disabled": state.load_disabled,
        "limit_reboot": state.limit_reboot.map(limit),
        "limit_panic": state.limit_panic.map(limit),
        "lockdown": state.lockdown.map(|level| level.name()),
        "secure_boot": secure_boot,
        "cap_sys_boot": state.cap_sys_boot,
        "systemd": state.systemd,
        "obstacles": { "load": obstacles(LoadKind::Reboot), "load_panic": obstacles(LoadKind::Crash) },
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::policy::{Machine, Policy};

    /// Compares what is said of Secure Boot and of what follows from it.
    fn check(boot: SecureBoot, expected: Expect) {
        let machine = Machine {
            secure_boot: boot,
            lockdown: false,
        };
        let standing = Standing {
            effective: Policy::Auto.on(machine),
            secure_boot: Some(boot),
        };
        let state = MachineState::default();
        let report = report(&state, standing).unwrap();
        let lines = report.lines().filter(|line| line.starts_with('s'));
        let lines: Vec<&str> = lines.take(2).collect();
        let document = document(&state, standing);
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
