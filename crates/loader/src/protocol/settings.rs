//! What a worker is started with: it knows its limits before it reads a byte.

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
use ukexec_sandbox::{Confinement, Strictness};

/// The word in front of the settings that makes a process a worker.
pub(crate) const WORKER: &str = "worker";

/// The argument behind [`WORKER`], as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// What it may use, and what to do where that cannot be enforced; `None`
    /// leaves it all its rights.
    pub(crate) confinement: Option<(Confinement, Strictness)>,
    /// Bytes of log that it may send.
    pub(crate) log_bytes: u64,
    /// How much it logs: 1 is `-v`.
    pub(crate) verbose: u8,
    /// Tries to get out in this way.
    #[cfg(feature = "escape")]
    pub(crate) escape: Option<String>,
}

impl Settings {
    /// Returns which events it logs.
    pub(crate) fn level(&self) -> LevelFilter {
        match self.verbose {
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }
}
