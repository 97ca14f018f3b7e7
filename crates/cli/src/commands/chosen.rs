//! The image that a command is about: a file, or a boot entry that the caller names or
//! chooses from a list.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use ukexec_kexec::shown_path;
use ukexec_loader::report::Page;
use ukexec_loader::{
    BootEntries, ChosenEntry, Entry, LoaderError, LoaderOptions, Purpose, ReadyWorker, Unfolding,
    unfold,
};

use crate::args::{Chosen, EntryArgs};
use crate::console::{self, Terminal};

/// An image to take apart.
pub(crate) enum ChosenImage {
    File(PathBuf),
    Entry(Box<ChosenEntry>),
}

impl ChosenImage {
    /// Returns what the caller chose, and adds to `options` what follows from it.
    pub(crate) fn new(chosen: &Chosen, options: &mut LoaderOptions) -> anyhow::Result<Self> {
        match &chosen.image {
            Some(path) => Ok(Self::of_file(path, &chosen.entry, options)),
            None => Self::of_entry(&chosen.entry, options),
        }
    }

    /// Returns the file at `path`.
    pub(crate) fn of_file(path: &Path, args: &EntryArgs, options: &mut LoaderOptions) -> Self {
        options.partitions = args.partitions();
        Self::File(path.to_owned())
    }

    /// Returns the boot entry that the caller names, or chooses.
    pub(crate) fn of_entry(args: &EntryArgs, options: &mut LoaderOptions) -> anyhow::Result<Self> {
        let entries = BootEntries::read(&args.places(), options, &Terminal::shared())?;
        let entry = match args.wanted() {
            Some(wanted) => entries.find(&wanted)?,
            None => ask(&entries)?,
        };
        let entry = entries.choose(entry, &Terminal)?;
        entry.add_to(options);
        Ok(Self::Entry(Box::new(entry)))
    }

    /// Takes it apart.
    pub(crate) fn unfold(
        self,
        options: &LoaderOptions,
        purpose: &Purpose,
    ) -> Result<Unfolding, LoaderError> {
        match &self {
            Self::File(path) => unfold(path, options, purpose, &Terminal::shared()),
            Self::Entry(_) => {
                let worker = ReadyWorker::start(options, &Terminal::shared())?;
                self.unfold_by(worker, options, purpose)
            }
        }
    }

    /// Has `worker` take it apart.
    pub(crate) fn unfold_by(
        self,
        worker: ReadyWorker,
        options: &LoaderOptions,
        purpose: &Purpose,
    ) -> Result<Unfolding, LoaderError> {
        let console = Terminal::shared();
        match self {
            Self::File(path) => worker.unfold(&path, options, purpose, &console),
            Self::Entry(entry) => worker.unfold_entry(*entry, options, purpose, &console),
        }
    }
}

/// Lists the entries that can be loaded, and asks for the number of one. The list names the
/// files of entries that share an ID.
fn ask(entries: &BootEntries) -> anyhow::Result<&Entry> {
    let loadable: Vec<_> = entries.loadable().collect();
    if loadable.is_empty() {
        bail!("no boot entry can be loaded; `ukexec entries` prints why");
    }
    let mut page = Page::default();
    let mut counts = HashMap::new();
    for entry in &loadable {
        *counts.entry(&entry.id).or_insert(0) += 1;
    }
    for (number, entry) in (1..).zip(&loadable) {
        let title = &entry.show_title;
        let name = match counts.get(&entry.id) {
            Some(1) => entry.id.clone(),
            _ => shown_path(&entries.path(entry)),
        };
        page.row(number.to_string(), format!("{title}  ({name})"));
    }
    console::err_page(&page);
    let answer = console::ask(&format!("boot entry (1 to {}): ", loadable.len()))?;
    let number = answer.trim().parse::<usize>().ok();
    let chosen = number.and_then(|number| loadable.get(number.checked_sub(1)?));
    match chosen {
        Some(entry) => Ok(entry),
        None if answer.trim().is_empty() => bail!("no boot entry was chosen"),
        None => bail!(
            "expected a number from 1 to {}, found {:?}",
            loadable.len(),
            answer.trim()
        ),
    }
}
