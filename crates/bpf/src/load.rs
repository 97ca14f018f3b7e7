//! Loading: bytes of an object or of a light skeleton become a [`crate::Parser`].

pub(crate) mod core_relo;
pub(crate) mod error;
pub mod object;
pub mod skeleton;
