//! Rights that a process has by itself: capabilities, and what others may do
//! to it.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::error::SandboxError;

/// From now on, no program that is run gives rights.
pub(crate) fn no_new_privileges() -> Result<(), SandboxError> {
    set_no_new_privs(true).map_err(SandboxError::failed("PR_SET_NO_NEW_PRIVS"))
}

/// Empties every set of capabilities. Root is then a user like any other, who
/// owns many files.
pub(crate) fn drop_capabilities() -> Result<(), SandboxError> {
    shrink_bounding_set()?;
    clear_ambient_capability_set().map_err(SandboxError::failed("PR_CAP_AMBIENT_CLEAR_ALL"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(SandboxError::failed("capset"))
}

/// Empties the set that bounds what a program that is run may get. A process that
/// may not has no rights to lose, and gets none: `no_new_privileges` sees to it.
fn shrink_bounding_set() -> Result<(), SandboxError> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Ok(false) => continue,
            Ok(true) => {}
            // Behind the last one that this kernel has.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(SandboxError::failed("PR_CAPBSET_READ")(errno)),
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => break,
            Err(errno) => return Err(SandboxError::failed("PR_CAPBSET_DROP")(errno)),
        }
    }
    Ok(())
}

/// No core dump, no debugger of the same user, and `/proc/self` is root's.
pub(crate) fn undumpable() -> Result<(), SandboxError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(SandboxError::failed("PR_SET_DUMPABLE"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread;

    #[test]
    fn without_capabilities_root_may_not_open_what_permissions_forbid() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(0o000)).unwrap();
        // Capabilities belong to a thread.
        let opened = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                no_new_privileges().unwrap();
                drop_capabilities().unwrap();
                let sets = rustix::thread::capabilities(None).unwrap();
                assert!(sets.permitted.is_empty() && sets.effective.is_empty());
                File::open(file.path()).map_err(|error| error.kind())
            });
            thread.join().unwrap()
        });
        assert_eq!(opened.unwrap_err(), ErrorKind::PermissionDenied);
    }
}
