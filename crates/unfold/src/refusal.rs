//! Why a kfunc did not do what it was asked, and how its program learns of it.

use std::error::Error;

use ukexec_bpf::{BpfError, RopeError};

use crate::UnfoldError;
use crate::chunks::ReadError;
use crate::error::chain;
use crate::gate::SignatureRefusal;

/// Why a kfunc did not do what it was asked.
pub(crate) enum CallError {
    /// The program gets an errno or NULL, and goes on.
    Refused(Refusal),
    /// The run ends.
    Ended(BpfError),
}

/// A refusal, and the errno of Linux for it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) text: String,
    /// Negative.
    pub(crate) errno: i64,
    /// Whether it is ukexec that sets the limit, so that in a kernel, or with
    /// another budget, the call might have done what was asked.
    pub(crate) is_limit: bool,
}

impl Refusal {
    /// Refuses what no host would do.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            errno: EINVAL,
            is_limit: false,
        }
    }

    pub(crate) fn caused(text: &str, cause: &dyn Error) -> Self {
        Self::invalid(format!("{text}: {}", chain(cause)))
    }

    /// Refuses what is longer or more than ukexec takes.
    pub(crate) fn limit(text: String) -> Self {
        Self {
            is_limit: true,
            ..Self::invalid(text)
        }
    }

    /// Refuses what there is no room for in any host.
    pub(crate) fn out_of_room(text: String) -> Self {
        Self {
            errno: ENOMEM,
            ..Self::invalid(text)
        }
    }

    /// Refuses an image because of its signature.
    pub(crate) fn of_signature(refused: SignatureRefusal) -> Self {
        Self {
            errno: i64::from(refused.errno).saturating_neg(),
            ..Self::invalid(format!("VERIFY_SIG: {}", refused.reason))
        }
    }

    /// Refuses what a budget is too small for.
    pub(crate) fn no_memory(text: String) -> Self {
        Self {
            errno: ENOMEM,
            ..Self::limit(text)
        }
    }
}

impl CallError {
    /// Ends the run, since the host cannot go on.
    pub(crate) fn host(error: UnfoldError) -> Self {
        Self::Ended(BpfError::host(error))
    }

    /// Ends the run, since the image, or what was made of it, cannot be read: no
    /// program may pass over that, or what it hands over would depend on it.
    fn unreadable(what: &str, cause: RopeError) -> Self {
        Self::host(UnfoldError::caused(
            format!("the bytes of {what} cannot be had"),
            cause,
        ))
    }

    /// Returns what comes of not reading the bytes of `what`.
    pub(crate) fn unread(what: &str, error: ReadError) -> Self {
        match error {
            ReadError::Budget => Self::Ended(BpfError::budget()),
            ReadError::Rope(cause) => Self::unreadable(what, cause),
        }
    }

    /// Returns what comes of a name in guest memory that cannot be read.
    pub(crate) fn of_name(error: BpfError) -> Self {
        Self::of_access("the name cannot be read", error)
    }

    /// Returns what comes of a buffer in guest memory that cannot be read.
    pub(crate) fn of_buffer(error: BpfError) -> Self {
        Self::of_access("the buffer cannot be read", error)
    }

    /// The program gets a refusal unless the host is to blame.
    pub(crate) fn of_access(text: &str, error: BpfError) -> Self {
        if error.is_out_of_memory() {
            let error = chain(&error);
            return Refusal::no_memory(format!("{text}: {error}; --max-memory raises it")).into();
        }
        if error.is_unreadable() {
            return Self::Ended(error);
        }
        Refusal::caused(text, &error).into()
    }

    /// Returns what comes of an output that the caller's store does not take.
    pub(crate) fn unstored(cause: std::io::Error) -> Self {
        Self::host(UnfoldError::caused(
            "the decompressed bytes cannot be stored",
            cause,
        ))
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

const EINVAL: i64 = -22;
const ENOMEM: i64 = -12;
