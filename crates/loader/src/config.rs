//! The settings of the machine and its administrator: `ukexec.conf`, keys, UEFI
//! variables, folders of parsers, the running kernel's command line.

pub(crate) mod boot_partitions;
pub(crate) mod efivars;
pub(crate) mod loader_variables;
pub(crate) mod parsers_d;
pub(crate) mod policy;
pub(crate) mod running_cmdline;
pub(crate) mod trust;
pub(crate) mod udev;

pub use self::boot_partitions::BootPlaces;
pub use self::policy::{Config, LinePolicy, Personality, Policy, SmbiosPolicy, TrustSource};
pub use self::trust::Standing;
