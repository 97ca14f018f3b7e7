//! The running machine: the kernels that are loaded, and the operations that it
//! allows.

use serde::Serialize;
use ukexec_kexec::{
    Condition, ConditionVerdict, LoadCall, LoadKind, MachineState, PlainReboot, Preflight,
    RebootWay,
};
use ukexec_signature::SecureBoot;

use super::SCHEMA;
use super::page::{COLUMN, Labelled, Page, Style, Text};
use super::size::Size;
use crate::config::policy::Enforcement;
use crate::config::trust::Standing;
use crate::record::{LoadedImage, LoadedKernels};

/// The report of `ukexec status`, with the fields of `docs/json.md`; a field that
/// is not known is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    schema: u32,
    preflight: Vec<Condition>,
    kexec_file_load: Option<bool>,
    kexec_load: Option<bool>,
    #[serde(flatten)]
    state: MachineState,
    #[serde(flatten)]
    reboot: PlainReboot,
    loaded_image: Option<LoadedImage>,
    crash_loaded_image: Option<LoadedImage>,
    secure_boot: Option<bool>,
    signatures: &'static str,
    #[serde(skip)]
    standing: Standing,
    #[serde(skip)]
    loaded: LoadedKernels,
}

impl MachineReport {
    /// Reports the `state` of the kernel, the way of a plain `reboot`, the kernels that
    /// are `loaded`, and how the machine stands to signatures.
    #[must_use]
    pub fn new(
        state: MachineState,
        reboot: PlainReboot,
        loaded: LoadedKernels,
        standing: Standing,
    ) -> Self {
        let kinds = [LoadKind::Reboot, LoadKind::Crash].into_iter();
        let preflights =
            kinds.map(|kind| Preflight::new(kind, state.load_call(kind), &state, None));
        Self {
            schema: SCHEMA,
            preflight: preflights.flat_map(Preflight::into_conditions).collect(),
            kexec_file_load: state.has_call(LoadCall::KexecFileLoad),
            kexec_load: state.has_call(LoadCall::KexecLoad),
            secure_boot: standing
                .secure_boot
                .and_then(|boot| boot.enabled.map(|_| boot.is_on())),
            signatures: match standing.enforcement {
                Enforcement::Require(_) => "require",
                Enforcement::Report => "report",
                Enforcement::Off => "off",
            },
            loaded_image: loaded.reboot.image().cloned(),
            crash_loaded_image: loaded.crash.image().cloned(),
            state,
            reboot,
            standing,
            loaded,
        }
    }

    /// Returns the report for people: the verdicts, then a row for each fact.
    #[must_use]
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        let (panic, load): (Vec<&Condition>, _) = self.preflight.iter().partition(|it| it.panic);
        verdict(&mut page, "load", &load, &[]);
        verdict(&mut page, "load --panic", &panic, &load);
        self.facts(&mut page);
        page
    }

    fn facts(&self, page: &mut Page) {
        let state = &self.state;
        let mut fact = |label: &str, text: Option<String>| {
            let unknown = || Text::styled(Style::Dim, "unknown");
            row(page, label, text.map_or_else(unknown, Text::from));
        };
        fact("loaded", Some(self.loaded.reboot.to_string()));
        if state.loaded == Some(true) {
            fact("reboot", Some(reboot(self.reboot)));
        }
        fact("crash kernel", Some(self.loaded.crash.to_string()));
        let running = [state.release.as_deref(), state.machine.as_deref()];
        let running: Vec<&str> = running.into_iter().flatten().collect();
        fact("running", (!running.is_empty()).then(|| running.join(" ")));
        fact("kexec", state.kexec.map(yes_no));
        fact("calls", calls(self.kexec_file_load, self.kexec_load));
        let reserved = state.crash_size.map(|size| match size {
            0 => "nothing reserved".to_owned(),
            size => format!("{} reserved", Size(size)),
        });
        fact("crash memory", reserved);
        fact("loads left", state.limit_reboot.map(|it| it.to_string()));
        fact("crash loads", state.limit_panic.map(|it| it.to_string()));
        fact("disabled", state.load_disabled.map(yes_no));
        fact("lockdown", state.lockdown.map(|it| it.name().to_owned()));
        fact(
            "secure boot",
            self.standing.secure_boot.and_then(secure_boot),
        );
        let signatures = match self.standing.enforcement {
            Enforcement::Require(because) => {
                format!("a good one is required, {}", because.reason())
            }
            Enforcement::Report => "reported, not required".to_owned(),
            Enforcement::Off => "not looked at".to_owned(),
        };
        fact("signatures", Some(signatures));
        fact("CAP_SYS_BOOT", state.cap_sys_boot.map(yes_no));
        fact("systemd", Some(yes_no(state.systemd)));
    }
}

/// Adds what `conditions` make of a load: all of the worst, but those that the reader
/// has `seen` only if there are no others.
fn verdict(page: &mut Page, label: &str, conditions: &[&Condition], seen: &[&Condition]) {
    let worst = conditions.iter().map(|it| it.verdict).max();
    let worst = worst.unwrap_or(ConditionVerdict::Ok);
    let (style, words) = match worst {
        ConditionVerdict::Ok => (Style::Good, "possible"),
        ConditionVerdict::Warning => (Style::Warn, "possible"),
        ConditionVerdict::Unknown => (Style::Warn, "possible as far as can be known"),
        ConditionVerdict::Refused => (Style::Bad, "not possible"),
    };
    let is_new = |one: &Condition| !seen.iter().any(|it| it.text == one.text);
    let because = conditions.iter().filter(|it| it.verdict == worst);
    let new = because.clone().filter(|it| is_new(it)).count();
    let because = because.filter(|it| worst > ConditionVerdict::Ok && (new == 0 || is_new(it)));
    let mut because = because.map(ToString::to_string);
    let text = Text::styled(style, words);
    match because.next() {
        Some(first) => row(page, label, text.and(Style::Plain, format!(": {first}"))),
        None => row(page, label, text),
    }
    because.for_each(|more| row(page, "", Text::from(format!("and {more}"))));
}

fn row(page: &mut Page, label: &str, text: Text) {
    page.line(Labelled {
        indent: 0,
        label: label.into(),
        column: COLUMN,
        text,
        whole: false,
    });
}

/// Says the way of a reboot while a kernel is loaded.
fn reboot(ways: PlainReboot) -> String {
    use RebootWay::{Firmware, Kexec};
    let text = match (ways.reboot, ways.systemctl_reboot) {
        (Some(Kexec), Some(Kexec)) => {
            "boots the loaded kernel, as `systemctl reboot` does; `ukexec unload` undoes that"
        }
        (Some(Kexec), Some(Firmware)) => {
            "boots the loaded kernel, while `systemctl reboot` goes through the firmware; \
             `ukexec unload` undoes that"
        }
        (Some(Kexec), None) => {
            "boots the loaded kernel, as `systemctl reboot` does from systemd 255 on; \
             `ukexec unload` undoes that"
        }
        (Some(Firmware), _) => "goes through the firmware; `ukexec exec` boots the loaded kernel",
        (None, _) => "may boot the loaded kernel; `ukexec unload` undoes that",
    };
    text.to_owned()
}

/// Says which of the calls the running kernel has, if anything is known of them.
fn calls(kexec_file_load: Option<bool>, kexec_load: Option<bool>) -> Option<String> {
    kexec_file_load.or(kexec_load)?;
    let has = |call: Option<bool>| call.map_or("unknown".to_owned(), yes_no);
    let (file, load) = (has(kexec_file_load), has(kexec_load));
    Some(format!("kexec_file_load {file}, kexec_load {load}"))
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// Returns whether Secure Boot is on, and where that is not what its variable
/// says, why.
fn secure_boot(boot: SecureBoot) -> Option<String> {
    let text = match boot.enabled? {
        _ if boot.is_on() => "yes",
        true if boot.setup_mode => "no: the firmware is in setup mode",
        true => "no: shim verifies nothing (MokSBState)",
        false => "no",
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use ukexec_kexec::{LoadLimit, Lockdown};

    use super::*;
    use crate::config::policy::{BootState, Policy};
    use crate::record::Loaded;
    use crate::report::page::Screen;

    /// Returns the report on a machine of which everything is known.
    fn report() -> MachineReport {
        let mut state = MachineState::default();
        state.release = Some("6.6.6".to_owned());
        state.machine = Some("x86_64".to_owned());
        state.kexec = Some(true);
        state.loaded = Some(true);
        state.crash_loaded = Some(false);
        state.crash_size = Some(256 << 20);
        state.load_disabled = Some(true);
        state.limit_reboot = Some(LoadLimit::Unlimited);
        state.limit_panic = Some(LoadLimit::Left(0));
        state.lockdown = Some(Lockdown::Integrity);
        state.cap_sys_boot = Some(false);
        state.systemd = true;
        let standing = Standing {
            enforcement: Policy::Off.on(BootState::default()),
            secure_boot: Some(SecureBoot::default()),
        };
        let loaded = LoadedKernels {
            reboot: Loaded::Recorded(LoadedImage {
                image: "debian.efi".to_owned(),
                release: Some("6.1.0-56-amd64".to_owned()),
                entry: Some("debian.efi@main".to_owned()),
                seconds_ago: 720,
                warnings: Vec::new(),
            }),
            crash: Loaded::Nothing,
        };
        let ways = PlainReboot {
            reboot: Some(RebootWay::Kexec),
            systemctl_reboot: Some(RebootWay::Firmware),
        };
        MachineReport::new(state, ways, loaded, standing)
    }

    /// The next test has 100 columns.
    #[test]
    fn verdicts_wrap_at_the_width_of_the_screen() {
        let printed = |width| {
            let page = report().page();
            page.print(&Screen {
                width,
                ..Screen::FILE
            })
        };
        let [narrow, wide] = [60, 200].map(printed);
        expect![[r#"
            load          not possible: this process lacks
                            CAP_SYS_BOOT; run it as root
                          and kernel.kexec_load_disabled is 1; it
                            cannot be unset before the next boot: look
                            for what sets it in /etc/sysctl.d
            load --panic  not possible: this process lacks
                            CAP_SYS_BOOT; run it as root
                          and kernel.kexec_load_disabled is 1; it
                            cannot be unset before the next boot: look
                            for what sets it in /etc/sysctl.d
            loaded        debian.efi of entry debian.efi@main, Linux
                            6.1.0-56-amd64, 12 minutes ago; another
                            tool may have replaced it since
            reboot        boots the loaded kernel, while `systemctl
                            reboot` goes through the firmware; `ukexec
                            unload` undoes that
            crash kernel  nothing
            running       6.6.6 x86_64
            kexec         yes
            calls         unknown
            crash memory  256.0 MiB reserved
            loads left    unlimited
            crash loads   0
            disabled      yes
            lockdown      integrity
            secure boot   unknown
            signatures    not looked at
            CAP_SYS_BOOT  no
            systemd       yes
        "#]]
        .assert_eq(&narrow);
        expect![[r#"
            load          not possible: this process lacks CAP_SYS_BOOT; run it as root
                          and kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
            load --panic  not possible: this process lacks CAP_SYS_BOOT; run it as root
                          and kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d
            loaded        debian.efi of entry debian.efi@main, Linux 6.1.0-56-amd64, 12 minutes ago; another tool may have replaced it since
            reboot        boots the loaded kernel, while `systemctl reboot` goes through the firmware; `ukexec unload` undoes that
            crash kernel  nothing
            running       6.6.6 x86_64
            kexec         yes
            calls         unknown
            crash memory  256.0 MiB reserved
            loads left    unlimited
            crash loads   0
            disabled      yes
            lockdown      integrity
            secure boot   unknown
            signatures    not looked at
            CAP_SYS_BOOT  no
            systemd       yes
        "#]].assert_eq(&wide);
    }

    #[test]
    fn every_value_is_in_the_text_and_in_the_document() {
        let report = report();
        let document = serde_json::to_value(&report).unwrap();
        expect![[r#"
            load          not possible: this process lacks CAP_SYS_BOOT; run it as root
                          and kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look
                            for what sets it in /etc/sysctl.d
            load --panic  not possible: this process lacks CAP_SYS_BOOT; run it as root
                          and kernel.kexec_load_disabled is 1; it cannot be unset before the next boot: look
                            for what sets it in /etc/sysctl.d
            loaded        debian.efi of entry debian.efi@main, Linux 6.1.0-56-amd64, 12 minutes ago; another
                            tool may have replaced it since
            reboot        boots the loaded kernel, while `systemctl reboot` goes through the firmware; `ukexec
                            unload` undoes that
            crash kernel  nothing
            running       6.6.6 x86_64
            kexec         yes
            calls         unknown
            crash memory  256.0 MiB reserved
            loads left    unlimited
            crash loads   0
            disabled      yes
            lockdown      integrity
            secure boot   unknown
            signatures    not looked at
            CAP_SYS_BOOT  no
            systemd       yes
            {
              "schema": 1,
              "preflight": [
                {
                  "id": "call",
                  "verdict": "unknown",
                  "text": "ukexec cannot ask the running kernel whether it has kexec_file_load",
                  "advice": null,
                  "panic": false
                },
                {
                  "id": "right",
                  "verdict": "refused",
                  "text": "this process lacks CAP_SYS_BOOT",
                  "advice": "run it as root",
                  "panic": false
                },
                {
                  "id": "limit",
                  "verdict": "refused",
                  "text": "kernel.kexec_load_disabled is 1",
                  "advice": "it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d",
                  "panic": false
                },
                {
                  "id": "lockdown",
                  "verdict": "unknown",
                  "text": "whether the running kernel trusts the key that signed the kernel cannot be known from here (it is locked down: integrity)",
                  "advice": null,
                  "panic": false
                },
                {
                  "id": "call",
                  "verdict": "unknown",
                  "text": "ukexec cannot ask the running kernel whether it has kexec_file_load",
                  "advice": null,
                  "panic": true
                },
                {
                  "id": "right",
                  "verdict": "refused",
                  "text": "this process lacks CAP_SYS_BOOT",
                  "advice": "run it as root",
                  "panic": true
                },
                {
                  "id": "limit",
                  "verdict": "refused",
                  "text": "kernel.kexec_load_disabled is 1",
                  "advice": "it cannot be unset before the next boot: look for what sets it in /etc/sysctl.d",
                  "panic": true
                },
                {
                  "id": "lockdown",
                  "verdict": "unknown",
                  "text": "whether the running kernel trusts the key that signed the kernel cannot be known from here (it is locked down: integrity)",
                  "advice": null,
                  "panic": true
                },
                {
                  "id": "crash-memory",
                  "verdict": "ok",
                  "text": "256 MiB are reserved for a crash kernel",
                  "advice": null,
                  "panic": true
                }
              ],
              "kexec_file_load": null,
              "kexec_load": null,
              "release": "6.6.6",
              "machine": "x86_64",
              "kexec": true,
              "loaded": true,
              "crash_loaded": false,
              "crash_size": 268435456,
              "load_disabled": true,
              "limit_reboot": "unlimited",
              "limit_panic": "0",
              "cap_sys_boot": false,
              "lockdown": "integrity",
              "systemd": true,
              "reboot": "kexec",
              "systemctl_reboot": "firmware",
              "loaded_image": {
                "image": "debian.efi",
                "release": "6.1.0-56-amd64",
                "entry": "debian.efi@main",
                "seconds_ago": 720
              },
              "crash_loaded_image": null,
              "secure_boot": null,
              "signatures": "off"
            }"#]].assert_eq(&format!("{}{document:#}", report.page().print(&Screen::FILE)));
    }

    #[test]
    fn the_way_of_a_reboot_is_in_words() {
        use RebootWay::{Firmware, Kexec};
        let said = |reboot, systemctl_reboot| {
            super::reboot(PlainReboot {
                reboot,
                systemctl_reboot,
            })
        };
        expect!["boots the loaded kernel, as `systemctl reboot` does; `ukexec unload` undoes that"]
            .assert_eq(&said(Some(Kexec), Some(Kexec)));
        expect!["boots the loaded kernel, as `systemctl reboot` does from systemd 255 on; `ukexec unload` undoes that"].assert_eq(&said(Some(Kexec), None));
        expect!["goes through the firmware; `ukexec exec` boots the loaded kernel"]
            .assert_eq(&said(Some(Firmware), None));
        expect!["may boot the loaded kernel; `ukexec unload` undoes that"]
            .assert_eq(&said(None, Some(Firmware)));
    }

    #[test]
    fn says_which_calls_there_are() {
        let said = |file, load| calls(file, load).unwrap_or_default();
        expect!["kexec_file_load no, kexec_load yes"].assert_eq(&said(Some(false), Some(true)));
        expect!["kexec_file_load yes, kexec_load unknown"].assert_eq(&said(Some(true), None));
        assert_eq!(said(None, None), "");
    }

    /// Compares what is said of Secure Boot and of what follows from it.
    fn check(boot: SecureBoot, expected: Expect) {
        let machine = BootState {
            secure_boot: boot,
            lockdown: false,
        };
        let standing = Standing {
            enforcement: Policy::Auto.on(machine),
            secure_boot: Some(boot),
        };
        let state = MachineState::default();
        let loaded = LoadedKernels {
            reboot: Loaded::Unknown,
            crash: Loaded::Unknown,
        };
        let report = MachineReport::new(state, PlainReboot::default(), loaded, standing);
        let text = report.page().print(&Screen::FILE);
        let lines = text.lines().filter(|line| line.starts_with('s'));
        let lines: Vec<&str> = lines.take(2).collect();
        let document = serde_json::to_value(&report).unwrap();
        let fields = (&document["secure_boot"], &document["signatures"]);
        expected.assert_eq(&format!("{}\n{fields:?}", lines.join("\n")));
    }

    #[test]
    fn secure_boot_and_what_follows_from_it_agree() {
        let boot = |enabled, setup_mode, shim_insecure| SecureBoot {
            enabled,
            setup_mode,
            shim_insecure,
        };
        check(
            boot(Some(true), false, false),
            expect![[r#"
                secure boot   yes
                signatures    a good one is required, since Secure Boot is on
                (Bool(true), String("require"))"#]],
        );
        check(
            boot(Some(true), true, false),
            expect![[r#"
                secure boot   no: the firmware is in setup mode
                signatures    reported, not required
                (Bool(false), String("report"))"#]],
        );
        check(
            boot(Some(true), false, true),
            expect![[r#"
                secure boot   no: shim verifies nothing (MokSBState)
                signatures    reported, not required
                (Bool(false), String("report"))"#]],
        );
        check(
            boot(Some(false), true, false),
            expect![[r#"
                secure boot   no
                signatures    reported, not required
                (Bool(false), String("report"))"#]],
        );
        check(
            boot(None, false, false),
            expect![[r#"
                secure boot   unknown
                signatures    reported, not required
                (Null, String("report"))"#]],
        );
    }
}
