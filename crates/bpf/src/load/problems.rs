//! All reasons why one object is refused.

use crate::BpfError;

/// The most problems that are noted before loading ends.
const MAX_PROBLEMS: usize = 32;

/// Why an object is refused, in the order found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) list: Vec<BpfError>,
}

impl Problems {
    /// Notes a problem behind which loading can go on; with too many of them it
    /// is an error that ends it.
    pub(super) fn note(&mut self, problem: BpfError) -> Result<(), BpfError> {
        if self.list.len() >= MAX_PROBLEMS {
            return Err(problem);
        }
        self.list.push(problem);
        Ok(())
    }
}
