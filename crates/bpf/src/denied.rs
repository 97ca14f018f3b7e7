//! Why a guest address cannot be read or written.
//!
//! A program may make such an access in a loop (a failed probe read answers
//! `-EFAULT`), so that the text is made only when somebody reads it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

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

/// An access that was refused because of its address.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) access: Access,
    pub(crate) len: u64,
    pub(crate) addr: u64,
    /// The region's name; empty where there is none.
    pub(crate) region: Arc<str>,
    pub(crate) why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    NoRegion,
    /// It is that of a kfunc, a function or a map.
    NotMemory,
    /// The bytes that the region has.
    PassesEnd(u64),
    BeforeStart,
    ReadOnly,
    /// The function of this stack frame has returned.
    Idle,
    Gone(Gone),
}

/// How a region ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    /// Such as `discarded`.
    pub(crate) how: &'static str,
    /// The instruction that did it.
    pub(crate) slot: u32,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by insn {}", self.how, self.slot)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, addr, region) = (self.len, self.addr, &self.region);
        let unit = if len == 1 { "byte" } else { "bytes" };
        write!(f, "{} of {len} {unit} at ", self.access)?;
        // The lower half of an address is an offset.
        let offset = addr & u64::from(u32::MAX);
        match &self.why {
            Why::NoRegion if addr >> 32 == 0 => {
                write!(f, "{addr:#x}: no region (a NULL pointer)")
            }
            Why::NoRegion => write!(f, "{addr:#x}: no region"),
            Why::NotMemory => write!(f, "{region}, which is not memory"),
            Why::PassesEnd(end) => write!(f, "{region}+{offset:#x} passes its end at {end:#x}"),
            Why::BeforeStart => {
                let before = (1_u64 << 32).saturating_sub(offset);
                write!(f, "{region}-{before:#x} lies before its start")
            }
            Why::ReadOnly => write!(f, "{region}+{offset:#x}, which is read-only"),
            Why::Idle => write!(f, "{region}+{offset:#x}, but its function has returned"),
            Why::Gone(gone) => write!(f, "{region}+{offset:#x}, which was {gone}"),
        }
    }
}
