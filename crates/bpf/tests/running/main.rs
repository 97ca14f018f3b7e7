//! Verifying and running code that is written here, without an object file.

mod asm;
mod calls;
mod helpers;
mod instructions;
mod memory;
mod random;
mod rig;
mod verifier;
