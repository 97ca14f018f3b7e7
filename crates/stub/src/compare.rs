//! Whether registers of a TPM are as the boot of an image would leave them.

use serde::Serialize;
use ukexec_signature::{Algorithm, Hex};

use crate::Measurements;
use crate::event_log::{EV_EFI_BOOT_SERVICES_APPLICATION, EventLog};
use crate::observed::ObservedPcrs;
use crate::register::{BANKS, MeasuredEvent, Register};

/// A register, or an event of one, as predicted and as found.
#[derive(Clone, Debug, Serialize)]
pub struct PcrComparison {
    /// The number of the register.
    pub pcr: u32,
    /// The bank.
    pub bank: Algorithm,
    /// The event, where no value of the register can be predicted.
    pub what: Option<String>,
    /// The phase of the boot, where the register has a value for each; `:` is
    /// before the first.
    pub phase: Option<String>,
    /// The value or digest that is predicted, in hex.
    pub expected: Option<String>,
    /// The one that was found, in hex.
    pub found: Option<String>,
    /// Whether they agree.
    pub verdict: Agreement,
    /// The verdict in words.
    pub text: String,
}

/// Whether a prediction fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Agreement {
    /// It does.
    Equal,
    /// The register is at a later phase of the same boot.
    Passed,
    /// The register is at an earlier phase of the same boot.
    Ahead,
    /// It does not.
    Different,
    /// That cannot be known.
    Unknown,
}

impl Measurements {
    /// Compares the boot with what was observed, in `banks`; if these are none, in
    /// all that were observed.
    pub fn compare(&self, observed: &ObservedPcrs, banks: &[Algorithm]) -> Vec<PcrComparison> {
        let observed_banks = BANKS.into_iter().filter(|bank| observed.has(*bank));
        let all: Vec<Algorithm> = observed_banks.collect();
        let mut comparisons = Vec::new();
        for bank in if banks.is_empty() { &all } else { banks } {
            let observed = Bank {
                bank: *bank,
                observed,
            };
            if let Some(register) = &self.pcr11 {
                comparisons.extend(self.sections(register, &observed));
                comparisons.push(self.parameters(&observed));
                comparisons.extend(self.extensions(&observed));
            }
            let events = self.pcr4.events.iter();
            comparisons.extend(events.filter_map(|event| observed.program(event)));
        }
        comparisons
    }

    /// Compares PCR 11 in each phase.
    fn sections(&self, register: &Register, observed: &Bank<'_>) -> Vec<PcrComparison> {
        let first = [(BEFORE_PHASES, &register.value)].into_iter();
        let later = register.phases.iter();
        let phases = first.chain(later.map(|it| (it.phase.as_str(), &it.value)));
        let phases = phases.filter_map(|(phase, value)| Some((phase, value.get(observed.bank)?)));
        let phases: Vec<(&str, &[u8])> = phases.collect();
        let found = observed.values(11);
        let is_found = |value: &[u8]| found.iter().any(|it| it == value);
        let fits = |value: &&Vec<u8>| phases.iter().any(|(_, it)| it == value);
        let stranger = found.iter().find(|value| !fits(value));
        let last = phases.iter().rposition(|(_, value)| is_found(value));
        let mut comparisons = Vec::new();
        for (index, (phase, value)) in phases.iter().enumerate() {
            let (verdict, text) = match (stranger, last) {
                _ if is_found(value) && found.len() > 1 => (Agreement::Equal, PREDICTED.to_owned()),
                _ if is_found(value) => (Agreement::Equal, AT_PHASE.to_owned()),
                // Userspace names the phases only for itself.
                _ if *phase == BEFORE_PHASES => continue,
                (Some(_), _) if !self.by_machine.is_empty() => {
                    let sections = self.by_machine.join(" and ");
                    (
                        Agreement::Unknown,
                        format!("{sections} depend on the machine"),
                    )
                }
                (Some(stranger), _) => {
                    let why = observed.why(11, register, stranger);
                    let none = if found.len() > 1 {
                        NO_VALUE_OF
                    } else {
                        NO_PHASE
                    };
                    (Agreement::Different, why.unwrap_or_else(|| none.to_owned()))
                }
                (None, Some(last)) if index < last => (Agreement::Passed, PASSED.to_owned()),
                (None, Some(_)) => (Agreement::Ahead, AHEAD.to_owned()),
                (None, None) => (Agreement::Unknown, NO_VALUE.to_owned()),
            };
            let found = match verdict {
                Agreement::Equal => Some(*value),
                _ => stranger.or(found.last()).map(Vec::as_slice),
            };
            comparisons.push(PcrComparison {
                phase: Some((*phase).to_owned()),
                ..observed.comparison(11, Some(value), found, (verdict, text))
            });
        }
        comparisons
    }

    /// Compares PCR 12 in both its forms.
    fn parameters(&self, observed: &Bank<'_>) -> PcrComparison {
        let direct = self.pcr12.as_ref().map(|it| (it, PREDICTED));
        let by_sd_boot = self.pcr12_sd_boot.as_ref().map(|it| (it, BY_SD_BOOT));
        let forms: Vec<(&Register, &str)> = direct.into_iter().chain(by_sd_boot).collect();
        observed.register(12, &forms, MORE_PARAMETERS)
    }

    /// Compares PCR 13, if anybody extended it or would, or a value was observed.
    fn extensions(&self, observed: &Bank<'_>) -> Option<PcrComparison> {
        let register = self.pcr13.as_ref()?;
        let is_zeros = |value: &Vec<u8>| value.iter().all(|byte| *byte == 0);
        let is_dull = register.events.is_empty() && observed.values(13).iter().all(is_zeros);
        (!is_dull).then(|| observed.register(13, &[(register, PREDICTED)], MORE_EXTENSIONS))
    }
}

/// The phase before all those that userspace measures, as systemd-measure calls it.
const BEFORE_PHASES: &str = ":";

const AT_PHASE: &str = "the register is at this phase";
const PREDICTED: &str = "as predicted";
const PASSED: &str = "passed";
const AHEAD: &str = "not reached";
const NO_PHASE: &str = "the register is at no phase of this image's boot";
const NO_VALUE_OF: &str = "none of the values is that of this phase";
const BY_SD_BOOT: &str = "as predicted for a start by systemd-boot";
const MORE_EXTENSIONS: &str = "boot loaders and system extensions extend it too";
const MORE_PARAMETERS: &str = "boot loaders, addons and credentials extend it too; --cmdline \
                               gives the line of a boot loader";
const NO_VALUE: &str = "there is no value to compare with";
const NOT_PREDICTED: &str = "the command line is no UTF-8";
const NO_LOG: &str = "only an event log names what was measured";
const NO_BANK: &str = "the event log does not have this bank";
const OTHER_LOG: &str = "the event log does not lead to the register's value";
const ZEROS: &str = "the register is all zeros: nothing was measured into it";

/// A bank of what was observed.
struct Bank<'a> {
    bank: Algorithm,
    observed: &'a ObservedPcrs,
}

impl Bank<'_> {
    /// Returns the values of a register: those that were observed, or else the one
    /// that the log gives.
    fn values(&self, pcr: u32) -> Vec<Vec<u8>> {
        let values = self.observed.values(pcr, self.bank);
        let values: Vec<Vec<u8>> = values.map(Vec::from).collect();
        if !values.is_empty() {
            return values;
        }
        let log = self.observed.log();
        log.and_then(|log| log.value(pcr, self.bank))
            .into_iter()
            .collect()
    }

    /// Compares a register with the `forms` in which it is predicted, each with the words
    /// for a value that fits it. `more` are those for one that fits none.
    fn register(&self, pcr: u32, forms: &[(&Register, &str)], more: &str) -> PcrComparison {
        let values = self.values(pcr);
        let forms = forms.iter().filter_map(|(register, fits)| {
            Some((*register, register.value.get(self.bank)?, *fits))
        });
        let forms: Vec<(&Register, &[u8], &str)> = forms.collect();
        let Some((first, expected, _)) = forms.first() else {
            let found = values.first().map(Vec::as_slice);
            let verdict = (Agreement::Unknown, NOT_PREDICTED.to_owned());
            return self.comparison(pcr, None, found, verdict);
        };
        let Some(found) = values.first() else {
            let verdict = (Agreement::Unknown, NO_VALUE.to_owned());
            return self.comparison(pcr, Some(expected), None, verdict);
        };
        let fitting = forms
            .iter()
            .find(|(_, value, _)| values.iter().all(|it| it == value));
        if let Some((_, value, fits)) = fitting {
            let verdict = (Agreement::Equal, (*fits).to_owned());
            return self.comparison(pcr, Some(value), Some(found), verdict);
        }
        let stranger = values.iter().find(|it| it != expected).unwrap_or(found);
        // The log says in which form it began.
        let begun = forms.iter().find(|(it, ..)| self.begins(pcr, it));
        let (register, expected) = begun.map_or((first, expected), |(it, value, _)| (it, value));
        let why = self.why(pcr, register, stranger);
        let verdict = (Agreement::Different, why.unwrap_or_else(|| more.to_owned()));
        self.comparison(pcr, Some(expected), Some(stranger), verdict)
    }

    /// Returns whether the first event of the log is the one that is predicted.
    fn begins(&self, pcr: u32, predicted: &Register) -> bool {
        let logged = self.observed.log().and_then(|log| log.events(pcr).next());
        let logged = logged.and_then(|event| event.digests.get(self.bank));
        let first = predicted.events.first();
        logged.is_some() && logged == first.and_then(|event| event.digests.get(self.bank))
    }

    /// Compares an event of PCR 4, of which no value is predicted, with the programs
    /// that firmware has started.
    fn program(&self, event: &MeasuredEvent) -> Option<PcrComparison> {
        let expected = event.digests.get(self.bank)?;
        let (verdict, text) = match self.observed.log() {
            None => (Agreement::Unknown, NO_LOG.to_owned()),
            Some(log) if !log.has(self.bank) => (Agreement::Unknown, NO_BANK.to_owned()),
            Some(log) => self.started(log, event, expected),
        };
        let found = (verdict == Agreement::Equal).then_some(expected);
        Some(PcrComparison {
            what: Some(event.what.clone()),
            ..self.comparison(4, Some(expected), found, (verdict, text))
        })
    }

    fn started(
        &self,
        log: &EventLog,
        event: &MeasuredEvent,
        expected: &[u8],
    ) -> (Agreement, String) {
        let value = log.value(4, self.bank);
        if self
            .observed
            .values(4, self.bank)
            .any(|it| Some(it) != value.as_deref())
        {
            return (Agreement::Unknown, OTHER_LOG.to_owned());
        }
        let mut programs = 0_u32;
        for (number, logged) in (1_u32..).zip(log.events(4)) {
            if logged.event_type != EV_EFI_BOOT_SERVICES_APPLICATION {
                continue;
            }
            if logged.digests.get(self.bank) == Some(expected) {
                return (
                    Agreement::Equal,
                    format!("event {number} of the event log's PCR 4"),
                );
            }
            programs = programs.saturating_add(1);
        }
        let none = format!("not among the programs in the event log ({programs})");
        match event.when {
            Some(when) => (
                Agreement::Unknown,
                format!("{none}; it is there only {when}"),
            ),
            None => (Agreement::Different, none),
        }
    }

    /// Returns why a register that should be as `predicted` is as it was `found`,
    /// where more is known than that it differs.
    fn why(&self, pcr: u32, predicted: &Register, found: &[u8]) -> Option<String> {
        if found.iter().all(|byte| *byte == 0) {
            return Some(ZEROS.to_owned());
        }
        let mut logged = self
            .observed
            .log()?
            .events(pcr)
            .map(|it| it.digests.get(self.bank));
        for (number, event) in (1_u32..).zip(&predicted.events) {
            let what = &event.what;
            match logged.next() {
                None => return Some(format!("the event log ends before event {number}, {what}")),
                Some(digest) if digest != event.digests.get(self.bank) => {
                    return Some(format!(
                        "the event log first differs in event {number}, {what}"
                    ));
                }
                Some(_) => {}
            }
        }
        let count = predicted.events.len();
        let has_more = logged.next().is_some();
        has_more.then(|| format!("the event log has more events than the predicted {count}"))
    }

    fn comparison(
        &self,
        pcr: u32,
        expected: Option<&[u8]>,
        found: Option<&[u8]>,
        (verdict, text): (Agreement, String),
    ) -> PcrComparison {
        let hex = |bytes| Hex(bytes).to_string();
        PcrComparison {
            pcr,
            bank: self.bank,
            what: None,
            phase: None,
            expected: expected.map(hex),
            found: found.map(hex),
            verdict,
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::Boot;
    use crate::register::PCR_BANKS;
    use crate::testing::{event_log, with_uki};

    const SECTIONS: &[(&str, &[u8])] = &[(".linux", b"kernel"), (".osrel", b"ID=x")];
    const EV_IPL: u32 = 13;

    /// Returns what a boot of an image with `sections` measures.
    fn measured(sections: &[(&str, &[u8])]) -> Measurements {
        let event = |what, when| MeasuredEvent {
            when,
            ..MeasuredEvent::new(what, what.as_bytes(), Algorithm::state).unwrap()
        };
        let mut measurements = Measurements::default();
        let added = with_uki(sections, 0, |uki| {
            let boot = Boot {
                cmdline: Some(b"ro"),
                ..Boot::<Vec<u8>>::default()
            };
            measurements.add_boot("x", uki, &boot)
        });
        added.unwrap().unwrap();
        measurements.pcr4.events = vec![event("a.efi", None), event(".linux", Some("at times"))];
        measurements
    }

    /// Returns the value of PCR 11 in `phase`, as systemd-measure prints it.
    fn at(measurements: &Measurements, phase: usize, bank: Algorithm) -> String {
        let phase = &measurements.pcr11.as_ref().unwrap().phases[phase];
        let name = PCR_BANKS.iter().find(|(_, it)| *it == bank).unwrap().0;
        format!("11:{name}={}\n", Hex(phase.value.get(bank).unwrap()))
    }

    fn check_of(measurements: &Measurements, observed: &[&[u8]], expected: &Expect) {
        let mut all = ObservedPcrs::default();
        observed.iter().for_each(|bytes| all.add(bytes).unwrap());
        let mut shown = String::new();
        for it in measurements.compare(&all, &[]) {
            // A log has both banks, and the same in them.
            if all.log().is_some() && it.bank != Algorithm::Sha256 {
                continue;
            }
            let (pcr, bank, verdict, text) = (it.pcr, it.bank, it.verdict, it.text);
            let what = it.phase.or(it.what).unwrap_or_default();
            shown += &format!("{pcr} {bank} {what}: {verdict:?}, {text}\n");
        }
        expected.assert_eq(&shown);
    }

    fn check(observed: &[&[u8]], expected: &Expect) {
        check_of(&measured(SECTIONS), observed, expected);
    }

    #[test]
    fn a_value_says_the_phase() {
        let value = at(&measured(SECTIONS), 1, Algorithm::Sha256);
        check(
            &[value.as_bytes()],
            &expect![[r#"
            11 SHA-256 enter-initrd: Passed, passed
            11 SHA-256 enter-initrd:leave-initrd: Equal, the register is at this phase
            11 SHA-256 enter-initrd:leave-initrd:sysinit: Ahead, not reached
            11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Ahead, not reached
            12 SHA-256 : Unknown, there is no value to compare with
            4 SHA-256 a.efi: Unknown, only an event log names what was measured
            4 SHA-256 .linux: Unknown, only an event log names what was measured
        "#]],
        );
        // Values of all phases.
        let measurements = measured(SECTIONS);
        let all: String = (0..4)
            .map(|phase| {
                let value = at(&measurements, phase, Algorithm::Sha384);
                format!("# {phase}\n{value}")
            })
            .collect();
        check(
            &[all.as_bytes()],
            &expect![[r#"
            11 SHA-384 enter-initrd: Equal, as predicted
            11 SHA-384 enter-initrd:leave-initrd: Equal, as predicted
            11 SHA-384 enter-initrd:leave-initrd:sysinit: Equal, as predicted
            11 SHA-384 enter-initrd:leave-initrd:sysinit:ready: Equal, as predicted
            12 SHA-384 : Unknown, there is no value to compare with
            4 SHA-384 a.efi: Unknown, only an event log names what was measured
            4 SHA-384 .linux: Unknown, only an event log names what was measured
        "#]],
        );
        let other = all.lines().take(6).chain(["# 3", "11:sha384="]);
        let other = other.collect::<Vec<_>>().join("\n") + &"1".repeat(96);
        check(
            &[other.as_bytes()],
            &expect![[r#"
            11 SHA-384 enter-initrd: Equal, as predicted
            11 SHA-384 enter-initrd:leave-initrd: Equal, as predicted
            11 SHA-384 enter-initrd:leave-initrd:sysinit: Equal, as predicted
            11 SHA-384 enter-initrd:leave-initrd:sysinit:ready: Different, none of the values is that of this phase
            12 SHA-384 : Unknown, there is no value to compare with
            4 SHA-384 a.efi: Unknown, only an event log names what was measured
            4 SHA-384 .linux: Unknown, only an event log names what was measured
        "#]],
        );
    }

    #[test]
    fn a_value_of_another_boot_differs() {
        let other = at(&measured(&[(".linux", b"other")]), 3, Algorithm::Sha256);
        check(
            &[other.as_bytes()],
            &expect![[r#"
            11 SHA-256 enter-initrd: Different, the register is at no phase of this image's boot
            11 SHA-256 enter-initrd:leave-initrd: Different, the register is at no phase of this image's boot
            11 SHA-256 enter-initrd:leave-initrd:sysinit: Different, the register is at no phase of this image's boot
            11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Different, the register is at no phase of this image's boot
            12 SHA-256 : Unknown, there is no value to compare with
            4 SHA-256 a.efi: Unknown, only an event log names what was measured
            4 SHA-256 .linux: Unknown, only an event log names what was measured
        "#]],
        );
        let zeros = "0".repeat(64);
        check(
            &[format!("11:sha256={zeros}\n12:sha256={zeros}\n").as_bytes()],
            &expect![[r#"
                11 SHA-256 enter-initrd: Different, the register is all zeros: nothing was measured into it
                11 SHA-256 enter-initrd:leave-initrd: Different, the register is all zeros: nothing was measured into it
                11 SHA-256 enter-initrd:leave-initrd:sysinit: Different, the register is all zeros: nothing was measured into it
                11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Different, the register is all zeros: nothing was measured into it
                12 SHA-256 : Different, the register is all zeros: nothing was measured into it
                4 SHA-256 a.efi: Unknown, only an event log names what was measured
                4 SHA-256 .linux: Unknown, only an event log names what was measured
            "#]],
        );
    }

    #[test]
    fn a_log_names_the_programs_and_the_first_event_that_differs() {
        let line: &[u8] = b"r\0o\0\0\0";
        let events: &[(u32, u32, &[u8])] = &[
            (4, 4, &[0; 4]),
            (4, EV_EFI_BOOT_SERVICES_APPLICATION, b"a.efi"),
            (11, EV_IPL, b".linux\0"),
            (11, EV_IPL, b"kernel"),
            (11, EV_IPL, b".osrel\0"),
            (11, EV_IPL, b"ID=x"),
            (12, EV_IPL, line),
        ];
        check(
            &[&event_log(events)],
            &expect![[r#"
                11 SHA-256 :: Equal, the register is at this phase
                11 SHA-256 enter-initrd: Ahead, not reached
                11 SHA-256 enter-initrd:leave-initrd: Ahead, not reached
                11 SHA-256 enter-initrd:leave-initrd:sysinit: Ahead, not reached
                11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Ahead, not reached
                12 SHA-256 : Equal, as predicted
                4 SHA-256 a.efi: Equal, event 2 of the event log's PCR 4
                4 SHA-256 .linux: Unknown, not among the programs in the event log (1); it is there only at times
            "#]],
        );
        let mut other = events.to_vec();
        other[1].2 = b"b.efi";
        other[5].2 = b"ID=y";
        other.extend([(12, EV_IPL, line); 2]);
        check(
            &[&event_log(&other)],
            &expect![[r#"
                11 SHA-256 enter-initrd: Different, the event log first differs in event 4, .osrel
                11 SHA-256 enter-initrd:leave-initrd: Different, the event log first differs in event 4, .osrel
                11 SHA-256 enter-initrd:leave-initrd:sysinit: Different, the event log first differs in event 4, .osrel
                11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Different, the event log first differs in event 4, .osrel
                12 SHA-256 : Different, the event log has more events than the predicted 1
                4 SHA-256 a.efi: Different, not among the programs in the event log (1)
                4 SHA-256 .linux: Unknown, not among the programs in the event log (1); it is there only at times
            "#]],
        );
        check(
            &[&event_log(&events[..5])],
            &expect![[r#"
                11 SHA-256 enter-initrd: Different, the event log ends before event 4, .osrel
                11 SHA-256 enter-initrd:leave-initrd: Different, the event log ends before event 4, .osrel
                11 SHA-256 enter-initrd:leave-initrd:sysinit: Different, the event log ends before event 4, .osrel
                11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Different, the event log ends before event 4, .osrel
                12 SHA-256 : Different, the register is all zeros: nothing was measured into it
                4 SHA-256 a.efi: Equal, event 2 of the event log's PCR 4
                4 SHA-256 .linux: Unknown, not among the programs in the event log (1); it is there only at times
            "#]],
        );
        // The log is not of the boot that the value is of.
        let value = format!("4:sha256={}", "1".repeat(64));
        check(
            &[&event_log(events), value.as_bytes()],
            &expect![[r#"
                11 SHA-256 :: Equal, the register is at this phase
                11 SHA-256 enter-initrd: Ahead, not reached
                11 SHA-256 enter-initrd:leave-initrd: Ahead, not reached
                11 SHA-256 enter-initrd:leave-initrd:sysinit: Ahead, not reached
                11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Ahead, not reached
                12 SHA-256 : Equal, as predicted
                4 SHA-256 a.efi: Unknown, the event log does not lead to the register's value
                4 SHA-256 .linux: Unknown, the event log does not lead to the register's value
            "#]],
        );
    }

    #[test]
    fn parameters_have_two_forms_and_extensions_one() {
        let line: &[u8] = b"r\0o\0\0\0";
        let check = |events: &[(u32, &[u8])], expected: &Expect| {
            let events: Vec<_> = events.iter().map(|(pcr, it)| (*pcr, EV_IPL, *it)).collect();
            let mut all = ObservedPcrs::default();
            all.add(&event_log(&events)).unwrap();
            let compared = measured(SECTIONS).compare(&all, &[Algorithm::Sha256]);
            let compared = compared.iter().filter(|it| it.pcr > 11);
            let lines = compared.map(|it| format!("{} {:?}, {}\n", it.pcr, it.verdict, it.text));
            expected.assert_eq(&lines.collect::<String>());
        };
        check(
            &[(12, line)],
            &expect![[r#"
            12 Equal, as predicted
        "#]],
        );
        check(
            &[(12, line), (12, line)],
            &expect![[r#"
            12 Equal, as predicted for a start by systemd-boot
        "#]],
        );
        check(
            &[(12, line), (12, b"x")],
            &expect![[r#"
            12 Different, the event log has more events than the predicted 1
        "#]],
        );
        check(
            &[(12, b"x"), (13, b"x")],
            &expect![[r#"
            12 Different, the event log first differs in event 1, command line
            13 Different, the event log has more events than the predicted 0
        "#]],
        );
    }

    #[test]
    fn the_machine_may_decide() {
        let sections: &[(&str, &[u8])] = &[(".linux", b"kernel"), (".dtbauto", b"tree")];
        let zeros = format!("11:sha256={}1\n", "0".repeat(63));
        check_of(
            &measured(sections),
            &[zeros.as_bytes()],
            &expect![[r#"
            11 SHA-256 enter-initrd: Unknown, .dtbauto depend on the machine
            11 SHA-256 enter-initrd:leave-initrd: Unknown, .dtbauto depend on the machine
            11 SHA-256 enter-initrd:leave-initrd:sysinit: Unknown, .dtbauto depend on the machine
            11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Unknown, .dtbauto depend on the machine
            12 SHA-256 : Unknown, there is no value to compare with
            4 SHA-256 a.efi: Unknown, only an event log names what was measured
            4 SHA-256 .linux: Unknown, only an event log names what was measured
        "#]],
        );
    }

    #[test]
    fn a_line_that_is_no_utf_8_is_not_compared() {
        let mut measurements = measured(SECTIONS);
        (measurements.pcr12, measurements.pcr12_sd_boot) = (None, None);
        let value = format!("12:sha256={}", "1".repeat(64));
        check_of(
            &measurements,
            &[value.as_bytes()],
            &expect![[r#"
                11 SHA-256 enter-initrd: Unknown, there is no value to compare with
                11 SHA-256 enter-initrd:leave-initrd: Unknown, there is no value to compare with
                11 SHA-256 enter-initrd:leave-initrd:sysinit: Unknown, there is no value to compare with
                11 SHA-256 enter-initrd:leave-initrd:sysinit:ready: Unknown, there is no value to compare with
                12 SHA-256 : Unknown, the command line is no UTF-8
                4 SHA-256 a.efi: Unknown, only an event log names what was measured
                4 SHA-256 .linux: Unknown, only an event log names what was measured
            "#]],
        );
        assert!(
            Measurements::default()
                .compare(&ObservedPcrs::default(), &[])
                .is_empty()
        );
    }
}
