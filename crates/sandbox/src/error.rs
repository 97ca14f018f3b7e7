//! The crate's error types.

use std::io;

use crate::restriction::Missing;

/// Why a worker could not be started, tied or confined.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The program could not be started a second time.
    #[error("no worker process: {action}: {cause}")]
    Spawn {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The kernel started another program, which loaded this one.
    #[error(
        "no worker process: the kernel started {loader:?}, and would start that again as the \
         worker; start {program:?} itself"
    )]
    Loader {
        /// What was started: a dynamic loader.
        loader: String,
        /// This program.
        program: String,
    },
    /// The worker could not be tied to its parent.
    #[error("a worker is started by its parent only: {action}: {cause}")]
    Attach {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The parent ended before the worker began.
    #[error("the parent of this worker is gone")]
    Orphan,
    /// The process has threads, which would not be confined with this one.
    #[error("a process is confined while it has one thread, and this one has {found}")]
    Threads {
        /// How many threads there are.
        found: usize,
    },
    /// The confinement has a gap, and the caller wants none.
    #[error("the sandbox would have a gap: {0}")]
    Missing(#[source] Missing),
    /// How the worker ended is not known.
    #[error("the worker's end could not be awaited: {0}")]
    Wait(#[source] io::Error),
}

/// Why a frame did not get across. The channel is of no more use then.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Nobody is at the other end.
    #[error("the other end of the channel is closed")]
    Closed,
    /// The other end stopped inside a frame.
    #[error("the other end stopped inside a frame: {found} of {expected} bytes came")]
    Stopped {
        /// Bytes of the frame's length or, once that is known, of the frame.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A frame is longer than the caller allows.
    #[error("a frame of {found} bytes came, and at most {limit} were allowed")]
    FrameTooLong {
        /// Bytes that the other end announced, or that were to be sent.
        found: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A frame brings more descriptors than the caller allows.
    #[error("a frame with {found} descriptors came, and at most {limit} were allowed")]
    TooManyDescriptors {
        /// Descriptors with the frame.
        found: usize,
        /// Descriptors that are allowed.
        limit: usize,
    },
    /// Descriptors came that could not be taken: too many at once, more than
    /// this process may open, or not with a frame's length.
    #[error("descriptors came that cannot be taken: too many, or in the middle of a frame")]
    DescriptorsLost,
    /// Nothing came, or could be sent, before the deadline.
    #[error("a frame did not get across the channel before the deadline")]
    TimedOut,
    /// The socket failed.
    #[error("{action}: {cause}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
}
