//! Initrds whose archives are unpacked: within the limit, and to a result that is unpacked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::Rope;
use ukexec_unfold::{MemoryStore, expand_initrd};

/// Bytes that a result may have here.
const MAX: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let initrd = Rope::from(data.to_vec());
    let Ok(expanded) = expand_initrd(&initrd, MAX, u64::MAX, &mut MemoryStore::default()) else {
        return;
    };
    let bytes = expanded.initrd.to_vec().expect("it is in memory");
    let sizes = expanded.segments.iter().map(|it| it.size);
    assert!(sizes.sum::<u64>() <= data.len() as u64);
    if !expanded.is_changed() {
        assert_eq!(bytes, data);
    } else {
        // What stays as it is may lie behind the output.
        assert!(bytes.len() as u64 <= MAX + data.len() as u64);
    }
    if expanded.left.is_none() {
        let max = MAX + data.len() as u64;
        let again = expand_initrd(&expanded.initrd, max, u64::MAX, &mut MemoryStore::default());
        let again = again.expect("nothing is written");
        assert!(!again.is_changed() && again.left.is_none());
    }
});
