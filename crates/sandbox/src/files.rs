//! No file, no network, no signal to others: Landlock.
//!
//! Descriptors that are open stay usable. See landlock(7); what a kernel does
//! not know yet is left out, and seccomp forbids the system calls for it.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetError, RulesetStatus, Scope,
};

use crate::error::SandboxError;

/// Denies everything that Landlock knows of, with no exception.
pub(crate) fn deny() -> Result<(), SandboxError> {
    let status = restrict().map_err(|error| SandboxError::new(error.to_string()))?;
    if status.ruleset != RulesetStatus::NotEnforced {
        return Ok(());
    }
    Err(SandboxError::new(match status.landlock {
        LandlockStatus::NotEnabled => {
            "it is off on this machine; add `landlock` to the kernel's `lsm=`".to_owned()
        }
        LandlockStatus::NotImplemented => {
            "this kernel has none; it came with Linux 5.13, as CONFIG_SECURITY_LANDLOCK".to_owned()
        }
        other => format!("the kernel did not take it over ({other:?})"),
    }))
}

fn restrict() -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()
}

/// With no rule that allows anything, rights of kernels to come can only take
/// more away from a process that opens nothing.
const NEWEST: ABI = ABI::V10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{ErrorKind, Read as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::path::Path;
    use std::{io, thread};

    /// Returns the result of `attempt` on a thread that Landlock alone confines;
    /// nothing where the kernel has no Landlock.
    fn check<T>(attempt: impl FnOnce() -> io::Result<T> + Send) -> Option<Result<(), ErrorKind>> {
        thread::scope(|scope| {
            let confined = scope.spawn(|| {
                deny().ok()?;
                Some(attempt().map(drop).map_err(|error| error.kind()))
            });
            confined.join().unwrap()
        })
    }

    fn denied(result: Option<Result<(), ErrorKind>>) -> bool {
        matches!(result, None | Some(Err(ErrorKind::PermissionDenied)))
    }

    #[test]
    fn files_cannot_be_opened_or_made() {
        let dir = tempfile::tempdir().unwrap();
        assert!(denied(check(|| File::open("/proc/self/exe"))));
        assert!(denied(check(|| File::create(dir.path().join("new")))));
        assert!(!Path::new(&dir.path().join("new")).exists());
    }

    #[test]
    fn open_descriptors_stay_usable() {
        let mut file = File::open("/proc/self/exe").unwrap();
        let read = check(move || file.read_exact(&mut [0; 4]));
        assert!(matches!(read, None | Some(Ok(()))), "{read:?}");
    }

    #[test]
    fn sockets_lead_nowhere() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        assert!(denied(check(|| TcpStream::connect(address))));
        let name = format!("ukexec-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        assert!(denied(check(|| UnixStream::connect_addr(&address))));
    }

    #[test]
    fn signals_do_not_reach_other_processes() {
        let parent = rustix::process::getppid().unwrap();
        let signal = || Ok(rustix::process::test_kill_process(parent)?);
        assert!(denied(check(signal)));
    }
}
