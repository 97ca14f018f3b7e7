//! `kexec`: ukexec with the arguments, exit statuses and habits of kexec(8), so that kdump,
//! systemd and scripts call it unchanged.
//!
//! Spec: kexec-tools 2.0.32, `kexec/kexec.c`. `docs/kexec.md` lists the differences.

mod definition;
mod machine;
mod plan;
#[cfg(test)]
mod tests;

use std::env;
use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use ukexec_kexec::BeforeBoot;
use ukexec_loader::{LoadCall, LoadKind, MachineState, Syscall, start_log};

use self::definition::{KEXEC_TOOLS, of_another_machine};
use self::machine::Machine;
use self::plan::{Load, Plan, Question, Then};
use crate::console::{self, Color, Program};

pub(crate) use self::definition::definition;

/// Runs `kexec` with the arguments `args`, of which the first is its name, and returns the exit
/// status.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    console::start(Program::Kexec, false, Color::Auto);
    let ended = parse(args).and_then(|parsed| match parsed {
        Parsed::Text(text) => Ok(Answer::printed(text)),
        Parsed::Plan(plan) => {
            start_log(plan.debug.into(), || console::Log);
            follow(&plan, &mut Machine)
        }
    });
    let ended = ended.and_then(|Answer { status, stdout }| {
        let printed = match stdout.as_str() {
            "" => Ok(()),
            stdout => console::out(stdout),
        };
        printed.map_err(|error| Ended::new(Status::FAILED, error.to_string()))?;
        Ok(status)
    });
    let Status(status) = ended.unwrap_or_else(|Ended { status, text }| {
        text.lines().for_each(console::error);
        status
    });
    status
}

/// An exit status of kexec(8). None is 2 to 6, which callers use themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(u8);

impl Status {
    const DONE: Self = Self(0);
    /// Of `-S`.
    const LOADED: Self = Self(1);
    /// Wrong usage, or a demand that cannot be met.
    const WRONG: Self = Self(1);
    /// With `-s`: another call might take it.
    const NO_CALL: Self = Self(253);
    const FAILED: Self = Self(255);
}

/// The end of a run that did what was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: Status,
    stdout: String,
}

impl Answer {
    fn new(status: Status) -> Self {
        let stdout = String::new();
        Self { status, stdout }
    }

    fn printed(stdout: String) -> Self {
        let status = Status::DONE;
        Self { status, stdout }
    }
}

/// The end of a run that did not, and why: one line, and further ones with advice.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    status: Status,
    text: String,
}

impl Ended {
    fn new(status: Status, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    fn wrong(text: impl fmt::Display) -> Self {
        Self::new(Status::WRONG, format!("{text}\n{USAGE}"))
    }
}

const USAGE: &str = "usage: kexec [OPTION]... [KERNEL]; `kexec -h` lists the options";

/// Arguments that were understood.
#[derive(Debug)]
enum Parsed {
    /// A text that they ask for.
    Text(String),
    Plan(Box<Plan>),
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Ended> {
    let machine = env::consts::ARCH;
    let matches = match definition(Some(machine)).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return answer(&error),
    };
    let plan = Plan::new(&matches, machine).map_err(Ended::wrong)?;
    Ok(Parsed::Plan(Box::new(plan)))
}

/// Returns what is printed in place of a plan.
fn answer(error: &clap::Error) -> Result<Parsed, Ended> {
    match error.kind() {
        ErrorKind::DisplayHelp => {
            let help = error.render();
            return Ok(Parsed::Text(format!("{KEXEC_TOOLS} {UKEXEC}\n{help}")));
        }
        ErrorKind::DisplayVersion => {
            return Ok(Parsed::Text(format!("{KEXEC_TOOLS} {UKEXEC}\n")));
        }
        _ => {}
    }
    let option = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(option))) => option.as_str(),
        _ => "",
    };
    let name = option.strip_prefix("--").unwrap_or_default();
    let name = name.split(['=', ' ']).next().unwrap_or_default();
    if let Some(why) = of_another_machine(name) {
        return Err(Ended::new(Status::WRONG, format!("--{name}: {why}")));
    }
    // The first line says all; tips and usage follow.
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    Err(Ended::wrong(text.trim_start_matches("error: ")))
}

/// Stands behind the version of kexec-tools.
const UKEXEC: &str = concat!("(ukexec ", env!("CARGO_PKG_VERSION"), ")");

/// The machine that a plan is followed on, or its stand-in.
trait Backend {
    fn state(&self) -> MachineState;
    /// Loads `load` of `plan`; prints nothing if it is `quiet`.
    fn load(&mut self, load: &Load, plan: &Plan, quiet: bool) -> Result<(), Ended>;
    fn unload(&mut self, plan: &Plan) -> Result<(), Ended>;
    /// Boots the loaded kernel. Returns only if that fails.
    fn exec(&mut self, before: BeforeBoot, plan: &Plan) -> Ended;
    /// Runs `shutdown -r now` in place of this process. Returns only if that fails.
    fn shutdown(&mut self) -> Ended;
}

/// Does what `plan` says.
fn follow(plan: &Plan, backend: &mut dyn Backend) -> Result<Answer, Ended> {
    let state = backend.state();
    match plan.question {
        Some(Question::CrashRegion) => {
            let size = state.crash_size.unwrap_or_default();
            return Ok(Answer::printed(format!("{size}\n")));
        }
        Some(Question::Status(kind)) => return loaded(&state, kind),
        None => {}
    }
    if state.xen_dom0 {
        return Err(Ended::new(Status::WRONG, DOM0));
    }
    if let Some(load) = &plan.load {
        may_load(load, plan)?;
        if !plan.dry_run {
            can_load(load, plan, &state)?;
        }
    }
    if plan.unload && !plan.dry_run {
        backend.unload(plan)?;
    }
    if let Some(load) = &plan.load {
        if load.kernel.is_none() {
            let text = format!("No kernel specified\n{USAGE}");
            return Err(Ended::new(Status::FAILED, text));
        }
        // udev's rules load a crash kernel anew at each change of the hardware, and log each
        // word.
        let is_reload = plan.kind == LoadKind::Crash && state.crash_loaded == Some(true);
        backend.load(load, plan, is_reload && !plan.debug && !plan.dry_run)?;
    }
    match plan.then {
        _ if plan.dry_run => Ok(Answer::new(Status::DONE)),
        Then::Nothing => Ok(Answer::new(Status::DONE)),
        Then::Exec(_) if plan.loaded(&state, backend) == Some(false) => {
            Err(Ended::new(Status::WRONG, NOTHING_LOADED))
        }
        Then::Exec(before) => Err(backend.exec(before, plan)),
        Then::Shutdown => Err(backend.shutdown()),
    }
}

impl Plan {
    /// Returns whether a kernel is loaded behind these steps; `state` is that before them.
    fn loaded(&self, state: &MachineState, backend: &dyn Backend) -> Option<bool> {
        match self.load.is_some() || self.unload {
            true => backend.state().loaded,
            false => state.loaded,
        }
    }
}

const DOM0: &str = "this is Xen's dom0, where Xen loads kernels; use kexec of kexec-tools \
                    (`dpkg-divert --truename /usr/sbin/kexec` names it where ukexec-kexec is \
                    installed)";

const NOTHING_LOADED: &str = "Nothing has been loaded! Load a kernel with `kexec -l KERNEL` first";

/// Answers `-S`.
fn loaded(state: &MachineState, kind: LoadKind) -> Result<Answer, Ended> {
    let loaded = match kind {
        LoadKind::Reboot => state.loaded,
        LoadKind::Crash => state.crash_loaded,
    };
    match loaded {
        Some(true) => Ok(Answer::new(Status::LOADED)),
        Some(false) => Ok(Answer::new(Status::DONE)),
        None => Err(Ended::new(
            Status::FAILED,
            "/sys/kernel does not show whether a kernel is loaded: expected kexec_loaded and \
             kexec_crash_loaded there, or in kexec/; mount sysfs",
        )),
    }
}

/// Refuses a load that this program does not do.
fn may_load(load: &Load, plan: &Plan) -> Result<(), Ended> {
    if let Some(refused) = &load.refused {
        return Err(Ended::new(Status::WRONG, refused));
    }
    let is_x86_64 = env::consts::ARCH == "x86_64";
    if is_x86_64 && (plan.call, plan.kind) == (Syscall::Load, LoadKind::Crash) {
        return Err(Ended::new(Status::WRONG, NO_CRASH_SEGMENTS));
    }
    Ok(())
}

/// Refuses a load that the machine does not do, before anything is opened.
fn can_load(load: &Load, plan: &Plan, state: &MachineState) -> Result<(), Ended> {
    if plan.kind == LoadKind::Crash && state.crash_size == Some(0) {
        return Err(Ended::new(Status::WRONG, NO_REGION));
    }
    if state.kexec == Some(false) {
        let status = match plan.call {
            Syscall::File => Status::NO_CALL,
            Syscall::Auto | Syscall::Load => Status::FAILED,
        };
        let call = match plan.call {
            Syscall::Load => LoadCall::KexecLoad,
            Syscall::Auto | Syscall::File => LoadCall::KexecFileLoad,
        };
        let text = format!("syscall {} not available. {NO_CALL}", call.name());
        return Err(Ended::new(status, text));
    }
    if load.hotplug && !state.crash_hotplug {
        return Err(Ended::new(Status::WRONG, NO_HOTPLUG));
    }
    Ok(())
}

const NO_CALL: &str = "The running kernel has no kexec, \
                       or a container hides it; boot one that has it";

const NO_REGION: &str = "Memory for crashkernel is not reserved: boot with crashkernel= on the \
                         command line (crashkernel=512M suits most machines)";

const NO_CRASH_SEGMENTS: &str = "--kexec-syscall (-c) with -p is refused: on x86_64, ukexec loads \
                                 crash kernels by kexec_file_load(2) alone; leave -c out, or use \
                                 kexec of kexec-tools";

const NO_HOTPLUG: &str = "--hotplug: the running kernel does not keep a crash kernel's list of \
                          processors and memory up to date (/sys/kernel/crash_elfcorehdr_size \
                          is not there); leave the option out";
