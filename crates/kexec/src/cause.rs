//! The reasons for which the kernel refuses, as far as the machine's state shows
//! them: the same words before a call and behind one.

use std::borrow::Cow;
use std::path::Path;

use crate::errno::Errno;
use crate::error::{KexecError, KexecErrorKind};
use crate::machine::{LoadKind, LoadLimit, Lockdown, MachineState};

/// A fact in words, and what it makes of a call.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) text: Cow<'static, str>,
    /// The next step to take; empty if there is none.
    pub(crate) advice: &'static str,
    /// The kind of a call's failure by it.
    pub(crate) kind: KexecErrorKind,
}

/// Returns a cause that lies in the files or in the moment.
pub(crate) fn cause(text: impl Into<Cow<'static, str>>, advice: &'static str) -> Cause {
    let text = text.into();
    let kind = KexecErrorKind::Failed;
    Cause { text, advice, kind }
}

/// Returns a cause that lies in this machine.
pub(crate) fn machine(text: impl Into<Cow<'static, str>>, advice: &'static str) -> Cause {
    cause(text, advice).of_kind(KexecErrorKind::Machine)
}

impl Cause {
    pub(crate) fn of_kind(self, kind: KexecErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Returns the error whose text is `action` and this.
    pub(crate) fn error(&self, action: &str) -> KexecError {
        let Self { text, advice, kind } = self;
        KexecError::new(format!("{action}: {text}; {advice}")).of_kind(*kind)
    }

    /// Returns the error of `call`, to which the kernel answered `errno` for this cause.
    pub(crate) fn failed(&self, call: &str, errno: Errno) -> KexecError {
        let error = self.error(&format!("{call} failed with {errno}"));
        error.with_errno(errno)
    }
}

impl MachineState {
    /// Returns what this process lacks to load or boot a kernel.
    pub(crate) fn no_right(&self) -> Option<Cause> {
        if self.cap_sys_boot == Some(false) {
            return Some(machine("this process lacks CAP_SYS_BOOT", "run it as root"));
        }
        (self.user_namespace == Some(true)).then(|| {
            machine(
                "this process is in a user namespace (a rootless container), whose root may not \
                 load kernels",
                "run it on the machine itself",
            )
        })
    }

    /// Returns the sysctl that allows no more loads.
    pub(crate) fn no_loads_left(&self, kind: LoadKind) -> Option<Cause> {
        if self.load_disabled == Some(true) {
            return Some(machine(
                "kernel.kexec_load_disabled is 1",
                "it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d",
            ));
        }
        let (limit, name) = self.limit(kind);
        (limit == Some(LoadLimit::Left(0))).then(|| {
            let text = format!(
                "kernel.{name} is 0: the loads that it allowed are used up, failed ones and \
                 unloads included"
            );
            machine(text, "it cannot be raised before the next boot")
        })
    }

    /// Returns the limit of loads of this kind, and its sysctl.
    pub(crate) fn limit(&self, kind: LoadKind) -> (Option<LoadLimit>, &'static str) {
        match kind {
            LoadKind::Reboot => (self.limit_reboot, "kexec_load_limit_reboot"),
            LoadKind::Crash => (self.limit_panic, "kexec_load_limit_panic"),
        }
    }

    /// Returns how far the kernel is locked down, if it is.
    pub(crate) fn locked_down(&self) -> Option<Lockdown> {
        self.lockdown.filter(|level| *level > Lockdown::None)
    }

    /// Returns what a failed load of this kind did on the way, if it did: Linux drops a crash
    /// kernel before it looks at the new one.
    pub(crate) fn lost_by_load(&self, root: &Path, kind: LoadKind) -> Option<&'static str> {
        let is_lost = kind == LoadKind::Crash
            && self.crash_loaded == Some(true)
            && Self::of_kernel(root).crash_loaded == Some(false);
        is_lost.then_some(
            "\nthe crash kernel that was loaded before is gone (Linux drops it first): load one \
             again",
        )
    }

    /// Returns that a crash kernel has no room, if that is known.
    pub(crate) fn no_reservation(&self, kind: LoadKind) -> Option<Cause> {
        (kind == LoadKind::Crash && self.crash_size == Some(0)).then(|| {
            machine(
                "no memory is reserved for a crash kernel",
                "boot with crashkernel= on the command line (crashkernel=512M suits most machines)",
            )
        })
    }
}

/// Returns that the running kernel lacks `kexec_file_load`.
pub(crate) fn no_call() -> Cause {
    machine(
        "kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it)",
        OTHER_KERNEL,
    )
}

/// Returns that the running kernel lacks `kexec_load`.
pub(crate) fn no_kexec_load() -> Cause {
    machine(
        "kexec_load is not in this kernel (CONFIG_KEXEC is off, or a container hides it)",
        OTHER_KERNEL,
    )
}

/// Returns that the running kernel lacks all of kexec.
pub(crate) fn no_kexec() -> Cause {
    machine(
        "kexec is not in this kernel (CONFIG_KEXEC_CORE is off, or a container hides it)",
        OTHER_KERNEL,
    )
}

/// Returns that a locked-down kernel trusts no signature of the kernel to load.
pub(crate) fn locked(level: Lockdown) -> Cause {
    let level = level.name();
    let text = format!(
        "the running kernel is locked down ({level}), and this one has no signature it trusts"
    );
    machine(text, SIGN_KERNEL)
}

/// Returns that the kernel to load is not signed, which the running one demands.
pub(crate) fn unsigned() -> Cause {
    cause(
        "the running kernel takes signed kernels only, and this one is not signed",
        SIGN_KERNEL,
    )
    .of_kind(KexecErrorKind::Signature)
}

pub(crate) fn nothing_loaded() -> Cause {
    machine("no kernel is loaded", "run `ukexec load IMAGE` first")
}

pub(crate) fn in_brackets(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

const OTHER_KERNEL: &str = "boot one that has it";

/// A signature around the image is not the one that a kernel looks at.
pub(crate) const SIGN_KERNEL: &str =
    "sign the kernel itself (not only the image around it) with a key that this machine trusts";
