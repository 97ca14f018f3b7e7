//! Bytes of a file that are taken together: what a digest is made of, or the
//! content of a section as it lies in memory.

use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

/// Bytes of a file by reference, and zeros behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRanges {
    /// Offsets in the file, in the order in which they are read; neighbours that
    /// touch are one range.
    pub ranges: Vec<Range<u64>>,
    /// How many zeros follow the last range.
    pub padding: u64,
}

impl From<Range<u64>> for ByteRanges {
    fn from(range: Range<u64>) -> Self {
        Self {
            ranges: core::iter::once(range).collect(),
            padding: 0,
        }
    }
}
