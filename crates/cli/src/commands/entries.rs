//! `ukexec entries`: the boot entries of this machine, or below a folder.

use ukexec_loader::{BootEntries, BootPlaces, LoaderOptions};

use crate::args::Entries;
use crate::console::{self, Terminal};

pub(crate) fn run(args: &Entries) -> anyhow::Result<()> {
    let places = BootPlaces {
        root: args.root.clone(),
        esp: args.esp.clone(),
        boot: args.boot.clone(),
    };
    let mut options = LoaderOptions::default();
    options.config.efivars.clone_from(&args.efivars);
    let entries = BootEntries::read(&places, &options, &Terminal::shared())?;
    let report = entries.report();
    if args.json {
        console::json(&serde_json::to_value(&report)?)
    } else {
        console::page(&report.page())
    }
}
