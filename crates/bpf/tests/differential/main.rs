//! The interpreter held against a second evaluator, on programs made from
//! random bytes: both must return the same, leave the same memory, and fault at
//! the same instruction.
#![expect(clippy::panic, reason = "a difference fails the test")]

mod compare;
mod generate;
mod naive;

use compare::compare;
use naive::Ending;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..800)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

    #[test]
    fn interpreter_and_naive_evaluator_agree(bytes in bytes()) {
        compare(&bytes);
    }
}

#[test]
fn most_generated_programs_are_accepted_and_many_return() {
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut returned, mut faulted) = (0, 0, 0);
    for _ in 0..500 {
        let bytes = bytes().new_tree(&mut runner).unwrap().current();
        let ending = compare(&bytes);
        accepted += usize::from(ending.is_some());
        returned += usize::from(matches!(ending, Some(Ending::Returned(_))));
        faulted += usize::from(matches!(ending, Some(Ending::Faulted(_))));
    }
    assert!(
        accepted > 400 && returned > 150 && faulted > 50,
        "{accepted} accepted, {returned} returned, {faulted} faulted"
    );
}
