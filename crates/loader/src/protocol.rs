//! The messages between the parent and its worker.
//!
//! Frames are JSON; descriptors travel beside them. The parent asks with a
//! [`Request`], the worker answers with [`Event`]s. Bytes of images never go
//! through here.
//!
//! Parent to worker, messages hold the types that the libraries have. Worker to
//! parent is the border of trust: a worker that was taken over can send anything.
//! So it names what it found by [`Span`]s of sources that the parent holds, and
//! the parent checks every number against them (`parent/sources.rs`). Its texts
//! are made one line each while they are read, and [`bounds`] and
//! `parent/border.rs` say how much of them there may be.

pub(crate) mod beside;
pub(crate) mod bounds;
pub(crate) mod bundle;
pub(crate) mod facts;
pub(crate) mod line;
pub(crate) mod settings;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use ukexec_boot::SetupHeader;
use ukexec_kexec::{ConditionVerdict, LoadCall};
use ukexec_layout::{DeviceTree, KernelHeader};
use ukexec_sandbox::FrameLimits;
use ukexec_signature::{Checks, DigestRequest, TakenDigests};
use ukexec_unfold::Budget;

use self::beside::{Beside, CompanionFile};
use self::bundle::Bundled;
use self::facts::{Facts, FactsOf};
use crate::config::policy::Enforcement;
use crate::error::Failure;
use crate::options::Purpose;
use crate::report::{Findings, ReportForm};

/// The most that is taken for one frame: a report of an image with as many
/// sections as there can be, and a thousand lines of log, fits well.
pub(crate) const LIMITS: FrameLimits = FrameLimits {
    frame: 16 << 20,
    descriptors: 1,
};

/// So many sections, the largest, become parts of their own. Each takes two
/// descriptors while the image is taken over, and a part is worth it only for
/// what is handed to the kernel: two sections of an image that may have hundreds.
/// Images with several kernels and initrds have them for a few profiles.
pub(crate) const CUTS_MAX: usize = 32;

/// A request of the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The keys to trust. The descriptor is the bundle with its files.
    Trust(Box<Verification>),
    /// How to copy the image that the descriptor is.
    Look(Box<LookRequest>),
    /// How much of these companions comes in front of the initrd of the image that the
    /// descriptor is, of `len` bytes.
    Front {
        len: u64,
        companions: Vec<CompanionFile>,
    },
    /// What the file of a boot entry that the descriptor is, of `len` bytes, says.
    Facts { of: FactsOf, len: u64 },
    /// Take in the next source, which the descriptor is, of `len` bytes.
    Source { len: u64 },
    /// Take the image apart. The descriptor is the [`UnfoldRequest`]'s bundle.
    Unfold(Box<UnfoldRequest>),
    /// The output that was asked for: the descriptor.
    Output,
}

/// An image to look at before it is copied.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LookRequest {
    /// Its length in bytes.
    pub(crate) len: u64,
    /// There are more parsers than those built in, so that fewer images are hopeless.
    pub(crate) has_more_parsers: bool,
    /// The lengths of the caller's initrds, which come in front of the image's.
    pub(crate) initrds: Vec<u64>,
}

/// An answer or a request of the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The answer to [`Request::Look`].
    Looked(SnapshotPlan),
    /// The answer to [`Request::Front`], in bytes.
    Front(u64),
    /// The answer to [`Request::Facts`].
    Facts(Box<Facts>),
    /// A line for the log.
    Log(#[serde(deserialize_with = "line::line")] String),
    /// Progress, which the [`UnfoldRequest`] asks for.
    Progress(WorkProgress),
    /// Memory to write into is wanted: the next source.
    Output,
    /// Source `0` is written and may be sealed.
    Written(u32),
    /// Nothing refers to source `0` any more.
    Freed(u32),
    /// The image is unfolded.
    Done(Box<Answer>),
    /// It is not, and why.
    Failed(Box<Ending>),
}

/// Why an image was not unfolded, and what is known of it all the same.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) failure: Failure,
    pub(crate) report: Option<Findings>,
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            report: None,
        }
    }
}

impl Event {
    /// Returns the name of the event.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Looked(_) => "Looked",
            Self::Front(_) => "Front",
            Self::Facts(_) => "Facts",
            Self::Log(_) => "Log",
            Self::Progress(_) => "Progress",
            Self::Output => "Output",
            Self::Written(_) => "Written",
            Self::Freed(_) => "Freed",
            Self::Done(_) => "Done",
            Self::Failed(_) => "Failed",
        }
    }
}

/// Work that may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Unfolding,
    Hashing,
    Measuring,
    Expanding,
}

impl Work {
    /// Returns its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unfolding => "unfolding",
            Self::Hashing => "hashing",
            Self::Measuring => "measuring",
            Self::Expanding => "unpacking the initrd of",
        }
    }
}

/// How far work is. The parent draws the numbers, and does nothing else with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkProgress {
    pub(crate) work: Work,
    /// Bytes so far; none when it begins.
    pub(crate) done: u64,
    /// Bytes in all, if that is known.
    pub(crate) total: Option<u64>,
}

impl WorkProgress {
    /// Returns that of `work` that begins.
    pub(crate) fn of(work: Work, total: Option<u64>) -> Self {
        Self {
            work,
            done: 0,
            total,
        }
    }
}

/// How an image is copied into sealed memory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SnapshotPlan {
    /// The spans that become files of their own.
    pub(crate) cuts: Vec<Range<u64>>,
    /// The one that others come in front of and behind; if there is none, the longest
    /// part may have some behind it.
    pub(crate) grows: Option<Grows>,
    /// The bytes to hash meanwhile.
    pub(crate) hash: Option<DigestRequest>,
    /// It will be refused in any case: nobody need copy it.
    pub(crate) hopeless: bool,
    /// It is no image of systemd-stub, which would add files to it.
    pub(crate) no_stub: bool,
}

/// A part of an image that others come in front of and behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grows {
    /// Index in the cuts.
    pub(crate) cut: usize,
    /// Bytes in front. Where it becomes others, the part is copied once more.
    pub(crate) room: u64,
}

/// The trusted keys, and the treatment of everything else.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verification {
    /// How images that nobody trusts are treated.
    pub(crate) enforcement: Enforcement,
    /// Report every signature, also where none is needed.
    pub(crate) thorough: bool,
    /// Bytes of the bundle.
    pub(crate) bundle_len: u64,
    /// Files of certificates, and folders of them.
    pub(crate) trusted: Vec<Trusted>,
    /// The machine's variables by their paths below `/sys/firmware/efi`, if it
    /// is asked what it trusts.
    pub(crate) machine: Option<Vec<Bundled>>,
    /// Checks beyond those of firmware.
    pub(crate) checks: Checks,
}

/// The trust of a caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Trusted {
    /// All of a file.
    File(Bundled),
    /// Files of a folder, as far as they hold certificates; the name is the folder's.
    Folder { name: String, files: Vec<Bundled> },
}

/// An image to take apart, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UnfoldRequest {
    /// Where the image is, for reports.
    pub(crate) path: String,
    /// Its name in layer paths.
    pub(crate) name: String,
    /// The image.
    pub(crate) image: Vec<Span>,
    /// Whether it cannot change any more.
    pub(crate) sealed: bool,
    /// Its digests, if they were asked for.
    pub(crate) hashed: Option<TakenDigests>,
    /// Bytes that the kernel or the initrd has at most.
    pub(crate) part_max: u64,
    /// The caller's initrds, in order.
    pub(crate) initrds: Vec<CallersInitrd>,
    /// Whether they are all that the kernel gets.
    pub(crate) replaces_initrd: bool,
    /// Whether sections go along as files below `/.extra/`.
    pub(crate) extra_files: bool,
    /// Whether the initrd is unpacked.
    pub(crate) expand_initrd: Option<Expansion>,
    /// All that goes along and is not in it.
    pub(crate) beside: Beside,
    /// Bytes of the bundle.
    pub(crate) bundle_len: u64,
    /// The parser for the outermost image.
    pub(crate) parser: Option<Bundled>,
    /// The parsers of `parsers.d`, in order.
    pub(crate) parsers: Vec<Bundled>,
    /// Whether images' own parsers may run.
    pub(crate) embedded_parsers: bool,
    /// The caller's words. Command lines are bytes: Linux knows no encoding.
    pub(crate) profile: Option<String>,
    pub(crate) cmdline: Option<Vec<u8>>,
    pub(crate) append: Option<Vec<u8>>,
    /// Whether the command line are the options of a boot entry.
    pub(crate) is_entrys_line: bool,
    /// Whether the line goes to the kernel byte for byte.
    pub(crate) literal_cmdline: bool,
    /// Whether the line may take the place of that of a signed image.
    pub(crate) overrides_line: bool,
    /// The paths of its initrds, from the root of the partition, if the image is the `linux` of a
    /// boot entry.
    pub(crate) linux_entry: Option<Vec<String>>,
    /// What systemd-boot would pass for an entry, without a profile: the worker knows.
    #[serde(skip)]
    pub(crate) load_options: Option<String>,
    /// Whether it is for a crash.
    pub(crate) panic: bool,
    /// The device tree to take, if it is not the running kernel's.
    pub(crate) device_tree: Option<TreeFrom>,
    /// Values and an event log to compare measurements with.
    pub(crate) observed: Option<ObservedFiles>,
    /// The budget.
    pub(crate) budget: Budget,
    /// Its purpose.
    pub(crate) purpose: Purpose,
    /// For whom the report is.
    pub(crate) form: ReportForm,
    /// Whether somebody wants to see how far it is.
    pub(crate) shows_progress: bool,
}

/// A device tree that the worker takes apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum TreeFrom {
    /// The one that systemd-stub would install.
    Image,
    /// The caller's.
    Given(Bundled),
}

/// How an initrd is unpacked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Expansion {
    /// The most that it may have, and the name of that.
    pub(crate) room: Option<u64>,
    pub(crate) of: String,
    /// The most memory of a decompressor.
    pub(crate) memory: u64,
    /// Whether the call may hash what it loads.
    pub(crate) may_hash: bool,
}

/// Values of registers, and an event log: the worker looks which a file is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ObservedFiles {
    /// Where they are from.
    pub(crate) source: String,
    pub(crate) files: Vec<Bundled>,
}

/// An initrd that the caller gives.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallersInitrd {
    /// How the caller names it.
    pub(crate) name: String,
    pub(crate) spans: Vec<Span>,
}

/// Bytes by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Span {
    /// Bytes of a source, by its number.
    Source { id: u32, range: Range<u64> },
    /// So many zeros.
    Zeros(u64),
}

impl Span {
    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            // A range that ends before it starts has no bytes, and is refused.
            Self::Source { range, .. } => range.end.saturating_sub(range.start),
            Self::Zeros(len) => *len,
        }
    }
}

/// The result of an unfolding.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) report: Findings,
    /// Things worth a look.
    #[serde(deserialize_with = "line::lines")]
    pub(crate) warnings: Vec<String>,
    /// Whether a parser ran.
    pub(crate) unfolded: bool,
    /// Why the measurements do not agree with those that were observed.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) disagreement: Option<String>,
    /// The kind of kernel, or why it is none.
    pub(crate) identity: Result<Identity, Box<Failure>>,
    /// Where its bytes are; an inspection does not ask.
    pub(crate) kernel: Vec<Span>,
    /// Absent is `None`, and so is that of an inspection.
    pub(crate) initrd: Option<Vec<Span>>,
    /// Without a NUL; absent is `None`.
    pub(crate) cmdline: Option<Vec<u8>>,
    /// The device tree that was asked for.
    pub(crate) device_tree: Option<Box<NamedTree>>,
    /// The facts that a boot by kexec depends on.
    pub(crate) boot: BootFacts,
}

#[cfg(any(test, feature = "escape"))]
impl Answer {
    /// Returns an answer without a fault, for tests that put one into it.
    pub(crate) fn sound() -> Self {
        Self {
            report: Findings::Page(crate::report::Page::default()),
            warnings: Vec::new(),
            unfolded: true,
            disagreement: None,
            identity: Err(Box::default()),
            kernel: Vec::new(),
            initrd: None,
            cmdline: None,
            device_tree: None,
            boot: BootFacts::default(),
        }
    }
}

/// The facts about an image that decide what works after a boot by kexec.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BootFacts {
    /// Its profile has signatures for PCR 11.
    pub(crate) pcrsig: bool,
    /// The secret of the running boot goes along.
    pub(crate) boot_secret: bool,
    /// Why the kernel may have no console, in words.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) console: Option<String>,
    /// Why the kernel gets another device tree than by firmware, in words.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) device_tree: Option<String>,
}

impl BootFacts {
    /// The advice where the kernel may have no console.
    pub(crate) const KEEP_CONSOLE: &str = "--console=keep adds it";

    /// The note on signatures of PCR 11 begins so, whatever machine boots the image.
    pub(crate) const NO_PCR: &str = "kexec extends no PCR";

    /// Returns what is worth a look whatever machine boots the image.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let console = self.console.iter();
        let console = console.map(|text| format!("{text}; {}", Self::KEEP_CONSOLE));
        console.chain(self.device_tree.clone())
    }
}

/// The facts about a kernel that the parent needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// It is for x86_64, where a missing initrd has to be stood in for.
    pub(crate) x86_64: bool,
    /// How it is packed.
    #[serde(deserialize_with = "line::line")]
    pub(crate) format: String,
    /// What `uname -r` prints under it, if that is known.
    #[serde(deserialize_with = "line::some_line")]
    pub(crate) release: Option<String>,
    /// Whether it is signed in the way that a kernel of its architecture looks for,
    /// if that way is known here.
    pub(crate) signed: Option<bool>,
    /// Bytes of memory that it takes, if it says so.
    pub(crate) memory: Option<u64>,
    /// Where `kexec_load(2)` may place it, or why it cannot be placed.
    pub(crate) header: Result<PlacedKernel, Box<Failure>>,
    /// Whether a signature is appended to it, as to a kernel module, if its
    /// end can be read.
    pub(crate) appended: Option<bool>,
    /// The objections of the machine of the [`UnfoldRequest`].
    pub(crate) problems: Vec<Objection>,
}

/// The facts of a kernel's header that decide where it may lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PlacedKernel {
    /// An `Image` of arm64 or riscv64.
    Image(KernelHeader),
    /// A bzImage of x86_64.
    BzImage(SetupHeader),
}

/// A device tree, and where it is from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NamedTree {
    #[serde(deserialize_with = "line::line")]
    pub(crate) name: String,
    pub(crate) tree: DeviceTree,
}

/// What an [`Objection`] lies in. Every machine objects to all but itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// The machine.
    Machine,
    /// The kernel.
    Kernel,
    /// The command line.
    Cmdline,
}

impl Objection {
    /// Returns the words for a load by `call`.
    pub(crate) fn words(&self, call: LoadCall) -> &str {
        match call {
            LoadCall::KexecFileLoad => &self.text,
            LoadCall::KexecLoad => &self.fault,
        }
    }
}

/// Something that a machine would say against a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Objection {
    /// The objection, with the answer of `kexec_file_load(2)`.
    #[serde(deserialize_with = "line::line")]
    pub(crate) text: String,
    /// The objection alone.
    #[serde(deserialize_with = "line::line")]
    pub(crate) fault: String,
    /// Whether it would refuse; the parent takes no [`ConditionVerdict::Ok`].
    pub(crate) verdict: ConditionVerdict,
    /// What it lies in.
    pub(crate) subject: Subject,
}
