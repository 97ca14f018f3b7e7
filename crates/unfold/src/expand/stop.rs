//! Why a walk through an initrd ends before its end.

use crate::UnfoldError;

/// An initrd that is not walked through to its end.
pub(super) enum Stop {
    Left(Left),
    Failed(UnfoldError),
}

/// The part of an initrd that stays as it is, up to the end.
pub(super) struct Left {
    pub(super) offset: u64,
    pub(super) format: &'static str,
    /// Says where it begins, too.
    pub(super) reason: String,
}

impl Stop {
    pub(super) fn left(offset: u64, format: &'static str, reason: &str) -> Self {
        Self::Left(Left {
            offset,
            format,
            reason: format!("at offset {offset:#x}, {reason}"),
        })
    }
}

impl From<UnfoldError> for Stop {
    fn from(error: UnfoldError) -> Self {
        Self::Failed(error)
    }
}
