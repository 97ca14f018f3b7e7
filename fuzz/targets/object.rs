//! Plain objects: loading, verifying, and running what is left.
#![no_main]

#[path = "run.rs"]
mod run;

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::Parser;
use ukexec_unfold::interface;

fuzz_target!(|data: &[u8]| {
    if let Ok(parser) = Parser::load(data, interface()) {
        run::run(parser);
    }
});
