//! Why an unfolding failed, and where.

use std::fmt;

use ukexec_bpf::memory::AccessError;
use ukexec_bpf::{Fault, RunError};
use ukexec_bpf::{LoadError, RopeError, VerifyError};
use ukexec_pe::PeError;

use crate::chunks::ReadError;
use crate::{ParserInfo, Resource};

/// A failed unfolding: where it was, and as [`source`](std::error::Error::source)
/// the [`UnfoldCause`].
#[derive(Debug)]
pub struct UnfoldError {
    place: Box<Place>,
    cause: Box<UnfoldCause>,
}

/// Where something failed, as far as known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) layer: String,
    pub(crate) stage: Option<u32>,
    pub(crate) parser: Option<ParserInfo>,
    pub(crate) hook: Option<&'static str>,
}

impl Place {
    pub(crate) fn in_layer(path: &str, stage: Option<u32>) -> Self {
        Self {
            layer: path.to_owned(),
            stage,
            ..Self::default()
        }
    }

    /// Returns `cause` at this place.
    pub(crate) fn error(&self, cause: impl Into<UnfoldCause>) -> UnfoldError {
        UnfoldError {
            place: Box::new(self.clone()),
            cause: Box::new(cause.into()),
        }
    }
}

impl UnfoldError {
    /// Returns the path of the layer, such as `uki.efi > .linux`.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.place.layer
    }

    /// Returns the stage's number, from 1.
    #[must_use]
    pub fn stage(&self) -> Option<u32> {
        self.place.stage
    }

    /// Returns the parser that was chosen or asked.
    #[must_use]
    pub fn parser(&self) -> Option<&ParserInfo> {
        self.place.parser.as_ref()
    }

    /// Returns the hook whose program failed.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.place.hook
    }

    /// Returns the instruction that failed: a slot in its program's code.
    #[must_use]
    pub fn insn(&self) -> Option<u32> {
        self.cause.insn()
    }

    /// Returns the byte of the layer that is wrong.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.cause.offset()
    }

    /// Returns what went wrong.
    #[must_use]
    pub fn cause(&self) -> &UnfoldCause {
        &self.cause
    }
}

impl fmt::Display for UnfoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.layer)?;
        match (self.place.stage, &self.place.parser) {
            (Some(stage), Some(parser)) => write!(f, ": stage {stage} ({parser})")?,
            (Some(stage), None) => write!(f, ": stage {stage}")?,
            (None, Some(parser)) => write!(f, ": parser {parser}")?,
            (None, None) => {}
        }
        match self.place.hook {
            Some(hook) => write!(f, ": hook {hook}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnfoldError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnfoldCause {
    /// The image or a part of it could not be read.
    #[error("the image cannot be read")]
    Read(#[from] RopeError),
    /// The image begins like a PE, but its headers cannot be read.
    #[error("the image begins with MZ, but its headers cannot be read")]
    Pe(#[source] Box<PeError>),
    /// The caller's [`Gate`](crate::Gate) did not let the layer pass.
    #[error("refused before anything of it ran")]
    NotAdmitted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The image's section `.bpf` has no content.
    #[error("section .bpf is empty; expected a BPF object (ukexec attach puts one there)")]
    EmptyParser,
    /// The image's parser is too large.
    #[error(
        "section .bpf has {size} bytes; expected at most {limit} (parsers have up to 64 MiB, and \
         no more than the memory budget has left)"
    )]
    ParserTooBig {
        /// Bytes of the section.
        size: u64,
        /// The most bytes there may be.
        limit: u64,
    },
    /// The parser cannot be loaded.
    #[error("the parser cannot be loaded")]
    Load(#[source] Box<LoadError>),
    /// The parser was refused before running.
    #[error("the parser is refused")]
    Verify(#[source] Box<VerifyError>),
    /// The parser's maps cannot be made.
    #[error("the parser's maps cannot be made")]
    Arm(#[source] Fault),
    /// The image, initrd or command line cannot be shown to programs.
    #[error("the stage's inputs cannot be shown to the parser")]
    Show(#[source] AccessError),
    /// The image, initrd or command line is longer than the context can say.
    #[error(
        "the {what} has {len} bytes, but parsers can be told of {} at most",
        i32::MAX
    )]
    TooLong {
        /// Which of them.
        what: &'static str,
        /// Its length in bytes.
        len: u64,
    },
    /// The caller's command line is longer than any kernel takes.
    #[error("the {what} has {len} bytes; expected at most {limit} (kernels take 4096 at most)")]
    LineTooLong {
        /// Which of the caller's texts.
        what: &'static str,
        /// Its length in bytes.
        len: u64,
        /// The most bytes there may be.
        limit: u64,
    },
    /// The parser has nothing that could hand over.
    #[error(
        "the parser has no program on hook bpf_handle_pefile, which parsers of ABI v5 hand over in"
    )]
    NoProgram,
    /// A program failed.
    #[error(transparent)]
    Run(Box<RunError>),
    /// The stage ended without a kernel.
    #[error("no kernel was handed over{}", quoted(handed_over, log, refusals))]
    NothingHandedOver {
        /// What was handed over instead.
        handed_over: Vec<Resource>,
        /// The last lines that the parser printed.
        log: Vec<String>,
        /// Why the last calls that failed did so.
        refusals: Vec<String>,
    },
    /// Something that was handed over broke a limit, and the parser passed over
    /// that.
    #[error("the {resource} was handed over and not taken, so that it would be missing: {reason}")]
    NotTaken {
        /// What was not taken.
        resource: Resource,
        /// Which limit it broke.
        reason: String,
    },
    /// The stage's kernel is its image.
    #[error("the kernel that was handed over is the stage's own image: there is no progress")]
    NoProgress,
    /// Comparing what was handed over with what there was costs too much.
    #[error(
        "the instruction budget is used up by comparing what was handed over with what was there \
         before; if the image is to be trusted, raise the budget"
    )]
    ComparingBudget,
    /// One stage more than the budget has.
    #[error(
        "the budget of {limit} stages is used up, and the image is again one that a parser takes \
         apart"
    )]
    TooManyStages {
        /// The stages there were.
        limit: u32,
    },
    /// The caller's initrd did not come out.
    #[error(
        "the given initrd ({len} bytes) is not in what the parsers handed over; drop --initrd, or \
         use a parser that passes it on"
    )]
    InitrdGone {
        /// Its length in bytes.
        len: u64,
    },
    /// No parser took the profile that was asked for.
    #[error(
        "profile {selector} was asked for, but no parser took it: the image has no profiles that \
         its parser knows of"
    )]
    ProfileNotTaken {
        /// The word that asked, such as `@1`.
        selector: String,
    },
    /// The image has a command line, and its own stands.
    #[error(
        "the image has a command line of its own, which is part of what was signed, and a good \
         signature is required: leave --cmdline, --append and --reuse-cmdline out"
    )]
    ImageHasLine,
    /// The caller gave a command line, and a parser from elsewhere says that the
    /// image has none.
    #[error(
        "whether the image has a command line of its own is known to its own parser alone, and \
         parser {parser} took it apart; a good signature is required: leave --cmdline, --append \
         and --reuse-cmdline out, or that parser"
    )]
    LineUnderForeignParser {
        /// The parser.
        parser: ParserInfo,
    },
    /// A profile that cannot be asked for.
    #[error("{profile:?} is no profile; expected a number or an ID without blanks")]
    BadProfile {
        /// What was given.
        profile: String,
    },
    /// A profile is given twice.
    #[error(
        "the command line begins with {selector}, and profile {profile} is asked for as well; \
         give one of them"
    )]
    TwoProfiles {
        /// The one of the options.
        profile: String,
        /// The word in front of the command line.
        selector: String,
    },
}

impl From<PeError> for UnfoldCause {
    fn from(error: PeError) -> Self {
        Self::Pe(Box::new(error))
    }
}

impl From<ReadError> for UnfoldCause {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Rope(error) => Self::Read(error),
            ReadError::Budget => Self::ComparingBudget,
        }
    }
}

impl From<LoadError> for UnfoldCause {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<VerifyError> for UnfoldCause {
    fn from(error: VerifyError) -> Self {
        Self::Verify(Box::new(error))
    }
}

impl From<RunError> for UnfoldCause {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl UnfoldCause {
    fn insn(&self) -> Option<u32> {
        match self {
            Self::Run(error) => Some(error.place.slot),
            Self::Verify(error) => match &**error {
                VerifyError::Insn { place, .. } => Some(place.slot),
                _ => None,
            },
            _ => None,
        }
    }

    fn offset(&self) -> Option<u64> {
        match self {
            Self::Pe(error) => error.offset(),
            _ => None,
        }
    }
}

/// Returns what is known of a stage without a kernel, to be put behind a
/// sentence without its full stop.
fn quoted(handed_over: &[Resource], log: &[String], refusals: &[String]) -> String {
    let mut parts = Vec::new();
    let resources: Vec<_> = handed_over.iter().map(ToString::to_string).collect();
    if !resources.is_empty() {
        parts.push(format!("only {}", resources.join(" and ")));
    }
    if !refusals.is_empty() {
        parts.push(format!("what failed: {}", refusals.join("; ")));
    }
    let lines: Vec<_> = log.iter().map(|line| format!("{line:?}")).collect();
    parts.push(if lines.is_empty() {
        "the parser printed nothing".to_owned()
    } else {
        format!("the parser's last lines: {}", lines.join(", "))
    });
    parts
        .into_iter()
        .fold(String::new(), |text, part| text + "; " + &part)
}

/// Returns an error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
