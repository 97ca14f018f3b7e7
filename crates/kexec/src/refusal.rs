//! The meaning of the kernel's answers, and what to do about them.
//!
//! One errno has many causes. Here is the one that the machine's state makes
//! likely, following the order in which Linux looks at things
//! (`kernel/kexec_file.c`).

use crate::cause::{
    Cause, SIGN_KERNEL, cause, in_brackets, locked, machine as this_machine, no_call, no_kexec,
    nothing_loaded, unsigned,
};
use crate::errno::Errno;
use crate::error::KexecErrorKind::{self, Failed, Machine, Signature};
use crate::load::LoadRequest;
use crate::machine::{LoadKind, MachineState};

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
    if let Errno::EINVAL | Errno::ENOEXEC = errno
        && let Some(doubt) = request.doubt
    {
        return this_machine(doubt.to_owned(), "");
    }
    if let Errno::EINVAL = errno
        && let Some(flags) = request.more.names()
    {
        let text = format!("the running kernel does not know {flags}");
        return this_machine(text, "leave the option out, or boot a newer kernel");
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
            REPORT,
        ),
        Errno::ENODATA => unsigned(),
        Errno::ENOSYS => no_call(),
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
        Errno::ENOSYS => no_call(),
        _ => of_any_unload(errno),
    }
}

/// Explains an answer that does not depend on the call.
pub(crate) fn of_any_unload(errno: Errno) -> Cause {
    match errno {
        Errno::EBUSY | Errno::EINTR | Errno::EAGAIN => fixed(errno),
        _ => unexplained(),
    }
}

pub(crate) fn of_exec(errno: Errno, machine: &MachineState) -> Cause {
    match errno {
        Errno::EPERM => machine.no_right().unwrap_or_else(policy),
        // Linux answers this too when the call comes from a PID namespace.
        Errno::EINVAL if machine.loaded == Some(true) => this_machine(
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
    if let Some(level) = machine.locked_down() {
        return locked(level);
    }
    if machine.loadpin != Some(true) {
        return policy();
    }
    let text = "LoadPin lets the running kernel load files of one file system only";
    let more = ", and this kernel lies in memory";
    let more = if request.unfolded { more } else { "" };
    this_machine(
        format!("{text}{more}"),
        "load a kernel that needs no unfolding from that file system, or boot with \
         loadpin.enforce=0",
    )
}

pub(crate) fn forbidden(kind: LoadKind, machine: &MachineState) -> Option<Cause> {
    machine.no_right().or_else(|| machine.no_loads_left(kind))
}

pub(crate) fn policy() -> Cause {
    this_machine(
        "a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be \
         seen, do not",
        LOG,
    )
}

fn security_module(ima: bool, unfolded: bool) -> Cause {
    let (text, kind) = if ima {
        (
            "the IMA policy asks for a file signature (security.ima)",
            Signature,
        )
    } else {
        (
            "a security module (IMA appraisal, SELinux) refuses the file",
            Machine,
        )
    };
    let refused = if unfolded {
        cause(
            format!("{text}, and a kernel in memory has none"),
            "load a kernel that needs no unfolding and carries its own signature, or change the \
             policy; the audit log has the rule",
        )
    } else {
        cause(
            text,
            "sign the file (`evmctl ima_sign`), label it, or change the policy; the audit log has \
             the rule",
        )
    };
    refused.of_kind(kind)
}

fn unexplained() -> Cause {
    cause("ukexec does not know this answer", LOG)
}

/// Explains an errno that means the same on every machine.
pub(crate) fn fixed(errno: Errno) -> Cause {
    let known = FIXED.iter().find(|(it, ..)| *it == errno);
    known.map_or_else(unexplained, |(_, kind, text, advice)| {
        cause(*text, advice).of_kind(*kind)
    })
}

const FIXED: &[(Errno, KexecErrorKind, &str, &str)] = &[
    (
        Errno::EBUSY,
        Failed,
        "another kexec operation is under way",
        AGAIN,
    ),
    (Errno::EINTR, Failed, "a signal interrupted it", AGAIN),
    (
        Errno::EAGAIN,
        Failed,
        "the running kernel lacked something for the moment",
        AGAIN,
    ),
    (
        Errno::EADDRNOTAVAIL,
        Failed,
        "no free memory has the place and the size that the kernel needs",
        MEMORY,
    ),
    (Errno::EFBIG, Failed, TOO_LARGE, MEMORY),
    (Errno::ENOMEM, Failed, TOO_LARGE, MEMORY),
    (
        Errno::ETXTBSY,
        Failed,
        "the file is open for writing somewhere",
        "wait for the writer or stop it (`fuser -v IMAGE` names it), then try again",
    ),
    (
        Errno::EKEYREJECTED,
        Signature,
        "the kernel's signature is missing or does not fit its bytes",
        SIGN_KERNEL,
    ),
    (
        Errno::ENOKEY,
        Signature,
        "the key that signed the kernel is not in the running kernel's keyrings",
        "enrol the key (db or MOK), or sign the kernel with one that is: `keyctl show \
         %:.platform` lists them",
    ),
    (
        Errno::EKEYEXPIRED,
        Signature,
        "the key that signed the kernel is in the running kernel's keyrings, but has expired",
        VALID_KEY,
    ),
    (
        Errno::EKEYREVOKED,
        Signature,
        "the key that signed the kernel is in the running kernel's keyrings, but was revoked",
        VALID_KEY,
    ),
    (
        Errno::ENOPKG,
        Signature,
        "the running kernel lacks an algorithm that the signature uses",
        "sign the kernel with RSA and SHA-256",
    ),
    (
        Errno::EBADMSG,
        Signature,
        "the kernel's signature is malformed (PKCS#7)",
        SIGN_AGAIN,
    ),
    (
        Errno::ELIBBAD,
        Signature,
        "the kernel is no well-formed PE file, which its signature needs",
        SIGN_AGAIN,
    ),
    (
        Errno::EIO,
        Failed,
        "the running kernel could not read the files",
        "check the medium; `dmesg | tail` may say more",
    ),
    (
        Errno::ENODEV,
        Failed,
        "a device that the running kernel needs for it is missing, such as the one that holds the \
         file",
        LOG,
    ),
    (
        Errno::EOPNOTSUPP,
        Machine,
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
pub(crate) const MEMORY: &str = "free some memory, or give a smaller initrd";
pub(crate) const REPORT: &str = "this should not happen: please report it, with the image";
const SIGN_AGAIN: &str = "sign the kernel again";
const VALID_KEY: &str =
    "sign the kernel with a key that is valid: `keyctl show %:.platform` lists them";

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::machine::{LoadLimit, Lockdown};

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
            let Cause { text, advice, kind } = explain(*errno, *kind, &machine);
            format!("{errno}, {kind:?}: {text}; {advice}\n")
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
    fn a_doubt_about_the_kernel_explains_its_refusal() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let explain = |errno, kind, machine: &MachineState| {
            let mut request = LoadRequest::new(file.as_fd(), None, b"quiet", kind);
            request.doubt = Some("the kernel wants pages of 16 KiB, this machine uses 4 KiB");
            of_load(errno, &request, machine)
        };
        check(
            &[
                (Errno::EINVAL, REBOOT, as_it_is),
                (Errno::ENOEXEC, REBOOT, as_it_is),
                (Errno::EINVAL, CRASH, |m| m.crash_size = Some(0)),
                (Errno::EBUSY, REBOOT, as_it_is),
            ],
            explain,
            expect![[r#"
                EINVAL, Machine: the kernel wants pages of 16 KiB, this machine uses 4 KiB; 
                ENOEXEC, Machine: the kernel wants pages of 16 KiB, this machine uses 4 KiB; 
                EINVAL, Machine: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
                EBUSY, Failed: another kexec operation is under way; try again
            "#]],
        );
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
            EPERM, Machine: this process lacks CAP_SYS_BOOT; run it as root
            EPERM, Machine: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself
            EPERM, Machine: kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
            EPERM, Machine: kernel.kexec_load_limit_reboot is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
            EPERM, Machine: kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
            EPERM, Machine: the running kernel is locked down (integrity), and this one has no signature it trusts; sign the kernel itself (not only the image around it) with a key that this machine trusts
            EPERM, Machine: the running kernel is locked down (integrity), and this one has no signature it trusts; sign the kernel itself (not only the image around it) with a key that this machine trusts
            EPERM, Machine: LoadPin lets the running kernel load files of one file system only, and this kernel lies in memory; load a kernel that needs no unfolding from that file system, or boot with loadpin.enforce=0
            EPERM, Machine: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`
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
            EACCES, Signature: the IMA policy asks for a file signature (security.ima), and a kernel in memory has none; load a kernel that needs no unfolding and carries its own signature, or change the policy; the audit log has the rule
            ENODATA, Signature: the running kernel takes signed kernels only, and this one is not signed; sign the kernel itself (not only the image around it) with a key that this machine trusts
            EKEYREJECTED, Signature: the kernel's signature is missing or does not fit its bytes; sign the kernel itself (not only the image around it) with a key that this machine trusts
            ENOKEY, Signature: the key that signed the kernel is not in the running kernel's keyrings; enrol the key (db or MOK), or sign the kernel with one that is: `keyctl show %:.platform` lists them
            ENOPKG, Signature: the running kernel lacks an algorithm that the signature uses; sign the kernel with RSA and SHA-256
            EBADMSG, Signature: the kernel's signature is malformed (PKCS#7); sign the kernel again
            ELIBBAD, Signature: the kernel is no well-formed PE file, which its signature needs; sign the kernel again
            EKEYEXPIRED, Signature: the key that signed the kernel is in the running kernel's keyrings, but has expired; sign the kernel with a key that is valid: `keyctl show %:.platform` lists them
            EKEYREVOKED, Signature: the key that signed the kernel is in the running kernel's keyrings, but was revoked; sign the kernel with a key that is valid: `keyctl show %:.platform` lists them
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
            EINVAL, Machine: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
            EADDRNOTAVAIL, Machine: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
            EINVAL, Failed: the image is not for this machine (x86_64), or the command line (5 bytes) is too long for it; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            EINVAL, Failed: the image is not for this machine, or the command line (5 bytes and elfcorehdr=) is too long for it; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            EADDRNOTAVAIL, Failed: kernel and initrd do not fit into the crash reservation of 256 MiB; boot with a larger crashkernel=, or give a smaller initrd
            EADDRNOTAVAIL, Failed: kernel and initrd do not fit into the crash reservation; boot with a larger crashkernel=, or give a smaller initrd
            EADDRNOTAVAIL, Failed: no free memory has the place and the size that the kernel needs; free some memory, or give a smaller initrd
            E2BIG, Failed: kernel, initrd or command line (5 bytes) are longer than the running kernel takes; give a smaller initrd or a shorter command line
            EFBIG, Failed: kernel and initrd are too large for the free memory; free some memory, or give a smaller initrd
            ENOMEM, Failed: kernel and initrd are too large for the free memory; free some memory, or give a smaller initrd
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
            ENOEXEC, Failed: no loader of the running kernel (x86_64) knows the image; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            EBUSY, Failed: another kexec operation is under way; try again
            ETXTBSY, Failed: a file in memory that was handed over is still open for writing; this should not happen: please report it, with the image
            EINTR, Failed: a signal interrupted it; try again
            EAGAIN, Failed: the running kernel lacked something for the moment; try again
            EOPNOTSUPP, Machine: this machine does not support kexec as it runs now: its firmware, processors or memory encryption (TDX, SEV) do not, or the file system of the files; reboot through the firmware; `dmesg | tail` may say more
            ENODEV, Failed: a device that the running kernel needs for it is missing; the kernel log may say more: `dmesg | tail`
            ENOSYS, Machine: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            ENOSYS, Machine: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            ENOSYS, Machine: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            ENOSYS, Machine: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            EIO, Failed: the running kernel could not read the files; check the medium; `dmesg | tail` may say more
            EFAULT, Failed: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
            Too many links (os error 31), Failed: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
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
            EPERM, Machine: the running kernel is locked down (confidentiality), and this one has no signature it trusts; sign the kernel itself (not only the image around it) with a key that this machine trusts
            EACCES, Machine: a security module (IMA appraisal, SELinux) refuses the file; sign the file (`evmctl ima_sign`), label it, or change the policy; the audit log has the rule
            ETXTBSY, Failed: the file is open for writing somewhere; wait for the writer or stop it (`fuser -v IMAGE` names it), then try again
            ENODEV, Failed: a device that the running kernel needs for it is missing, such as the one that holds the file; the kernel log may say more: `dmesg | tail`
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
            EPERM, Machine: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`
            EBUSY, Failed: another kexec operation is under way; try again
            ENOSYS, Machine: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            EIO, Failed: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
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
            EPERM, Machine: this process lacks CAP_SYS_BOOT; run it as root
            EPERM, Machine: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself
            EINVAL, Machine: no kernel is loaded; run `ukexec load IMAGE` first
            EINVAL, Machine: this process is in a container; run it on the machine itself
            EBUSY, Failed: another kexec operation is under way; try again
            ENOSYS, Machine: kexec is not in this kernel (CONFIG_KEXEC_CORE is off, or a container hides it); boot one that has it
        "#]];
        check(rows, |errno, _, machine| of_exec(errno, machine), expected);
    }
}
