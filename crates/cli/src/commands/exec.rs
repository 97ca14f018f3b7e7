//! `ukexec exec` and `ukexec unload`.

use std::path::Path;

use ukexec_kexec::{BeforeBoot, LoadKind, check_exec, exec_now, exec_through_systemd};
use ukexec_loader::{
    LoadedKernels, LoaderError, MachineState, clear_oneshot, oneshot_entry, unload as unload_kernel,
};

use crate::args::{Exec, Unload};
use crate::console;

pub(crate) fn exec(args: &Exec) -> anyhow::Result<()> {
    // A record that cannot be read warns of nothing.
    let machine = MachineState::of_loads(root());
    let (loaded, _unreadable) = LoadedKernels::read(root(), &machine);
    loaded
        .boot_warnings()
        .iter()
        .for_each(|it| console::warn(it));
    boot(args)
}

/// Boots the loaded kernel.
pub(super) fn boot(args: &Exec) -> anyhow::Result<()> {
    check_exec(args.force).map_err(LoaderError::from)?;
    if args.clear_oneshot {
        if clear_oneshot(root())? {
            console::note("LoaderEntryOneShot is removed");
        }
    } else if let Some(id) = oneshot_entry(root()) {
        console::note(&format!(
            "note: LoaderEntryOneShot stays {id}: the next boot by firmware starts that entry; \
             --clear-oneshot removes it"
        ));
    }
    if args.force {
        let before = BeforeBoot {
            sync: true,
            interfaces_down: false,
        };
        match exec_now(before, &mut |_| ()).map_err(LoaderError::from)? {}
    }
    exec_through_systemd().map_err(LoaderError::from)?;
    console::note("systemd stops the services and boots the loaded kernel");
    Ok(())
}

fn root() -> &'static Path {
    Path::new("/")
}

pub(crate) fn unload(args: &Unload) -> anyhow::Result<()> {
    let (kind, kernel) = match args.panic {
        false => (LoadKind::Reboot, "kernel"),
        true => (LoadKind::Crash, "crash kernel"),
    };
    console::record_notes(unload_kernel(kind, None)?);
    console::note(&format!("no {kernel} is loaded any more"));
    Ok(())
}
