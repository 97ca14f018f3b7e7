//! A worker process that can do nothing but compute, and the channel to it.
//!
//! Bytes that nobody vouches for are read by a process that has nothing to
//! lose: the same program started once more, with an empty environment, one
//! socket, no files, no rights, and a list of the system calls it may make.
//! This crate knows how such a process is started, confined and ended, and how
//! frames and descriptors travel. What is said over the channel, and what the
//! bytes mean, it does not know.
//!
//! - The parent: [`spawn`] gives a [`Worker`] and a [`Channel`]; no process
//!   outlives its [`Worker`], and [`Worker::wait`] tells how it [ended](Ending).
//! - The worker: [`attach`] takes its end of the channel and ties its life to
//!   the parent's; [`confine()`] gives everything else away, for good, and says
//!   what a kernel that lacks something could not take ([`Applied`]).
//!
//! ```no_run
//! use ukexec_sandbox::{Confinement, FrameLimits, Strictness, attach, confine, spawn};
//!
//! # fn parent() -> Result<(), Box<dyn std::error::Error>> {
//! let (worker, channel) = spawn(&["worker".as_ref()])?;
//! channel.send(b"question", &[])?;
//! let limits = FrameLimits { frame: 1 << 20, descriptors: 0 };
//! let answer = channel.receive(limits)?;
//! drop(channel); // The worker reads the end, and goes.
//! println!("{answer:?}; {}", worker.wait()?);
//! # Ok(())
//! # }
//!
//! # fn worker() -> Result<(), Box<dyn std::error::Error>> {
//! // In the program's `worker` command:
//! let channel = attach()?;
//! confine(&Confinement::default(), Strictness::Require)?;
//! # let limits = FrameLimits { frame: 1 << 20, descriptors: 0 };
//! while let Some(_question) = channel.receive(limits)? {
//!     channel.send(b"answer", &[])?;
//! }
//! # Ok(())
//! # }
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
mod restriction;
mod rights;
mod worker;

pub use channel::{Channel, FrameLimits, MAX_DESCRIPTORS, Message};
pub use confine::{Applied, Confinement, Strictness, confine};
pub use ending::Ending;
pub use error::{ChannelError, SandboxError};
pub use restriction::{Missing, Restriction};
pub use worker::{Worker, attach, spawn};
