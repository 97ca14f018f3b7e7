//! Registers of a TPM, and the events that they are extended with.

use std::io;

use serde::Serialize;
use ukexec_pe::{ByteRanges, ReadAt};
use ukexec_signature::{Algorithm, Digests, NewState, digests_of};

/// The banks of registers that are reported, by the names that tools print.
/// Firmware may have others.
pub const PCR_BANKS: [(&str, Algorithm); 2] =
    [("sha256", Algorithm::Sha256), ("sha384", Algorithm::Sha384)];

/// The same without their names.
pub(crate) const BANKS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha384];

/// The registers that are predicted.
pub(crate) const PCRS: [u32; 4] = [4, 11, 12, 13];

/// The phases that userspace extends PCR 11 with while it boots, in order
/// (systemd-pcrphase.service(8)).
const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// Events in order, of which no value follows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MeasuredEvents {
    /// The events.
    pub events: Vec<MeasuredEvent>,
}

/// Something that a register is extended with.
#[derive(Clone, Debug, Serialize)]
pub struct MeasuredEvent {
    /// The thing measured.
    pub what: String,
    /// The condition it depends on.
    pub when: Option<&'static str>,
    /// Its digests, one for each bank.
    #[serde(serialize_with = "Digests::serialize_by_name")]
    pub digests: Digests,
}

/// A register, and what it was extended with since it was all zeros.
#[derive(Clone, Debug, Serialize)]
pub struct Register {
    /// Its value.
    #[serde(serialize_with = "Digests::serialize_by_name")]
    pub value: Digests,
    /// Its later values, where userspace extends it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<BootPhase>,
    /// The events that lead to the value.
    pub events: Vec<MeasuredEvent>,
}

/// A register when a phase of the boot has begun.
#[derive(Clone, Debug, Serialize)]
pub struct BootPhase {
    /// The phases so far, with colons between them.
    pub phase: String,
    /// The value.
    #[serde(serialize_with = "Digests::serialize_by_name")]
    pub value: Digests,
}

impl MeasuredEvent {
    /// Returns the event that `bytes` are, called `what`.
    pub(crate) fn new(
        what: &str,
        bytes: &(impl ReadAt + ?Sized),
        state: NewState,
    ) -> io::Result<Self> {
        Self::of_ranges(what, bytes, &ByteRanges::from(0..bytes.len()), state)
    }

    /// As [`MeasuredEvent::new`], of `ranges` of the bytes.
    pub(crate) fn of_ranges(
        what: &str,
        bytes: &(impl ReadAt + ?Sized),
        ranges: &ByteRanges,
        state: NewState,
    ) -> io::Result<Self> {
        Ok(Self {
            what: what.to_owned(),
            when: None,
            digests: digests_of(bytes, ranges, BANKS, state).map_err(io::Error::other)?,
        })
    }
}

impl Register {
    /// Returns a register of zeros.
    pub(crate) fn new() -> Self {
        let zeros = BANKS.map(|bank| (bank, vec![0; bank.digest_len()]));
        Self {
            events: Vec::new(),
            value: zeros.into_iter().collect(),
            phases: Vec::new(),
        }
    }

    /// Returns a register that these events extend.
    pub(crate) fn of(events: Vec<MeasuredEvent>) -> Self {
        let mut register = Self::new();
        events.into_iter().for_each(|event| register.extend(event));
        register
    }

    pub(crate) fn extend(&mut self, event: MeasuredEvent) {
        self.value = all_extended(&self.value, &event.digests);
        self.events.push(event);
    }

    /// Adds what userspace makes of it while it boots.
    pub(crate) fn add_phases(&mut self) {
        let (mut phases, mut value) = (Vec::new(), self.value.clone());
        for phase in PHASES {
            phases.push(phase);
            let digests = BANKS.map(|bank| (bank, bank.digest(phase.as_bytes())));
            value = all_extended(&value, &digests.into_iter().collect());
            self.phases.push(BootPhase {
                phase: phases.join(":"),
                value: value.clone(),
            });
        }
    }
}

/// Returns the `value` of a register of `bank` after it was extended with `digest`.
pub(crate) fn extended(bank: Algorithm, value: &[u8], digest: &[u8]) -> Vec<u8> {
    bank.digest(&[value, digest].concat())
}

/// As [`extended`], in the banks that both have: in all.
fn all_extended(value: &Digests, digests: &Digests) -> Digests {
    let bank =
        |(bank, value): (Algorithm, &[u8])| Some((bank, extended(bank, value, digests.get(bank)?)));
    value.iter().filter_map(bank).collect()
}
