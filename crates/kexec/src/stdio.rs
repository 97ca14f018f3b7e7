//! Whether this process was started with a standard output.
//!
//! Rust opens `/dev/null` in place of a standard stream that is closed, before
//! `main`: what is written there is lost, and nobody learns of it. So somebody looks
//! before.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it was closed.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// The C library calls it before it calls `main` (System V ABI, "Initialization and
/// Termination Functions").
#[used]
#[expect(unsafe_code, reason = "nothing safe runs before `main`")]
// SAFETY: the section holds pointers to functions without a result, and this is one.
// The function needs no runtime: it makes a system call and stores a flag.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let flags = rustix::io::fcntl_getfd(rustix::stdio::stdout());
    CLOSED.store(flags.is_err(), Ordering::Relaxed);
}

/// Returns whether this process was started without a standard output (`>&-`), so
/// that everything written there is lost.
#[must_use]
pub fn has_no_stdout() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
