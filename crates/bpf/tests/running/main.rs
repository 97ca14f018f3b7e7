//! Verifying and running code that is written here, without an object file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod asm;
mod calls;
mod disasm;
mod helpers;
mod instructions;
mod kfuncs;
mod maps;
mod memory;
mod random;
mod rig;
mod trace;
mod verifier;
