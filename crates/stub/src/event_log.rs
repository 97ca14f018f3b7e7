//! Firmware's log of the events that it and boot loaders extended registers with.
//!
//! Each size and count may lie. No input makes this module panic; time and memory
//! are in proportion to the input. It does not look into the data of events,
//! which the digests need not cover.
//!
//! Spec: TCG PC Client Platform Firmware Profile, "Event Logging":
//! `TCG_PCClientPCREvent`, `TCG_EfiSpecIdEvent`, `TCG_PCR_EVENT2`. Left out: logs
//! of TPM 1.2, which have SHA-1 alone.

use std::fmt::Display;

use ukexec_signature::{Algorithm, Digests};

use crate::StubError;
use crate::register::{PCRS, extended};

/// The type of events that extend nothing.
const EV_NO_ACTION: u32 = 3;

/// The type of the events by which firmware measures a program that it starts.
pub(crate) const EV_EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;

/// The signature of the first event.
const SPEC_ID: &[u8] = b"Spec ID Event03\0";

/// A log names no more algorithms: the registry of the TCG has fewer for digests.
const ALGORITHMS_MAX: u32 = 16;

/// The events of the registers that are compared.
#[derive(Clone, Debug)]
pub struct EventLog {
    /// The banks of the log, as far as they are reported.
    banks: Vec<Algorithm>,
    events: Vec<LoggedEvent>,
}

/// An event of a log.
#[derive(Clone, Debug)]
pub(crate) struct LoggedEvent {
    pcr: u32,
    pub(crate) event_type: u32,
    pub(crate) digests: Digests,
}

/// A bank of a log.
#[derive(Clone, Copy, Debug)]
struct LogBank {
    /// `TPM_ALG_ID`.
    id: u16,
    digest_size: u32,
    /// `None` where the bank is not reported.
    algorithm: Option<Algorithm>,
}

impl EventLog {
    /// Reads a log.
    ///
    /// # Errors
    ///
    /// [`StubError`] for the first field that cannot be right, or that is cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, StubError> {
        let mut reader = Reader { bytes, at: 0 };
        let banks = spec_id(&mut reader)?;
        let mut events = Vec::new();
        while !reader.is_at_end() {
            let event = event(&mut reader, &banks)?;
            if event.event_type != EV_NO_ACTION && PCRS.contains(&event.pcr) {
                events.push(event);
            }
        }
        let banks = banks.iter().filter_map(|bank| bank.algorithm).collect();
        Ok(Self { banks, events })
    }

    /// Returns whether it has digests of `bank`.
    pub(crate) fn has(&self, bank: Algorithm) -> bool {
        self.banks.contains(&bank)
    }

    /// Returns the events of register `pcr` (4, 11 or 12), in their order.
    pub(crate) fn events(&self, pcr: u32) -> impl Iterator<Item = &LoggedEvent> {
        self.events.iter().filter(move |event| event.pcr == pcr)
    }

    /// Returns the value that its events give register `pcr` (4, 11 or 12) in
    /// `bank`; `None` where the log lacks the bank.
    pub fn value(&self, pcr: u32, bank: Algorithm) -> Option<Vec<u8>> {
        if !self.has(bank) {
            return None;
        }
        let digests = self.events(pcr).filter_map(|it| it.digests.get(bank));
        let zeros = vec![0; bank.digest_len()];
        Some(digests.fold(zeros, |value, digest| extended(bank, &value, digest)))
    }
}

/// Reads the first event, which names the banks of all others.
fn spec_id(reader: &mut Reader<'_>) -> Result<Vec<LogBank>, StubError> {
    reader.u32("pcrIndex of the first event")?;
    let at = reader.at;
    let event_type = reader.u32("eventType of the first event")?;
    if event_type != EV_NO_ACTION {
        let field = "eventType of the first event";
        return Err(fault(at, field, "3 (EV_NO_ACTION)", event_type));
    }
    reader.take("digest of the first event", 20)?;
    let size = reader.u32("eventDataSize of the first event")?;
    let mut data = reader.inner("event data of the first event", size)?;
    let at = data.at;
    let signature = data.take("signature of the first event", 16)?;
    if signature != SPEC_ID {
        let found = format!("{:?}", String::from_utf8_lossy(signature));
        let expected = "\"Spec ID Event03\\0\", as logs of TPM 2.0 have it";
        return Err(fault(at, "signature of the first event", expected, found));
    }
    data.take("version of the log", 8)?;
    let at = data.at;
    let count = data.u32("numberOfAlgorithms")?;
    if count > ALGORITHMS_MAX {
        let expected = format_args!("at most {ALGORITHMS_MAX}");
        return Err(fault(at, "numberOfAlgorithms", expected, count));
    }
    let mut banks: Vec<LogBank> = Vec::new();
    for _ in 0..count {
        let at = data.at;
        let bank = bank(&mut data)?;
        if banks.iter().any(|other| other.id == bank.id) {
            let expected = "each algorithm once";
            return Err(fault(
                at,
                "algorithmId",
                expected,
                format!("{:#x}", bank.id),
            ));
        }
        banks.push(bank);
    }
    Ok(banks)
}

fn bank(reader: &mut Reader<'_>) -> Result<LogBank, StubError> {
    let id = reader.u16("algorithmId")?;
    let at = reader.at;
    let digest_size = reader.u16("digestSize")?;
    let algorithm = match id {
        0xb => Some(Algorithm::Sha256),
        0xc => Some(Algorithm::Sha384),
        _ => None,
    };
    let expected = algorithm.map(Algorithm::digest_len);
    if let Some(expected) = expected
        && usize::from(digest_size) != expected
    {
        return Err(fault(at, "digestSize", expected, digest_size));
    }
    Ok(LogBank {
        id,
        digest_size: digest_size.into(),
        algorithm,
    })
}

/// Reads an event behind the first: at most one digest for each of `banks`.
fn event(reader: &mut Reader<'_>, banks: &[LogBank]) -> Result<LoggedEvent, StubError> {
    let pcr = reader.u32("pcrIndex")?;
    let event_type = reader.u32("eventType")?;
    let at = reader.at;
    let count = reader.u32("count of digests")?;
    if usize::try_from(count).map_or(true, |count| count > banks.len()) {
        let expected = format_args!("at most {}", banks.len());
        return Err(fault(at, "count of digests", expected, count));
    }
    let mut digests: Vec<(&LogBank, &[u8])> = Vec::new();
    for _ in 0..count {
        let at = reader.at;
        let id = reader.u16("hashAlg")?;
        let is_taken = digests.iter().any(|(bank, _)| bank.id == id);
        let bank = banks.iter().find(|bank| bank.id == id && !is_taken);
        let expected = "an algorithm of the first event, once";
        let bank = bank.ok_or_else(|| fault(at, "hashAlg", expected, format!("{id:#x}")))?;
        digests.push((bank, reader.take("digest", bank.digest_size)?));
    }
    let size = reader.u32("eventSize")?;
    reader.take("event data", size)?;
    let reported = |(bank, digest): (&LogBank, &[u8])| Some((bank.algorithm?, digest.to_vec()));
    Ok(LoggedEvent {
        pcr,
        event_type,
        digests: digests.into_iter().filter_map(reported).collect(),
    })
}

/// The bytes of a log, of which those before `at` are read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, field: &str, len: u32) -> Result<&'a [u8], StubError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or_else(|| {
            let found = format_args!("{}; is the log cut off?", rest.len());
            fault(self.at, field, format_args!("{len} bytes"), found)
        })?;
        self.at = self.at.saturating_add(taken.len());
        Ok(taken)
    }

    /// Takes `len` bytes, and returns a reader of them alone.
    fn inner(&mut self, field: &str, len: u32) -> Result<Self, StubError> {
        let at = self.at;
        self.take(field, len)?;
        let bytes = self.bytes.get(..self.at).unwrap_or_default();
        Ok(Self { bytes, at })
    }

    fn u32(&mut self, field: &str) -> Result<u32, StubError> {
        let bytes = self.take(field, 4)?.iter().rev();
        Ok(bytes.fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn u16(&mut self, field: &str) -> Result<u16, StubError> {
        let bytes = self.take(field, 2)?.iter().rev();
        Ok(bytes.fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }
}

fn fault(at: usize, field: &str, expected: impl Display, found: impl Display) -> StubError {
    StubError::new(format!(
        "event log: {field} at offset {at:#x}: expected {expected}, found {found}"
    ))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use ukexec_signature::Hex;

    use super::*;
    use crate::testing::event_log;

    const EVENTS: &[(u32, u32, &[u8])] = &[
        (0, 8, b"version"),
        (11, 13, b".linux\0"),
        (4, EV_EFI_BOOT_SERVICES_APPLICATION, b"loader"),
        (11, EV_NO_ACTION, b"nothing"),
        (11, 13, b"kernel"),
    ];

    /// The offset of the first event behind the header.
    const FIRST: usize = 32 + 41;

    /// Shows what becomes of a log after an edit.
    fn check(edit: impl FnOnce(&mut Vec<u8>), expected: Expect) {
        let mut log = event_log(EVENTS);
        edit(&mut log);
        expected.assert_eq(&match EventLog::parse(&log) {
            Ok(log) => {
                let counts = PCRS.map(|pcr| log.events(pcr).count());
                let value = log.value(11, Algorithm::Sha256);
                let value = value.map(|value| Hex(&value).to_string());
                format!("{counts:?} {}", value.unwrap_or_default())
            }
            Err(error) => error.to_string(),
        });
    }

    /// The value comes of:
    ///
    /// ```sh
    /// digest() { openssl sha256 -binary; }
    /// (head -c 32 /dev/zero; printf '.linux\0' | digest) | digest >name
    /// (cat name; printf kernel | digest) | digest | xxd -p -c 32
    /// ```
    #[test]
    fn a_log_leads_to_values() {
        check(
            |_| (),
            expect![
                "[1, 2, 0, 0] ff4d55cd85724de92ab538c82df0dd57ae0b5281e088a1a64df159f33c343702"
            ],
        );
        let log = EventLog::parse(&event_log(&[])).unwrap();
        assert_eq!(log.value(4, Algorithm::Sha384), Some(vec![0; 48]));
        assert_eq!(log.value(4, Algorithm::Sha512), None);
    }

    #[test]
    fn damage_is_named() {
        check(
            |log| log.truncate(7),
            expect![
                "event log: eventType of the first event at offset 0x4: expected 4 bytes, found 3; is the log cut off?"
            ],
        );
        check(
            |log| log[4] = 4,
            expect![
                "event log: eventType of the first event at offset 0x4: expected 3 (EV_NO_ACTION), found 4"
            ],
        );
        check(
            |log| log[32 + 14] = b'2',
            expect![[
                r#"event log: signature of the first event at offset 0x20: expected "Spec ID Event03\0", as logs of TPM 2.0 have it, found "Spec ID Event02\0""#
            ]],
        );
        check(
            |log| log[28] = 200,
            expect![
                "event log: count of digests at offset 0xf0: expected at most 3, found 3581600659"
            ],
        );
        check(
            |log| log[28] = 40,
            expect!["event log: count of digests at offset 0x50: expected at most 3, found 768"],
        );
        check(
            |log| log[32 + 24] = 17,
            expect!["event log: numberOfAlgorithms at offset 0x38: expected at most 16, found 17"],
        );
        check(
            |log| log[32 + 32] = 4,
            expect![
                "event log: algorithmId at offset 0x40: expected each algorithm once, found 0x4"
            ],
        );
        check(
            |log| log[32 + 34] = 31,
            expect!["event log: digestSize at offset 0x42: expected 32, found 31"],
        );
        check(
            |log| log[FIRST + 8] = 4,
            expect!["event log: count of digests at offset 0x51: expected at most 3, found 4"],
        );
        check(
            |log| log[FIRST + 12] = 9,
            expect![
                "event log: hashAlg at offset 0x55: expected an algorithm of the first event, once, found 0x9"
            ],
        );
        check(
            |log| log[FIRST + 12 + 22] = 4,
            expect![
                "event log: hashAlg at offset 0x6b: expected an algorithm of the first event, once, found 0x4"
            ],
        );
        check(
            |log| log.truncate(FIRST + 20),
            expect![
                "event log: digest at offset 0x57: expected 20 bytes, found 6; is the log cut off?"
            ],
        );
        check(
            |log| log.truncate(log.len() - 1),
            expect![
                "event log: event data at offset 0x2c6: expected 6 bytes, found 5; is the log cut off?"
            ],
        );
        check(
            |log| log.push(0),
            expect![
                "event log: pcrIndex at offset 0x2cc: expected 4 bytes, found 1; is the log cut off?"
            ],
        );
    }

    /// Firmware need not have all banks in each event.
    #[test]
    fn an_event_may_lack_a_bank() {
        check(
            |log| {
                log.truncate(FIRST);
                log.extend([11, 13, 1].map(u32::to_le_bytes).concat());
                log.extend([&[4, 0][..], &[0; 20], &[0; 4]].concat());
            },
            expect![
                "[0, 1, 0, 0] 0000000000000000000000000000000000000000000000000000000000000000"
            ],
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, damage: Vec<(prop::sample::Index, u8)>) {
            let _any = EventLog::parse(&bytes);
            let mut log = event_log(EVENTS);
            let header = &log[..FIRST];
            let _any = EventLog::parse(&[header, &bytes].concat());
            for (at, byte) in damage {
                let at = at.index(log.len());
                log[at] = byte;
            }
            if let Ok(log) = EventLog::parse(&log) {
                let values = PCRS.map(|pcr| log.value(pcr, Algorithm::Sha256));
                prop_assert!(values.iter().flatten().all(|value| value.len() == 32));
            }
        }
    }
}
