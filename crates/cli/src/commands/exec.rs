//! `ukexec exec` and `ukexec unload`.

use std::path::Path;

use ukexec_kexec::{LoadKind, MachineState, exec_now, exec_through_systemd};

use crate::args::{Exec, Unload};
use crate::text;

pub(crate) fn exec(args: &Exec) -> anyhow::Result<()> {
    if !args.force && MachineState::read(Path::new("/")).systemd {
        exec_through_systemd()?;
        text::note("systemd stops the services and boots the loaded kernel");
        return Ok(());
    }
    if !args.force {
        text::note("note: systemd does not run here, so nothing stops the services first");
    }
    let never = exec_now()?;
    match never {}
}

pub(crate) fn unload(args: &Unload) -> anyhow::Result<()> {
    let kind = if args.panic {
        LoadKind::Crash
    } else {
        LoadKind::Reboot
    };
    ukexec_kexec::unload(kind)?;
    text::note("nothing is loaded any more");
    Ok(())
}
