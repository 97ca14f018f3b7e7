//! The meaning of the kernel's answers, and what to do about them.
//!
//! One errno has many causes. Here is the one that the machine's state makes
//! likely, following the order in which Linux looks at things
//! (`kernel/kexec_file.c`).

use crate::cause::{Cause, cause, in_brackets, no_kexec, nothing_loaded};
use crate::errno::Errno;
use crate::load::LoadRequest;
use crate::machine::{LoadKind, Lockdown, MachineState};

/// Explains what `kexec_file_load` answered to `request` on a machine that was in
/// state `machine` before.
pub(crate) fn of_load(errno: Errno, request: &LoadRequest<'_>, machine: &MachineState) -> Cause {
    let unfolded = request.unfolded;
    let crash = request.kind == LoadKind::Crash;
    let arch = in_brackets(machine.machine.as_deref());
    let cmdline_len = request.cmdline.len();
    if let Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENOMEM = errno
        && let Some(cause) = machine.no_reservation(request.kind)
    {
        return cause;
    }
    match errno {
        Errno::EPERM => not_permitted(request, machine),
        Errno::EACCES => security_module(machine.ima_appraises_kexec == Some(true), unfolded),
        Errno::EADDRNOTAVAIL | Errno::ENOMEM if crash => {
            let size = machine.crash_size;
            let size = size.map_or_else(String::new, |size| format!(" of {} MiB", size >> 20));
            let text = format!("kernel and initrd do not fit into the crash reservation{size}");
            cause(
                text,
                "boot with a larger crashkernel=, or give a smaller initrd",
            )
        }
        Errno::EINVAL => {
            let more = if crash { " and elfcorehdr=" } else { "" };
            let text = format!(
                "the image is not for this machine{arch}, or the command line ({cmdline_len} \
                 bytes{more}) is too long for it"
            );
            cause(text, INSPECT)
        }
        Errno::ENOEXEC => {
            let text = format!("no loader of the running kernel{arch} knows the image");
            cause(text, INSPECT)
        }
        Errno::ETXTBSY if unfolded => cause(
            "a file in memory that was handed over is still open for writing",
            "this should not happen: please report it, with the image",
        ),
        Errno::ENODATA => unsigned(
            "the running kernel takes signed kernels only, and this one is not signed",
            unfolded,
        ),
        Errno::EKEYREJECTED => unsigned(
            "the kernel's signature is missing or does not fit its bytes",
            unfolded,
        ),
        Errno::ENOSYS => machine.no_file_load(),
        Errno::E2BIG => {
            let text = format!(
                "kernel, initrd or command line ({cmdline_len} bytes) are longer than the running \
                 kernel takes"
            );
            cause(text, "give a smaller initrd or a shorter command line")
        }
        Errno::ENODEV if unfolded => cause(
            "a device that the running kernel needs for it is missing",
            LOG,
        ),
        _ => fixed(errno),
    }
}

pub(crate) fn of_unload(errno: Errno, kind: LoadKind, machine: &MachineState) -> Cause {
    match errno {
        Errno::EPERM => forbidden(kind, machine).unwrap_or_else(policy),
        Errno::ENOSYS => machine.no_file_load(),
        Errno::EBUSY | Errno::EINTR | Errno::EAGAIN => fixed(errno),
        _ => unexplained(),
    }
}

pub(crate) fn of_exec(errno: Errno, machine: &MachineState) -> Cause {
    match errno {
        Errno::EPERM => machine.no_rights().unwrap_or_else(policy),
        // Linux answers this too when the call comes from a PID namespace.
        Errno::EINVAL if machine.loaded == Some(true) => cause(
            "this process is in a container",
            "run it on the machine itself",
        ),
        Errno::EINVAL if machine.kexec != Some(false) => nothing_loaded(),
        Errno::EINVAL | Errno::ENOSYS => no_kexec(),
        Errno::EBUSY => fixed(errno),
        _ => unexplained(),
    }
}

/// Linux asks first whether this process may at all, then whether it trusts the
/// image.
fn not_permitted(request: &LoadRequest<'_>, machine: &MachineState) -> Cause {
    if let Some(cause) = forbidden(request.kind, machine) {
        return cause;
    }
    let lockdown = machine.lockdown.filter(|level| *level > Lockdown::None);
    if let Some(level) = lockdown {
        let text = format!(
            "the running kernel is locked down ({}) and takes only a kernel with a signature that \
             it trusts",
            level.name()
        );
        return unsigned(&text, request.unfolded);
    }
    if machine.loadpin != Some(true) {
        return policy();
    }
    let text = "LoadPin lets the running kernel load files of one file system only";
    let more = ", and what was unfolded lies in memory";
    let more = if request.unfolded { more } else { "" };
    cause(
        format!("{text}{more}"),
        "load a kernel that needs no unfolding from that file system, or boot with \
         loadpin.enforce=0",
    )
}

fn forbidden(kind: LoadKind, machine: &MachineState) -> Option<Cause> {
    machine.forbidden(kind).into_iter().next()
}

fn policy() -> Cause {
    cause(
        "a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be \
         seen, do not",
        LOG,
    )
}

fn security_module(ima: bool, unfolded: bool) -> Cause {
    let text = if ima {
        "the IMA policy asks for a file signature (security.ima)"
    } else {
        "a security module (IMA appraisal, SELinux) refuses the file"
    };
    if !unfolded {
        return cause(
            text,
            "sign the file (`evmctl ima_sign`), label it, or change the policy; the audit log has \
             the rule",
        );
    }
    cause(
        format!("{text}; what was unfolded lies in memory and cannot carry security.ima"),
        "load a kernel that needs no unfolding and carries its own signature, or change the \
         policy; the audit log has the rule",
    )
}

/// A signature around the image is not what the kernel looks at.
fn unsigned(text: &str, unfolded: bool) -> Cause {
    let envelope =
        "; what counts is the signature of the kernel inside the image, not the one around it";
    let envelope = if unfolded { envelope } else { "" };
    cause(
        format!("{text}{envelope}"),
        "sign the kernel itself with a key that the machine trusts, before it is put into an \
         image, or boot with Secure Boot and lockdown off",
    )
}

fn unexplained() -> Cause {
    cause("ukexec does not know this answer", LOG)
}

/// Explains an errno that means the same on every machine.
fn fixed(errno: Errno) -> Cause {
    let known = FIXED.iter().find(|(it, ..)| *it == errno);
    known.map_or_else(unexplained, |(_, text, advice)| cause(*text, advice))
}

const FIXED: [(Errno, &str, &str); 16] = [
    (Errno::EBUSY, "another kexec operation is under way", AGAIN),
    (Errno::EINTR, "a signal interrupted it", AGAIN),
    (
        Errno::EAGAIN,
        "the running kernel lacked something for the moment",
        AGAIN,
    ),
    (
        Errno::EADDRNOTAVAIL,
        "no free memory has the place and the size that the kernel needs",
        MEMORY,
    ),
    (Errno::EFBIG, TOO_LARGE, MEMORY),
    (Errno::ENOMEM, TOO_LARGE, MEMORY),
    (
        Errno::ETXTBSY,
        "the file is open for writing somewhere",
        "wait for the writer or stop it (`fuser -v IMAGE` names it), then try again",
    ),
    (
        Errno::ENOKEY,
        "the key that signed the kernel is not in the running kernel's keyrings",
        "enrol the key (db or MOK), or sign the kernel with one that is: `keyctl show \
         %:.platform` lists them",
    ),
    (
        Errno::EKEYEXPIRED,
        "the key that signed the kernel is in the running kernel's keyrings, but has expired",
        VALID_KEY,
    ),
    (
        Errno::EKEYREVOKED,
        "the key that signed the kernel is in the running kernel's keyrings, but was revoked",
        VALID_KEY,
    ),
    (
        Errno::ENOPKG,
        "the running kernel lacks an algorithm that the signature uses",
        "sign the kernel with RSA and SHA-256",
    ),
    (
        Errno::EBADMSG,
        "the kernel's signature is malformed (PKCS#7)",
        SIGN_AGAIN,
    ),
    (
        Errno::ELIBBAD,
        "the kernel is no well-formed PE file, which its signature needs",
        SIGN_AGAIN,
    ),
    (
        Errno::EIO,
        "the running kernel could not read the files",
        "check the medium; `dmesg | tail` may say more",
    ),
    (
        Errno::ENODEV,
        "a device that the running kernel needs for it is missing, such as the one that holds the \
         file",
        LOG,
    ),
    (
        Errno::EOPNOTSUPP,
        "this machine does not support kexec as it runs now: its firmware, processors or memory \
         encryption (TDX, SEV) do not, or the file system of the files",
        "reboot through the firmware; `dmesg | tail` may say more",
    ),
];

const TOO_LARGE: &str = "kernel and initrd are too large for the free memory";
const AGAIN: &str = "try again";
const INSPECT: &str =
    "`ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed";
const LOG: &str = "the kernel log may say more: `dmesg | tail`";
const MEMORY: &str = "free some memory, or give a smaller initrd";
const SIGN_AGAIN: &str = "sign the kernel again";
const VALID_KEY: &str =
    "sign the kernel with a key that is valid: `keyctl show %:.platform` lists them";

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::machine::LoadLimit;

    /// An errno, the kind of kernel, and the difference from an ordinary machine.
    type Row = (Errno, LoadKind, fn(&mut MachineState));

    const REBOOT: LoadKind = LoadKind::Reboot;
    const CRASH: LoadKind = LoadKind::Crash;

    fn as_it_is(_: &mut MachineState) {}

    /// Explains each row in a line.
    #[expect(clippy::needless_pass_by_value, reason = "as `expect!` gives it")]
    fn check(
        rows: &[Row],
        explain: impl Fn(Errno, LoadKind, &MachineState) -> Cause,
        expected: Expect,
    ) {
        let line = |(errno, kind, edit): &Row| {
            let mut machine = MachineState {
                release: Some("6.1.0-56-amd64".to_owned()),
                machine: Some("x86_64".to_owned()),
                cap_sys_boot: Some(true),
                load_disabled: Some(false),
                limit_reboot: Some(LoadLimit::Unlimited),
                limit_panic: Some(LoadLimit::Unlimited),
                lockdown: Some(Lockdown::None),
                crash_size: Some(256 << 20),
                ..MachineState::default()
            };
            edit(&mut machine);
            let Cause { text, advice } = explain(*errno, *kind, &machine);
            format!("{errno}: {text}; {advice}\n")
        };
        expected.assert_eq(&rows.iter().map(line).collect::<String>());
    }

    fn check_loads(unfolded: bool, rows: &[Row], expected: Expect) {
        let file = std::fs::File::open("/dev/null").unwrap();
        let explain = |errno, kind, machine: &MachineState| {
            let mut request = LoadRequest::new(file.as_fd(), None, b"quiet", kind);
            request.unfolded = unfolded;
            of_load(errno, &request, machine)
        };
        check(rows, explain, expected);
    }

    #[test]
    fn loads_that_are_not_permitted() {
        let rows: &[Row] = &[
            (Errno::EPERM, REBOOT, |m| m.cap_sys_boot = Some(false)),
            (Errno::EPERM, REBOOT, |m| m.user_namespace = Some(true)),
            (Errno::EPERM, REBOOT, |m| m.load_disabled = Some(true)),
            (Errno::EPERM, REBOOT, |m| {
                m.limit_reboot = Some(LoadLimit::Left(0))
            }),
            (Errno::EPERM, CRASH, |m| {
                m.limit_panic = Some(LoadLimit::Left(0))
            }),
            (Errno::EPERM, REBOOT, |m| {
                m.lockdown = Some(Lockdown::Integrity)
            }),
            (Errno::EPERM, REBOOT, |m| {
                m.limit_panic = Some(LoadLimit::Left(0));
                m.lockdown = Some(Lockdown::Integrity);
            }),
            (Errno::EPERM, REBOOT, |m| m.loadpin = Some(true)),
            (Errno::EPERM, REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            EPERM: this process lacks CAP_SYS_BOOT; run it as root
            EPERM: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself
            EPERM: kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
            EPERM: kernel.kexec_load_limit_reboot is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
            EPERM: kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
            EPERM: the running kernel is locked down (integrity) and takes only a kernel with a signature that it trusts; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off
            EPERM: the running kernel is locked down (integrity) and takes only a kernel with a signature that it trusts; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off
            EPERM: LoadPin lets the running kernel load files of one file system only, and what was unfolded lies in memory; load a kernel that needs no unfolding from that file system, or boot with loadpin.enforce=0
            EPERM: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`
        "#]];
        check_loads(true, rows, expected);
    }

    #[test]
    fn loads_of_kernels_that_are_not_trusted() {
        let rows: &[Row] = &[
            (Errno::EACCES, REBOOT, |m| {
                m.ima_appraises_kexec = Some(true)
            }),
            (Errno::ENODATA, REBOOT, as_it_is),
            (Errno::EKEYREJECTED, REBOOT, as_it_is),
            (Errno::ENOKEY, REBOOT, as_it_is),
            (Errno::ENOPKG, REBOOT, as_it_is),
            (Errno::EBADMSG, REBOOT, as_it_is),
            (Errno::ELIBBAD, REBOOT, as_it_is),
            (Errno::EKEYEXPIRED, REBOOT, as_it_is),
            (Errno::EKEYREVOKED, REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            EACCES: the IMA policy asks for a file signature (security.ima); what was unfolded lies in memory and cannot carry security.ima; load a kernel that needs no unfolding and carries its own signature, or change the policy; the audit log has the rule
            ENODATA: the running kernel takes signed kernels only, and this one is not signed; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off
            EKEYREJECTED: the kernel's signature is missing or does not fit its bytes; what counts is the signature of the kernel inside the image, not the one around it; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off
            ENOKEY: the key that signed the kernel is not in the running kernel's keyrings; enrol the key (db or MOK), or sign the kernel with one that is: `keyctl show %:.platform` lists them
            ENOPKG: the running kernel lacks an algorithm that the signature uses; sign the kernel with RSA and SHA-256
            EBADMSG: the kernel's signature is malformed (PKCS#7); sign the kernel again
            ELIBBAD: the kernel is no well-formed PE file, which its signature needs; sign the kernel again
            EKEYEXPIRED: the key that signed the kernel is in the running kernel's keyrings, but has expired; sign the kernel with a key that is valid: `keyctl show %:.platform` lists them
            EKEYREVOKED: the key that signed the kernel is in the running kernel's keyrings, but was revoked; sign the kernel with a key that is valid: `keyctl show %:.platform` lists them
        "#]];
        check_loads(true, rows, expected);
    }

    #[test]
    fn loads_that_do_not_fit() {
        let rows: &[Row] = &[
            (Errno::EINVAL, CRASH, |m| m.crash_size = Some(0)),
            (Errno::EADDRNOTAVAIL, CRASH, |m| m.crash_size = Some(0)),
            (Errno::EINVAL, REBOOT, as_it_is),
            (Errno::EINVAL, CRASH, |m| m.machine = None),
            (Errno::EADDRNOTAVAIL, CRASH, as_it_is),
            (Errno::EADDRNOTAVAIL, CRASH, |m| m.crash_size = None),
            (Errno::EADDRNOTAVAIL, REBOOT, as_it_is),
            (Errno::E2BIG, REBOOT, as_it_is),
            (Errno::EFBIG, REBOOT, as_it_is),
            (Errno::ENOMEM, REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            EINVAL: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
            EADDRNOTAVAIL: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
            EINVAL: the image is not for this machine (x86_64), or the command line (5 bytes) is too long for it; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            EINVAL: the image is not for this machine, or the command line (5 bytes and elfcorehdr=) is too long for it; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            EADDRNOTAVAIL: kernel and initrd do not fit into the crash reservation of 256 MiB; boot with a larger crashkernel=, or give a smaller initrd
            EADDRNOTAVAIL: kernel and initrd do not fit into the crash reservation; boot with a larger crashkernel=, or give a smaller initrd
            EADDRNOTAVAIL: no free memory has the place and the size that the kernel needs; free some memory, or give a smaller initrd
            E2BIG: kernel, initrd or command line (5 bytes) are longer than the running kernel takes; give a smaller initrd or a shorter command line
            EFBIG: kernel and initrd are too large for the free memory; free some memory, or give a smaller initrd
            ENOMEM: kernel and initrd are too large for the free memory; free some memory, or give a smaller initrd
        "#]];
        check_loads(true, rows, expected);
    }

    #[test]
    fn loads_that_fail_otherwise() {
        let rows: &[Row] = &[
            (Errno::ENOEXEC, REBOOT, as_it_is),
            (Errno::EBUSY, REBOOT, as_it_is),
            (Errno::ETXTBSY, REBOOT, as_it_is),
            (Errno::EINTR, REBOOT, as_it_is),
            (Errno::EAGAIN, CRASH, as_it_is),
            (Errno::EOPNOTSUPP, REBOOT, as_it_is),
            (Errno::ENODEV, REBOOT, as_it_is),
            (Errno::ENOSYS, REBOOT, |m| m.kexec = Some(false)),
            (Errno::ENOSYS, CRASH, |m| m.kexec = Some(false)),
            (Errno::ENOSYS, REBOOT, as_it_is),
            (Errno::ENOSYS, REBOOT, |m| m.release = None),
            (Errno::EIO, REBOOT, as_it_is),
            (Errno::EFAULT, REBOOT, as_it_is),
            (Errno(libc::EMLINK), REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            ENOEXEC: no loader of the running kernel (x86_64) knows the image; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            EBUSY: another kexec operation is under way; try again
            ETXTBSY: a file in memory that was handed over is still open for writing; this should not happen: please report it, with the image
            EINTR: a signal interrupted it; try again
            EAGAIN: the running kernel lacked something for the moment; try again
            EOPNOTSUPP: this machine does not support kexec as it runs now: its firmware, processors or memory encryption (TDX, SEV) do not, or the file system of the files; reboot through the firmware; `dmesg | tail` may say more
            ENODEV: a device that the running kernel needs for it is missing; the kernel log may say more: `dmesg | tail`
            ENOSYS: the running kernel was built without CONFIG_KEXEC_CORE; boot a kernel with CONFIG_KEXEC_FILE=y
            ENOSYS: the running kernel was built without CONFIG_KEXEC_CORE; boot a kernel with CONFIG_KEXEC_FILE=y
            ENOSYS: the running kernel (6.1.0-56-amd64) was built without CONFIG_KEXEC_FILE, or a container hides the call; boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every architecture)
            ENOSYS: the running kernel was built without CONFIG_KEXEC_FILE, or a container hides the call; boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every architecture)
            EIO: the running kernel could not read the files; check the medium; `dmesg | tail` may say more
            EFAULT: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
            Too many links (os error 31): ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
        "#]];
        check_loads(true, rows, expected);
    }

    #[test]
    fn loads_of_a_file_as_it_lies() {
        let rows: &[Row] = &[
            (Errno::EPERM, REBOOT, |m| {
                m.lockdown = Some(Lockdown::Confidentiality)
            }),
            (Errno::EACCES, REBOOT, as_it_is),
            (Errno::ETXTBSY, REBOOT, as_it_is),
            (Errno::ENODEV, REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            EPERM: the running kernel is locked down (confidentiality) and takes only a kernel with a signature that it trusts; sign the kernel itself with a key that the machine trusts, before it is put into an image, or boot with Secure Boot and lockdown off
            EACCES: a security module (IMA appraisal, SELinux) refuses the file; sign the file (`evmctl ima_sign`), label it, or change the policy; the audit log has the rule
            ETXTBSY: the file is open for writing somewhere; wait for the writer or stop it (`fuser -v IMAGE` names it), then try again
            ENODEV: a device that the running kernel needs for it is missing, such as the one that holds the file; the kernel log may say more: `dmesg | tail`
        "#]];
        check_loads(false, rows, expected);
    }

    #[test]
    fn unloads() {
        let rows: &[Row] = &[
            (Errno::EPERM, REBOOT, as_it_is),
            (Errno::EBUSY, REBOOT, as_it_is),
            (Errno::ENOSYS, REBOOT, as_it_is),
            (Errno::EIO, REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            EPERM: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`
            EBUSY: another kexec operation is under way; try again
            ENOSYS: the running kernel (6.1.0-56-amd64) was built without CONFIG_KEXEC_FILE, or a container hides the call; boot a kernel with CONFIG_KEXEC_FILE=y (not every distribution sets it on every architecture)
            EIO: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
        "#]];
        check(rows, of_unload, expected);
    }

    #[test]
    fn boots() {
        let rows: &[Row] = &[
            (Errno::EPERM, REBOOT, |m| m.cap_sys_boot = Some(false)),
            (Errno::EPERM, REBOOT, |m| m.user_namespace = Some(true)),
            (Errno::EINVAL, REBOOT, as_it_is),
            (Errno::EINVAL, REBOOT, |m| m.loaded = Some(true)),
            (Errno::EBUSY, REBOOT, as_it_is),
            (Errno::ENOSYS, REBOOT, as_it_is),
        ];
        let expected = expect![[r#"
            EPERM: this process lacks CAP_SYS_BOOT; run it as root
            EPERM: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself
            EINVAL: no kernel is loaded; run `ukexec load IMAGE` first
            EINVAL: this process is in a container; run it on the machine itself
            EBUSY: another kexec operation is under way; try again
            ENOSYS: the running kernel was built without CONFIG_KEXEC_CORE; boot a kernel with CONFIG_KEXEC_FILE=y
        "#]];
        check(rows, |errno, _, machine| of_exec(errno, machine), expected);
    }
}
