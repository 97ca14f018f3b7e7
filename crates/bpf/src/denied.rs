//! Why a guest address cannot be read or written.
//!
//! A program may make such an access in a loop (a failed probe read answers
//! `-EFAULT`), so that the text is made only when somebody reads it.

use crate::bounds::counted;
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
    /// The region; one without a name where there is none.
    pub(crate) region: Shown,
    pub(crate) why: Why,
}

#[derive(Clone, Copy, Debug)]
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

/// A region as people read of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) name: Arc<str>,
    pub(crate) shape: Shape,
}

/// The point that offsets into a region are counted from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Shape {
    /// Its start.
    #[default]
    Plain,
    /// The end of a stack frame of so many bytes, where r10 points.
    Frame(u64),
    /// The start of a value; values of an array begin so many bytes apart.
    Array(u32),
}

impl Shown {
    /// Returns the byte at `offset`, which may lie before the start, by name:
    /// `image+0x1f3`, `stack-0x10`, `map sums[2]+0x4`.
    pub(crate) fn at(&self, offset: i64) -> String {
        let (index, offset) = match self.shape {
            Shape::Plain => (String::new(), offset),
            Shape::Frame(len) => (String::new(), offset.saturating_sub_unsigned(len)),
            Shape::Array(apart) => {
                let apart = i64::from(apart.max(1));
                let index = format!("[{}]", offset.div_euclid(apart));
                (index, offset.rem_euclid(apart))
            }
        };
        let sign = if offset < 0 { '-' } else { '+' };
        format!("{}{index}{sign}{:#x}", self.name, offset.unsigned_abs())
    }

    /// Returns the name for a sentence, with its article.
    fn noun(&self) -> String {
        let of_its_own = ["map ", "record ", "stack[", ".", "the "];
        let is_proper = of_its_own.iter().any(|start| self.name.starts_with(start));
        format!("{}{}", if is_proper { "" } else { "the " }, self.name)
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by instruction {}", self.how, self.slot)
    }
}

impl Denied {
    /// Returns the offset into the region; it is negative before its start.
    fn offset(&self) -> i64 {
        // The lower half of an address is an offset.
        let offset = (self.addr & u64::from(u32::MAX)).cast_signed();
        match self.why {
            Why::BeforeStart => offset.saturating_sub(1 << 32),
            _ => offset,
        }
    }

    /// Returns the address by name, unless that is all there is to say.
    pub(crate) fn address(&self) -> Option<String> {
        match self.why {
            Why::NoRegion if self.addr >> 32 == 0 => Some(format!("NULL+{:#x}", self.addr)),
            Why::NoRegion => Some(format!("{:#x}", self.addr)),
            Why::NotMemory => None,
            _ => Some(self.region.at(self.offset())),
        }
    }

    /// Returns a fact about the region that explains the refusal.
    pub(crate) fn note(&self) -> Option<String> {
        let region = self.region.noun();
        match (&self.why, self.region.shape) {
            (Why::PassesEnd(end), Shape::Plain) => Some(format!("{region} ends at {end:#x}")),
            (Why::PassesEnd(end), Shape::Array(apart)) => {
                let values = end.div_ceil(u64::from(apart.max(1)));
                let values = counted(values, "value");
                Some(format!("{region} has {values} of {apart} bytes"))
            }
            (Why::PassesEnd(_) | Why::BeforeStart, Shape::Frame(len)) => {
                Some(format!("{region} has {len} bytes below r10"))
            }
            (Why::Gone(gone), _) => Some(format!("{region} was {gone}")),
            _ => None,
        }
    }
}

impl fmt::Display for Denied {
    /// Writes the refusal without the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, region) = (self.len, self.region.noun());
        let unit = if len == 1 { "byte" } else { "bytes" };
        let by = match self.access {
            Access::Read => "from",
            Access::Write => "to",
        };
        write!(f, "{} of {len} {unit} ", self.access)?;
        match &self.why {
            Why::NoRegion if self.addr >> 32 == 0 => f.write_str("through a NULL pointer"),
            Why::NoRegion => f.write_str("at an address where nothing is"),
            Why::NotMemory => write!(f, "{by} {region}, which is not memory"),
            Why::PassesEnd(_) => write!(f, "passes the end of {region}"),
            Why::BeforeStart => write!(f, "lies before the start of {region}"),
            Why::ReadOnly => write!(f, "{by} {region}, which is read-only"),
            Why::Idle => write!(f, "{by} {region} after its function has returned"),
            Why::Gone(gone) => write!(f, "{by} {region}, which was {}", gone.how),
        }
    }
}
