//! The world of a program: its memory, its maps, the functions it may call, and the host
//! behind them.

pub(crate) mod errno;
pub(crate) mod helper;
pub(crate) mod helpers;
pub(crate) mod host;
pub(crate) mod interface;
pub(crate) mod machine;
pub(crate) mod maps;
pub mod memory;
pub mod trace;
