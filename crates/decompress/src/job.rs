//! A decompression under way, and its end.

use crate::input::Input;
use crate::output::Output;

/// One decompression: from where, to where.
pub(crate) struct Job<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) output: Output<'a>,
}

/// How a stream ended, where it was good.
pub(crate) enum Ending {
    Complete,
    /// See [`crate::StreamWarning::TrailerCut`].
    TrailerCut {
        part: &'static str,
        data_checked: bool,
    },
}
