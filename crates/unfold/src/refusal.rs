//! Why a kfunc did not do what it was asked, and what a program sees of that.

use std::io;

use ukexec_bpf::RopeError;
use ukexec_bpf::memory::AccessError;
use ukexec_decompress::DecompressError;

use crate::chunks::ReadError;
use crate::cmdline;

/// Why a kfunc did not do what it was asked.
pub(crate) enum CallError {
    /// The program is told and goes on.
    Refused(Refusal),
    /// The run ends.
    Host(HostFault),
    /// The run ends, because there are no instructions left.
    Budget,
}

impl CallError {
    /// Returns what comes of guest memory that cannot be had: the program is
    /// told, as `refusal` has it, unless the host is to blame.
    pub(crate) fn of_access(
        refusal: fn(AccessError) -> Refusal,
    ) -> impl FnOnce(AccessError) -> Self {
        move |error| match error {
            AccessError::Source { region, cause } => Self::Host(HostFault::Read {
                what: region,
                cause,
            }),
            error => Self::Refused(refusal(error)),
        }
    }

    /// Returns what comes of not reading the bytes of `what`.
    pub(crate) fn unread(what: &str, error: ReadError) -> Self {
        match error {
            ReadError::Budget => Self::Budget,
            ReadError::Rope(cause) => Self::Host(HostFault::Read {
                what: what.to_owned(),
                cause,
            }),
        }
    }
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<HostFault> for CallError {
    fn from(fault: HostFault) -> Self {
        Self::Host(fault)
    }
}

/// What a program is told as an errno or NULL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the name cannot be read")]
    Name(#[source] AccessError),
    #[error(
        "nobody listens to {name:?}; expected kexec:kernel, kexec:initrd or kexec:cmdline, or one \
         of ukexec's own: ukexec:initrd-part, ukexec:profile"
    )]
    UnknownName { name: String },
    #[error("the size is {size}, which is negative as an int")]
    NegativeSize { size: i32 },
    #[error("the buffer is NULL")]
    NullBuffer,
    #[error("the number of a profile has {size} bytes; expected 4")]
    ProfileSize { size: i32 },
    #[error(
        "an initrd of {there} bytes and a part of {part} behind it are longer than the 2 GiB less \
         1 byte that kexec_file_load(2) takes"
    )]
    InitrdTooLong { there: u64, part: u64 },
    #[error("a kernel of 0 bytes")]
    EmptyKernel,
    #[error("programs on bpf_post_handle_pefile may not hand over")]
    HandOverInPost,
    #[error("the buffer cannot be read")]
    Buffer(#[source] AccessError),
    #[error(
        "the command line has no NUL in its first {} of {len} bytes; kernels take 4096 at most",
        cmdline::LINE_MAX
    )]
    CmdlineTooLong { len: u64 },
    #[error("the memory budget is used up: {needed} bytes needed, {left} left")]
    NoMemory { needed: u64, left: u64 },
    #[error(
        "kernel and initrd would have {repeated} bytes more than there are to hand over ({there} of \
         image, initrd and decompressed payloads), and the output budget has {left} left"
    )]
    Repeats {
        repeated: u64,
        there: u64,
        left: u64,
    },
    #[error("a stage may decompress {limit} times, and this one has")]
    TooManyDecompressions { limit: u32 },
    #[error("the payload cannot be decompressed")]
    Decompress(#[source] DecompressError),
    #[error("no room for the result")]
    Result(#[source] AccessError),
}

impl Refusal {
    pub(crate) fn unknown_name(name: &[u8]) -> Self {
        Self::UnknownName {
            name: String::from_utf8_lossy(name).into_owned(),
        }
    }

    /// Returns whether it is ukexec that sets the limit, so that in a kernel, or
    /// with another budget, the call might have done what was asked.
    pub(crate) fn is_limit(&self) -> bool {
        let is_long = matches!(
            self,
            Self::CmdlineTooLong { .. } | Self::InitrdTooLong { .. }
        );
        is_long || self.errno() == ENOMEM
    }

    /// Returns the errno of Linux that says this, negative.
    pub(crate) fn errno(&self) -> i64 {
        match self {
            Self::NoMemory { .. }
            | Self::Repeats { .. }
            | Self::Buffer(AccessError::OutOfMemory { .. }) => ENOMEM,
            _ => EINVAL,
        }
    }
}

/// Why the host ends a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostFault {
    /// A match program called `bpf_copy_to_kernel`.
    #[error(
        "a match program may not hand over; call bpf_copy_to_kernel in a program on \
         bpf_handle_pefile"
    )]
    HandOverInMatch,
    /// The image, or what was made of it, cannot be read. No program may pass
    /// over that, or what it hands over would depend on it.
    #[error("the bytes of {what} cannot be had")]
    Read {
        /// What was to be read.
        what: String,
        /// Why it was not.
        #[source]
        cause: RopeError,
    },
    /// The caller's store failed.
    #[error("the decompressed bytes cannot be stored")]
    Store(#[source] io::Error),
    /// A number that the interface does not have.
    #[error("there is no kfunc {0}")]
    UnknownKfunc(u32),
}

const EINVAL: i64 = -22;
const ENOMEM: i64 = -12;
