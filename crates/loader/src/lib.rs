//! Loading boot images with kexec: all of `ukexec load` but its arguments and its
//! terminal.
//!
//! - [`unfold`] opens an image, brings it into reach, and has a worker take it
//!   apart; [`LoaderOptions`] say how, a [`Purpose`] says what for. A [`ReadyWorker`] does the
//!   same, and gets ready beside other work.
//! - [`LoadPlan`] puts together the arguments of `kexec_file_load(2)`, reports them,
//!   and makes the call.
//! - [`try_attached`] has a worker run the parser that an image carries.
//! - [`run_as_worker`] is the worker: the same program, started once more without
//!   rights. Every program that has a worker calls it first.
//! - [`Config`] is `/etc/ukexec/ukexec.conf`, [`Standing`] what follows from it on
//!   this machine; [`report`] has the texts and documents that people and machines
//!   read.
//!
//! The parent has the rights and looks at no byte of an image; the worker looks at
//! the bytes and has no rights. They speak JSON over a socket, and bytes travel as
//! descriptors. Parent to worker, messages hold the types of the libraries below.
//! Worker to parent is the border of trust: numbers, which are checked against
//! what the parent holds, and texts, which are bounded and made one line each.
//!
//! This crate prints nothing: words go to a [`Console`].
//!
//! Left out: kernels for which `kexec_file_load(2)` does not exist.
//!
//! ```
//! use std::error::Error;
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use ukexec_loader::report::Screen;
//! use ukexec_loader::report::failure::sentence;
//! use ukexec_loader::{
//!     Console, LoadPlan, LoaderOptions, MachineState, Purpose, run_as_worker, unfold,
//! };
//!
//! /// Returns a report of the call that would load the image.
//! fn dry_run(image: &Path) -> Result<String, Box<dyn Error>> {
//!     let machine = MachineState::read(Path::new("/"));
//!     let (options, purpose) = (LoaderOptions::default(), Purpose::load(&machine, false));
//!     let console: Arc<dyn Console> = Arc::new(());
//!     let unfolding = unfold(image, &options, &purpose, &console)?;
//!     let plan = LoadPlan::new(&unfolding, &machine, true)?;
//!     plan.check()?;
//!     Ok(plan.report()?.print(&Screen::FILE))
//! }
//!
//! // The worker is this program, started once more.
//! if run_as_worker().is_none() {
//!     let error = dry_run(Path::new("missing.efi")).unwrap_err();
//!     let expected = "cannot read missing.efi: No such file or directory (os error 2)";
//!     assert_eq!(sentence(&*error), expected);
//! }
//! ```
#![forbid(unsafe_code)]

mod after_exec;
mod conditions;
mod config;
mod console;
mod digest;
mod error;
mod fd_source;
mod files;
mod load;
mod log;
mod oneshot;
mod options;
mod parent;
mod parts;
mod placement;
mod protocol;
mod record;
pub mod report;
mod worker;

pub use self::config::{
    BootPlaces, Config, LinePolicy, Personality, Policy, SmbiosPolicy, Standing, TrustSource,
};
pub use self::console::{Console, Progress};
pub use self::digest::digest_state;
pub use self::error::{ErrorKind, Failure, LoaderError};
pub use self::files::{IMAGE_LEN_MAX, is_stdin, read_named, shown};
pub use self::load::LoadPlan;
pub use self::log::start_log;
pub use self::oneshot::{clear_oneshot, oneshot_entry};
pub use self::options::{
    Against, CmdlineFrom, Companions, CredentialFile, DeviceTreeFrom, EntryName, LoadRoom,
    LoaderOptions, Measure, Purpose, Syscall,
};
pub use self::parent::entries::{BootEntries, ChosenEntry};
pub use self::parent::input::open_rope;
pub use self::parent::unfolding::Unfolding;
pub use self::parent::{ReadyWorker, try_attached, unfold};
pub use self::record::{LoadedKernels, unload};
pub use self::worker::{join_initrds, run_as_worker};
pub use ukexec_entries::{Entry, Wanted};
pub use ukexec_kexec::{LoadCall, LoadKind, MachineState};
pub use ukexec_signature::Algorithm;
