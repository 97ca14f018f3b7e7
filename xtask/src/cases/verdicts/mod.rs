//! Signatures: what is good, by whose word, and that nothing else runs.

pub(super) mod changes;
pub(super) mod damage;
pub(super) mod firmware;
pub(super) mod killed;
pub(super) mod lists;
mod made;
pub(super) mod policy;
pub(super) mod signers;

use super::Named;

use made::{CHANGED, Made, REQUIRED, check, check_changed, check_report, trust};
