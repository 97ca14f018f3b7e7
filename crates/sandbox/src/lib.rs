//! A worker process that can do nothing but compute, and the channel to it.
//!
//! A process that has nothing to lose reads the bytes that nobody vouches for: the
//! same program started once more, with an empty environment, one socket, no files,
//! no rights, and a list of the system calls it may make. This crate knows how such
//! a process is started, confined and ended, and how frames and descriptors travel.
//! It knows neither the contents of the frames nor the meaning of the bytes.
//!
//! - The parent: [`spawn`] gives a [`Worker`] and a [`Channel`]; no process
//!   outlives its [`Worker`], and [`Worker::wait`] returns how it [ended](Ending).
//! - The worker: [`attach`] takes its end of the channel and ties its life to
//!   the parent's; [`confine()`] gives everything else away, for good, and says
//!   which parts of that a kernel lacks.
//!
//! ```standalone_crate
//! use std::error::Error;
//! use ukexec_sandbox::{Confinement, Ending, FrameLimits, Strictness, attach, confine, spawn};
//!
//! const LIMITS: FrameLimits = FrameLimits { frame: 1 << 20, descriptors: 0 };
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     if std::env::args().nth(1).as_deref() == Some("worker") {
//!         return worker();
//!     }
//!     let (worker, channel) = spawn(&["worker".as_ref()])?;
//!     channel.send(b"question", &[])?;
//!     let answer = channel.receive(LIMITS)?.ok_or("it is gone")?;
//!     assert_eq!(answer.frame, b"question, answered");
//!     drop(channel); // The worker reads the end, and goes.
//!     assert_eq!(worker.wait()?, Ending::Exited(0));
//!     Ok(())
//! }
//!
//! fn worker() -> Result<(), Box<dyn Error>> {
//!     let channel = attach()?;
//!     confine(&Confinement::default(), Strictness::BestEffort)?;
//!     while let Some(question) = channel.receive(LIMITS)? {
//!         channel.send(&[&question.frame, &b", answered"[..]].concat(), &[])?;
//!     }
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod calls;
mod channel;
mod confine;
mod ending;
mod error;
mod files;
mod inherited;
mod program;
mod resources;
mod rights;
mod worker;

pub use channel::{Channel, FrameLimits, Message};
pub use confine::{Confinement, Strictness, confine};
pub use ending::Ending;
pub use error::SandboxError;
pub use worker::{Worker, attach, spawn};
