//! Sealed snapshots of images, the kexec system calls, and the machine's state.
//!
//! This is the crate of ukexec that makes system calls; `ukexec-sandbox` makes
//! those that start and confine a process. It knows nothing about formats: bytes
//! come as file descriptors and ranges, and leave as [`SealedFile`]s, files, or a
//! loaded kernel.
//!
//! - [`Snapshot`] takes a file over into memory in one pass, cut where the
//!   caller says. Its parts can be sealed, or grow first.
//! - [`assemble()`], [`UnnamedFile`] and [`NewFolder`] join [`Part`]s without
//!   bringing their bytes into this process; [`Moved`] counts what went which
//!   way. A [`Folder`] makes files and folders of which nothing incomplete is
//!   ever seen; a [`PrivateFolder`] is one that root keeps to itself.
//! - [`load()`], [`unload`], [`exec_now`] and [`exec_through_systemd`] are kexec
//!   itself, and [`load_segments`] is the call that leaves the places of all bytes to its
//!   caller. An error of theirs explains the errno by the [`MachineState`].
//! - [`MemorySources`] has what the machine says of its memory to callers of that call.
//! - [`Preflight`] says what a load would meet, by the [`MachineState`].
//!
//! ```
//! use std::os::fd::AsFd;
//! use ukexec_kexec::{LoadKind, LoadRequest, Snapshot};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (path, may_load) = ("Cargo.toml", false);
//! let file = std::fs::File::open(path)?;
//! let mut snapshot = Snapshot::take(&file, &[], None, None, &mut |_bytes_done| {})?;
//! let kernel = snapshot.parts.remove(0).seal()?;
//! let request = LoadRequest::new(kernel.as_fd(), None, b"console=ttyS0", LoadKind::Reboot);
//! assert_eq!(request.cmdline_with_nul()?, b"console=ttyS0\0");
//! if may_load {
//!     ukexec_kexec::load(&request)?;
//! }
//! # Ok(())
//! # }
//! ```

mod assemble;
mod cause;
mod create;
mod entries;
mod errno;
mod error;
mod folder;
mod inherit;
mod input;
mod interface;
mod load;
mod machine;
mod mapping;
mod memfd;
mod moment;
mod new_file;
mod new_folder;
mod partition;
mod plain_reboot;
mod preflight;
mod private_folder;
mod probe;
mod random;
mod readers;
mod refusal;
mod sealed;
mod segments;
mod segments_refusal;
mod signals;
mod snapshot;
mod sources;
mod stdio;
mod syscall;
mod tap;
#[cfg(test)]
mod testing;
mod transfer;
mod unnamed;
mod variable;

pub use assemble::{Part, assemble};
pub use create::create_file;
pub use entries::FolderEntry;
pub use errno::errno_name;
pub use error::{KexecError, KexecErrorKind, shown_path};
pub use folder::{Folder, TargetState};
pub use inherit::close_on_exec;
pub use input::{
    InputKind, device_of, has_access_list, has_ima_signature, input_kind, open_regular, read_stream,
};
pub use load::{
    BeforeBoot, LoadRequest, MoreFlags, check_exec, check_systemd, exec_now, exec_through_systemd,
    load, unload,
};
pub use machine::{LoadCall, LoadKind, LoadLimit, Lockdown, MachineState};
pub use moment::Moment;
pub use new_file::NewFile;
pub use new_folder::NewFolder;
pub use partition::MountFacts;
pub use plain_reboot::{PlainReboot, RebootWay};
pub use preflight::{Condition, ConditionId, ConditionVerdict, ImageFacts, Preflight};
pub use private_folder::PrivateFolder;
pub use random::random;
pub use readers::Readers;
pub use sealed::{GrowableFile, MemfdWriter, SealedFile, SharedMemfd};
pub use segments::{
    KexecSegment, SegmentContent, SegmentsRequest, kexec_load_flags, load_segments,
    unload_by_any_call, unload_segments,
};
pub use signals::{is_ignored, out_of_signals, settle_signals};
pub use snapshot::{Extent, Room, Snapshot};
pub use sources::{EfiSources, MemorySources};
pub use stdio::has_no_stdout;
pub use tap::Tap;
pub use transfer::Moved;
pub use unnamed::UnnamedFile;
pub use variable::remove_variable;
