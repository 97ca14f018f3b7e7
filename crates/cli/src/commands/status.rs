//! `ukexec status`: what is loaded, and what the machine allows.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use ukexec_kexec::{LoadKind, LoadLimit, MachineState};

use crate::args::Status;
use crate::document::SCHEMA;
use crate::policy::Effective;
use crate::size::Size;
use crate::{text, trust};

pub(crate) fn run(args: &Status) -> anyhow::Result<()> {
    let state = MachineState::read(Path::new("/"));
    let signatures = trust::standing()?;
    if args.json {
        text::json(&document(&state, signatures))?;
    } else {
        text::out(&report(&state, signatures)?)?;
    }
    Ok(())
}

fn report(state: &MachineState, signatures: Effective) -> anyhow::Result<String> {
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
        or_unknown(state.secure_boot.map(yes_no))
    )?;
    let signatures = match signatures {
        Effective::Require(because) => format!("a good one is required, {}", because.reason()),
        Effective::Report => "told of; none is required".to_owned(),
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

fn document(state: &MachineState, signatures: Effective) -> Value {
    let obstacles = |kind| -> Vec<String> {
        state
            .obstacles(kind)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let signatures = match signatures {
        Effective::Require(_) => "require",
        Effective::Report => "report",
        Effective::Off => "off",
    };
    json!({
        "schema": SCHEMA,
        "signatures": signatures,
        "release": state.release,
        "machine": state.machine,
        "loaded": state.loaded,
        "crash_loaded": state.crash_loaded,
        "crash_size": state.crash_size,
        "load_disabled": state.load_disabled,
        "limit_reboot": state.limit_reboot.map(limit),
        "limit_panic": state.limit_panic.map(limit),
        "lockdown": state.lockdown.map(|level| level.name()),
        "secure_boot": state.secure_boot,
        "cap_sys_boot": state.cap_sys_boot,
        "systemd": state.systemd,
        "obstacles": { "load": obstacles(LoadKind::Reboot), "load_panic": obstacles(LoadKind::Crash) },
    })
}
