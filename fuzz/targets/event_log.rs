//! Event logs and values of registers: a log that is read leads to values, and what
//! it is compared with gets a verdict for each register.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ukexec_pe::PeImage;
use ukexec_signature::Algorithm;
use ukexec_stub::{Agreement, Boot, EventLog, Measurements, ObservedPcrs, Uki};

/// An image with one section, `.linux`.
static IMAGE: &[u8] = include_bytes!("../seeds/pe/uki");

fn measurements() -> &'static Measurements {
    static MEASURED: OnceLock<Measurements> = OnceLock::new();
    MEASURED.get_or_init(|| {
        let pe = PeImage::parse(IMAGE).expect("a sound image");
        let uki = Uki::new(IMAGE, &pe, 0).expect("the first profile");
        let mut measurements = Measurements::default();
        let added = measurements.add_boot("uki.efi", &uki, &Boot::<&[u8]>::default());
        added.expect("a small image");
        measurements
    })
}

fuzz_target!(|data: &[u8]| {
    if let Ok(log) = EventLog::parse(data) {
        for pcr in [4, 11, 12, 13] {
            let value = log.value(pcr, Algorithm::Sha384);
            assert!(value.is_none_or(|value| value.len() == 48));
        }
    }
    let mut observed = ObservedPcrs::default();
    if observed.add(data).is_err() {
        return;
    }
    for compared in measurements().compare(&observed, &[]) {
        let is_equal = compared.verdict == Agreement::Equal;
        let is_same = compared.found.is_some() && compared.found == compared.expected;
        assert_eq!(is_equal, is_same, "{compared:?}");
    }
});
