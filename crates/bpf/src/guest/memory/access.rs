//! Why guest memory could not be had.

use std::fmt;

use serde::Serialize;

use crate::RopeError;

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// Why guest memory could not be read, written or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// No region has this address.
    #[error("{access} of {} at {addr:#x}: no region{}", bytes(*.len), if *.addr >> 32 == 0 { " (a NULL pointer)" } else { "" })]
    NoRegion {
        /// Reading or writing.
        access: Access,
        /// Bytes asked for.
        len: u64,
        /// The guest address.
        addr: u64,
    },
    /// The access passes the region's end.
    #[error("{access} of {} at {region}+{offset:#x} passes its end at {end:#x}", bytes(*.len))]
    PassesEnd {
        /// Reading or writing.
        access: Access,
        /// Bytes asked for.
        len: u64,
        /// The region's name.
        region: String,
        /// Where in the region.
        offset: u64,
        /// The region's length.
        end: u64,
    },
    /// The access lies before a region's start.
    #[error("{access} of {} at {region}-{before:#x} lies before its start", bytes(*.len))]
    BeforeStart {
        /// Reading or writing.
        access: Access,
        /// Bytes asked for.
        len: u64,
        /// The region's name.
        region: String,
        /// How many bytes before its start.
        before: u64,
    },
    /// The region may not be written.
    #[error("write of {} at {region}+{offset:#x}, which is read-only", bytes(*.len))]
    ReadOnly {
        /// Bytes to be written.
        len: u64,
        /// The region's name.
        region: String,
        /// Where in the region.
        offset: u64,
    },
    /// The region has been given back.
    #[error("{access} of {} at {region}+{offset:#x}, which was {how}", bytes(*.len))]
    Gone {
        /// Reading or writing.
        access: Access,
        /// Bytes asked for.
        len: u64,
        /// The region's name.
        region: String,
        /// Where in the region.
        offset: u64,
        /// What happened to it, such as `discarded by insn 17`.
        how: String,
    },
    /// The stack frame belongs to no active function.
    #[error("{access} of {} at {region}+{offset:#x}, but its function has returned", bytes(*.len))]
    Idle {
        /// Reading or writing.
        access: Access,
        /// Bytes asked for.
        len: u64,
        /// The region's name.
        region: String,
        /// Where in the region.
        offset: u64,
    },
    /// The address is a handle (a map, a kfunc, a function), not memory.
    #[error("{access} of {} at {what}, which is not memory", bytes(*.len))]
    NotMemory {
        /// Reading or writing.
        access: Access,
        /// Bytes asked for.
        len: u64,
        /// What the address is.
        what: String,
    },
    /// No NUL where a string must end.
    #[error("the text at {region}+{offset:#x} has no NUL in its first {max} bytes")]
    Unterminated {
        /// The region's name.
        region: String,
        /// Where in the region.
        offset: u64,
        /// Bytes looked at.
        max: u64,
    },
    /// The bytes behind a region cannot be had.
    #[error("the bytes of {region} cannot be had")]
    Source {
        /// The region's name.
        region: String,
        /// Why.
        #[source]
        cause: RopeError,
    },
    /// [`crate::Meter::memory`] is used up.
    #[error("the memory budget is used up: {asked} bytes asked for, {left} left")]
    OutOfMemory {
        /// Bytes asked for.
        asked: u64,
        /// Bytes left.
        left: u64,
    },
    /// More bytes than one region can show (4 GiB), or too many regions.
    #[error("{what} do not fit the address space: at most {limit}")]
    AddressSpace {
        /// What there are too many of.
        what: String,
        /// How many there may be.
        limit: u64,
    },
}

/// Returns `len` with its unit.
fn bytes(len: u64) -> String {
    if len == 1 {
        "1 byte".to_owned()
    } else {
        format!("{len} bytes")
    }
}

impl AccessError {
    /// Returns whether the address is to blame, so that a helper or kfunc
    /// answers `-EFAULT` or `-EINVAL`. Otherwise the run has to end: the host
    /// cannot read a source, or a budget is used up.
    #[must_use]
    pub fn is_bad_address(&self) -> bool {
        match self {
            Self::NoRegion { .. }
            | Self::PassesEnd { .. }
            | Self::BeforeStart { .. }
            | Self::ReadOnly { .. }
            | Self::Gone { .. }
            | Self::Idle { .. }
            | Self::NotMemory { .. }
            | Self::Unterminated { .. } => true,
            Self::Source { .. } | Self::OutOfMemory { .. } | Self::AddressSpace { .. } => false,
        }
    }
}

/// An [`AccessError`] that does not know its region's name yet.
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
    pub(super) fn in_region(self, region: &str) -> AccessError {
        match self {
            Self::Rope(cause) => AccessError::Source {
                region: region.to_owned(),
                cause,
            },
            Self::OutOfMemory { asked, left } => AccessError::OutOfMemory { asked, left },
        }
    }
}
