//! `ukexec status`: the kernels that are loaded, the way that a reboot goes, and the
//! operations that the machine allows.

use std::path::Path;

use ukexec_kexec::{MachineState, PlainReboot};
use ukexec_loader::report::MachineReport;
use ukexec_loader::{LoadedKernels, Standing};

use crate::args::Status;
use crate::console::{self, Terminal};

pub(crate) fn run(args: &Status) -> anyhow::Result<()> {
    let state = MachineState::of_this_machine();
    let (loaded, notes) = LoadedKernels::read(Path::new("/"), &state);
    console::record_notes(notes);
    let reboot = PlainReboot::now(&state);
    let report = MachineReport::new(state, reboot, loaded, Standing::read(&Terminal)?);
    if args.json {
        console::json(&serde_json::to_value(&report)?)
    } else {
        console::page(&report.page())
    }
}
