//! What a refusal of the kernel means, and what to do about it.
//!
//! One errno has many causes. [`Refusal`] picks the one that the machine's
//! state makes likely, following the order in which Linux looks at things
//! (`kernel/kexec_file.c`), and says so in words.

use std::fmt;

use crate::cause::RefusalCause;
use crate::errno::Errno;
use crate::load::{DROP, EXEC, LOAD, LoadRequest};
use crate::machine::{LoadKind, Lockdown, MachineState};

/// A system call of kexec was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Which call, in words.
    pub call: &'static str,
    /// What it answered; absent if it was not made, since the answer was clear.
    pub errno: Option<Errno>,
    /// What this most likely means.
    pub cause: RefusalCause,
    /// Whether the crash kernel that was loaded before is gone: Linux drops it
    /// before it looks at the new one.
    pub crash_kernel_lost: bool,
}

impl Refusal {
    /// Explains what `kexec_file_load` answered to `request` on a machine that
    /// was in state `machine` before.
    #[must_use]
    pub fn of_load(errno: Errno, request: &LoadRequest<'_>, machine: &MachineState) -> Self {
        let load = Load {
            kind: request.kind,
            unfolded: request.unfolded,
            debug: request.debug,
            cmdline_len: request.cmdline.len(),
            machine,
        };
        Self::new(LOAD, errno, load.cause(errno))
    }

    pub(crate) fn of_unload(errno: Errno, kind: LoadKind, machine: &MachineState) -> Self {
        let cause = match errno {
            Errno::EPERM => forbidden(kind, machine).unwrap_or(RefusalCause::Forbidden),
            Errno::EBUSY => RefusalCause::Busy,
            Errno::EINTR => RefusalCause::Interrupted,
            Errno::EAGAIN => RefusalCause::NotNow,
            Errno::ENOSYS => no_file_load(machine),
            _ => RefusalCause::Unexplained,
        };
        Self::new(DROP, errno, cause)
    }

    pub(crate) fn of_exec(errno: Errno, machine: &MachineState) -> Self {
        let cause = match errno {
            Errno::EPERM if machine.cap_sys_boot == Some(false) => RefusalCause::NoCapability,
            Errno::EPERM if machine.user_namespace == Some(true) => RefusalCause::UserNamespace,
            Errno::EPERM => RefusalCause::Forbidden,
            // Linux answers this too when the call comes from a PID namespace.
            Errno::EINVAL if machine.loaded == Some(true) => RefusalCause::Container,
            Errno::EINVAL | Errno::ENOSYS if machine.kexec == Some(false) => RefusalCause::NoKexec,
            Errno::EINVAL => RefusalCause::NothingLoaded,
            Errno::EBUSY => RefusalCause::Busy,
            Errno::ENOSYS => RefusalCause::NoKexec,
            _ => RefusalCause::Unexplained,
        };
        Self::new(EXEC, errno, cause)
    }

    pub(crate) fn without_call(call: &'static str, cause: RefusalCause) -> Self {
        Self {
            call,
            errno: None,
            cause,
            crash_kernel_lost: false,
        }
    }

    fn new(call: &'static str, errno: Errno, cause: RefusalCause) -> Self {
        Self {
            call,
            errno: Some(errno),
            cause,
            crash_kernel_lost: false,
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            Some(errno) => write!(f, "{} failed with {errno}: ", self.call)?,
            None => write!(f, "{} was not tried: ", self.call)?,
        }
        write!(f, "{}; {}", self.cause, self.cause.advice())?;
        if self.crash_kernel_lost {
            f.write_str(
                "\nthe crash kernel that was loaded before is gone (Linux drops it first): \
                 load one again",
            )?;
        }
        Ok(())
    }
}

/// What was asked, and of whom.
struct Load<'a> {
    kind: LoadKind,
    unfolded: bool,
    debug: bool,
    cmdline_len: usize,
    machine: &'a MachineState,
}

impl Load<'_> {
    fn cause(&self, errno: Errno) -> RefusalCause {
        let machine = self.machine;
        let unfolded = self.unfolded;
        let crash = self.kind == LoadKind::Crash;
        let no_reservation = crash && machine.crash_size == Some(0);
        match errno {
            Errno::EPERM => self.not_permitted(),
            Errno::EACCES => RefusalCause::SecurityModule {
                ima: machine.ima_appraises_kexec == Some(true),
                unfolded,
            },
            Errno::EINVAL if self.debug && machine.is_at_least(6, 8) == Some(false) => {
                RefusalCause::NoDebug
            }
            Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENOMEM if no_reservation => {
                RefusalCause::NoReservation
            }
            Errno::EADDRNOTAVAIL | Errno::ENOMEM if crash => RefusalCause::ReservationTooSmall {
                size: machine.crash_size,
            },
            Errno::EINVAL => RefusalCause::Unfit {
                machine: machine.machine.clone(),
                cmdline_len: self.cmdline_len,
                crash,
            },
            Errno::ENOEXEC => RefusalCause::UnknownImage {
                machine: machine.machine.clone(),
            },
            Errno::EBUSY => RefusalCause::Busy,
            Errno::EADDRNOTAVAIL => RefusalCause::NoPlace,
            Errno::ETXTBSY => RefusalCause::OpenForWriting { unfolded },
            Errno::ENODATA => RefusalCause::Unsigned { unfolded },
            Errno::EKEYREJECTED => RefusalCause::BadSignature { unfolded },
            Errno::ENOKEY => RefusalCause::UnknownKey,
            Errno::ENOPKG => RefusalCause::NoAlgorithm,
            Errno::EBADMSG => RefusalCause::MalformedSignature,
            Errno::ELIBBAD => RefusalCause::MalformedPe,
            Errno::EKEYEXPIRED => RefusalCause::ExpiredKey,
            Errno::EKEYREVOKED => RefusalCause::RevokedKey,
            Errno::ENOSYS => no_file_load(machine),
            Errno::EFBIG | Errno::ENOMEM => RefusalCause::TooLarge,
            Errno::E2BIG => RefusalCause::OverLimit {
                cmdline_len: self.cmdline_len,
            },
            Errno::EIO => RefusalCause::Unreadable,
            Errno::EINTR => RefusalCause::Interrupted,
            Errno::EAGAIN => RefusalCause::NotNow,
            Errno::ENODEV => RefusalCause::NoDevice { unfolded },
            Errno::EOPNOTSUPP => RefusalCause::Unsupported,
            _ => RefusalCause::Unexplained,
        }
    }

    /// Linux asks first whether this process may at all, then whether it
    /// trusts the image.
    fn not_permitted(&self) -> RefusalCause {
        if let Some(cause) = forbidden(self.kind, self.machine) {
            return cause;
        }
        match self.machine.lockdown {
            Some(level @ (Lockdown::Integrity | Lockdown::Confidentiality)) => {
                RefusalCause::Lockdown {
                    level,
                    unfolded: self.unfolded,
                }
            }
            Some(Lockdown::None) | None if self.machine.loadpin == Some(true) => {
                RefusalCause::LoadPin {
                    unfolded: self.unfolded,
                }
            }
            Some(Lockdown::None) | None => RefusalCause::Forbidden,
        }
    }
}

/// Says why the call is missing.
fn no_file_load(machine: &MachineState) -> RefusalCause {
    if machine.kexec == Some(false) {
        return RefusalCause::NoKexec;
    }
    RefusalCause::NoFileLoad {
        release: machine.release.clone(),
    }
}

fn forbidden(kind: LoadKind, machine: &MachineState) -> Option<RefusalCause> {
    machine.forbidden(kind).into_iter().next()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::machine::LoadLimit;

    /// An ordinary machine.
    fn machine() -> MachineState {
        MachineState {
            release: Some("6.1.0-56-amd64".to_owned()),
            machine: Some("x86_64".to_owned()),
            cap_sys_boot: Some(true),
            load_disabled: Some(false),
            limit_reboot: Some(LoadLimit::Unlimited),
            limit_panic: Some(LoadLimit::Unlimited),
            lockdown: Some(Lockdown::None),
            crash_size: Some(256 << 20),
            ..MachineState::default()
        }
    }

    /// Explains what the machine, after `edit`, answers to an unfolded kernel.
    fn check(errno: Errno, kind: LoadKind, edit: impl Fn(&mut MachineState), expected: &Expect) {
        check_request(errno, kind, |_| {}, edit, expected);
    }

    fn check_request(
        errno: Errno,
        kind: LoadKind,
        edit_request: impl Fn(&mut LoadRequest<'_>),
        edit: impl Fn(&mut MachineState),
        expected: &Expect,
    ) {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut request = LoadRequest::new(file.as_fd(), None, b"quiet", kind);
        request.unfolded = true;
        edit_request(&mut request);
        let mut machine = machine();
        edit(&mut machine);
        expected.assert_eq(&Refusal::of_load(errno, &request, &machine).to_string());
    }

    const REBOOT: LoadKind = LoadKind::Reboot;
    const CRASH: LoadKind = LoadKind::Crash;

    #[test]
    fn eperm_without_the_capability() {
        check(
            Errno::EPERM,
            REBOOT,
            |m| m.cap_sys_boot = Some(false),
            &expect![
                "kexec_file_load failed with EPERM: this process lacks CAP_SYS_BOOT; run it as root"
            ],
        );
    }

    #[test]
    fn eperm_in_a_user_namespace() {
        check(
            Errno::EPERM,
            REBOOT,
            |m| m.user_namespace = Some(true),
            &expect![
                "kexec_file_load failed with EPERM: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself"
            ],
        );
    }

    #[test]
    fn eperm_with_kexec_disabled() {
        check(
            Errno::EPERM,
            REBOOT,
            |m| m.load_disabled = Some(true),
            &expect![
                "kexec_file_load failed with EPERM: kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d"
            ],
        );
    }

    #[test]
    fn eperm_with_the_limit_used_up() {
        check(
            Errno::EPERM,
            REBOOT,
            |m| m.limit_reboot = Some(LoadLimit::Left(0)),
            &expect![
                "kexec_file_load failed with EPERM: kernel.kexec_load_limit_reboot is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot"
            ],
        );
        check(
            Errno::EPERM,
            CRASH,
            |m| m.limit_panic = Some(LoadLimit::Left(0)),
            &expect![
                "kexec_file_load failed with EPERM: kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot"
            ],
        );
    }

    #[test]
    fn eperm_under_lockdown() {
        check(
            Errno::EPERM,
            REBOOT,
            |m| m.lockdown = Some(Lockdown::Integrity),
            &expect![
                "kexec_file_load failed with EPERM: the running kernel is locked down (integrity) and takes only a kernel with a signature that it trusts; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off"
            ],
        );
        check_request(
            Errno::EPERM,
            REBOOT,
            |request| request.unfolded = false,
            |m| m.lockdown = Some(Lockdown::Confidentiality),
            &expect![
                "kexec_file_load failed with EPERM: the running kernel is locked down (confidentiality) and takes only a kernel with a signature that it trusts; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off"
            ],
        );
    }

    #[test]
    fn eperm_with_the_other_limit_used_up_is_lockdown() {
        let edit = |m: &mut MachineState| {
            m.limit_panic = Some(LoadLimit::Left(0));
            m.lockdown = Some(Lockdown::Integrity);
        };
        check(
            Errno::EPERM,
            REBOOT,
            edit,
            &expect![
                "kexec_file_load failed with EPERM: the running kernel is locked down (integrity) and takes only a kernel with a signature that it trusts; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off"
            ],
        );
    }

    #[test]
    fn eperm_under_loadpin() {
        check(
            Errno::EPERM,
            REBOOT,
            |m| m.loadpin = Some(true),
            &expect![
                "kexec_file_load failed with EPERM: LoadPin lets the running kernel load files of one file system only, and what was unfolded lies in memory; load a kernel that needs no unfolding from that file system, or boot with loadpin.enforce=0"
            ],
        );
    }

    #[test]
    fn eperm_without_a_visible_reason() {
        check(
            Errno::EPERM,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EPERM: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`"
            ],
        );
    }

    #[test]
    fn eacces_from_ima_and_others() {
        check(
            Errno::EACCES,
            REBOOT,
            |m| m.ima_appraises_kexec = Some(true),
            &expect![
                "kexec_file_load failed with EACCES: the IMA policy asks for a file signature (security.ima); what was unfolded lies in memory and cannot carry security.ima; load a kernel that needs no unfolding and carries its own signature, or change the policy; the audit log has the rule"
            ],
        );
        check_request(
            Errno::EACCES,
            REBOOT,
            |request| request.unfolded = false,
            |_| {},
            &expect![
                "kexec_file_load failed with EACCES: a security module (IMA appraisal, SELinux) refuses the file; sign the file (`evmctl ima_sign`), label it, or change the policy; the audit log has the rule"
            ],
        );
    }

    #[test]
    fn einval_without_a_reservation() {
        check(
            Errno::EINVAL,
            CRASH,
            |m| m.crash_size = Some(0),
            &expect![
                "kexec_file_load failed with EINVAL: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)"
            ],
        );
        check(
            Errno::EADDRNOTAVAIL,
            CRASH,
            |m| m.crash_size = Some(0),
            &expect![
                "kexec_file_load failed with EADDRNOTAVAIL: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)"
            ],
        );
    }

    #[test]
    fn einval_for_debug_on_an_old_kernel() {
        check_request(
            Errno::EINVAL,
            REBOOT,
            |request| request.debug = true,
            |_| {},
            &expect![
                "kexec_file_load failed with EINVAL: the running kernel is older than 6.8 and cannot log it; load it without the log"
            ],
        );
    }

    #[test]
    fn einval_for_the_wrong_image() {
        check(
            Errno::EINVAL,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EINVAL: the image is not for this machine (x86_64), or the command line (5 bytes) is too long for it; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed"
            ],
        );
        check(
            Errno::EINVAL,
            CRASH,
            |m| m.machine = None,
            &expect![
                "kexec_file_load failed with EINVAL: the image is not for this machine, or the command line (5 bytes and elfcorehdr=) is too long for it; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed"
            ],
        );
    }

    #[test]
    fn enoexec() {
        check(
            Errno::ENOEXEC,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENOEXEC: no loader of the running kernel (x86_64) knows the image; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed"
            ],
        );
    }

    #[test]
    fn ebusy() {
        check(
            Errno::EBUSY,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EBUSY: another kexec operation is under way; try again"
            ],
        );
    }

    #[test]
    fn eaddrnotavail() {
        check(
            Errno::EADDRNOTAVAIL,
            CRASH,
            |_| {},
            &expect![
                "kexec_file_load failed with EADDRNOTAVAIL: kernel and initrd do not fit into the crash reservation of 256 MiB; boot with a larger crashkernel=, or give a smaller initrd"
            ],
        );
        check(
            Errno::EADDRNOTAVAIL,
            CRASH,
            |m| m.crash_size = None,
            &expect![
                "kexec_file_load failed with EADDRNOTAVAIL: kernel and initrd do not fit into the crash reservation; boot with a larger crashkernel=, or give a smaller initrd"
            ],
        );
        check(
            Errno::EADDRNOTAVAIL,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EADDRNOTAVAIL: no free memory has the place and the size that the kernel needs; free some memory, or give a smaller initrd"
            ],
        );
    }

    #[test]
    fn etxtbsy() {
        check(
            Errno::ETXTBSY,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ETXTBSY: a file in memory that was handed over is still open for writing; this should not happen: please report it, with the image"
            ],
        );
        check_request(
            Errno::ETXTBSY,
            REBOOT,
            |request| request.unfolded = false,
            |_| {},
            &expect![
                "kexec_file_load failed with ETXTBSY: the file is open for writing somewhere; wait for the writer or stop it (`fuser -v IMAGE` names it), then try again"
            ],
        );
    }

    #[test]
    fn signatures() {
        check(
            Errno::ENODATA,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENODATA: the running kernel takes signed kernels only, and this one is not signed; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off"
            ],
        );
        check(
            Errno::EKEYREJECTED,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EKEYREJECTED: the kernel's signature is missing or does not fit its bytes; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off"
            ],
        );
        check(
            Errno::ENOKEY,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENOKEY: the key that signed the kernel is not in the running kernel's keyrings; enrol the key (db or MOK), or sign the kernel with one that is: `keyctl show %:.platform` lists them"
            ],
        );
        check(
            Errno::ENOPKG,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENOPKG: the running kernel lacks an algorithm that the signature uses; sign the kernel with RSA and SHA-256"
            ],
        );
        check(
            Errno::EBADMSG,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EBADMSG: the kernel's signature is malformed (PKCS#7); sign the kernel again"
            ],
        );
        check(
            Errno::ELIBBAD,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ELIBBAD: the kernel is no well-formed PE file, which its signature needs; sign the kernel again"
            ],
        );
    }

    #[test]
    fn keys_that_do_not_count_any_more() {
        check(
            Errno::EKEYEXPIRED,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EKEYEXPIRED: the key that signed the kernel is in the running kernel's keyrings, but has expired; sign the kernel with a key that is valid: `keyctl show %:.platform` lists them"
            ],
        );
        check(
            Errno::EKEYREVOKED,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EKEYREVOKED: the key that signed the kernel is in the running kernel's keyrings, but was revoked; sign the kernel with a key that is valid: `keyctl show %:.platform` lists them"
            ],
        );
    }

    #[test]
    fn what_may_work_another_time() {
        check(
            Errno::EINTR,
            REBOOT,
            |_| {},
            &expect!["kexec_file_load failed with EINTR: a signal interrupted it; try again"],
        );
        check(
            Errno::EAGAIN,
            CRASH,
            |_| {},
            &expect![
                "kexec_file_load failed with EAGAIN: the running kernel lacked something for the moment; try again"
            ],
        );
    }

    #[test]
    fn what_this_machine_cannot() {
        check(
            Errno::E2BIG,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with E2BIG: kernel, initrd or command line (5 bytes) are longer than the running kernel takes; give a smaller initrd or a shorter command line"
            ],
        );
        check(
            Errno::EOPNOTSUPP,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EOPNOTSUPP: this machine does not support kexec as it runs now: its firmware, processors or memory encryption (TDX, SEV) do not, or the file system of the files; reboot through the firmware; `dmesg | tail` may say more"
            ],
        );
        check(
            Errno::ENODEV,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENODEV: a device that the running kernel needs for it is missing; the kernel log may say more: `dmesg | tail`"
            ],
        );
        check_request(
            Errno::ENODEV,
            REBOOT,
            |request| request.unfolded = false,
            |_| {},
            &expect![
                "kexec_file_load failed with ENODEV: a device that the running kernel needs for it is missing, such as the one that holds the file; the kernel log may say more: `dmesg | tail`"
            ],
        );
    }

    #[test]
    fn enosys_of_a_kernel_without_kexec() {
        let edit = |m: &mut MachineState| m.kexec = Some(false);
        check(
            Errno::ENOSYS,
            REBOOT,
            edit,
            &expect![
                "kexec_file_load failed with ENOSYS: the running kernel was built without CONFIG_KEXEC_CORE; boot a kernel with CONFIG_KEXEC_FILE=y"
            ],
        );
        check(
            Errno::ENOSYS,
            CRASH,
            edit,
            &expect![
                "kexec_file_load failed with ENOSYS: the running kernel was built without CONFIG_KEXEC_CORE; boot a kernel with CONFIG_KEXEC_FILE=y"
            ],
        );
        let mut machine = machine();
        edit(&mut machine);
        for errno in [Errno::EINVAL, Errno::ENOSYS] {
            let refusal = Refusal::of_exec(errno, &machine);
            assert_eq!(refusal.cause, RefusalCause::NoKexec);
        }
        let refusal = Refusal::of_unload(Errno::ENOSYS, REBOOT, &machine);
        assert_eq!(refusal.cause, RefusalCause::NoKexec);
    }

    #[test]
    fn enosys() {
        check(
            Errno::ENOSYS,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENOSYS: the running kernel (6.1.0-56-amd64) was built without CONFIG_KEXEC_FILE, or a container hides the call; boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every architecture)"
            ],
        );
        check(
            Errno::ENOSYS,
            REBOOT,
            |m| m.release = None,
            &expect![
                "kexec_file_load failed with ENOSYS: the running kernel was built without CONFIG_KEXEC_FILE, or a container hides the call; boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every architecture)"
            ],
        );
    }

    #[test]
    fn memory_and_medium() {
        check(
            Errno::EFBIG,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EFBIG: kernel and initrd are too large for the free memory; free some memory, or give a smaller initrd"
            ],
        );
        check(
            Errno::ENOMEM,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with ENOMEM: kernel and initrd are too large for the free memory; free some memory, or give a smaller initrd"
            ],
        );
        check(
            Errno::EIO,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EIO: the running kernel could not read the files; check the medium; `dmesg | tail` may say more"
            ],
        );
    }

    #[test]
    fn unknown_answers() {
        check(
            Errno::EFAULT,
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with EFAULT: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`"
            ],
        );
        check(
            Errno(libc::EMLINK),
            REBOOT,
            |_| {},
            &expect![
                "kexec_file_load failed with Too many links (os error 31): ukexec does not know this answer; the kernel log may say more: `dmesg | tail`"
            ],
        );
    }

    #[test]
    fn tells_that_the_crash_kernel_is_gone() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let request = LoadRequest::new(file.as_fd(), None, b"", CRASH);
        let mut refusal = Refusal::of_load(Errno::ENOEXEC, &request, &machine());
        refusal.crash_kernel_lost = true;
        expect![[r#"
            kexec_file_load failed with ENOEXEC: no loader of the running kernel (x86_64) knows the image; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            the crash kernel that was loaded before is gone (Linux drops it first): load one again"#]].assert_eq(&refusal.to_string());
    }

    #[test]
    fn refused_unloads() {
        let check = |errno, expected: Expect| {
            expected.assert_eq(&Refusal::of_unload(errno, REBOOT, &machine()).to_string());
        };
        check(
            Errno::EPERM,
            expect![
                "kexec_file_load (unload) failed with EPERM: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`"
            ],
        );
        check(
            Errno::EBUSY,
            expect![
                "kexec_file_load (unload) failed with EBUSY: another kexec operation is under way; try again"
            ],
        );
        check(
            Errno::ENOSYS,
            expect![
                "kexec_file_load (unload) failed with ENOSYS: the running kernel (6.1.0-56-amd64) was built without CONFIG_KEXEC_FILE, or a container hides the call; boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every architecture)"
            ],
        );
        check(
            Errno::EIO,
            expect![
                "kexec_file_load (unload) failed with EIO: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`"
            ],
        );
    }

    #[test]
    fn refused_boots() {
        let check = |errno, edit: fn(&mut MachineState), expected: Expect| {
            let mut machine = machine();
            edit(&mut machine);
            expected.assert_eq(&Refusal::of_exec(errno, &machine).to_string());
        };
        check(
            Errno::EPERM,
            |m| m.cap_sys_boot = Some(false),
            expect![
                "reboot (kexec) failed with EPERM: this process lacks CAP_SYS_BOOT; run it as root"
            ],
        );
        check(
            Errno::EPERM,
            |m| m.user_namespace = Some(true),
            expect![
                "reboot (kexec) failed with EPERM: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself"
            ],
        );
        check(
            Errno::EINVAL,
            |_| {},
            expect![
                "reboot (kexec) failed with EINVAL: no kernel is loaded; run `ukexec load IMAGE` first"
            ],
        );
        check(
            Errno::EINVAL,
            |m| m.loaded = Some(true),
            expect![
                "reboot (kexec) failed with EINVAL: this process is in a container; run it on the machine itself"
            ],
        );
        check(
            Errno::EBUSY,
            |_| {},
            expect![
                "reboot (kexec) failed with EBUSY: another kexec operation is under way; try again"
            ],
        );
        check(
            Errno::ENOSYS,
            |_| {},
            expect![
                "reboot (kexec) failed with ENOSYS: the running kernel was built without CONFIG_KEXEC_CORE; boot a kernel with CONFIG_KEXEC_FILE=y"
            ],
        );
    }
}
