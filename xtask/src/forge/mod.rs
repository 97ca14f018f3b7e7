//! Signed images made byte by byte, so that each can be wrong in one place alone.
//!
//! `pki` makes the images that tools sign correctly, with those tools. This is for the rest:
//! nothing here checks its own output, and a verifier must not trust us in anything.

pub(crate) mod certificate;
pub(crate) mod der;
pub(crate) mod image;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod signature;
