//! An error of a region that does not know its name.

use crate::{BpfError, RopeError};

/// Why a region's bytes cannot be had.
#[derive(Debug)]
pub(super) enum RegionError {
    Rope(RopeError),
    OutOfMemory { asked: u64, left: u64 },
}

impl From<RopeError> for RegionError {
    fn from(cause: RopeError) -> Self {
        Self::Rope(cause)
    }
}

impl RegionError {
    /// Returns the error that a program's author reads.
    pub(super) fn in_region(self, region: &str) -> BpfError {
        match self {
            Self::Rope(cause) => BpfError::unreadable(region, cause),
            Self::OutOfMemory { asked, left } => BpfError::out_of_memory(asked, left),
        }
    }
}
