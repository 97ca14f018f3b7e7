//! What a load would meet on this machine, before anybody tries.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, cause, locked, no_call, no_kexec_load, unsigned};
use crate::error::{KexecError, KexecErrorKind};
use crate::machine::{LoadCall, LoadKind, LoadLimit, MachineState};
use crate::probe::CallAnswer;

/// The conditions of a load, in the order in which the kernel looks at them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Preflight {
    conditions: Vec<Condition>,
}

/// A condition of a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The condition.
    pub id: ConditionId,
    /// Whether it holds.
    pub verdict: ConditionVerdict,
    /// The fact behind the verdict.
    pub text: Cow<'static, str>,
    /// The next step to take, if there is one.
    pub advice: Option<Cow<'static, str>>,
    /// Whether the load is one of a crash kernel.
    pub panic: bool,
    /// The kind of the load's failure, should the condition refuse it.
    #[serde(skip)]
    pub kind: KexecErrorKind,
}

/// The name of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConditionId {
    /// The kernel has the call.
    Call,
    /// The process has `CAP_SYS_BOOT`.
    Right,
    /// The sysctls `kernel.kexec_load_*` allow one more load.
    Limit,
    /// The kernel asks for no signature that it does not find.
    Lockdown,
    /// Memory is reserved for a crash kernel.
    CrashMemory,
    /// The kernel to load is for this machine.
    Architecture,
    /// Kernel and initrd are no more than the running kernel takes.
    Memory,
    /// There is room for each segment of `kexec_load(2)`.
    Segments,
    /// The next system blesses the entry that it was booted by.
    BlessBoot,
    /// The next system's own measurements begin where its kernel's end.
    MeasuredOs,
    /// A signature of the image fits the TPM's registers.
    Pcrsig,
    /// The policy of systemd-pcrlock fits them.
    Pcrlock,
    /// The secret of the running boot goes along.
    BootSecret,
    /// The loader's variables name the entry that runs.
    CurrentEntry,
    /// They name the image that runs.
    ImageIdentifier,
    /// They name the partition that it is from.
    PartitionUuid,
    /// The kernel has the console of the running one.
    Console,
    /// The kernel gets the image's device tree.
    DeviceTree,
}

/// Whether a condition holds; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConditionVerdict {
    /// It does.
    Ok,
    /// It does, but something is worth a look.
    Warning,
    /// Nobody can know before the call.
    Unknown,
    /// It does not: the kernel refuses.
    Refused,
}

/// The facts about a kernel to load that its signature's verification depends on.
#[derive(Clone, Copy, Debug)]
pub struct ImageFacts {
    /// Whether it is signed in the way that this machine's kernel looks for; `None`
    /// where that is not known.
    pub signed: Option<bool>,
    /// Whether it has a signature where IMA looks for one, beside the file or appended
    /// as a module has it; `None` where that is not known.
    pub ima_signed: Option<bool>,
}

impl Preflight {
    /// Judges a load on `machine` by `call`, of the image with these facts or of any.
    #[must_use]
    pub fn new(
        kind: LoadKind,
        call: LoadCall,
        machine: &MachineState,
        image: Option<ImageFacts>,
    ) -> Self {
        let load = Load {
            kind,
            call,
            machine,
            image,
        };
        let judged = CONDITIONS.iter().filter_map(|(id, judge)| {
            let (verdict, Cause { text, advice, kind }) = judge(&load)?;
            Some(Condition {
                id: *id,
                verdict,
                text,
                advice: (!advice.is_empty()).then_some(advice.into()),
                panic: load.kind == LoadKind::Crash,
                kind,
            })
        });
        Self {
            conditions: judged.collect(),
        }
    }

    /// Adds a condition that others judged.
    pub fn push(&mut self, condition: Condition) {
        self.conditions.push(condition);
    }

    /// Returns the conditions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Returns the conditions, for good.
    #[must_use]
    pub fn into_conditions(self) -> Vec<Condition> {
        self.conditions
    }

    /// Returns the condition to name first: the worst, and among those one that lies
    /// in the image or in a policy before one that lies in the machine.
    #[must_use]
    pub fn worst(&self) -> Option<&Condition> {
        let conditions = self.conditions.iter().rev();
        conditions.max_by_key(|it| (it.verdict, it.kind != KexecErrorKind::Machine))
    }

    /// Refuses a load that the running kernel would refuse.
    ///
    /// # Errors
    ///
    /// It would. The error's text is that of the worst condition, behind `action`.
    pub fn check(&self, action: &str) -> Result<(), KexecError> {
        match self.worst() {
            Some(worst) if worst.verdict == ConditionVerdict::Refused => {
                Err(KexecError::new(format!("{action}: {worst}")).of_kind(worst.kind))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    /// Writes the text, and the advice behind a semicolon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl ConditionId {
    /// Returns the name as reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Right => "right",
            Self::Limit => "limit",
            Self::Lockdown => "lockdown",
            Self::CrashMemory => "crash-memory",
            Self::Architecture => "architecture",
            Self::Memory => "memory",
            Self::Segments => "segments",
            Self::BlessBoot => "bless-boot",
            Self::MeasuredOs => "measured-os",
            Self::Pcrsig => "pcrsig",
            Self::Pcrlock => "pcrlock",
            Self::BootSecret => "boot-secret",
            Self::CurrentEntry => "current-entry",
            Self::ImageIdentifier => "image-identifier",
            Self::PartitionUuid => "partition-uuid",
            Self::Console => "console",
            Self::DeviceTree => "device-tree",
        }
    }
}

impl ConditionVerdict {
    /// Returns the name as reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

/// A load that nobody has tried.
struct Load<'a> {
    kind: LoadKind,
    call: LoadCall,
    machine: &'a MachineState,
    image: Option<ImageFacts>,
}

/// Judges one condition; `None` if the load has no such condition.
type Judge = fn(&Load<'_>) -> Option<(ConditionVerdict, Cause)>;

const CONDITIONS: &[(ConditionId, Judge)] = &[
    (ConditionId::Call, call),
    (ConditionId::Right, right),
    (ConditionId::Limit, limit),
    (ConditionId::Lockdown, lockdown),
    (ConditionId::CrashMemory, crash_memory),
];

/// Believes the kernel itself before any file about it.
fn call(load: &Load<'_>) -> Option<(ConditionVerdict, Cause)> {
    use CallAnswer::{Missing, Strange, There, Unknown};
    const FILTER: &str =
        "a seccomp filter, such as a container has, answers for the running kernel";
    const HIDDEN: &str = "/proc does not show whether a seccomp filter answers for the kernel";
    let Load { call, machine, .. } = *load;
    Some(match machine.calls.of(call) {
        _ if machine.has_call(call) == Some(false) => (
            ConditionVerdict::Refused,
            match call {
                LoadCall::KexecFileLoad => no_call(),
                LoadCall::KexecLoad => no_kexec_load(),
            },
        ),
        There | Strange if machine.seccomp == Some(true) => {
            (ConditionVerdict::Unknown, cause(FILTER, ""))
        }
        There | Strange if machine.seccomp.is_none() => {
            (ConditionVerdict::Unknown, cause(HIDDEN, ""))
        }
        There => ok(format!("{} is in this kernel", call.name())),
        Unknown | Missing | Strange => {
            let call = call.name();
            let text = format!("ukexec cannot ask the running kernel whether it has {call}");
            (ConditionVerdict::Unknown, cause(text, ""))
        }
    })
}

fn right(load: &Load<'_>) -> Option<(ConditionVerdict, Cause)> {
    Some(match load.machine.no_right() {
        Some(refused) => (ConditionVerdict::Refused, refused),
        None if load.machine.cap_sys_boot.is_some() => ok("this process has CAP_SYS_BOOT"),
        None => (
            ConditionVerdict::Unknown,
            cause(
                "/proc does not show whether this process has CAP_SYS_BOOT",
                "",
            ),
        ),
    })
}

fn limit(load: &Load<'_>) -> Option<(ConditionVerdict, Cause)> {
    if let Some(refused) = load.machine.no_loads_left(load.kind) {
        return Some((ConditionVerdict::Refused, refused));
    }
    let (limit, name) = load.machine.limit(load.kind);
    Some(match limit {
        Some(LoadLimit::Left(1)) => {
            let text = format!("kernel.{name} allows one more load, and a failed one counts");
            (ConditionVerdict::Warning, cause(text, ""))
        }
        Some(LoadLimit::Left(left)) => {
            let more = if left == 1 { "load" } else { "loads" };
            ok(format!("kernel.{name} allows {left} more {more}"))
        }
        // Kernels before Linux 6.3 have no other limit.
        _ if load.machine.load_disabled.is_some() => ok("loads are not limited"),
        _ => (
            ConditionVerdict::Unknown,
            cause("/proc does not show kernel.kexec_load_disabled", ""),
        ),
    })
}

/// Judges the demand for a signature. Only the kernel knows the keys that it trusts.
fn lockdown(load: &Load<'_>) -> Option<(ConditionVerdict, Cause)> {
    let machine = load.machine;
    if load.call == LoadCall::KexecLoad {
        return Some(match machine.forbids_segments() {
            Some(refused) => (ConditionVerdict::Refused, refused),
            None if machine.lockdown.is_some() => {
                ok("the running kernel allows kexec_load, which looks at no signature")
            }
            None => (
                ConditionVerdict::Unknown,
                cause(HIDDEN_LOCKDOWN, SECURITYFS),
            ),
        });
    }
    let (locked_down, signed) = (machine.locked_down(), load.image.and_then(|it| it.signed));
    // Where IMA's policy asks for its own signature, lockdown is content with that.
    let may_pass_ima = machine.ima_appraises_kexec != Some(false)
        && load
            .image
            .is_some_and(|image| image.ima_signed != Some(false));
    let forced = machine.signature_forced == Some(true);
    let asks = if let Some(level) = locked_down {
        format!("it is locked down: {}", level.name())
    } else if forced {
        "it was built with CONFIG_KEXEC_SIG_FORCE".to_owned()
    } else if machine.ima_appraises_kexec == Some(true) {
        "its IMA policy asks for a signature".to_owned()
    } else if machine.loadpin == Some(true) {
        let text = "LoadPin lets the running kernel load files of one file system only";
        return Some((ConditionVerdict::Unknown, cause(text, "")));
    } else if machine.lockdown.is_some() {
        return Some(ok(
            "the running kernel asks for no signature, as far as it shows",
        ));
    } else {
        return Some((
            ConditionVerdict::Unknown,
            cause(HIDDEN_LOCKDOWN, SECURITYFS),
        ));
    };
    Some(match (signed, locked_down) {
        (Some(false), _) if forced => (ConditionVerdict::Refused, unsigned()),
        (Some(false), Some(level)) if !may_pass_ima => (ConditionVerdict::Refused, locked(level)),
        _ => {
            let open = match (signed, load.image.and_then(|image| image.ima_signed)) {
                (Some(false), Some(true)) => "accepts the kernel's IMA signature",
                (Some(false), Some(false)) => "accepts a kernel without a signature",
                (Some(false), None) => "finds an IMA signature that it accepts",
                _ => "trusts the key that signed the kernel",
            };
            let text =
                format!("whether the running kernel {open} cannot be known from here ({asks})");
            (ConditionVerdict::Unknown, cause(text, ""))
        }
    })
}

fn crash_memory(load: &Load<'_>) -> Option<(ConditionVerdict, Cause)> {
    if load.kind == LoadKind::Reboot {
        return None;
    }
    if let Some(refused) = load.machine.no_reservation(load.kind) {
        return Some((ConditionVerdict::Refused, refused));
    }
    Some(match load.machine.crash_size {
        Some(size) => ok(format!(
            "{} MiB are reserved for a crash kernel",
            size >> 20
        )),
        None => (
            ConditionVerdict::Unknown,
            cause(
                "/sys/kernel does not show the memory for a crash kernel",
                "",
            ),
        ),
    })
}

const HIDDEN_LOCKDOWN: &str =
    "/sys/kernel/security does not show whether the running kernel is locked down";
const SECURITYFS: &str = "mount securityfs there";

fn ok(text: impl Into<Cow<'static, str>>) -> (ConditionVerdict, Cause) {
    (ConditionVerdict::Ok, cause(text, ""))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::machine::Lockdown;
    use crate::probe::CallProbe;

    const REBOOT: LoadKind = LoadKind::Reboot;
    const CRASH: LoadKind = LoadKind::Crash;

    /// Returns the state of a machine that takes every kernel, after `edit`.
    fn machine(edit: impl FnOnce(&mut MachineState)) -> MachineState {
        let mut machine = MachineState {
            calls: answer(CallAnswer::There),
            seccomp: Some(false),
            kexec: Some(true),
            cap_sys_boot: Some(true),
            user_namespace: Some(false),
            load_disabled: Some(false),
            limit_reboot: Some(LoadLimit::Unlimited),
            limit_panic: Some(LoadLimit::Unlimited),
            lockdown: Some(Lockdown::None),
            ima_appraises_kexec: Some(false),
            crash_size: Some(256 << 20),
            ..MachineState::default()
        };
        edit(&mut machine);
        machine
    }

    fn by_file_call(
        kind: LoadKind,
        machine: &MachineState,
        image: Option<ImageFacts>,
    ) -> Preflight {
        Preflight::new(kind, LoadCall::KexecFileLoad, machine, image)
    }

    fn answer(kexec_file_load: CallAnswer) -> CallProbe {
        CallProbe {
            kexec_file_load,
            kexec_load: CallAnswer::There,
        }
    }

    fn lines(preflight: &Preflight) -> String {
        let line = |it: &Condition| format!("{} {}: {it}\n", it.id.name(), it.verdict.name());
        preflight.conditions().iter().map(line).collect()
    }

    #[test]
    fn kexec_load_passes_no_policy() {
        let edits: [fn(&mut MachineState); 6] = [
            |_| {},
            |it| it.lockdown = Some(Lockdown::Integrity),
            |it| it.ima_appraises_kexec = Some(true),
            |it| it.loadpin = Some(true),
            |it| it.lockdown = None,
            |it| it.calls.kexec_load = CallAnswer::Missing,
        ];
        let said = edits.map(|edit| {
            let preflight = Preflight::new(REBOOT, LoadCall::KexecLoad, &machine(edit), None);
            let said = lines(&preflight);
            let is_about = |it: &&str| it.starts_with("call ") || it.starts_with("lockdown ");
            let said: Vec<&str> = said.lines().filter(is_about).collect();
            said.join("\n") + "\n"
        });
        expect![[r#"
            call ok: kexec_load is in this kernel
            lockdown ok: the running kernel allows kexec_load, which looks at no signature
            call ok: kexec_load is in this kernel
            lockdown refused: the running kernel is locked down (integrity), which forbids kexec_load; kexec_file_load is allowed, and takes a signed kernel
            call ok: kexec_load is in this kernel
            lockdown refused: the IMA policy asks for a file signature, and kexec_load gives it no file; load a kernel that carries its own signature by kexec_file_load, or change the policy
            call ok: kexec_load is in this kernel
            lockdown refused: LoadPin lets the running kernel load files of one file system only, and kexec_load gives it no file; boot with loadpin.enforce=0
            call ok: kexec_load is in this kernel
            lockdown unknown: /sys/kernel/security does not show whether the running kernel is locked down; mount securityfs there
            call refused: kexec_load is not in this kernel (CONFIG_KEXEC is off, or a container hides it); boot one that has it
            lockdown ok: the running kernel allows kexec_load, which looks at no signature
        "#]].assert_eq(&said.concat());
    }

    /// Compares what is not as it is on a machine that takes every kernel.
    fn check(kind: LoadKind, edits: &[fn(&mut MachineState)], expected: Expect) {
        let sound = by_file_call(kind, &machine(|_| {}), None);
        let differences = edits.iter().flat_map(|edit| {
            let preflight = by_file_call(kind, &machine(edit), None);
            let conditions = preflight.conditions.into_iter();
            let others = conditions.filter(|it| !sound.conditions.contains(it));
            Vec::from_iter(others)
        });
        let conditions = differences.collect();
        expected.assert_eq(&lines(&Preflight { conditions }));
    }

    #[test]
    fn a_machine_may_take_every_kernel() {
        let preflight = by_file_call(CRASH, &machine(|_| {}), None);
        expect![[r#"
            call ok: kexec_file_load is in this kernel
            right ok: this process has CAP_SYS_BOOT
            limit ok: loads are not limited
            lockdown ok: the running kernel asks for no signature, as far as it shows
            crash-memory ok: 256 MiB are reserved for a crash kernel
        "#]]
        .assert_eq(&lines(&preflight));
        preflight.check("no").unwrap();
        let preflight = by_file_call(REBOOT, &machine(|_| {}), None);
        assert!(
            preflight
                .conditions()
                .iter()
                .all(|it| it.verdict == ConditionVerdict::Ok)
        );
        assert_eq!(preflight.conditions().len(), 4);
    }

    #[test]
    fn a_machine_that_shows_nothing_is_not_known() {
        let preflight = by_file_call(CRASH, &MachineState::default(), None);
        expect![[r#"
            call unknown: ukexec cannot ask the running kernel whether it has kexec_file_load
            right unknown: /proc does not show whether this process has CAP_SYS_BOOT
            limit unknown: /proc does not show kernel.kexec_load_disabled
            lockdown unknown: /sys/kernel/security does not show whether the running kernel is locked down; mount securityfs there
            crash-memory unknown: /sys/kernel does not show the memory for a crash kernel
        "#]].assert_eq(&lines(&preflight));
        preflight.check("no").unwrap();
    }

    #[test]
    fn the_call() {
        check(
            REBOOT,
            &[
                |m| m.calls = answer(CallAnswer::Missing),
                |m| m.kexec = Some(false),
                |m| m.calls = answer(CallAnswer::Strange),
                |m| m.calls = CallProbe::default(),
                |m| m.seccomp = Some(true),
                |m| m.seccomp = None,
                |m| {
                    m.seccomp = Some(true);
                    m.calls = answer(CallAnswer::Missing);
                },
            ],
            expect![[r#"
                call refused: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
                call refused: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
                call unknown: ukexec cannot ask the running kernel whether it has kexec_file_load
                call unknown: ukexec cannot ask the running kernel whether it has kexec_file_load
                call unknown: a seccomp filter, such as a container has, answers for the running kernel
                call unknown: /proc does not show whether a seccomp filter answers for the kernel
                call refused: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            "#]],
        );
    }

    #[test]
    fn the_right() {
        check(
            REBOOT,
            &[
                |m| m.cap_sys_boot = Some(false),
                |m| m.cap_sys_boot = None,
                |m| m.user_namespace = Some(true),
                |m| m.user_namespace = None,
            ],
            expect![[r#"
                right refused: this process lacks CAP_SYS_BOOT; run it as root
                right unknown: /proc does not show whether this process has CAP_SYS_BOOT
                right refused: this process is in a user namespace (a rootless container), whose root may not load kernels; run it on the machine itself
            "#]],
        );
    }

    #[test]
    fn the_limit() {
        let edits: &[fn(&mut MachineState)] = &[
            |m| m.load_disabled = Some(true),
            |m| m.load_disabled = None,
            |m| m.limit_reboot = None,
            |m| m.limit_reboot = Some(LoadLimit::Left(3)),
            |m| m.limit_reboot = Some(LoadLimit::Left(1)),
            |m| m.limit_reboot = Some(LoadLimit::Left(0)),
            |m| m.limit_panic = Some(LoadLimit::Left(0)),
        ];
        check(
            REBOOT,
            edits,
            expect![[r#"
                limit refused: kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
                limit unknown: /proc does not show kernel.kexec_load_disabled
                limit ok: kernel.kexec_load_limit_reboot allows 3 more loads
                limit warning: kernel.kexec_load_limit_reboot allows one more load, and a failed one counts
                limit refused: kernel.kexec_load_limit_reboot is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
            "#]],
        );
        check(
            CRASH,
            edits,
            expect![[r#"
            limit refused: kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
            limit unknown: /proc does not show kernel.kexec_load_disabled
            limit refused: kernel.kexec_load_limit_panic is 0: the loads that it allowed are used up, failed ones and unloads included; it cannot be raised before the next boot
        "#]],
        );
    }

    #[test]
    fn the_memory_for_a_crash_kernel() {
        let edits: &[fn(&mut MachineState)] =
            &[|m| m.crash_size = Some(0), |m| m.crash_size = None];
        check(REBOOT, edits, expect![[""]]);
        check(
            CRASH,
            edits,
            expect![[r#"
            crash-memory refused: no memory is reserved for a crash kernel; boot with crashkernel= on the command line (crashkernel=512M suits most machines)
            crash-memory unknown: /sys/kernel does not show the memory for a crash kernel
        "#]],
        );
    }

    #[test]
    fn a_demand_for_signatures() {
        check(
            REBOOT,
            &[
                |m| m.lockdown = Some(Lockdown::Integrity),
                |m| m.lockdown = None,
                |m| m.signature_forced = Some(true),
                |m| m.ima_appraises_kexec = Some(true),
                |m| m.ima_appraises_kexec = None,
                |m| m.loadpin = Some(true),
            ],
            expect![[r#"
                lockdown unknown: whether the running kernel trusts the key that signed the kernel cannot be known from here (it is locked down: integrity)
                lockdown unknown: /sys/kernel/security does not show whether the running kernel is locked down; mount securityfs there
                lockdown unknown: whether the running kernel trusts the key that signed the kernel cannot be known from here (it was built with CONFIG_KEXEC_SIG_FORCE)
                lockdown unknown: whether the running kernel trusts the key that signed the kernel cannot be known from here (its IMA policy asks for a signature)
                lockdown unknown: LoadPin lets the running kernel load files of one file system only
            "#]],
        );
    }

    #[test]
    fn a_kernel_that_is_not_signed() {
        use ConditionVerdict::{Ok, Refused, Unknown};
        fn locked_down(machine: &mut MachineState) {
            machine.lockdown = Some(Lockdown::Integrity);
        }
        let check = |signed, ima_signed, edit: fn(&mut MachineState), expected, kind| {
            let image = Some(ImageFacts { signed, ima_signed });
            let preflight = by_file_call(REBOOT, &machine(edit), image);
            assert_eq!(preflight.conditions()[3].verdict, expected);
            let refused = preflight.check("no").err().map(|error| error.kind());
            assert_eq!(refused, kind);
        };
        let (machine, signature) = (
            Some(KexecErrorKind::Machine),
            Some(KexecErrorKind::Signature),
        );
        for ima_signed in [None, Some(false), Some(true)] {
            check(Some(false), ima_signed, |_| {}, Ok, None);
            check(Some(false), ima_signed, locked_down, Refused, machine);
            check(Some(true), ima_signed, locked_down, Unknown, None);
            check(None, ima_signed, locked_down, Unknown, None);
            let forced: fn(&mut MachineState) = |m| m.signature_forced = Some(true);
            check(Some(false), ima_signed, forced, Refused, signature);
            check(Some(true), ima_signed, forced, Unknown, None);
        }
        // A file may have a signature of IMA's instead.
        let appraised: fn(&mut MachineState) = |m| {
            locked_down(m);
            m.ima_appraises_kexec = Some(true);
        };
        check(Some(false), Some(false), appraised, Refused, machine);
        check(Some(false), Some(true), appraised, Unknown, None);
        check(Some(false), None, appraised, Unknown, None);
    }

    #[test]
    fn the_open_question_is_about_the_signature_that_there_is() {
        let appraised = machine(|m| m.ima_appraises_kexec = Some(true));
        let all = [None, Some(false), Some(true)];
        let texts = all.map(|signed| {
            all.map(|ima_signed| {
                let image = Some(ImageFacts { signed, ima_signed });
                let text = &by_file_call(REBOOT, &appraised, image).conditions[3].text;
                let question = text.strip_prefix("whether the running kernel ").unwrap();
                question.split_once(" cannot").unwrap().0.to_owned()
            })
        });
        expect![[r#"
            trusts the key that signed the kernel
            trusts the key that signed the kernel
            trusts the key that signed the kernel
            finds an IMA signature that it accepts
            accepts a kernel without a signature
            accepts the kernel's IMA signature
            trusts the key that signed the kernel
            trusts the key that signed the kernel
            trusts the key that signed the kernel
        "#]]
        .assert_eq(&(texts.concat().join("\n") + "\n"));
    }

    #[test]
    fn a_fault_of_the_image_is_named_before_one_of_the_machine() {
        let mut preflight = by_file_call(REBOOT, &machine(|m| m.kexec = Some(false)), None);
        let mut named = Vec::new();
        for kind in [KexecErrorKind::Machine, KexecErrorKind::Failed] {
            named.push(preflight.check("no").unwrap_err().to_string());
            preflight.push(Condition {
                id: ConditionId::Architecture,
                verdict: ConditionVerdict::Refused,
                text: "it is none".into(),
                advice: None,
                panic: false,
                kind,
            });
        }
        named.push(preflight.check("no").unwrap_err().to_string());
        expect![[r#"
            no: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            no: kexec_file_load is not in this kernel (CONFIG_KEXEC_FILE is off, or a container hides it); boot one that has it
            no: it is none"#]].assert_eq(&named.join("\n"));
    }
}
