//! Parser containers: all levels of one, and what is read packed again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::container::{MAX_LEVELS, is_container, levels, pack};

fuzz_target!(|data: &[u8]| {
    let levels = match levels(data) {
        Ok(levels) => levels,
        // Messages are made from what the container says.
        Err(error) => return drop(error.to_string()),
    };
    assert!(is_container(data));
    assert!((1..=MAX_LEVELS).contains(&levels.len()));
    for level in levels {
        assert!((1..=8).contains(&level.slots.len()));
        // Slots may be anything; only parsers are packed.
        if let Ok(packed) = pack(&level.slots, None) {
            let read = ukexec_bpf::container::levels(&packed).expect("it was just packed");
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].slots, level.slots);
        }
    }
});
