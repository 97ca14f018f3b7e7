//! Limits on what a process may use (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::confine::Confinement;

/// Limits, in the units of setrlimit(2).
pub(crate) struct Resources([(Resource, &'static str, u64, u64); 6]);

impl Resources {
    /// A soft and a hard limit for each resource. They are the same, but for
    /// time: at the soft one comes SIGXCPU, which tells why, and at the hard
    /// one SIGKILL, which is looked at first.
    pub(crate) fn of(confinement: &Confinement) -> Self {
        let Confinement {
            address_space,
            cpu_seconds,
            file_size,
            descriptors,
        } = *confinement;
        let cpu_end = cpu_seconds.saturating_add(1);
        Self([
            (Resource::As, "memory", address_space, address_space),
            (Resource::Cpu, "time", cpu_seconds, cpu_end),
            (Resource::Fsize, "file size", file_size, file_size),
            (Resource::Nofile, "descriptors", descriptors, descriptors),
            (Resource::Nproc, "processes", 0, 0),
            (Resource::Core, "core dump", 0, 0),
        ])
    }

    /// Sets the limits. Where this process has a lower one, that stays.
    pub(crate) fn limit(&self) -> Result<(), String> {
        for &(resource, name, soft, hard) in &self.0 {
            let now = getrlimit(resource);
            let lower =
                |limit: u64, now: Option<u64>| Some(now.map_or(limit, |now| now.min(limit)));
            let new = Rlimit {
                current: lower(soft, now.maximum),
                maximum: lower(hard, now.maximum),
            };
            setrlimit(resource, new).map_err(|errno| format!("setrlimit, {name}: {errno}"))?;
        }
        Ok(())
    }
}
