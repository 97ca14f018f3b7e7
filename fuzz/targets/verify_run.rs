//! Verifier and interpreter: programs made from the input run in both the
//! interpreter and a second evaluator, and must do the same.
#![no_main]

#[path = "../../crates/bpf/tests/differential/compare.rs"]
mod compare;
#[path = "../../crates/bpf/tests/differential/generate.rs"]
mod generate;
#[path = "../../crates/bpf/tests/differential/naive.rs"]
mod naive;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    compare::compare(data);
});
