//! The meaning of the kernel's answers to `kexec_load(2)`, in the order in which Linux
//! looks at things (`kernel/kexec.c`, `kernel/kexec_core.c`). It never looks at the image.

use crate::cause::{Cause, cause, in_brackets, machine as this_machine, no_kexec_load};
use crate::errno::Errno;
use crate::error::KexecErrorKind::Signature;
use crate::machine::{LoadCall, LoadKind, MachineState};
use crate::refusal::{MEMORY, REPORT, fixed, forbidden, of_any_unload, policy};
use crate::segments::SegmentsRequest;

/// Explains what `kexec_load` answered to `request` on a machine that was in state
/// `machine` before. `has_tree`: one of the segments is a device tree.
pub(crate) fn of_load_segments(
    errno: Errno,
    request: &SegmentsRequest<'_>,
    has_tree: bool,
    machine: &MachineState,
) -> Cause {
    let kind = request.kind;
    if let Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENOMEM = errno
        && let Some(cause) = machine.no_reservation(kind)
    {
        return cause;
    }
    let arch = machine.machine.as_deref();
    match errno {
        Errno::EPERM => segments_forbidden(kind, machine),
        Errno::EACCES => no_file(machine.ima_appraises_kexec == Some(true)),
        // Nothing is stopped for a crash kernel.
        Errno::EBUSY if arch == Some("aarch64") && kind == LoadKind::Reboot => cause(
            "another kexec operation is under way, or this machine's firmware cannot stop its \
             other processors (\"CPUs are stuck in the kernel\")",
            "try again; `dmesg | tail` has these words in the second case",
        ),
        Errno::EINVAL => not_taken(request, has_tree, machine),
        Errno::EADDRNOTAVAIL => wrong_place(kind, machine),
        Errno::ENOSYS => no_kexec_load(),
        Errno::ENOMEM => {
            let needed = mib(request.memory());
            let text =
                format!("the running kernel finds no {needed} of free memory for the segments");
            cause(text, MEMORY)
        }
        _ => fixed(errno),
    }
}

pub(crate) fn of_unload_segments(errno: Errno, kind: LoadKind, machine: &MachineState) -> Cause {
    match errno {
        Errno::EPERM => segments_forbidden(kind, machine),
        Errno::EACCES => no_file(machine.ima_appraises_kexec == Some(true)),
        Errno::ENOSYS => no_kexec_load(),
        _ => of_any_unload(errno),
    }
}

/// Returns the reason for which this process may neither load nor drop a kernel by
/// `kexec_load`.
fn segments_forbidden(kind: LoadKind, machine: &MachineState) -> Cause {
    let forbidden = forbidden(kind, machine);
    forbidden
        .or_else(|| machine.locks_segments_out())
        .unwrap_or_else(policy)
}

impl MachineState {
    /// Returns the policy of the running kernel that no call of `kexec_load` passes, as far as
    /// it shows one.
    pub(crate) fn forbids_segments(&self) -> Option<Cause> {
        let ima = self.ima_appraises_kexec == Some(true);
        let locked_out = self.locks_segments_out();
        locked_out.or_else(|| ima.then(|| no_file(true)))
    }

    fn locks_segments_out(&self) -> Option<Cause> {
        if self.loadpin == Some(true) {
            return Some(this_machine(
                "LoadPin lets the running kernel load files of one file system only, and \
                 kexec_load gives it no file",
                "boot with loadpin.enforce=0",
            ));
        }
        let level = self.locked_down()?;
        let text = format!(
            "the running kernel is locked down ({}), which forbids kexec_load",
            level.name()
        );
        Some(match self.has_call(LoadCall::KexecFileLoad) {
            Some(false) => this_machine(
                format!(
                    "{text}, and it has no kexec_file_load: it neither loads nor drops a kernel"
                ),
                "reboot through the firmware, or boot a kernel that has kexec_file_load \
                 (CONFIG_KEXEC_FILE)",
            ),
            _ => this_machine(
                text,
                "kexec_file_load is allowed, and takes a signed kernel",
            ),
        })
    }
}

/// IMA and others look at the file that a kernel comes from.
fn no_file(ima: bool) -> Cause {
    if ima {
        return cause(
            "the IMA policy asks for a file signature, and kexec_load gives it no file",
            "load a kernel that carries its own signature by kexec_file_load, or change the policy",
        )
        .of_kind(Signature);
    }
    this_machine(
        "a security module (IMA appraisal, SELinux) forbids kexec_load",
        "load by kexec_file_load, or change the policy; the audit log has the rule",
    )
}

fn not_taken(request: &SegmentsRequest<'_>, has_tree: bool, machine: &MachineState) -> Cause {
    let (needed, arch) = (request.memory(), machine.machine.as_deref());
    if let Some(half) = machine.memory.map(|memory| memory / 2)
        && needed > half
    {
        let text = format!(
            "the segments need {}, and the running kernel takes no more than half of its memory ({})",
            mib(needed),
            mib(half)
        );
        return cause(text, "give a smaller initrd");
    }
    if arch == Some("riscv64") && !has_tree {
        let text = "none of the segments is a device tree, without which riscv64 loads no kernel";
        return cause(text, REPORT);
    }
    let text = format!(
        "the running kernel{} does not take these segments, or does not know the flags {:#x}",
        in_brackets(arch),
        request.flags()
    );
    cause(text, REPORT)
}

fn wrong_place(kind: LoadKind, machine: &MachineState) -> Cause {
    let pages = match machine.page_size {
        Some(size) => format!("is not made of whole pages ({size} bytes)"),
        None => "is not made of whole pages".to_owned(),
    };
    if kind == LoadKind::Reboot {
        let text =
            format!("a segment lies behind all memory that this machine can have, or {pages}");
        return cause(text, REPORT);
    }
    let size = machine.crash_size.map(mib);
    let text = format!(
        "a segment lies outside of the memory for a crash kernel{}, or {pages}",
        in_brackets(size.as_deref())
    );
    cause(
        text,
        "load again, if that memory changed meanwhile; otherwise please report it",
    )
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::machine::{LoadLimit, Lockdown};
    use crate::probe::{CallAnswer, CallProbe};
    use crate::segments::{KexecSegment, SegmentContent};

    const REBOOT: LoadKind = LoadKind::Reboot;
    const CRASH: LoadKind = LoadKind::Crash;
    const MEM: u64 = 0x4000_0000;

    type Row = (Errno, LoadKind, fn(&mut MachineState));

    fn as_it_is(_: &mut MachineState) {}

    fn without_file_call(machine: &mut MachineState) {
        machine.calls = CallProbe {
            kexec_file_load: CallAnswer::Missing,
            kexec_load: CallAnswer::There,
        };
    }

    /// Explains a row on an arm64 machine with 2 GiB, after its edit.
    fn check(rows: &[Row], expected: &Expect) {
        let explained = rows.iter().map(|(errno, kind, edit)| {
            let mut machine = MachineState {
                machine: Some("aarch64".to_owned()),
                memory: Some(2 << 30),
                page_size: Some(4096),
                crash_size: Some(256 << 20),
                ..MachineState::default()
            };
            edit(&mut machine);
            let segment = KexecSegment {
                mem: MEM,
                memsz: 48 << 20,
                content: SegmentContent::Memory(b"kernel"),
            };
            let request = SegmentsRequest::new(MEM, vec![segment], *kind).unwrap();
            let Cause { text, advice, kind } = of_load_segments(*errno, &request, false, &machine);
            let flags = format!("{:#x}", request.flags());
            format!("{errno}, {kind:?}: {text}; {advice}\n").replace(&flags, "FLAGS")
        });
        expected.assert_eq(&explained.collect::<String>());
    }

    #[test]
    fn loads_that_are_not_permitted() {
        check(
            &[
                (Errno::EPERM, REBOOT, |m| m.cap_sys_boot = Some(false)),
                (Errno::EPERM, REBOOT, |m| m.load_disabled = Some(true)),
                (Errno::EPERM, CRASH, |m| {
                    m.limit_panic = Some(LoadLimit::Left(0));
                }),
                (Errno::EPERM, REBOOT, |m| {
                    m.lockdown = Some(Lockdown::Integrity);
                }),
                (Errno::EPERM, REBOOT, |m| {
                    m.lockdown = Some(Lockdown::Confidentiality);
                    without_file_call(m);
                }),
                (Errno::EPERM, REBOOT, |m| {
                    m.loadpin = Some(true);
                    m.lockdown = Some(Lockdown::Integrity);
                }),
                (Errno::EPERM, REBOOT, as_it_is),
                (Errno::EACCES, REBOOT, |m| {
                    m.ima_appraises_kexec = Some(true)
                }),
                (Errno::EACCES, REBOOT, as_it_is),
            ],
            &expect![[r#"
                EPERM, Machine: this process lacks CAP_SYS_BOOT; run it as root
                EPERM, Machine: kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
                EPERM, Machine: kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
                EPERM, Machine: the running kernel is locked down (integrity), which forbids kexec_load; kexec_file_load is allowed, and takes a signed kernel
                EPERM, Machine: the running kernel is locked down (confidentiality), which forbids kexec_load, and it has no kexec_file_load: it neither loads nor drops a kernel; reboot through the firmware, or boot a kernel that has kexec_file_load (CONFIG_KEXEC_FILE)
                EPERM, Machine: LoadPin lets the running kernel load files of one file system only, and kexec_load gives it no file; boot with loadpin.enforce=0
                EPERM, Machine: a security policy forbids it; capabilities, sysctls and lockdown, as far as they can be seen, do not; the kernel log may say more: `dmesg | tail`
                EACCES, Signature: the IMA policy asks for a file signature, and kexec_load gives it no file; load a kernel that carries its own signature by kexec_file_load, or change the policy
                EACCES, Machine: a security module (IMA appraisal, SELinux) forbids kexec_load; load by kexec_file_load, or change the policy; the audit log has the rule
            "#]],
        );
    }

    #[test]
    fn loads_that_do_not_fit() {
        check(
            &[
                (Errno::EINVAL, CRASH, |m| m.crash_size = Some(0)),
                (Errno::EADDRNOTAVAIL, CRASH, |m| m.crash_size = Some(0)),
                (Errno::EADDRNOTAVAIL, CRASH, as_it_is),
                (Errno::EADDRNOTAVAIL, CRASH, |m| {
                    (m.crash_size, m.page_size) = (None, None);
                }),
                (Errno::EADDRNOTAVAIL, REBOOT, |m| m.page_size = Some(65536)),
                (Errno::EINVAL, REBOOT, |m| m.memory = Some(64 << 20)),
                (Errno::EINVAL, REBOOT, |m| {
                    m.machine = Some("riscv64".to_owned())
                }),
                (Errno::EINVAL, REBOOT, as_it_is),
                (Errno::EINVAL, REBOOT, |m| {
                    (m.machine, m.memory) = (None, None)
                }),
                (Errno::ENOMEM, REBOOT, as_it_is),
            ],
            &expect![[r#"
                EINVAL, Machine: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
                EADDRNOTAVAIL, Machine: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
                EADDRNOTAVAIL, Failed: a segment lies outside of the memory for a crash kernel (256 MiB), or is not made of whole pages (4096 bytes); load again, if that memory changed meanwhile; otherwise please report it
                EADDRNOTAVAIL, Failed: a segment lies outside of the memory for a crash kernel, or is not made of whole pages; load again, if that memory changed meanwhile; otherwise please report it
                EADDRNOTAVAIL, Failed: a segment lies behind all memory that this machine can have, or is not made of whole pages (65536 bytes); this should not happen: please report it, with the image
                EINVAL, Failed: the segments need 48 MiB, and the running kernel takes no more than half of its memory (32 MiB); give a smaller initrd
                EINVAL, Failed: none of the segments is a device tree, without which riscv64 loads no kernel; this should not happen: please report it, with the image
                EINVAL, Failed: the running kernel (aarch64) does not take these segments, or does not know the flags FLAGS; this should not happen: please report it, with the image
                EINVAL, Failed: the running kernel does not take these segments, or does not know the flags FLAGS; this should not happen: please report it, with the image
                ENOMEM, Failed: the running kernel finds no 48 MiB of free memory for the segments; free some memory, or give a smaller initrd
            "#]],
        );
    }

    #[test]
    fn loads_that_fail_otherwise() {
        check(
            &[
                (Errno::EBUSY, REBOOT, as_it_is),
                (Errno::EBUSY, CRASH, as_it_is),
                (Errno::EBUSY, REBOOT, |m| {
                    m.machine = Some("riscv64".to_owned())
                }),
                (Errno::ENOSYS, REBOOT, as_it_is),
                (Errno::EIO, REBOOT, as_it_is),
                (Errno::EFAULT, REBOOT, as_it_is),
            ],
            &expect![[r#"
                EBUSY, Failed: another kexec operation is under way, or this machine's firmware cannot stop its other processors ("CPUs are stuck in the kernel"); try again; `dmesg | tail` has these words in the second case
                EBUSY, Failed: another kexec operation is under way; try again
                EBUSY, Failed: another kexec operation is under way; try again
                ENOSYS, Machine: kexec_load is not in this kernel (CONFIG_KEXEC is off, or a container hides it); boot one that has it
                EIO, Failed: the running kernel could not read the files; check the medium; `dmesg | tail` may say more
                EFAULT, Failed: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
            "#]],
        );
    }

    #[test]
    fn unloads() {
        let explain = |errno, edit: fn(&mut MachineState)| {
            let mut machine = MachineState::default();
            edit(&mut machine);
            let Cause { text, advice, kind } = of_unload_segments(errno, REBOOT, &machine);
            format!("{errno}, {kind:?}: {text}; {advice}\n")
        };
        let lines = [
            explain(Errno::EPERM, |m| m.cap_sys_boot = Some(false)),
            explain(Errno::EPERM, |m| {
                m.lockdown = Some(Lockdown::Integrity);
                without_file_call(m);
            }),
            explain(Errno::EACCES, as_it_is),
            explain(Errno::ENOSYS, as_it_is),
            explain(Errno::EBUSY, as_it_is),
            explain(Errno::EINVAL, as_it_is),
        ];
        expect![[r#"
            EPERM, Machine: this process lacks CAP_SYS_BOOT; run it as root
            EPERM, Machine: the running kernel is locked down (integrity), which forbids kexec_load, and it has no kexec_file_load: it neither loads nor drops a kernel; reboot through the firmware, or boot a kernel that has kexec_file_load (CONFIG_KEXEC_FILE)
            EACCES, Machine: a security module (IMA appraisal, SELinux) forbids kexec_load; load by kexec_file_load, or change the policy; the audit log has the rule
            ENOSYS, Machine: kexec_load is not in this kernel (CONFIG_KEXEC is off, or a container hides it); boot one that has it
            EBUSY, Failed: another kexec operation is under way; try again
            EINVAL, Failed: ukexec does not know this answer; the kernel log may say more: `dmesg | tail`
        "#]].assert_eq(&lines.concat());
    }

    #[test]
    fn riscv_with_a_device_tree_is_refused_for_another_reason() {
        let segment = KexecSegment {
            mem: MEM,
            memsz: 0x1_0000,
            content: SegmentContent::Memory(b"tree"),
        };
        let request = SegmentsRequest::new(MEM, vec![segment], REBOOT).unwrap();
        let machine = MachineState {
            machine: Some("riscv64".to_owned()),
            ..MachineState::default()
        };
        let explain = |has_tree| of_load_segments(Errno::EINVAL, &request, has_tree, &machine);
        assert!(explain(false).text.contains("device tree"));
        assert!(!explain(true).text.contains("device tree"));
    }
}
