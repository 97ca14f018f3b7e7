//! `ukexec status`: the kernels that are loaded, and the operations that the
//! machine allows.

use std::path::Path;

use ukexec_loader::report::MachineReport;
use ukexec_loader::{MachineState, Standing};

use crate::args::Status;
use crate::console::{self, Terminal};

pub(crate) fn run(args: &Status) -> anyhow::Result<()> {
    let state = MachineState::read(Path::new("/"));
    let report = MachineReport::new(state, Standing::read(&Terminal)?);
    if args.json {
        console::json(&serde_json::to_value(&report)?)
    } else {
        console::out(&report.to_string())
    }
}
