//! `ukexec exec` and `ukexec unload`.

use std::path::Path;

use ukexec_kexec::{LoadKind, exec_now, exec_through_systemd};
use ukexec_loader::{LoadedKernels, LoaderError, MachineState, unload as unload_kernel};

use crate::args::{Exec, Unload};
use crate::console;

pub(crate) fn exec(args: &Exec) -> anyhow::Result<()> {
    // A record that cannot be read warns of nothing.
    let machine = MachineState::read(Path::new("/"));
    let (loaded, _unreadable) = LoadedKernels::read(Path::new("/"), &machine);
    loaded
        .boot_warnings()
        .iter()
        .for_each(|it| console::warn(it));
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
