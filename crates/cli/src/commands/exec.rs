//! `ukexec exec` and `ukexec unload`.

use ukexec_kexec::{LoadKind, exec_now, exec_through_systemd};
use ukexec_loader::{LoaderError, unload as unload_kernel};

use crate::args::{Exec, Unload};
use crate::console;

pub(crate) fn exec(args: &Exec) -> anyhow::Result<()> {
    if args.force {
        match exec_now().map_err(LoaderError::from)? {}
    }
    exec_through_systemd().map_err(LoaderError::from)?;
    console::note("systemd stops the services and boots the loaded kernel");
    Ok(())
}

pub(crate) fn unload(args: &Unload) -> anyhow::Result<()> {
    let (kind, kernel) = match args.panic {
        false => (LoadKind::Reboot, "kernel"),
        true => (LoadKind::Crash, "crash kernel"),
    };
    console::record_notes(unload_kernel(kind)?);
    console::note(&format!("no {kernel} is loaded any more"));
    Ok(())
}
