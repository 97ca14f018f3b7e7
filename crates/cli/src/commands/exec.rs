//! `ukexec exec` and `ukexec unload`.

use std::path::Path;

use ukexec_kexec::{MachineState, exec_now, exec_through_systemd};

use crate::args::{Exec, Unload, load_kind};
use crate::console;

pub(crate) fn exec(args: &Exec) -> anyhow::Result<()> {
    if !args.force && MachineState::read(Path::new("/")).systemd {
        exec_through_systemd()?;
        console::note("systemd stops the services and boots the loaded kernel");
        return Ok(());
    }
    if !args.force {
        console::note("note: systemd does not run here, so nothing stops the services first");
    }
    let never = exec_now()?;
    match never {}
}

pub(crate) fn unload(args: &Unload) -> anyhow::Result<()> {
    ukexec_kexec::unload(load_kind(args.panic))?;
    console::note("nothing is loaded any more");
    Ok(())
}
