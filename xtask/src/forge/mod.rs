//! Signed images made byte by byte, so that each can be wrong in one place alone.
//!
//! What tools sign correctly is made in `pki`, with those tools. This is for the rest: nothing
//! here checks what it writes, and who verifies it must not take our word for anything.

pub(crate) mod certificate;
pub(crate) mod der;
pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod signature;
