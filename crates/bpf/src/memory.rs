//! Guest memory.

/// All that a program can address.
#[derive(Debug, Default)]
pub struct Memory {}
