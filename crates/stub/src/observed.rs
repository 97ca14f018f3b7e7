//! What a machine, or a file that somebody kept of one, says of the registers of a TPM.
//!
//! No input makes this module panic; time and memory are in proportion to the
//! input.

use std::collections::BTreeMap;

use ukexec_signature::Algorithm;

use crate::StubError;
use crate::event_log::EventLog;
use crate::register::{PCR_BANKS, PCRS};

/// Values of a text that are kept.
const VALUES_MAX: usize = 256;

/// Values of registers, and the event log that leads to them.
#[derive(Clone, Debug, Default)]
pub struct ObservedPcrs {
    values: Vec<PcrValue>,
    log: Option<EventLog>,
}

/// The value of a register in a bank.
#[derive(Clone, Debug)]
struct PcrValue {
    pcr: u32,
    bank: Algorithm,
    value: Vec<u8>,
}

impl ObservedPcrs {
    /// Adds what `bytes` say: firmware's event log, or else text with values, as
    /// `systemd-measure` (`11:sha256=…`) and `tpm2_pcrread` (`11: 0x…` below
    /// `sha256:`) print them. Other lines of a text count for nothing.
    ///
    /// # Errors
    ///
    /// A damaged log; a damaged value, or none at all, of PCR 4, 11, 12 or 13; two
    /// values of PCR 4, 12 or 13.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), StubError> {
        // The first field of a log is the number of a register.
        if bytes.contains(&0) {
            self.log = Some(EventLog::parse(bytes)?);
            return Ok(());
        }
        let text = String::from_utf8_lossy(bytes);
        let mut bank = None;
        let mut said = BTreeMap::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            match read(line) {
                Some(Line::Bank(name)) => bank = by_name(name),
                Some(Line::Value(pcr, name, digits)) if PCRS.contains(&pcr) => {
                    let Some(bank) = name.map_or(bank, by_name) else {
                        continue;
                    };
                    let value = bytes_of(digits, bank).map_err(|error| {
                        StubError::new(format!("line {number}: PCR {pcr}: {error}"))
                    })?;
                    let key = (pcr, bank.digest_len());
                    let (first, known) = said.entry(key).or_insert((number, value.clone()));
                    // systemd-measure prints a value of PCR 11 for each phase.
                    if *known != value && pcr != PHASES {
                        return Err(StubError::new(format!(
                            "line {number}: PCR {pcr}: another value than in line {first}"
                        )));
                    }
                    if self.values.len() == VALUES_MAX {
                        return Err(StubError::new(format!(
                            "expected at most {VALUES_MAX} values of PCRs 4, 11, 12 and 13, found more"
                        )));
                    }
                    self.values.push(PcrValue { pcr, bank, value });
                }
                Some(Line::Value(..)) => {}
                None => {}
            }
        }
        match self.values.is_empty() {
            true => Err(StubError::new(NOTHING.to_owned())),
            false => Ok(()),
        }
    }

    /// Returns the event log.
    pub(crate) fn log(&self) -> Option<&EventLog> {
        self.log.as_ref()
    }

    /// Returns the values of register `pcr` in `bank`, without those that the log
    /// gives.
    pub(crate) fn values(&self, pcr: u32, bank: Algorithm) -> impl Iterator<Item = &[u8]> {
        let is_it = move |it: &&PcrValue| it.pcr == pcr && it.bank == bank;
        self.values
            .iter()
            .filter(is_it)
            .map(|it| it.value.as_slice())
    }

    /// Returns whether anything is known of `bank`.
    pub(crate) fn has(&self, bank: Algorithm) -> bool {
        self.values.iter().any(|it| it.bank == bank)
            || self.log.as_ref().is_some_and(|log| log.has(bank))
    }
}

/// The register that the phases of a boot extend.
const PHASES: u32 = 11;

/// Why a text is no good.
const NOTHING: &str = "expected an event log, or values of PCRs 4 or 11 to 13 (11:sha256=…), \
                       found none";

/// A line that says something.
enum Line<'a> {
    /// The bank of the lines below.
    Bank(&'a str),
    /// The value of a register, and its bank where the line names it.
    Value(u32, Option<&'a str>, &'a str),
}

fn read(line: &str) -> Option<Line<'_>> {
    let line = line.trim();
    let (left, right) = line.split_once(':').filter(|_| !line.starts_with('#'))?;
    let right = right.trim();
    if right.is_empty() {
        return Some(Line::Bank(left));
    }
    let pcr = left.trim_end().parse().ok()?;
    match right.split_once('=') {
        Some((bank, digits)) => Some(Line::Value(pcr, Some(bank), digits)),
        None => Some(Line::Value(pcr, None, right)),
    }
}

/// Returns the bank that tools call `name`, if it is reported.
fn by_name(name: &str) -> Option<Algorithm> {
    let known = PCR_BANKS.iter().find(|(known, _)| *known == name);
    known.map(|(_, bank)| *bank)
}

/// Returns the digest of `bank` that `digits` are, with or without `0x`.
fn bytes_of(digits: &str, bank: Algorithm) -> Result<Vec<u8>, String> {
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let values: Vec<u32> = digits.chars().map_while(|it| it.to_digit(16)).collect();
    let expected = bank.digest_len().saturating_mul(2);
    if values.len() != expected || digits.len() != expected {
        let found = values.len();
        return Err(format!("expected {expected} hex digits, found {found}"));
    }
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    let bytes = values.chunks_exact(2).map(byte);
    Ok(bytes.filter_map(|byte| u8::try_from(byte).ok()).collect())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use ukexec_signature::Hex;

    use super::*;

    /// Shows the values of `text`; `A` stands for a value of SHA-256.
    fn check(text: &str, expected: Expect) {
        let mut observed = ObservedPcrs::default();
        let text = text.replace('A', &"aB".repeat(32));
        let added = observed.add(text.as_bytes());
        expected.assert_eq(&match added {
            Ok(()) => {
                let values = observed.values.iter().map(|it| {
                    let value = Hex(&it.value).to_string();
                    format!("{} {} {}", it.pcr, it.bank, &value[..4])
                });
                values.collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn values_are_read_as_tools_print_them() {
        check(
            "# PCR[11] Phase <enter-initrd>\n11:sha1=00\n11:sha256=A\n\n12:sha256=A\n",
            expect!["11 SHA-256 abab, 12 SHA-256 abab"],
        );
        check(
            "  sha1:\n    11: 0x0\n  sha256:\n    4 : 0xA\n    7 : 0x0\n    11: 0xA\n",
            expect!["4 SHA-256 abab, 11 SHA-256 abab"],
        );
        check(
            &format!("sha384:\n 11: 0x{}", "1".repeat(96)),
            expect!["11 SHA-384 1111"],
        );
    }

    #[test]
    fn what_is_no_value_is_refused() {
        check(
            "",
            expect![
                "expected an event log, or values of PCRs 4 or 11 to 13 (11:sha256=…), found none"
            ],
        );
        check(
            "11:sha1=00\n7:sha256=A\n",
            expect![
                "expected an event log, or values of PCRs 4 or 11 to 13 (11:sha256=…), found none"
            ],
        );
        check(
            "11: 0xA",
            expect![
                "expected an event log, or values of PCRs 4 or 11 to 13 (11:sha256=…), found none"
            ],
        );
        check(
            "\n11:sha256=abc",
            expect!["line 2: PCR 11: expected 64 hex digits, found 3"],
        );
        check(
            "11:sha256=A0",
            expect!["line 1: PCR 11: expected 64 hex digits, found 65"],
        );
        check(
            &format!("11:sha256={}g", "0".repeat(63)),
            expect!["line 1: PCR 11: expected 64 hex digits, found 63"],
        );
        check(
            &"11:sha256=A\n".repeat(257),
            expect!["expected at most 256 values of PCRs 4, 11, 12 and 13, found more"],
        );
        check(
            "sha256:\n 12: 0xA\n\n11:sha256=A\n12:sha256=A\n12:sha256=0000000000000000000000000000000000000000000000000000000000000000\n",
            expect!["line 6: PCR 12: another value than in line 2"],
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, text in "[ 0-9a-fx:=sh\\n]{0,200}") {
            let mut observed = ObservedPcrs::default();
            let _any = observed.add(&bytes);
            let _any = observed.add(text.as_bytes());
        }
    }
}
