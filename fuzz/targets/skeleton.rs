//! Light skeletons: running the loader program, and what it gives.
//!
//! Plain objects have the target `object`; here, those are passed over.
#![no_main]

#[path = "run.rs"]
mod run;

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::Parser;
use ukexec_bpf::limits::{MAX_INITIAL_BYTES, MAX_INSNS, MAX_KFUNCS, MAX_MAPS, MAX_PROGRAMS};
use ukexec_bpf::skeleton::is_skeleton;
use ukexec_unfold::interface;

fuzz_target!(|data: &[u8]| {
    if !is_skeleton(data) {
        return;
    }
    match Parser::load(data, interface()) {
        Ok(parser) => {
            check_caps(&parser);
            run::run(parser);
        }
        // Messages are made from what the skeleton says.
        Err(error) => drop(error.to_string()),
    }
});

/// Checks the caps on what a loader program may make.
fn check_caps(parser: &Parser) {
    assert!(!parser.programs.is_empty() && parser.programs.len() <= MAX_PROGRAMS);
    assert!(parser.maps.len() <= MAX_MAPS);
    assert!(parser.kfuncs.len() <= MAX_KFUNCS);
    let insns: usize = parser.programs.iter().map(|it| it.code.len()).sum();
    assert!(insns <= MAX_INSNS);
    let initial = parser.maps.iter().flat_map(|map| &map.initial);
    let initial: usize = initial.map(|bytes| bytes.len()).sum();
    assert!(initial as u64 <= MAX_INITIAL_BYTES);
}
