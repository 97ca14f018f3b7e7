//! Why the kernel refuses, and what of it the machine's state shows before.

use std::borrow::Cow;

use crate::machine::{LoadKind, LoadLimit, MachineState};

/// Why the kernel refuses, in words.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) text: Cow<'static, str>,
    /// The next step to take.
    pub(crate) advice: &'static str,
}

pub(crate) fn cause(text: impl Into<Cow<'static, str>>, advice: &'static str) -> Cause {
    let text = text.into();
    Cause { text, advice }
}

impl MachineState {
    /// Returns what is already known to keep a kernel from being loaded, in words.
    #[must_use]
    pub fn obstacles(&self, kind: LoadKind) -> Vec<String> {
        let mut obstacles = Vec::new();
        if self.kexec == Some(false) {
            obstacles.push(no_kexec());
        } else {
            obstacles.extend(self.forbidden(kind));
            if self.config.is_some_and(|config| !config.kexec_file) {
                obstacles.push(self.no_file_load());
            }
            obstacles.extend(self.no_reservation(kind));
        }
        let text = |cause: Cause| cause.text.into_owned();
        obstacles.into_iter().map(text).collect()
    }

    /// Returns why kexec as such is forbidden to this process, in the order in
    /// which the kernel looks at it.
    pub(crate) fn forbidden(&self, kind: LoadKind) -> Vec<Cause> {
        let mut causes = Vec::from_iter(self.no_rights());
        if self.load_disabled == Some(true) {
            causes.push(cause(
                "kernel.kexec_load_disabled is 1",
                "it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d",
            ));
        }
        let (limit, name) = match kind {
            LoadKind::Reboot => (self.limit_reboot, "kexec_load_limit_reboot"),
            LoadKind::Crash => (self.limit_panic, "kexec_load_limit_panic"),
        };
        if limit == Some(LoadLimit::Left(0)) {
            let text = format!(
                "kernel.{name} is 0: the loads that it allowed are used up, failed ones and \
                 unloads included"
            );
            causes.push(cause(text, "it cannot be raised before the next boot"));
        }
        causes
    }

    /// Returns what this process lacks to load or boot a kernel.
    pub(crate) fn no_rights(&self) -> Option<Cause> {
        if self.cap_sys_boot == Some(false) {
            return Some(cause("this process lacks CAP_SYS_BOOT", "run it as root"));
        }
        (self.user_namespace == Some(true)).then(|| {
            cause(
                "this process is in a user namespace (a rootless container), whose root may not \
                 load kernels",
                "run it on the machine itself",
            )
        })
    }

    /// Returns that a crash kernel has no room, if that is known.
    pub(crate) fn no_reservation(&self, kind: LoadKind) -> Option<Cause> {
        (kind == LoadKind::Crash && self.crash_size == Some(0)).then(|| {
            cause(
                "no memory is reserved for a crash kernel",
                "boot with crashkernel= on the command line (crashkernel=512M suits most machines)",
            )
        })
    }

    /// Returns why `kexec_file_load` is missing.
    pub(crate) fn no_file_load(&self) -> Cause {
        if self.kexec == Some(false) {
            return no_kexec();
        }
        let text = format!(
            "the running kernel{} was built without CONFIG_KEXEC_FILE, or a container hides the \
             call",
            in_brackets(self.release.as_deref())
        );
        cause(
            text,
            "boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every \
             architecture)",
        )
    }
}

pub(crate) fn no_kexec() -> Cause {
    cause(
        "the running kernel was built without CONFIG_KEXEC_CORE",
        "boot a kernel with CONFIG_KEXEC_FILE=y",
    )
}

pub(crate) fn nothing_loaded() -> Cause {
    cause("no kernel is loaded", "run `ukexec load IMAGE` first")
}

pub(crate) fn in_brackets(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::KernelConfig;

    const LIMIT: &str = "kernel.kexec_load_limit_panic is 0: the loads that it allowed are used \
                         up, failed ones and unloads included";

    #[test]
    fn names_the_obstacles() {
        let state = MachineState {
            release: Some("6.1".to_owned()),
            cap_sys_boot: Some(false),
            load_disabled: Some(true),
            limit_panic: Some(LoadLimit::Left(0)),
            crash_size: Some(0),
            config: Some(KernelConfig::default()),
            ..MachineState::default()
        };
        let (rights, disabled) = (
            "this process lacks CAP_SYS_BOOT",
            "kernel.kexec_load_disabled is 1",
        );
        let call = "the running kernel (6.1) was built without CONFIG_KEXEC_FILE, or a container \
                    hides the call";
        let reboot = [rights, disabled, call];
        assert_eq!(state.obstacles(LoadKind::Reboot), reboot);
        let memory = "no memory is reserved for a crash kernel";
        let crash = [rights, disabled, LIMIT, call, memory];
        assert_eq!(state.obstacles(LoadKind::Crash), crash);
    }

    #[test]
    fn without_kexec_nothing_else_counts() {
        let state = MachineState {
            kexec: Some(false),
            load_disabled: Some(true),
            ..MachineState::default()
        };
        for kind in [LoadKind::Reboot, LoadKind::Crash] {
            let text = "the running kernel was built without CONFIG_KEXEC_CORE";
            assert_eq!(state.obstacles(kind), [text]);
        }
    }
}
