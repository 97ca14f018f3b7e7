//! What loading an image with kexec is: a parent that has the rights, and a
//! worker that looks at the bytes.
#![forbid(unsafe_code)]

mod config;
mod console;
mod fd_source;
mod files;
mod load;
mod options;
mod parent;
mod protocol;
pub mod report;
mod worker;

pub use self::config::{Because, Config, Enforcement, Policy, Standing, TrustSource};
pub use self::console::{Console, Progress};
pub use self::files::{LEN_MAX, is_stdin, name, named, named_with_readers, shown};
pub use self::load::{LoadPlan, NotTaken};
pub use self::options::{CmdlineFrom, Options, Purpose};
pub use self::parent::input::rope;
pub use self::parent::{Unfolding, unfold};
pub use self::protocol::Failure;
pub use self::worker::{join_initrds, run_as_worker};
pub use ukexec_kexec::{LoadKind, MachineState};
