//! The limits of a run, and the price of everything that it is charged for.

use serde::{Deserialize, Serialize};

/// The rest of a budget; every run draws from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Instructions that may still run.
    pub insns: u64,
    /// Bytes of private memory that may still be allocated (stacks, maps,
    /// records, buffers; not bytes that are referred to in place). Freed
    /// bytes come back.
    pub memory: u64,
    /// Log lines that may still be printed; later ones are dropped, and one
    /// last line says so.
    pub log_lines: u32,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            insns: 20_000_000,
            memory: 256 << 20,
            log_lines: 1_000,
        }
    }
}
