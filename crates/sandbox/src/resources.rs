//! Limits on what a process may use (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::confine::Confinement;
use crate::error::SandboxError;

/// Sets the limits. Where this process has a lower one, that stays.
pub(crate) fn limit(confinement: &Confinement) -> Result<(), SandboxError> {
    let Confinement {
        address_space,
        cpu_seconds,
        file_size,
        descriptors,
    } = *confinement;
    // A soft and a hard limit for each resource. They are the same, but for
    // time: at the soft one comes SIGXCPU, which says why, and at the hard one
    // SIGKILL, which Linux looks at first.
    let cpu_end = cpu_seconds.saturating_add(1);
    for (resource, action, soft, hard) in [
        (
            Resource::As,
            "setrlimit, memory",
            address_space,
            address_space,
        ),
        (Resource::Cpu, "setrlimit, time", cpu_seconds, cpu_end),
        (
            Resource::Fsize,
            "setrlimit, file size",
            file_size,
            file_size,
        ),
        (
            Resource::Nofile,
            "setrlimit, descriptors",
            descriptors,
            descriptors,
        ),
        (Resource::Nproc, "setrlimit, processes", 0, 0),
        (Resource::Core, "setrlimit, core dump", 0, 0),
    ] {
        let now = getrlimit(resource).maximum;
        let lower = |limit: u64| Some(now.map_or(limit, |now| now.min(limit)));
        let new = Rlimit {
            current: lower(soft),
            maximum: lower(hard),
        };
        setrlimit(resource, new).map_err(SandboxError::failed(action))?;
    }
    Ok(())
}
