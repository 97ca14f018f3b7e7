//! `ukexec reboot`: load, and boot what is loaded.

use anyhow::bail;
use ukexec_kexec::check_systemd;
use ukexec_loader::LoaderError;

use super::{exec, load};
use crate::args::Reboot;
use crate::console::{self, Form};

pub(crate) fn run(args: &Reboot, form: Form) -> anyhow::Result<()> {
    let dry_run = args.load.dry_run;
    if !args.exec.force && !dry_run {
        check_systemd().map_err(LoaderError::from)?;
    }
    load::load(&args.load, form, |plan| {
        consent(plan.warns() && !dry_run && !args.yes)
    })?;
    match dry_run {
        true => Ok(()),
        false => exec::boot(&args.exec).inspect_err(|_| {
            console::note("the kernel stays loaded; `ukexec unload` drops it");
        }),
    }
}

/// Asks whether to boot, if the load has a warning: nothing is loaded yet.
fn consent(is_needed: bool) -> anyhow::Result<()> {
    match is_needed {
        true if console::has_answers() => judge(&console::ask("boot all the same? [y/N] ")?),
        true => {
            bail!("not loaded: nobody can be asked about the warnings; --yes boots all the same")
        }
        false => Ok(()),
    }
}

fn judge(answer: &str) -> anyhow::Result<()> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("not loaded: the answer was not y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for answer in ["y", "Y\n", " yes \n"] {
            judge(answer).unwrap();
        }
        for answer in ["", "\n", "n\n", "no", "yy", "j"] {
            judge(answer).unwrap_err();
        }
    }
}
