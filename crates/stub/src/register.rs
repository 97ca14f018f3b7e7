//! Registers of a TPM, and the events that they are extended with.

use std::fmt;
use std::io;

use serde::Serialize;
use ukexec_pe::{ByteRanges, ReadAt};
use ukexec_signature::{Algorithm, Digests, Hex, digests_of};

/// The banks of registers that are reported. Firmware may have others.
pub(crate) const BANKS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha384];

/// The phases that userspace extends PCR 11 with while it boots, in order
/// (systemd-pcrphase.service(8)).
const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// Events in order, of which no value follows.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
}

/// Something that a register is extended with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) what: String,
    /// The condition it depends on.
    pub(crate) when: Option<&'static str>,
    #[serde(serialize_with = "Digests::serialize_by_name")]
    pub(crate) digests: Digests,
}

/// A register, and what it was extended with since it was all zeros.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Register {
    pub(crate) events: Vec<Event>,
    #[serde(serialize_with = "Digests::serialize_by_name")]
    pub(crate) value: Digests,
    /// Its later values, where userspace extends it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) phases: Vec<Phase>,
}

/// A register when a phase of the boot has begun.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    /// The phases so far, with colons between them.
    pub(crate) phase: String,
    #[serde(serialize_with = "Digests::serialize_by_name")]
    pub(crate) value: Digests,
}

impl Event {
    /// Returns the event that `bytes` are, called `what`.
    pub(crate) fn new(what: &str, bytes: &(impl ReadAt + ?Sized)) -> io::Result<Self> {
        Ok(Self {
            what: what.to_owned(),
            when: None,
            digests: digests_of(bytes, &ByteRanges::from(0..bytes.len()), BANKS)
                .map_err(io::Error::other)?,
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

    pub(crate) fn extend(&mut self, event: Event) {
        self.value = extended(&self.value, &event.digests);
        self.events.push(event);
    }

    /// Writes it for people: the SHA-256 bank.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write_events(f, name, &self.events)?;
        write_line(f, name, &self.value, "value")?;
        self.phases.iter().try_for_each(|Phase { phase, value }| {
            write_line(f, name, value, &format!("value at {phase}"))
        })
    }

    /// Adds what userspace makes of it while it boots.
    pub(crate) fn add_phases(&mut self) {
        let (mut phases, mut value) = (Vec::new(), self.value.clone());
        for phase in PHASES {
            phases.push(phase);
            let digests = BANKS.map(|bank| (bank, bank.digest(phase.as_bytes())));
            value = extended(&value, &digests.into_iter().collect());
            self.phases.push(Phase {
                phase: phases.join(":"),
                value: value.clone(),
            });
        }
    }
}

/// Returns a register's `value` after it was extended with `digests`, in the banks
/// that both have: in all.
fn extended(value: &Digests, digests: &Digests) -> Digests {
    let bank = |(bank, old): (Algorithm, &[u8])| {
        let new = digests.get(bank)?;
        Some((bank, bank.digest(&[old, new].concat())))
    };
    value.iter().filter_map(bank).collect()
}

/// Writes the events of a register for people: the SHA-256 bank.
pub(crate) fn write_events(
    f: &mut fmt::Formatter<'_>,
    register: &str,
    events: &[Event],
) -> fmt::Result {
    events.iter().try_for_each(|event| match event.when {
        Some(when) => {
            let what = format!("{} ({when})", event.what);
            write_line(f, register, &event.digests, &what)
        }
        None => write_line(f, register, &event.digests, &event.what),
    })
}

fn write_line(
    f: &mut fmt::Formatter<'_>,
    register: &str,
    digests: &Digests,
    what: &str,
) -> fmt::Result {
    match digests.get(Algorithm::Sha256) {
        Some(digest) => writeln!(f, "{register:<10} sha256 {} {what}", Hex(digest)),
        None => Ok(()),
    }
}
