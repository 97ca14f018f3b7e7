//! The settings that a worker is started with: it knows its limits before it reads a byte.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use serde::{Deserialize, Serialize};
use ukexec_sandbox::{Confinement, Strictness};

/// The word in front of the settings that makes a process a worker.
pub(crate) const WORKER: &str = "worker";

/// The argument behind [`WORKER`], as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Its confinement, and the reaction where that cannot be enforced; `None`
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
    /// Returns the settings of a worker that was started with `args`, the
    /// program's name among them; `None` for all other processes.
    pub(crate) fn of_args(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let [_, word, settings] = <[_; 3]>::try_from(Vec::from_iter(args)).ok()?;
        if word != WORKER {
            return None;
        }
        // Other text behind the word is a user's, and wrong usage.
        serde_json::from_slice(settings.as_bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use ukexec_sandbox::{Confinement, Strictness};

    use super::*;

    fn of(args: &[&str]) -> Option<Settings> {
        Settings::of_args(args.iter().map(OsString::from))
    }

    #[test]
    fn a_worker_reads_what_it_was_started_with() {
        let confinement = Confinement {
            address_space: 1 << 40,
            cpu_seconds: 2,
            file_size: u64::MAX,
            descriptors: 3,
        };
        for strictness in [Strictness::Require, Strictness::BestEffort] {
            let settings = Settings {
                confinement: Some((confinement, strictness)),
                log_bytes: 4,
                verbose: 3,
                #[cfg(feature = "escape")]
                escape: Some("open".to_owned()),
            };
            let text = serde_json::to_string(&settings).unwrap();
            let read = of(&["ukexec", WORKER, &text]).unwrap();
            assert_eq!(format!("{read:?}"), format!("{settings:?}"));
        }
    }

    #[test]
    fn no_other_command_line_makes_a_worker() {
        let text = r#"{"confinement":null,"log_bytes":0,"verbose":0,"escape":null}"#;
        assert!(of(&["ukexec", WORKER, text]).is_some());
        for args in [
            &["ukexec"][..],
            &["ukexec", WORKER],
            &["ukexec", WORKER, "{}"],
            &["ukexec", WORKER, "image.efi"],
            &["ukexec", "inspect", text],
            &["ukexec", "-v", WORKER, text],
            &["ukexec", WORKER, text, "-v"],
        ] {
            assert!(of(args).is_none(), "{args:?}");
        }
    }
}
