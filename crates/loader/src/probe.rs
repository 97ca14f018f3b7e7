//! This machine, and whether its kernel has `kexec_file_load(2)`: a process that was
//! started for the question alone asks the kernel.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ukexec_kexec::{CallProbe, MachineState};
use ukexec_sandbox::{FrameLimits, attach, spawn};

use crate::error::{Context as _, Result};

/// Reads the state of this machine, and has a child ask for the call.
///
/// The child is the calling program, started once more: as for the worker, that
/// program calls [`run_as_worker`](crate::run_as_worker) first. Where it cannot be
/// started, nothing is known of the call.
#[must_use]
pub fn this_machine() -> MachineState {
    let mut machine = MachineState::read(Path::new("/"));
    // An error is no answer, and the default says so.
    machine.call = probe().unwrap_or_default();
    machine
}

fn probe() -> Result<CallProbe> {
    let (child, channel) = spawn(&QUESTION.map(OsStr::new))?;
    let until = Instant::now() + PATIENCE;
    let answer = channel.receive_before(LIMITS, until)?;
    let answer = answer.context(|| "the probe ended without an answer")?;
    // It has nothing more to do, and its answer counts however it ends.
    let _ended = child.wait_or_kill(PATIENCE);
    Ok(serde_json::from_slice(&answer.frame)?)
}

/// Asks the kernel and answers the parent, if this process was started for that.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    if !args.into_iter().skip(1).eq(QUESTION.map(OsString::from)) {
        return None;
    }
    let answered = answer().is_ok();
    Some(if answered {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn answer() -> Result<()> {
    let parent = attach()?;
    let frame = serde_json::to_vec(&CallProbe::ask())?;
    Ok(parent.send(&frame, &[])?)
}

/// The arguments of the child.
const QUESTION: [&str; 2] = ["probe", "kexec_file_load"];

const LIMITS: FrameLimits = FrameLimits {
    frame: 64,
    descriptors: 0,
};

/// It takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
